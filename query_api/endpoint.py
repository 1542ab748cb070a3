"""Ask a SPARQL 1.1 endpoint over HTTP: Blazegraph with its cancellation, or any other."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import replace
from enum import Enum
from typing import IO, cast
from urllib.parse import urlsplit

import httpx
import pyoxigraph
from pyoxigraph import QueryBoolean, QueryResultsFormat, RdfFormat

from headstream.query_api.deadline import DeadlinePassed, within
from headstream.query_api.errors import (
    IncompleteAnswer,
    StoreError,
    StoreRefused,
    StoreTimeout,
    StoreUnavailable,
)
from headstream.query_api.guard import Form
from headstream.query_api.hints import for_blazegraph
from headstream.query_api.store import Answer, Graph, Limits, Row, Table, Truth, size_of, timed_out

log = logging.getLogger(__name__)

JSON = "application/sparql-results+json"
N_TRIPLES = "application/n-triples"
_CUT_BY_STORE = ("TimeoutException", "CancellationException", "InterruptedException")
_GRAPH_COLUMNS = ("subject", "predicate", "object")


class Dialect(Enum):
    """What can be relied on beyond SPARQL 1.1."""

    SPARQL = "sparql"
    BLAZEGRAPH = "blazegraph"


class SparqlEndpoint:
    """A read-only client of one endpoint, by its URL or as the sink names it (`blazegraph:URL`).

    Safe from any thread.

    A Blazegraph is told to refuse writes, to stop at the deadline, and to cancel a query that nobody waits
    for. Error bodies of the store never leave this module: they hold stack traces.
    """

    def __init__(self, url: str, *, dialect: Dialect | None = None, token: str | None = None) -> None:
        kind, _, rest = url.partition(":")
        named = {"blazegraph": Dialect.BLAZEGRAPH, "graph-store": Dialect.SPARQL}.get(kind)
        self.url = url if named is None else rest
        self.dialect = dialect or named or guess_dialect(url)
        # No proxies from the environment: the store is near, and its data are nobody else's.
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(trust_env=False, follow_redirects=False, headers=headers)

    def query(self, text: str, *, form: Form, limits: Limits, best_as_written: bool = False) -> Answer:
        """See QueryStore."""
        blazegraph = self.dialect is Dialect.BLAZEGRAPH
        query_id = str(uuid.uuid4())
        sent = for_blazegraph(text) if blazegraph and best_as_written else text
        try:
            return within(limits.seconds, lambda stop: self._ask(sent, form, limits, query_id, stop))
        except DeadlinePassed:
            self._cancel(query_id)
            raise timed_out(limits) from None
        except (StoreTimeout, IncompleteAnswer):
            self._cancel(query_id)
            raise

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, text: str, form: Form, limits: Limits, query_id: str, stop: threading.Event) -> Answer:
        fields = {"query": text}
        headers = {"Accept": self._accept(form), "Accept-Encoding": "identity"}
        if self.dialect is Dialect.BLAZEGRAPH:
            fields["queryId"] = query_id
            headers["X-BIGDATA-READ-ONLY"] = "yes"
            # A backstop: at the deadline itself the query is cancelled from here.
            headers["X-BIGDATA-MAX-QUERY-MILLIS"] = str(int(limits.seconds * 1000) + 1000)
        timeout = httpx.Timeout(limits.seconds, connect=min(5.0, limits.seconds))
        try:
            with self._client.stream(
                "POST", self.url, data=fields, headers=headers, timeout=timeout
            ) as answer:
                if answer.status_code != 200:
                    raise self._failure(answer, limits)
                content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                found = self._parse(_Body(answer, limits, stop), content_type, form, limits)
        except (httpx.ConnectError, httpx.ConnectTimeout) as unreachable:
            raise self._unreachable(unreachable) from unreachable
        except httpx.TimeoutException:
            raise timed_out(limits) from None
        except httpx.HTTPError as broken:
            raise self._incomplete(type(broken).__name__) from broken
        if not isinstance(found, Truth) and found.truncated:
            self._cancel(query_id)
        return found

    def _accept(self, form: Form) -> str:
        # Blazegraph answers CONSTRUCT in the JSON of tables too, whose end is a closing brace: a cut
        # answer shows. N-Triples cut between two lines do not.
        if form in (Form.SELECT, Form.ASK) or self.dialect is Dialect.BLAZEGRAPH:
            return JSON
        return N_TRIPLES

    def _parse(self, body: _Body, content_type: str, form: Form, limits: Limits) -> Answer:
        if content_type not in (JSON, "application/json", N_TRIPLES, "text/plain"):
            raise StoreError(
                f"{self.url} answered {content_type or 'no content type'!r} instead of SPARQL results",
                remedy="check that HEADSTREAM_STORE_URL is a SPARQL endpoint",
            )
        if content_type in (N_TRIPLES, "text/plain"):
            return self._graph(body, limits)
        table = self._table(body, limits)
        if isinstance(table, Truth) or form in (Form.SELECT, Form.ASK):
            return table
        return _graph_of(table)

    def _table(self, body: _Body, limits: Limits) -> Table | Truth:
        """Read rows while the store still writes the later ones; no more than are allowed."""
        columns: tuple[str, ...] = ()
        rows: list[Row] = []
        try:
            file = cast(IO[bytes], body)  # All that is asked of one is to be read.
            found = pyoxigraph.parse_query_results(file, format=QueryResultsFormat.JSON)
            if isinstance(found, QueryBoolean):
                self._demand_brace(body)
                return Truth(bool(found))
            columns = tuple(variable.value for variable in found.variables)
            size = 0
            for solution in found:
                row = tuple(solution)
                size += size_of(row)
                if len(rows) == limits.rows or size > limits.bytes:
                    return Table(columns=columns, rows=tuple(rows), truncated=True)
                rows.append(row)
        except SyntaxError as broken:
            if body.cut and columns:
                return Table(columns=columns, rows=tuple(rows), truncated=True)
            raise self._incomplete(str(broken)[:200]) from broken
        self._demand_brace(body)
        return Table(columns=columns, rows=tuple(rows), truncated=body.cut)

    def _demand_brace(self, body: _Body) -> None:
        """Read to the end, where a whole answer has its closing brace: a truth is read without it."""
        body.rest()
        if body.last != b"}":
            raise self._incomplete("no closing brace")

    def _graph(self, body: _Body, limits: Limits) -> Graph:
        text = body.rest()
        if body.cut:
            text = text[: text.rfind(b"\n") + 1]
        elif text.strip() and not text.endswith(b"\n"):
            raise self._incomplete("the last line has no end")
        triples: list[pyoxigraph.Triple] = []
        try:
            for quad in pyoxigraph.parse(text, format=RdfFormat.N_TRIPLES):
                if len(triples) == limits.rows:
                    return Graph(tuple(triples), truncated=True)
                triples.append(quad.triple)
        except SyntaxError as broken:
            raise self._incomplete(str(broken)[:200]) from broken
        return Graph(tuple(triples), truncated=body.cut)

    def _failure(self, answer: httpx.Response, limits: Limits) -> StoreError:
        body = _Body(answer, replace(limits, bytes=256 * 1024), threading.Event())
        text = body.rest().decode("utf-8", "replace")
        if any(name in text for name in _CUT_BY_STORE):
            return timed_out(limits)
        # The first line only, and only here: the rest is a stack trace.
        reason = next((line for line in text.splitlines() if "Exception" in line), "")[:300]
        facts = {"status": answer.status_code, "reason": reason, "store": self.shown}
        log.warning("store failed", extra=facts)
        if answer.status_code in (502, 503):
            return StoreUnavailable(f"{self.shown} answered {answer.status_code}", remedy="ask again later")
        return StoreRefused(
            f"{self.shown} answered {answer.status_code} to a query that is legal SPARQL 1.1",
            remedy="see the log of the API and of the store",
        )

    @property
    def shown(self) -> str:
        """The URL without what may be a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"no store answers at {self.shown}: {type(error).__name__}",
            remedy="start it, or set HEADSTREAM_STORE_URL",
        )

    def _incomplete(self, how: str) -> IncompleteAnswer:
        return IncompleteAnswer(
            f"the answer of {self.shown} was cut off ({how})",
            remedy="ask again; if it stays, see the store's log",
        )

    def _cancel(self, query_id: str) -> None:
        """Tell Blazegraph to stop a query that nobody waits for; its own deadline is the backstop."""
        if self.dialect is not Dialect.BLAZEGRAPH:
            return
        try:
            self._client.post(
                self.url, params={"cancelQuery": "", "queryId": query_id}, timeout=httpx.Timeout(0.8)
            )
        except httpx.HTTPError as failed:
            log.warning("cancel failed", extra={"query": query_id, "error": type(failed).__name__})


