"""The read routes that the client's constants name, answered from the graph."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from headstream.gateway.desk import Desk
from headstream.gateway.errors import NoSuchThing
from headstream.gateway.routes.writing import described
from headstream.schemas.vocabulary import PREFIXES

Answer = dict[str, Any]


def router(desk: Desk) -> APIRouter:
    """Make the routes that ask the graph; each runs beside the loop, as a store may take its time."""
    routes = APIRouter(tags=["graph"])
    reading = desk.reading

    @routes.get("/data-stores", summary="All data stores")
    def stores() -> list[Answer]:
        # Those that have just been sent may not be in the graph yet.
        sent = {each.id: described(each, reading.base_iri) for each in desk.intake.stores}
        found = {each["id"]: each for each in reading.stores()}
        return list({**found, **sent}.values())

    @routes.get("/data-stores/{store_id:path}", summary="One data store")
    def store(store_id: str) -> Answer:
        for each in desk.intake.stores:
            if each.id == store_id:
                return described(each, reading.base_iri)
        for found in reading.stores(store_id):
            return found
        raise NoSuchThing(f"there is no data store {store_id[:200]!r}", remedy="see /data-stores")

    @routes.get("/projects", summary="Projects and their workflows")
    def projects() -> list[Answer]:
        return reading.projects()

    @routes.get("/workflows", summary="Workflows and their transformations")
    def workflows() -> list[Answer]:
        return reading.workflows()

    @routes.get("/data-transformations", summary="Transformations and their attributes")
    def transformations(workflow_name: str | None = None) -> list[Answer]:
        return reading.transformations(workflow_name)

    @routes.get("/workflow-executions", summary="Runs, latest start first")
    def runs(workflow_name: str | None = None) -> list[Answer]:
        return reading.runs(workflow_name)

    @routes.get("/workflow-executions/{run:path}/cycle-executions", summary="The turns of a run's loops")
    def cycles(run: str) -> list[Answer]:
        return reading.cycles(run)

    @routes.get("/workflow-executions/{run:path}", summary="A run with its steps and values")
    def run(run: str) -> Answer:
        return reading.run_with_steps(run)

    @routes.get("/workflow-execution-summaries/{run:path}", summary="A run with its steps counted")
    def summary(run: str) -> Answer:
        return reading.summary(run)

    @routes.get("/data-transformation-executions", summary="Steps, of one run with their values")
    def steps(
        workflow_execution_id: str | None = None,
        data_transformation_name: str | None = None,
        person_id: str | None = None,
    ) -> list[Answer]:
        return reading.steps(workflow_execution_id, data_transformation_name, person_id)

    @routes.get("/persons/{person:path}/data-transformation-executions", summary="The steps of a person")
    def steps_of_person(person: str) -> list[Answer]:
        return reading.steps(None, None, person)

    @routes.get("/global-workflow-execution", summary="Steps that belong to no workflow")
    def global_run() -> Answer:
        return reading.global_run()

    @routes.get("/stored-queries", summary="The catalogue of questions")
    def questions() -> list[Answer]:
        return reading.questions()

    # Everybody's model is the same here and always loaded.
    @routes.get("/metamodel/load", summary="The model that the graph is written by")
    @routes.post("/metamodel/load", summary="The model that the graph is written by")
    async def metamodel() -> Answer:
        return {"loaded": True, "namespace": PREFIXES["provml"]}

    return routes
