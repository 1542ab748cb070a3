"""Facts about a run and its telemetry reach the graph, can be asked for there, and break no shape."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pyshacl
import pytest
import rdflib

from headstream import capture
from headstream.capture.reading import read, spools
from headstream.schemas.codec import decode_bag, encode_bag
from headstream.schemas.events import Bag
from headstream.schemas.facts import Origin
from headstream.schemas.vocabulary import PREFIXES
from headstream.sinks.statements import render
from headstream.stream_processors.tracker import track

BASE = "https://provml.example.org/id/"
HEAD = "".join(f"PREFIX {prefix}: <{iri}>\n" for prefix, iri in PREFIXES.items())
JOB = {"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "big", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_STEP_ID": "0"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ox.Store]:
    """What a run in a Slurm job with telemetry gives, through Avro, tracker and sink."""
    spool = tmp_path_factory.mktemp("facts") / "spool"
    settings = capture.Settings(spool=spool, telemetry_seconds=0.05)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SLURM_", "PBS_", "LSB_"))]:
            patch.delenv(name)
        for name, value in {**JOB, "OMP_NUM_THREADS": "4"}.items():
            patch.setenv(name, value)
        with capture.workflow("w", execution="r", settings=settings) as run, run.task("train"):
            deadline = time.monotonic() + 20
            while telemetry_rows(bags(spool)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.15)  # A step says what samples lie 0.1 s apart.
    store = ox.Store()
    origin = Origin(topic="t", partition=0, offset=0)
    for bag in bags(spool):
        tracked = track(decode_bag(encode_bag(bag)), None, origin)
        assert tracked.rejected == ()
        store.load(render(tracked.identified.facts, BASE), format=ox.RdfFormat.N_TRIPLES)
    yield store


def bags(spool: Path) -> list[Bag]:
    return [content for d in spools(spool) for content in read(d) if isinstance(content, Bag)]


def telemetry_rows(found: list[Bag]) -> int:
    return sum(
        len(event.index) for bag in found for event in bag.events if type(event).__name__ == "IterationBlock"
    )


def ask(graph: ox.Store, body: str) -> list[list[str]]:
    answer: Any = graph.query(HEAD + body)
    return [[term.value for term in row] for row in answer]


def test_cluster_job_and_nodes_are_properties_of_the_run(graph: ox.Store) -> None:
    body = """SELECT ?c ?j ?h {
      ?run a provml:WorkflowExecution ; provml:clusterName ?c ; provml:jobId ?j ; provml:hostName ?h
    }"""
    assert sorted(ask(graph, body)) == [["big", "7", "n1"], ["big", "7", "n2"]]


def test_all_other_facts_are_canonical_json_of_the_run(graph: ox.Store) -> None:
    body = "SELECT ?m { ?run a provml:WorkflowExecution ; provml:customMetadata ?m }"
    facts = {}
    for (text,) in ask(graph, body):
        parsed = json.loads(text)
        assert text == json.dumps(parsed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        facts.update(parsed)
    assert facts["host"]["name"] == os.uname().nodename
    assert facts["job"] == {"scheduler": "slurm", "id": "7", "step": "0"}
    assert facts["environment"]["OMP_NUM_THREADS"] == "4"
    assert "pytest" in facts["packages"] and facts["command"]
    # The checkout of this test, if it is in one.
    assert ("git_dirty" in facts) == ("git" in facts)


def test_a_step_has_the_bytes_of_disk_and_network_as_metadata(graph: ox.Store) -> None:
    body = """SELECT ?m {
      ?step provml:wasMemberOfWorkflowExecution ?run ; provml:cpuSeconds ?c ; provml:customMetadata ?m
    }"""
    ((text,),) = ask(graph, body)
    assert json.loads(text).keys() == {
        "disk_read_bytes", "disk_write_bytes", "network_received_bytes", "network_sent_bytes"
    }  # fmt: skip


def test_telemetry_can_be_asked_for_by_time_and_by_name(graph: ox.Store) -> None:
    body = """
    SELECT ?start ?end ?memory {
      ?turn provml:wasDerivedFromDataTransformation/provml:name "telemetry" ; a provml:CycleIteration ;
            prov:startedAtTime ?start ; prov:endedAtTime ?end .
      ?value prov:wasGeneratedBy ?turn ; prov:value ?memory ;
             provml:wasDerivedFromAttribute/provml:name "memory_bytes" .
    } ORDER BY ?start"""
    found = ask(graph, body)
    assert len(found) >= 2 and all(start < end and int(memory) > 1 << 20 for start, end, memory in found)


def test_the_graph_breaks_no_shape(graph: ox.Store) -> None:
    ontology = files("headstream.schemas") / "ontology"
    ntriples = ox.serialize(iter(quad.triple for quad in graph), format=ox.RdfFormat.N_TRIPLES)
    assert ntriples
    conforms, _, text = pyshacl.validate(
        rdflib.Graph().parse(data=ntriples, format="nt"),
        shacl_graph=rdflib.Graph().parse(data=(ontology / "shapes.ttl").read_text(), format="turtle"),
        ont_graph=rdflib.Graph().parse(data=(ontology / "provml.ttl").read_text(), format="turtle"),
        advanced=True,
        allow_warnings=True,
    )
    assert conforms, text
