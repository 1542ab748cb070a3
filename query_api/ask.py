"""Ask a question of the catalogue, or raw SPARQL, in process: what the API, the CLI and the demo share."""

from __future__ import annotations

from collections.abc import Mapping

from headstream.query_api import guard
from headstream.query_api.binding import Value, bind
from headstream.query_api.catalogue import Question, catalogue
from headstream.query_api.errors import StoreError
from headstream.query_api.guard import Form
from headstream.query_api.results import Rows, rows_of
from headstream.query_api.store import Answer, Graph, Limits, QueryStore, Table
from headstream.schemas.identifiers import DEFAULT_BASE

DEFAULT_LIMITS = Limits()


def ask(
    store: QueryStore,
    question: Question | str,
    values: Mapping[str, Value],
    *,
    base_iri: str = DEFAULT_BASE,
    limits: Limits = DEFAULT_LIMITS,
) -> Rows | Graph:
    """Answer a question: Rows for a table, Graph for E01 and E02. Raises QueryApiError."""
    chosen = catalogue().find(question) if isinstance(question, str) else question
    text = bind(chosen, values, base_iri=base_iri)
    form = Form(chosen.kind.name)
    answer = store.query(text, form=form, limits=limits, best_as_written=chosen.best_as_written)
    if isinstance(answer, Table):
        return rows_of(answer)
    if isinstance(answer, Graph):
        return answer
    raise StoreError(f"question {chosen.id} was answered by yes or no instead of a {chosen.kind.value}")


def ask_raw(
    store: QueryStore, text: str, *, limits: Limits = DEFAULT_LIMITS, max_query_bytes: int = 64 * 1024
) -> Answer:
    """Run raw SPARQL that the guard lets pass. Raises QueryRefused or StoreError."""
    form = guard.check(text, max_bytes=max_query_bytes)
    return store.query(text, form=form, limits=limits)
