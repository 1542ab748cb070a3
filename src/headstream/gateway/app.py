"""The application: plain paths, the gate, the routes; every error a problem document."""

from __future__ import annotations

from fastapi import FastAPI

from headstream.gateway.desk import Desk
from headstream.gateway.paths import PlainPaths
from headstream.gateway.routes import lineage, reads, service, writing
from headstream.query_api.app import handle_errors
from headstream.query_api.auth import Gate

DESCRIPTION = """ProvLake and OpenLineage clients: what they send is answered when it is durable."""


def create_app(desk: Desk) -> FastAPI:
    """Make an app of parts that somebody else opened and will close.

    Raises ConfigurationError for settings that would serve strangers without a token.
    """
    desk.settings.check_exposure()
    app = FastAPI(title="headstream gateway", version="1", description=DESCRIPTION, redoc_url=None)
    for module in (service, writing, lineage, reads):
        app.include_router(module.router(desk))
    handle_errors(app)
    app.add_middleware(
        Gate,
        settings=desk.settings,
        metrics=desk.metrics,
        variable="HEADSTREAM_GATEWAY_TOKEN",
        basic=True,
    )
    app.add_middleware(PlainPaths)
    return app
