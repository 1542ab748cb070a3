"""What ProvLake clients send: prospective documents, bags of messages, data stores (spec section 9.1)."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headstream.gateway.desk import Desk
from headstream.gateway.errors import DefinitionRefused
from headstream.query_api.errors import RequestRefused
from headstream.schemas import identifiers
from headstream.schemas.definition import Store, store_document

CLIENT = "provlake"
# The client asks for 2xx up to 209 here.
CREATED = 201


def router(desk: Desk) -> APIRouter:
    """Make the routes that take something; each answers when it is durable."""
    routes = APIRouter(tags=["provlake"])

    @routes.post("/retrospective-provenance", summary="A bag of messages", openapi_extra=BODY)
    async def retrospective(request: Request, with_validation: str = "False") -> JSONResponse:
        validate = with_validation.lower() == "true"
        taken = await desk.accept(request, CLIENT, partial(desk.intake.bag, validate=validate))
        found = [[finding.as_json() for finding in one] for one in taken.findings]
        # With validation the client reads the list, and does so only below 400.
        nothing = not validate and taken.messages > 0 and len(taken.parcel.letters) == taken.messages
        return JSONResponse({"error": found}, 400 if nothing else 200)

    @routes.post("/prospective-provenance", summary="What a workflow is meant to do", openapi_extra=BODY)
    @routes.put("/prospective-provenance", summary="What a workflow is meant to do", openapi_extra=BODY)
    async def prospective(request: Request, overwrite: str = "True") -> JSONResponse:
        may = overwrite.lower() != "false"
        try:
            taken = await desk.accept(request, CLIENT, partial(desk.intake.definition, overwrite=may))
        except DefinitionRefused as error:
            return JSONResponse({"error": str(error)}, error.status)
        (published,) = taken.parcel.documents
        return JSONResponse({"workflow": published.name, "hash": published.content_hash}, CREATED)

    @routes.post("/data-stores", summary="A data store", openapi_extra=BODY)
    async def store(request: Request) -> JSONResponse:
        try:
            taken = await desk.accept(request, CLIENT, desk.intake.store)
        except DefinitionRefused as error:
            raise RequestRefused(error.detail, remedy=error.remedy) from error
        (published,) = taken.parcel.documents
        found = next(each for each in desk.intake.stores if each.id == published.name)
        return JSONResponse(described(found, desk.reading.base_iri), CREATED)

    return routes


def described(store: Store, base_iri: str) -> dict[str, Any]:
    """A store as the client sent it, and what it is called in the graph."""
    iri = base_iri + identifiers.store(store.id)
    return {**store_document(store), "data_store_hkg_id": iri, "hkg_id": iri}


BODY = {"requestBody": {"content": {"application/json": {"schema": {}}}, "required": True}}
