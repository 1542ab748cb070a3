"""The catalogue over HTTP: `/api/v1/questions` and one route for each question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from headstream.query_api import bodies, negotiation, results
from headstream.query_api.ask import ask
from headstream.query_api.binding import Value
from headstream.query_api.catalogue import Answers, Parameter, Question, Type, WhenAbsent
from headstream.query_api.context import Context
from headstream.query_api.errors import RequestRefused, UnsupportedBody
from headstream.query_api.negotiation import Format
from headstream.query_api.problems import STORE, described
from headstream.query_api.store import Graph

PATH = "/api/v1/questions"
_JSON_TYPES = {Type.IRI: "string", Type.STRING: "string", Type.INTEGER: "integer", Type.DOUBLE: "number"}


def router(context: Context) -> APIRouter:
    """Make the routes of the catalogue."""
    routes = APIRouter(tags=["questions"])

    @routes.get(PATH, summary="All questions, with their parameters and columns", responses=described(401))
    def list_questions() -> list[dict[str, Any]]:
        return [facts_of(question) for question in context.catalogue]

    for question in context.catalogue:
        _add_question(routes, context, question)

    @routes.api_route(f"{PATH}/{{question_id}}", methods=["GET", "POST"], include_in_schema=False)
    async def any_case(question_id: str, request: Request) -> Response:
        return await _answer(context, context.catalogue.find(question_id), request)

    return routes


def facts_of(question: Question) -> dict[str, Any]:
    """What a person or program must know to ask."""
    return {
        "id": question.id,
        "title": question.title,
        "kind": question.kind.value,
        "parameters": [_parameter_facts(parameter) for parameter in question.parameters],
        "columns": list(question.columns),
        "data": question.data,
        "timing": question.timing,
        "training": question.training,
        "direction": question.direction,
        "notes": list(question.notes),
        "path": f"{PATH}/{question.id.lower()}",
    }


def _parameter_facts(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "type": parameter.type.value,
        "required": parameter.required,
        "repeatable": parameter.repeatable,
        "default": parameter.default,
        "when_absent": parameter.when_absent.value,
        "description": parameter.description,
        "example": parameter.example,
    }


def _add_question(routes: APIRouter, context: Context, question: Question) -> None:
    path = f"{PATH}/{question.id.lower()}"
    problems = described(400, 401, 406, 413, 415, 421, 422, *STORE)
    shared: dict[str, Any] = {
        "summary": f"{question.id}: {question.title}",
        "description": _description(question),
        "response_class": Response,
        "responses": {200: _success(question), **problems},
    }
    name = question.id.lower()
    form = negotiation.parameter(_offers(question))
    get_extra = {"parameters": [*map(_get_parameter, question.parameters), form]}
    post_extra = {"parameters": [form], "requestBody": _post_body(question)}
    endpoint = _endpoint(context, question)
    routes.add_api_route(
        path, endpoint, methods=["GET"], operation_id=f"ask_{name}", openapi_extra=get_extra, **shared
    )
    routes.add_api_route(
        path, endpoint, methods=["POST"], operation_id=f"ask_{name}_json", openapi_extra=post_extra, **shared
    )


def _endpoint(context: Context, question: Question) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _answer(context, question, request)

    return endpoint


async def _answer(context: Context, question: Question, request: Request) -> Response:
    given: dict[str, list[str]] = {}
    for key, value in request.query_params.multi_items():
        given.setdefault(key, []).append(value)
    names = given.pop("format", [])
    chosen = negotiation.asked(_offers(question), names=names, accept=request.headers.get("accept"))
    values: Mapping[str, Value] = given
    if request.method == "POST":
        if given:
            raise RequestRefused(
                f"a POST takes its parameters in the body, not {next(iter(given))[:60]!r} in the URL",
                remedy="move it into the JSON object, or use GET",
            )
        values = await _posted(context, request)
    return await run_in_threadpool(_respond, context, question, values, chosen)


async def _posted(context: Context, request: Request) -> dict[str, Value]:
    body = await bodies.read(request, at_most=context.settings.max_query_bytes)
    media_type = bodies.content_type(request)
    if not body and not media_type:
        return {}
    if media_type != bodies.JSON:
        raise UnsupportedBody(f"parameters cannot come as {media_type[:60]!r}", remedy=f"send {bodies.JSON}")
    return bodies.json_object(body)


def _respond(context: Context, question: Question, values: Mapping[str, Value], chosen: Format) -> Response:
    with context.answering(question.id):
        found = ask(
            context.store,
            question,
            values,
            base_iri=context.settings.base_iri,
            limits=context.limits,
        )
    if found.truncated:
        context.metrics.truncated.labels(question=question.id).inc()
    if isinstance(found, Graph):
        text = results.as_turtle(found) if chosen is negotiation.TURTLE else results.as_n_triples(found)
    elif chosen is negotiation.CSV:
        text = results.as_csv(found)
    elif chosen is negotiation.TABLE:
        text = results.as_table(found, base_iri=context.settings.base_iri)
    else:
        text = results.as_json(found, question=question.id, title=question.title)
    return Response(text, media_type=chosen.media_type, headers=truncation(found.truncated))


def truncation(truncated: bool) -> dict[str, str]:
    """The header that marks an answer, whatever its format."""
    return {"X-Headstream-Truncated": "true" if truncated else "false"}


def _description(question: Question) -> str:
    lines = [
        f"Answers with the columns: {', '.join(question.columns)}.",
        f"Data: {question.data}. Timing: {question.timing}. Training: {question.training}. "
        f"Direction: {question.direction}.",
        *question.notes,
    ]
    return "\n\n".join(lines)


def _schema(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": _JSON_TYPES[parameter.type]}
    if parameter.type is Type.IRI:
        schema["minLength"] = 1
    if parameter.repeatable:
        return {"type": "array", "items": schema, "minItems": 1}
    if parameter.default is not None:
        number = parameter.type in (Type.INTEGER, Type.DOUBLE)
        schema["default"] = float(parameter.default) if number else parameter.default
    return schema


def _get_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": _explained(parameter),
        "schema": _schema(parameter),
        "example": [_typed_example(parameter)] if parameter.repeatable else _typed_example(parameter),
    }


def _explained(parameter: Parameter) -> str:
    parts = [parameter.description]
    if parameter.type is Type.IRI:
        parts.append(
            "an absolute IRI, an id relative to the instance base, or a name such as provml:Training"
        )
    if parameter.when_absent is WhenAbsent.MATCH_ALL:
        parts.append("without it: all")
    if parameter.when_absent is WhenAbsent.KEEP_LIST:
        parts.append("without it: those that the title names")
    return "; ".join(part for part in parts if part)


def _typed_example(parameter: Parameter) -> str | int | float:
    if parameter.type is Type.INTEGER:
        return int(parameter.example)
    return float(parameter.example) if parameter.type is Type.DOUBLE else parameter.example


def _offers(question: Question) -> tuple[negotiation.Format, ...]:
    return negotiation.TRIPLES if question.kind is Answers.CONSTRUCT else negotiation.ROWS


def _post_body(question: Question) -> dict[str, Any]:
    required = [parameter.name for parameter in question.parameters if parameter.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            parameter.name: {**_schema(parameter), "description": _explained(parameter)}
            for parameter in question.parameters
        },
        "additionalProperties": False,
    }
    if required:
        schema["required"] = required
    return {"required": bool(required), "content": {bodies.JSON: {"schema": schema}}}


def _success(question: Question) -> dict[str, Any]:
    header = {"X-Headstream-Truncated": {"schema": {"type": "boolean"}, "description": "there was more"}}
    text: dict[str, Any] = {"schema": {"type": "string"}}
    if question.kind is Answers.CONSTRUCT:
        content = {offer.media_type: text for offer in negotiation.TRIPLES}
        return {"description": "the graph", "headers": header, "content": content}
    row = {"type": "object", "properties": {column: {} for column in question.columns}}
    schema = {
        "type": "object",
        "required": ["question", "title", "columns", "rows", "truncated"],
        "properties": {
            "question": {"type": "string"},
            "title": {"type": "string"},
            "columns": {"type": "array", "items": {"type": "string"}},
            "rows": {"type": "array", "items": row},
            "truncated": {"type": "boolean"},
        },
    }
    content = {negotiation.JSON.media_type: {"schema": schema}, "text/csv": text, "text/plain": text}
    return {"description": "the rows", "headers": header, "content": content}
