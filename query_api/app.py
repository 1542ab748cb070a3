"""The application: routes behind a gate, every error a problem document."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from headstream.query_api.auth import Gate
from headstream.query_api.catalogue import catalogue
from headstream.query_api.context import Context
from headstream.query_api.errors import QueryApiError
from headstream.query_api.metrics import Metrics
from headstream.query_api.problems import Problem, problem, problem_answer
from headstream.query_api.routes import questions, runs, service, sparql
from headstream.query_api.settings import Settings
from headstream.query_api.store import QueryStore

log = logging.getLogger(__name__)

DESCRIPTION = """Questions about the provenance of machine-learning workflows, answered while they run.

The questions of the catalogue take typed parameters; raw SPARQL may read. Errors are problem documents."""


def create_app(settings: Settings, store: QueryStore, also: Sequence[CollectorRegistry] = ()) -> FastAPI:
    """Make an app over a store that somebody else opened and will close.

    Its metrics show `also` what others count in the same process.
    Raises ConfigurationError for settings that would serve strangers without a token.
    """
    settings.check_exposure()
    metrics = Metrics(also)
    context = Context(
        settings=settings,
        store=store,
        catalogue=catalogue(),
        metrics=metrics,
        places=threading.BoundedSemaphore(settings.max_concurrent),
    )
    app = FastAPI(title="headstream query API", version="1", description=DESCRIPTION, redoc_url=None)
    for module in (service, questions, sparql, runs):
        app.include_router(module.router(context))
    handle_errors(app)
    _describe(app, secured=settings.token is not None)
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    return app


def handle_errors(app: FastAPI) -> None:
    """Answer every error by a problem document, those that nobody foresaw too."""

    @app.exception_handler(QueryApiError)
    async def ours(request: Request, error: QueryApiError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        remedy = "see /openapi.json for what there is"
        return problem_answer(
            status=error.status_code,
            title=str(error.detail),
            code=f"Http{error.status_code}",
            detail=f"{request.method} {request.url.path[:200]} is not served",
            what_to_do=remedy,
            headers=error.headers,
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem_answer(
            status=422,
            title="The parameters do not fit",
            code="InvalidValue",
            detail=f"{where}: {first['msg']}"[:300],
            what_to_do="see /openapi.json for the parameters",
        )

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("unforeseen error", extra={"path": request.url.path, "error": type(error).__name__})
        return problem_answer(
            status=500,
            title="An error of headstream",
            code="Unforeseen",
            detail="the question met an error that was not foreseen; the log has the trace",
            what_to_do="report it with the log",
        )


def _describe(app: FastAPI, *, secured: bool) -> None:
    """Complete the OpenAPI document: the schema of problems, and the token where one is set."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
            if secured:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                schema["security"] = [{"token": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
