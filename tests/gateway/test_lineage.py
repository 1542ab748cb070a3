"""Clients of OpenLineage point their HTTP transport at the gateway; all promises are those of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde
from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport

from .conftest import Gateway

RUN = "0190f1d3-0000-7000-8000-000000000001"


def event(state: str, **more: Any) -> dict[str, Any]:
    return {
        "eventType": state,
        "eventTime": "2026-11-26T10:00:00Z",
        "run": {"runId": RUN},
        "job": {"namespace": "ns", "name": "load"},
        "producer": "test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        **more,
    }


def said(number: int, state: RunState) -> RunEvent:
    return RunEvent(
        eventType=state,
        eventTime=f"2026-11-26T10:00:0{number}Z",
        run=Run(runId=RUN),
        job=Job(namespace="ns", name="load"),
        producer="https://example.org/test",
        inputs=[InputDataset(namespace="s3://bucket", name="a.csv")],
        outputs=[OutputDataset(namespace="s3://bucket", name="b.csv")] if number else [],
    )


def test_the_real_client_by_http_gives_the_graph_of_its_file(gateway, graph_of, tmp_path: Path) -> None:
    gateway.env["HEADSTREAM_GATEWAY_TOKEN"] = "secret-of-a-test"
    gateway.start()
    key = ApiKeyTokenProvider({"api_key": "secret-of-a-test"})
    config = HttpConfig(url=f"http://127.0.0.1:{gateway.port}", auth=key)
    client = OpenLineageClient(transport=HttpTransport(config))
    events = [said(0, RunState.START), said(1, RunState.COMPLETE)]
    for each in events:
        client.emit(each)
    gateway.stop()
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{Serde.to_json(each)}\n" for each in events))
    other = Gateway(tmp_path / "other", gateway.port)
    other.ingest(file, kind="openlineage")
    found = graph_of(gateway.data / "spool", tmp_path / "by-http")
    assert found == graph_of(other.data / "spool", tmp_path / "by-file")
    assert any("b.csv" in str(quad.object) for quad in found)


def test_what_is_refused_is_a_dead_letter_and_the_rest_of_a_batch_is_kept(within) -> None:
    gateway = within()
    batch = [event("START"), event("NONSENSE"), {"dataset": {}, "eventTime": "x"}, event("COMPLETE")]
    answer = gateway.http.post("/api/v1/lineage/batch", json=batch)
    assert answer.status_code == 200
    assert [found["code"] for found in answer.json()["error"]] == ["E-unknown-event-type", "W004"]
    assert {bag.execution for bag in gateway.transport.bags} == {RUN}
    (letter,) = gateway.letters.letters
    assert (letter.reason, json.loads(letter.value)) == ("unknown-event-type", batch[1])
    text = gateway.http.get("/metrics").text
    assert 'headstream_gateway_messages_total{client="openlineage"} 4.0' in text
    assert 'headstream_gateway_unmapped_total{reason="dataset-event"} 1.0' in text


def test_an_event_that_says_nothing_is_an_error_that_the_client_raises(within) -> None:
    gateway = within()
    for body in (b"{", json.dumps(event("NONSENSE")).encode(), b"[" * 100_000):
        assert gateway.http.post("/api/v1/lineage", content=body).status_code == 400
    assert len(gateway.letters.letters) == 3
    assert gateway.transport.bags == []


def test_limits_and_durability_are_those_of_the_other_protocols(within) -> None:
    gateway = within(max_bytes=2000)
    assert gateway.http.post("/api/v1/lineage", json=event("START")).status_code == 200
    assert gateway.http.post("/api/v1/lineage", content=b"x" * 2001).status_code == 413
    gateway.transport.up = False
    assert gateway.http.post("/api/v1/lineage", json=event("COMPLETE")).status_code == 503
