"""Ask what is up, or the embedded store directly if nothing is: the same answers either way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import httpx

from headstream.errors import ApiRefused, CommandError, NotUp
from headstream.places import Places
from headstream.query_api import results
from headstream.query_api.ask import ask, ask_raw
from headstream.query_api.catalogue import Answers, catalogue
from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.errors import QueryApiError
from headstream.query_api.store import Graph, OxigraphStore, QueryStore, Table
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.services import state

# Formats of the commands, by the kind of answer they can show.
ROW_FORMATS = ("table", "json", "csv")
TRIPLE_FORMATS = ("ttl", "nt")
_ACCEPT = {
    "table": "text/plain",
    "json": "application/sparql-results+json",
    "csv": "text/csv",
    "ttl": "text/turtle",
    "nt": "application/n-triples",
}
API = "api"
_SECONDS = 300.0


class Asker(Protocol):
    """Somebody who can answer in a format that people or programs read."""

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        """Answer a question of the catalogue."""
        ...

    def sparql(self, text: str, form: str | None) -> str:
        """Answer raw SPARQL that only reads."""
        ...


@contextmanager
def asker(places: Places, store: str | None = None) -> Iterator[Asker]:
    """Whoever can answer: the given store, else the API that is up, else the embedded store on disk."""
    base = os.environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE
    if store is not None:
        with _direct(store, base) as found:
            yield found
        return
    url = api_url(places)
    if url is not None:
        token = os.environ.get("HEADSTREAM_API_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False) as client:
            yield _Api(client)
        return
    if not places.store.is_dir():
        raise NotUp(
            f"nothing is up in {places.data}, and there is no embedded store either; "
            "`headstream up` starts the services, `headstream demo` fills a first graph"
        )
    with _direct(places.store_location, base) as found:
        yield found


def api_url(places: Places) -> str | None:
    """Where the query API of what is up answers, or None."""
    found = state.read(places.data)
    if found is None:
        return None
    for running in found.alive:
        if running.url is not None and running.name in (API, "embedded"):
            return running.url
    return None


@contextmanager
def _direct(location: str, base: str) -> Iterator[Asker]:
    store: QueryStore
    if location.startswith("oxigraph:"):
        store = OxigraphStore.open(location.removeprefix("oxigraph:"))
    elif location.startswith(("http://", "https://")):
        store = SparqlEndpoint(location)
    else:
        raise CommandError(f"{location!r} is no store: give oxigraph:PATH or the URL of a SPARQL endpoint")
    try:
        yield _Direct(store, base)
    finally:
        store.close()


class _Direct:
    """Answers from a store in this process."""

    def __init__(self, store: QueryStore, base: str) -> None:
        self._store = store
        self._base = base

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        try:
            answer = ask(
                self._store,
                question_id,
                {name: list(given) for name, given in values.items()},
                base_iri=self._base,
            )
        except QueryApiError as error:
            raise ApiRefused(str(error)) from error
        if isinstance(answer, Graph):
            return (
                results.as_n_triples(answer)
                if _format(form, TRIPLE_FORMATS) == "nt"
                else results.as_turtle(answer)
            )
        return _rows(answer, _format(form, ROW_FORMATS), self._base)

    def sparql(self, text: str, form: str | None) -> str:
        try:
            answer = ask_raw(self._store, text)
        except QueryApiError as error:
            raise ApiRefused(str(error)) from error
        if isinstance(answer, Graph):
            return (
                results.as_n_triples(answer)
                if _format(form, TRIPLE_FORMATS) == "nt"
                else results.as_turtle(answer)
            )
        if isinstance(answer, Table) and _format(form, ROW_FORMATS) != "json":
            return _rows(results.rows_of(answer), _format(form, ROW_FORMATS), self._base)
        return results.as_sparql_json(answer) + "\n"


class _Api:
    """Answers from the query API over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def question(self, question_id: str, values: Mapping[str, Sequence[str]], form: str | None) -> str:
        chosen = {} if form is None else {"format": form}
        if form is None and catalogue().find(question_id).kind is Answers.SELECT:
            chosen = {"format": "table"}
        return self._get(f"/api/v1/questions/{question_id}", {**values, **chosen})

    def sparql(self, text: str, form: str | None) -> str:
        accept = _ACCEPT[form] if form else "text/plain, text/turtle, application/sparql-results+json;q=0.5"
        headers = {"Content-Type": "application/sparql-query", "Accept": accept}
        return self._told(lambda: self._client.post("/api/v1/sparql", content=text.encode(), headers=headers))

    def _get(self, path: str, params: Mapping[str, str | Sequence[str]]) -> str:
        return self._told(lambda: self._client.get(path, params=dict(params)))

    def _told(self, send: Callable[[], httpx.Response]) -> str:
        try:
            answer = send()
        except httpx.HTTPError as error:
            raise ApiRefused(
                f"the query API at {self._client.base_url} does not answer ({error}); "
                "`headstream status` shows what is up"
            ) from error
        if answer.is_success:
            return answer.text if answer.text.endswith("\n") else answer.text + "\n"
        raise ApiRefused(_sentence(answer))


def _sentence(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"the query API answered {answer.status_code}"
    detail, remedy = body.get("detail") or body.get("title"), body.get("what_to_do")
    return f"{detail}; {remedy}" if remedy else str(detail)


def _format(form: str | None, allowed: tuple[str, ...]) -> str:
    if form is None:
        return allowed[0]
    if form not in allowed:
        raise CommandError(f"this answer has no format {form!r}; it has {', '.join(allowed)}")
    return form


def _rows(rows: results.Rows, form: str, base: str) -> str:
    if form == "json":
        return results.as_json(rows) + "\n"
    return results.as_csv(rows) if form == "csv" else results.as_table(rows, base_iri=base)
