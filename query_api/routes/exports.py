"""One run over HTTP, whole, in the forms that other tools read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Annotated, Any, Final
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from headstream.query_api import negotiation
from headstream.query_api.context import Context
from headstream.query_api.errors import UnknownRun
from headstream.query_api.export import formats
from headstream.query_api.export.formats import ExportFormat
from headstream.query_api.export.naming import Name
from headstream.query_api.export.subgraph import Demand
from headstream.query_api.problems import STORE, described

PATH: Final = "/api/v1/runs"
LAST: Final = "export"
_IN_MEMORY: Final = 8 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_LICENSE: Final[dict[str, Any]] = {
    "name": "license",
    "in": "query",
    "required": False,
    "description": "IRI of the licence that an RO-Crate names",
    "schema": {"type": "string", "format": "iri"},
}
Lineage = Annotated[bool, Query(description="with the steps that made what the run used")]


def add(routes: APIRouter, context: Context, otherwise: Callable[[str, str], object]) -> None:
    """Add the route of exports; `otherwise` answers for a run whose own name ends as that route does."""

    @routes.get(
        f"{PATH}/{{workflow}}/{{execution}}/{LAST}",
        summary="One run as Turtle, JSON-LD, PROV, ML Schema, RO-Crate or OpenLineage",
        description="The answer is whole or an error: nothing is sent before all of it is there.",
        response_class=Response,
        responses={200: _success(), **described(400, 401, 404, 406, 421, 422, 501, *STORE)},
        openapi_extra={"parameters": [negotiation.parameter(formats.OFFERS), _LICENSE]},
    )
    def export(
        workflow: str,
        execution: str,
        request: Request,
        lineage: Lineage = False,
    ) -> Response:
        match parts_of(request):
            case (workflow, execution, _):
                return answer(context, Name(workflow, execution), request, lineage=lineage)
            case (workflow, execution):  # `/runs/w/x%2Fexport`: only the raw path can tell.
                return JSONResponse(otherwise(workflow, execution))
        raise UnknownRun(f"{execution[:200]!r} does not name a run", remedy=f"ask {PATH}/WORKFLOW/EXECUTION")


def parts_of(request: Request) -> tuple[str, ...]:
    """What follows PATH, decoded part by part."""
    raw = request.scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0]
    return tuple(unquote(part) for part in raw.removeprefix(f"{PATH}/").split("/"))


def answer(context: Context, run: Name, request: Request, *, lineage: bool) -> Response:
    """The export that a request asks for; raises QueryApiError before anything is sent."""
    chosen = _chosen(request)
    demand = Demand(
        run=run,
        base_iri=context.settings.base_iri,
        lineage=lineage,
        seconds=context.settings.timeout_seconds,
        max_triples=context.settings.max_export_triples,
    )
    # Memory for the usual run, a file for a long one; sent when it is whole, so no part passes for it.
    out = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when it has been sent
    try:
        with context.answering(LAST):
            found = formats.export(context.store, demand, chosen, out)
        size = out.tell()
        out.seek(0)
    except BaseException:
        out.close()
        raise
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(run))[:100]
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name}{chosen.suffix}"',
        "X-Headstream-Truncated": "false",
        "X-Headstream-Nodes": str(found.nodes),
        "X-Headstream-Triples": str(found.triples),
    }
    return StreamingResponse(_sent(out), media_type=chosen.format.media_type, headers=headers)


def _chosen(request: Request) -> ExportFormat:
    names = request.query_params.getlist("format")
    found = negotiation.asked(formats.OFFERS, names=names, accept=request.headers.get("accept"))
    chosen = next(each for each in formats.FORMATS if each.format is found)
    license = request.query_params.get("license")
    return chosen if license is None else formats.licensed(chosen, license)


def _sent(out: IO[bytes]) -> Iterator[bytes]:
    with out:
        while chunk := out.read(_CHUNK):
            yield chunk


def _success() -> dict[str, Any]:
    integer = {"schema": {"type": "integer"}}
    return {
        "description": "the run",
        "headers": {
            "X-Headstream-Nodes": {**integer, "description": "nodes of the graph that belong to the run"},
            "X-Headstream-Triples": {**integer, "description": "triples of which they are the subject"},
        },
        "content": {offer.media_type: {"schema": {"type": "string"}} for offer in formats.OFFERS},
    }
