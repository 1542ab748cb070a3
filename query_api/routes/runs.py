"""Runs over HTTP: which there are, and how they stand."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from headstream.query_api import runs
from headstream.query_api.context import Context
from headstream.query_api.errors import UnknownRun
from headstream.query_api.export.naming import Name
from headstream.query_api.problems import STORE, described
from headstream.query_api.routes import exports
from headstream.query_api.routes.exports import PATH, parts_of

Status = Annotated[
    str | None,
    Query(pattern="^(GENERATED|RUNNING|FINISHED|ERRORED)$", description="only runs of this status"),
]
Workflow = Annotated[str | None, Query(description="only runs of this workflow")]


def router(context: Context) -> APIRouter:
    """Make the routes of runs."""
    routes = APIRouter(tags=["runs"])

    @routes.get(
        PATH,
        summary="Runs, latest start first, with their status",
        responses=described(401, 421, 422, *STORE),
    )
    def list_runs(workflow: Workflow = None, status: Status = None) -> dict[str, Any]:
        with context.answering("runs"):
            found, truncated = runs.list_runs(
                context.store,
                base_iri=context.settings.base_iri,
                limits=context.limits,
                workflow=workflow,
            )
        if truncated:
            context.metrics.truncated.labels(question="runs").inc()
        kept = [run for run in found if status in (None, run["status"])]
        return {"runs": kept, "truncated": truncated}

    exports.add(routes, context, lambda workflow, execution: _one(context, workflow, execution))

    @routes.get(
        f"{PATH}/{{workflow}}/{{execution}}",
        summary="One run: its status, its facts, its steps by transformation",
        responses=described(401, 404, 421, 422, *STORE),
    )
    def one_run(workflow: str, execution: str) -> dict[str, Any]:
        return _one(context, workflow, execution)

    @routes.get(f"{PATH}/{{rest:path}}", include_in_schema=False, response_model=None)
    def with_slashes(
        rest: str, request: Request, lineage: exports.Lineage = False
    ) -> dict[str, Any] | Response:
        # A name with %2F in it reaches us with a plain slash; the raw path still has both apart.
        match parts_of(request):
            case (workflow, execution):
                return _one(context, workflow, execution)
            case (workflow, execution, exports.LAST):
                return exports.answer(context, Name(workflow, execution), request, lineage=lineage)
        raise UnknownRun(f"{rest[:200]!r} does not name a run", remedy=f"ask {PATH}/WORKFLOW/EXECUTION")

    return routes


def _one(context: Context, workflow: str, execution: str) -> dict[str, Any]:
    with context.answering("run"):
        found = runs.one_run(
            context.store, workflow, execution, base_iri=context.settings.base_iri, limits=context.limits
        )
    if found is None:
        raise UnknownRun(
            f"there is no run {execution[:100]!r} of workflow {workflow[:100]!r}", remedy=f"see {PATH}"
        )
    return found
