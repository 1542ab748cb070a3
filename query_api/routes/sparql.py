"""Raw SPARQL over HTTP: POST only, reads only (faults rows 38 and 39)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from headstream.query_api import bodies, guard, negotiation, results
from headstream.query_api.context import Context
from headstream.query_api.errors import QueryRefused, RequestRefused
from headstream.query_api.guard import Form
from headstream.query_api.negotiation import Format
from headstream.query_api.problems import STORE, described
from headstream.query_api.routes.questions import truncation
from headstream.query_api.store import Answer, Graph, Table, Truth

PATH = "/api/v1/sparql"
_OFFERS = {
    Form.SELECT: negotiation.SPARQL_ROWS,
    Form.ASK: negotiation.SPARQL_TRUTH,
    Form.CONSTRUCT: negotiation.TRIPLES,
    Form.DESCRIBE: negotiation.TRIPLES,
}
# Percent-encoding can treble a query.
_FORM_OVERHEAD = 3


def router(context: Context) -> APIRouter:
    """Make the route of raw SPARQL."""
    routes = APIRouter(tags=["sparql"])

    @routes.post(
        PATH,
        summary="Run a SPARQL query that only reads",
        description=(
            "SELECT, ASK, CONSTRUCT or DESCRIBE over the graph of the store; no update, no SERVICE, no FROM. "
            "Answers over the limits of rows or bytes are cut and marked by X-Headstream-Truncated."
        ),
        operation_id="sparql",
        response_class=Response,
        responses={200: _success(), **described(400, 401, 406, 413, 415, 421, *STORE)},
        openapi_extra={"requestBody": _body()},
    )
    async def sparql(request: Request) -> Response:
        if request.query_params:
            raise RequestRefused(
                "a query is not taken from the URL, and neither is anything else",
                remedy="send the query in the body and choose the format by Accept",
            )
        media_type = bodies.content_type(request)
        at_most = _FORM_OVERHEAD * context.settings.max_query_bytes + 64
        text = bodies.query_of(media_type, await bodies.read(request, at_most=at_most))
        return await run_in_threadpool(_respond, context, text, request.headers.get("accept"))

    return routes


def _respond(context: Context, text: str, accept: str | None) -> Response:
    try:
        form = guard.check(text, max_bytes=context.settings.max_query_bytes)
    except QueryRefused as refused:
        context.metrics.refused.labels(reason=refused.reason).inc()
        raise
    chosen = negotiation.choose(_OFFERS[form], name=None, accept=accept)
    with context.answering("sparql"):
        answer = context.store.query(text, form=form, limits=context.limits)
    truncated = not isinstance(answer, Truth) and answer.truncated
    if truncated:
        context.metrics.truncated.labels(question="sparql").inc()
    body = _rendered(answer, chosen, context.settings.base_iri)
    return Response(body, media_type=chosen.media_type, headers=truncation(truncated))


def _rendered(answer: Answer, chosen: Format, base_iri: str) -> str:
    if isinstance(answer, Graph):
        return results.as_turtle(answer) if chosen is negotiation.TURTLE else results.as_n_triples(answer)
    if isinstance(answer, Table) and chosen is negotiation.CSV:
        return results.as_csv(results.rows_of(answer))
    if isinstance(answer, Table) and chosen is negotiation.TABLE:
        return results.as_table(results.rows_of(answer), base_iri=base_iri)
    return results.as_sparql_json(answer)


def _body() -> dict[str, Any]:
    fields = {
        "schema": {
            "type": "object",
            "required": ["query"],
            "properties": {"query": {"type": "string"}},
            "additionalProperties": False,
        }
    }
    example = "SELECT ?s ?p ?o WHERE { ?s ?p ?o } LIMIT 5"
    return {
        "required": True,
        "content": {
            bodies.QUERY: {"schema": {"type": "string"}, "example": example},
            bodies.FORM: fields,
            bodies.JSON: {**fields, "example": {"query": example}},
        },
    }


def _success() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    header = {"X-Headstream-Truncated": {"schema": {"type": "boolean"}, "description": "there was more"}}
    content: dict[str, Any] = {negotiation.SPARQL_JSON.media_type: {"schema": {"type": "object"}}}
    content |= {
        offer.media_type: text for offer in (negotiation.CSV, negotiation.TABLE, *negotiation.TRIPLES)
    }
    return {"description": "the answer", "headers": header, "content": content}
