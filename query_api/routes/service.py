"""Whether the API lives, whether its store answers, and what it counted."""

from __future__ import annotations

import threading
import time

from fastapi import APIRouter, Response

from headstream.query_api.context import Context
from headstream.query_api.errors import QueryApiError, StoreUnavailable
from headstream.query_api.guard import Form
from headstream.query_api.problems import described
from headstream.query_api.store import Limits

# A flood of probes must not become a flood of queries (faults row 45).
_FRESH_SECONDS = 1.0
_PROBE_LIMITS = Limits(seconds=2.0, rows=1, bytes=4096)


class Readiness:
    """Whether the store answered when last asked; asks at most once a second."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._failure: QueryApiError | None = None

    def check(self) -> None:
        """Raise StoreUnavailable unless the store answered within the last second."""
        with self._lock:
            if time.monotonic() - self._asked > _FRESH_SECONDS:
                self._failure = self._ask()
                self._asked = time.monotonic()
            failure = self._failure
        if failure is not None:
            raise StoreUnavailable(f"the store is not ready: {failure.detail}", remedy=failure.remedy)

    def _ask(self) -> QueryApiError | None:
        try:
            self._context.store.query("ASK {}", form=Form.ASK, limits=_PROBE_LIMITS)
        except QueryApiError as failure:
            return failure
        return None


def router(context: Context) -> APIRouter:
    """Make the routes of operation."""
    routes = APIRouter(tags=["service"])
    readiness = Readiness(context)

    # Two names of one probe: Kubernetes charts use either.
    @routes.get("/livez", summary="The process lives")
    @routes.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/readyz", summary="The store answers", responses=described(503))
    def readyz() -> dict[str, str]:
        readiness.check()
        return {"status": "ready"}

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response, responses=described(401))
    async def metrics() -> Response:
        return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
