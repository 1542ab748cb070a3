"""Whether the gateway lives, whether it could keep something, and what it counted."""

from __future__ import annotations

from fastapi import APIRouter, Response

from headstream.gateway.desk import Desk
from headstream.gateway.errors import NotKept
from headstream.query_api.problems import described


def router(desk: Desk) -> APIRouter:
    """Make the routes of operation."""
    routes = APIRouter(tags=["service"])

    # Two names of one probe: Kubernetes charts use either.
    @routes.get("/livez", summary="The process lives")
    @routes.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/readyz", summary="What is sent now would be kept", responses=described(503))
    def readyz() -> dict[str, str]:
        reason = desk.keeper.way.unready()
        if reason is not None:
            raise NotKept(reason)
        return {"status": "ready"}

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=described(401))
    async def metrics() -> Response:
        return Response(desk.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