def guess_dialect(url: str) -> Dialect:
    """Tell Blazegraph by the paths that it serves, such as `/blazegraph/namespace/x/sparql`."""
    path = urlsplit(url).path
    known = ("/blazegraph/", "/bigdata/", "/namespace/")
    return Dialect.BLAZEGRAPH if any(part in path for part in known) else Dialect.SPARQL


class _Body:
    """The body of an answer as it arrives, as a file to read: at most the bytes allowed."""

    __slots__ = ("_ahead", "_allowed", "_chunks", "_stop", "cut", "last")

    def __init__(self, answer: httpx.Response, limits: Limits, stop: threading.Event) -> None:
        self._chunks = answer.iter_bytes()
        self._allowed = limits.bytes
        self._stop = stop
        self._ahead = b""
        self.cut = False  # Whether there was more than is allowed.
        self.last = b""  # The last byte that is no white space, of what has been read.

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes (the parser has room for no more); none are left when it is empty."""
        if not self._ahead:
            self._ahead = self._next()
        found, self._ahead = self._ahead[:size], self._ahead[size:]
        return found

    def rest(self) -> bytes:
        """Return all that is left."""
        parts = [self._ahead]
        self._ahead = b""
        while chunk := self._next():
            parts.append(chunk)
        return b"".join(parts)

    def _next(self) -> bytes:
        if self.cut or self._stop.is_set():  # Nobody waits for the answer any more.
            return b""
        chunk = next(self._chunks, b"")
        self.cut = len(chunk) > self._allowed
        chunk = chunk[: self._allowed]
        self._allowed -= len(chunk)
        self.last = chunk.rstrip()[-1:] or self.last
        return chunk


def _graph_of(table: Table) -> Graph:
    at = [table.columns.index(name) for name in _GRAPH_COLUMNS]
    triples = tuple(pyoxigraph.Triple(*(row[i] for i in at)) for row in table.rows)  # type: ignore[arg-type]
    return Graph(triples, truncated=table.truncated)
