"""The same commands over Kafka, Faust and Blazegraph."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx

from headstream.services.ports import free_ports

BUFFER = Path(__file__).parents[1] / "data" / "flowcept" / "flowcept_buffer.jsonl"


def test_the_full_services_answer_rebuild_and_tell_of_their_dead(cli: Any, artefacts: Any) -> None:
    kafka, _, blazegraph, gateway = free_ports(4)
    ports = ["--kafka-port", str(kafka), "--blazegraph-port", str(blazegraph), "--gateway-port", str(gateway)]
    (cli.home / "headstream.toml").write_text('namespace = "reservoir"\n', encoding="utf-8")
    started = cli("up", "--services", "full", "--gateway", "--detach", *ports, "--json", seconds=180)
    assert started.status == 0, started.err
    services = {each["name"]: each["state"] for each in started.json["services"]}
    names = ("kafka", "blazegraph", "sink", "tracker", "relay", "api", "gateway")
    assert services == dict.fromkeys(names, "running")

    assert cli("status", "--json").json["store"].endswith("/namespace/reservoir/sparql")

    cli.capture("r1")
    assert cli("define", "tiny.yaml").status == 0
    cli.until(lambda: cli.runs() == 1, "the run in the graph")
    answer = cli("query", "q3", "--param", "dataset=ref/gpfs1/data/x.h5")
    assert answer.status == 0 and "r1.pt" in answer.out
    assert cli("topics", "check").status == 0

    imported = cli("ingest", "flowcept", str(BUFFER), "--wait", "60", "--json", seconds=120)
    assert imported.status == 0 and imported.json["taken"] is True, imported.err
    cli.until(lambda: cli.runs() == 2, "what another tracker recorded in the graph")

    run = {"wf_execution": "r1", "startTime": 1.0, "endTime": 2.0}
    bag = [{"prov_obj": run, "dataflow_name": "foreign", "act_type": "workflow"}, {"no": "message"}]
    told = httpx.post(f"http://127.0.0.1:{gateway}/retrospective-provenance?with_validation=True", json=bag)
    assert [found[0]["code"] for found in told.json()["error"]] == ["E-bad-message"]
    cli.until(lambda: cli.runs() == 3, "what a client sent to the gateway in the graph")
    (letter,) = cli("dead-letters", "list", "--stage", "gateway", "--json").json
    assert letter["reason"] == "bad-message"

    rebuilt = cli("replay", "--into", "oxigraph:copy", "--json")
    assert rebuilt.status == 0 and rebuilt.json["from"] == "topics", rebuilt.err
    compared = cli("verify", "live", "oxigraph:copy", "--json")
    assert compared.status == 0 and compared.json["hashes"][0] == rebuilt.json["hash"]
    refused = cli("replay", "--into", cli("status", "--json").json["store"])
    assert refused.status == 1 and "--live" in refused.said

    os.kill(cli.services()["tracker"]["pid"], signal.SIGKILL)
    cli.until(lambda: cli("status").status == 1, "the dead tracker told")
    assert "tracker has died; its log is" in cli("status").said

    assert cli("down").status == 0
    assert cli.processes() == []
    assert not {"services.json", "run"} & {path.name for path in cli.data.iterdir()}
    told = cli("query", "x01")
    assert told.status == 1 and "headstream up --services full" in told.said
