"""A further protocol is a function and a route of a few lines; all promises are those of the others."""

from __future__ import annotations

import json

from fastapi import Request

from headstream.gateway.intake import Taken
from headstream.gateway.keeping import Parcel
from headstream.schemas.events import Bag, RunStarted


def take(body: bytes) -> Taken:
    runs = json.loads(body)
    bags = tuple(Bag(workflow="L", execution=run, events=(RunStarted(started=1),)) for run in runs)
    return Taken(parcel=Parcel(bags=bags), messages=len(runs))


def test_a_protocol_that_is_added_is_kept_by_the_same_way(within) -> None:
    gateway = within(max_bytes=100)

    @gateway.http.app.post("/api/v1/lineage")
    async def lineage(request: Request) -> dict[str, int]:
        return {"taken": (await gateway.desk.accept(request, "openlineage", take)).messages}

    answer = gateway.http.post("/api/v1/lineage", json=["a", "b"])
    assert answer.json() == {"taken": 2}
    assert [bag.execution for bag in gateway.transport.bags] == ["a", "b"]
    assert gateway.http.post("/api/v1/lineage", content=b"x" * 101).status_code == 413
    gateway.transport.up = False
    assert gateway.http.post("/api/v1/lineage", json=["c"]).status_code == 503
    text = gateway.http.get("/metrics").text
    assert 'headstream_gateway_messages_total{client="openlineage"} 2.0' in text
