"""Where the HTTP transport of OpenLineage's clients sends its events, one or a batch."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headstream.gateway.desk import Desk
from headstream.gateway.routes.writing import BODY

CLIENT = "openlineage"


def router(desk: Desk) -> APIRouter:
    """Make the routes; each answers when what it was told is durable."""
    routes = APIRouter(tags=["openlineage"])

    @routes.post("/api/v1/lineage/batch", summary="OpenLineage events", openapi_extra=BODY)
    @routes.post("/api/v1/lineage", summary="An OpenLineage event", openapi_extra=BODY)
    async def lineage(request: Request) -> JSONResponse:
        taken = await desk.accept(request, CLIENT, desk.lineage.take)
        found = [finding.as_json() for one in taken.findings for finding in one]
        # Its client raises at 400: only where nothing of the request was understood.
        nothing = taken.messages > 0 and len(taken.parcel.letters) == taken.messages
        return JSONResponse({"error": found}, 400 if nothing else 200)

    return routes
