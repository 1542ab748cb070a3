"""Ask what is up, or the embedded store directly if nothing is: the same answers either way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Protocol
from urllib.parse import quote

import httpx

from headstream import live
from headstream.errors import ApiRefused, CommandError, NotUp
from headstream.places import Places
from headstream.query_api import guard, results
from headstream.query_api.ask import ask, ask_raw
from headstream.query_api.catalogue import Answers, catalogue
from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.errors import QueryApiError
from headstream.query_api.export import formats, subgraph
from headstream.query_api.export.formats import Exported, ExportFormat
from headstream.query_api.export.naming import Name, named, spelled_out
from headstream.query_api.export.subgraph import Demand
from headstream.query_api.guard import Form
from headstream.query_api.settings import Settings
from headstream.query_api.store import Graph, Limits, OxigraphStore, QueryStore, Truth

# Formats of the commands, by the kind of answer they can show.
ROW_FORMATS = ("table", "json", "csv")
TRIPLE_FORMATS = ("ttl", "nt")
TRUTH_FORMATS = ("table", "json")
_ACCEPT = {
    "table": "text/plain",
    "json": "application/sparql-results+json",
    "csv": "text/csv",
    "ttl": "text/turtle",
    "nt": "application/n-triples",
}
_SECONDS = 300.0
_MORE = "the answer was cut: there is more than HEADSTREAM_API_MAX_ROWS or ..._BYTES let through"

Warn = Callable[[str], None]
# How much of something long is done, and how much there is, in nodes or, from the API, in bytes.
Advance = Callable[[int, int | None], None]


class Asker(Protocol):
    """Somebody who can answer in a format that people or programs read."""

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        """Answer a question of the catalogue."""
        ...

    def sparql(self, text: str, form: str | None) -> str:
        """Answer raw SPARQL that only reads."""
        ...

    def export(
        self, run: str, chosen: ExportFormat, *, lineage: bool, out: IO[bytes], advance: Advance
    ) -> tuple[Name, Exported]:
        """Write one run, and say which it was; after an error, what has been written is no export."""
        ...


@contextmanager
def asker(places: Places, store: str | None = None, warn: Warn = lambda line: None) -> Iterator[Asker]:
    """Whoever can answer: the given store, else the API that is up, else the embedded store on disk.

    `warn` is told where an answer is not what one may take it for. Raises NotUp if nobody can answer.
    """
    settings = Settings.from_env(os.environ)
    if store is not None:
        with _direct(live.location(places, store), settings, warn) as found:
            yield found
        return
    url = api_url(places)
    if url is not None:
        headers = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False) as client:
            yield _Api(client, settings.base_iri, warn)
        return
    _demand_embedded(places)
    up = "nothing is up" if live.up_for(places) is None else "the embedded service has died"
    warn(f"{up} in {places.data}: the answer comes from the embedded store on disk")
    with _direct(places.store_location, settings, warn) as found:
        yield found


def api_url(places: Places) -> str | None:
    """Where the query API of what is up answers, or None."""
    running = live.api(live.up_for(places))
    return running.url if running is not None and running.alive else None


def _demand_embedded(places: Places) -> None:
    found = live.up_for(places)
    if found is not None and found.mode == "full":
        raise NotUp(
            f"the query API of the full services in {places.data} has died; "
            "`headstream status` says where its log is, `headstream up --services full` starts it again"
        )
    if places.store.is_dir():
        return
    if (places.data / "blazegraph").is_dir():
        raise NotUp(
            f"nothing is up in {places.data}, and its graph is in Blazegraph; "
            "`headstream up --services full` starts the services"
        )
    raise NotUp(
        f"nothing is up in {places.data}, and there is no embedded store either; "
        "`headstream up` starts the services, `headstream demo` fills a first graph"
    )


@contextmanager
def _direct(location: str, settings: Settings, warn: Warn) -> Iterator[Asker]:
    store: QueryStore
    url = location.removeprefix("blazegraph:")
    if location.startswith("oxigraph:"):
        store = OxigraphStore.open(location.removeprefix("oxigraph:"))
    elif url.startswith(("http://", "https://")):
        store = SparqlEndpoint(url)
    else:
        raise CommandError(
            f"{location!r} is no store to ask: give oxigraph:PATH, the URL of a SPARQL endpoint, or live"
        )
    try:
        yield _Direct(store, settings, warn)
    finally:
        store.close()


class _Direct:
    """Answers from a store in this process, within the limits that the API would set."""

    def __init__(self, store: QueryStore, settings: Settings, warn: Warn) -> None:
        self._store = store
        self._base = settings.base_iri
        self._limits = Limits(
            seconds=settings.timeout_seconds, rows=settings.max_rows, bytes=settings.max_bytes
        )
        self._warn = warn

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        given = {name: list(texts) for name, texts in values.items()}
        with _refusals():
            answer = ask(self._store, question_id, given, base_iri=self._base, limits=self._limits)
        self._warn_if_cut(answer.truncated)
        if isinstance(answer, Graph):
            return _triples(answer, form)
        return _rows(answer, _format(form, ROW_FORMATS), self._base)

    def sparql(self, text: str, form: str | None) -> str:
        with _refusals():
            answer = ask_raw(self._store, text, limits=self._limits)
        if isinstance(answer, Truth):
            return _truth(results.as_sparql_json(answer), form)
        self._warn_if_cut(answer.truncated)
        if isinstance(answer, Graph):
            return _triples(answer, form)
        if _format(form, ROW_FORMATS) == "json":
            return results.as_sparql_json(answer) + "\n"
        return _rows(results.rows_of(answer), _format(form, ROW_FORMATS), self._base)

    def export(
        self, run: str, chosen: ExportFormat, *, lineage: bool, out: IO[bytes], advance: Advance
    ) -> tuple[Name, Exported]:
        seconds = self._limits.seconds
        with _refusals():
            found = subgraph.find(self._store, run, base_iri=self._base, seconds=seconds)
            demand = Demand(run=found, base_iri=self._base, lineage=lineage, seconds=seconds)
            return found, formats.export(self._store, demand, chosen, out, advance)

    def _warn_if_cut(self, truncated: bool) -> None:
        if truncated:
            self._warn(_MORE)


class _Api:
    """Answers from the query API over HTTP."""

    def __init__(self, client: httpx.Client, base: str, warn: Warn) -> None:
        self._client = client
        self._base = base
        self._warn = warn

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        chosen = {} if form is None else {"format": form}
        with _refusals():
            question = catalogue().find(question_id)
        if form is None and question.kind is Answers.SELECT:
            chosen = {"format": "table"}
        params = {**{name: list(given) for name, given in values.items()}, **chosen}
        return self._told(lambda: self._client.get(f"/api/v1/questions/{question.id}", params=params))

    def sparql(self, text: str, form: str | None) -> str:
        with _refusals():
            truth = guard.check(text) is Form.ASK
        accept = _ACCEPT[form] if form else "text/plain, text/turtle"
        headers = {
            "Content-Type": "application/sparql-query",
            "Accept": _ACCEPT["json"] if truth else accept,
        }
        told = self._told(lambda: self._client.post("/api/v1/sparql", content=text.encode(), headers=headers))
        return _truth(told, form) if truth else told

    def export(
        self, run: str, chosen: ExportFormat, *, lineage: bool, out: IO[bytes], advance: Advance
    ) -> tuple[Name, Exported]:
        found = self._named(run)
        path = f"/api/v1/runs/{quote(found.workflow, safe='')}/{quote(found.execution, safe='')}/export"
        params = {"format": chosen.name, "lineage": str(lineage).lower()}
        if chosen.license is not None:
            params["license"] = chosen.license
        with self._reached(), self._client.stream("GET", path, params=params) as answer:
            if not answer.is_success:
                answer.read()
                raise ApiRefused(_sentence(answer))
            total = int(answer.headers.get("Content-Length", 0)) or None
            for chunk in answer.iter_bytes():
                out.write(chunk)
                advance(answer.num_bytes_downloaded, total)
            counted = (int(answer.headers.get(f"X-Headstream-{what}", 0)) for what in ("Nodes", "Triples"))
            nodes, triples = counted
        return found, Exported(nodes=nodes, triples=triples)

    def _named(self, run: str) -> Name:
        whole = spelled_out(run, base_iri=self._base)
        if whole is not None:
            return whole
        told = json.loads(self._told(lambda: self._client.get("/api/v1/runs")))
        with _refusals():
            return named(run, [Name(each["workflow"], each["execution"]) for each in told["runs"]])

    def _told(self, send: Callable[[], httpx.Response]) -> str:
        with self._reached():
            answer = send()
        if answer.is_success:
            if answer.headers.get("X-Headstream-Truncated") == "true":
                self._warn(_MORE)
            return answer.text if answer.text.endswith("\n") else answer.text + "\n"
        raise ApiRefused(_sentence(answer))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise ApiRefused(
                f"the query API at {self._client.base_url} does not answer "
                f"({error or type(error).__name__}); `headstream status` shows what is up"
            ) from error


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except QueryApiError as error:
        raise ApiRefused(str(error)) from error


def _sentence(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"the query API answered {answer.status_code}"
    if not isinstance(body, dict):
        return f"the query API answered {answer.status_code}"
    detail, remedy = body.get("detail") or body.get("title"), body.get("what_to_do")
    return f"{detail}; {remedy}" if remedy else str(detail)


def _format(form: str | None, allowed: tuple[str, ...]) -> str:
    if form is None:
        return allowed[0]
    if form not in allowed:
        raise CommandError(f"this answer has no format {form!r}; it has {', '.join(allowed)}")
    return form


def _triples(graph: Graph, form: str | None) -> str:
    return results.as_n_triples(graph) if _format(form, TRIPLE_FORMATS) == "nt" else results.as_turtle(graph)


def _truth(sparql_json: str, form: str | None) -> str:
    """Yes or no, for people, or as SPARQL JSON."""
    if _format(form, TRUTH_FORMATS) == "json":
        return sparql_json if sparql_json.endswith("\n") else sparql_json + "\n"
    return f"{str(json.loads(sparql_json)['boolean']).lower()}\n"


def _rows(rows: results.Rows, form: str, base: str) -> str:
    if form == "json":
        return results.as_json(rows) + "\n"
    return results.as_csv(rows) if form == "csv" else results.as_table(rows, base_iri=base)
