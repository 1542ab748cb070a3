"""Kafka and Blazegraph for real: started, stopped, killed, started again on the same data."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from headstream.services.artefacts import Artefacts
from headstream.services.blazegraph import (
    BlazegraphService,
    create_namespace,
    drop_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.errors import AlreadyRunning, NamespaceRefused, PortInUse, StartFailed
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports, is_free
from headstream.services.service import Service
from headstream.services.stack import Stack

if TYPE_CHECKING:
    from conftest import Namespace

XSD = "http://www.w3.org/2001/XMLSchema#"


def load(url: str, *triples: str) -> int:
    body = "".join(f"{triple} .\n" for triple in triples)
    answer = httpx.post(url, content=body.encode(), headers={"Content-Type": "text/plain"}, timeout=30)
    assert answer.status_code == 200, answer.text
    return int(answer.text.split('modified="')[1].split('"')[0])


def select(url: str, query: str) -> list[list[str]]:
    answer = httpx.post(
        url, data={"query": query}, headers={"Accept": "application/sparql-results+json"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [[row[name]["value"] for name in found["head"]["vars"]] for row in found["results"]["bindings"]]


def make_topic(bootstrap: str, name: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})  # Kept: its requests die with it.
    client.create_topics([NewTopic(name, 1, 1)])[name].result(30)


def send(bootstrap: str, topic: str, *values: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def receive(bootstrap: str, topic: str, count: int) -> list[str]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        found = []
        for message in consumer.consume(count, timeout=30):
            assert message.error() is None
            found.append((message.value() or b"").decode())
        return found
    finally:
        consumer.close()


def test_kafka_keeps_its_topics_through_kill_and_stop(artefacts: Artefacts, tmp_path: Path) -> None:
    data = tmp_path / "a folder, with é"
    service = KafkaService(data, *free_ports(2))
    try:
        service.start()
        make_topic(service.bootstrap, "kept")
        send(service.bootstrap, "kept", "one")
        service.kill()
        assert not service.ready()
        service.start()
        send(service.bootstrap, "kept", "two")
        assert service.stop()
        again = KafkaService(data, *free_ports(2))  # Other ports, same data.
        again.start()
        assert receive(again.bootstrap, "kept", 2) == ["one", "two"]
    finally:
        KafkaService(data, 1, 2).kill()


def test_blazegraph_keeps_its_graph_through_kill_and_stop(artefacts: Artefacts, tmp_path: Path) -> None:
    data = tmp_path / "a folder, with é"
    service = BlazegraphService(data, *free_ports(1))
    try:
        service.start()
        assert load(service.sparql, "<urn:a> <urn:b> <urn:c>") == 1
        service.kill()
        assert not service.ready()
        service.start()
        assert select(service.sparql, "SELECT ?o { <urn:a> <urn:b> ?o }") == [["urn:c"]]
        load(service.sparql, "<urn:a> <urn:b> <urn:d>")
        assert service.stop()
        again = BlazegraphService(data, *free_ports(1))
        again.start()
        found = select(again.sparql, "SELECT ?o { <urn:a> <urn:b> ?o } ORDER BY ?o")
        assert found == [["urn:c"], ["urn:d"]]
    finally:
        BlazegraphService(data, 1).kill()


def test_services_listen_on_the_loopback_only(kafka: KafkaService, blazegraph: BlazegraphService) -> None:
    for service in (kafka, blazegraph):
        identity = service.identity()
        assert identity is not None
        listening = [
            each.laddr.ip
            for each in psutil.Process(identity.pid).net_connections()
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "make",
    [
        lambda data, port: KafkaService(data, port, free_ports(1)[0]),
        lambda data, port: KafkaService(data, free_ports(1)[0], port),
        lambda data, port: BlazegraphService(data, port),
    ],
)
def test_a_port_in_use_is_named_before_anything_starts(
    artefacts: Artefacts, tmp_path: Path, make: Callable[[Path, int], Service]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        service = make(tmp_path / "data", port)
        with pytest.raises(PortInUse, match=str(port)):
            service.start()
    assert not (tmp_path / "data").exists()


def test_a_second_start_on_the_same_data_is_refused(kafka: KafkaService) -> None:
    with pytest.raises(AlreadyRunning, match=str(kafka.data)):
        KafkaService(kafka.data, *free_ports(2)).start()
    assert kafka.ready()


def test_a_store_that_cannot_start_says_why_at_once(artefacts: Artefacts, tmp_path: Path) -> None:
    (tmp_path / "blazegraph.jnl").write_bytes(b"not a journal" * 1000)
    service = BlazegraphService(tmp_path, *free_ports(1))
    reason = r"(?s)could not open .*blazegraph\.jnl.*blazegraph\.log.*Bad journal magic"
    with pytest.raises(StartFailed, match=reason):
        service.start()
    assert service.identity() is None


def test_a_namespace_has_the_whole_property_set(blazegraph: BlazegraphService) -> None:
    name = "whole-1"
    wanted = namespace_properties(name)
    create_namespace(blazegraph.url, name, wanted)
    try:
        answer = httpx.get(
            f"{blazegraph.url}/namespace/{name}/properties", headers={"Accept": "text/plain"}, timeout=30
        )
        lines = [line.split("=", 1) for line in answer.text.splitlines() if "=" in line]
        found = {key.replace("\\", ""): value.replace("\\", "") for key, value in lines}
        assert {key: found.get(key) for key in wanted if ".store." in key or ".namespace." in key} == {
            key: value for key, value in wanted.items() if ".store." in key or ".namespace." in key
        }
        assert found["com.bigdata.rdf.store.AbstractTripleStore.textIndex"] == "false"
    finally:
        drop_namespace(blazegraph.url, name)


def test_making_a_namespace_twice_keeps_what_is_in_it(blazegraph: BlazegraphService) -> None:
    url = sparql_url(blazegraph.url, "twice")
    create_namespace(blazegraph.url, "twice", namespace_properties("twice"))
    try:
        load(url, "<urn:a> <urn:b> <urn:c>")
        create_namespace(blazegraph.url, "twice", namespace_properties("twice"))
        assert select(url, "SELECT ?s { ?s ?p ?o }") == [["urn:a"]]
    finally:
        drop_namespace(blazegraph.url, "twice")
    drop_namespace(blazegraph.url, "twice")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "../kb", "a\nb=c", "x" * 64])
def test_a_name_that_no_namespace_can_have_is_refused(blazegraph: BlazegraphService, name: str) -> None:
    with pytest.raises(NamespaceRefused, match="cannot name a namespace"):
        create_namespace(blazegraph.url, name, {})


def test_a_store_that_is_not_there_is_named() -> None:
    (port,) = free_ports(1)
    with pytest.raises(NamespaceRefused, match=f"127.0.0.1:{port}.*is Blazegraph up"):
        create_namespace(f"http://127.0.0.1:{port}/blazegraph", "x", {})


def test_a_repeated_load_changes_nothing_yet_modified_counts_it(namespace: Namespace) -> None:
    """`modified` is the number of statements in the request: it cannot tell how many of them were new."""
    assert load(namespace.url, "<urn:a> <urn:b> <urn:c>") == 1
    assert load(namespace.url, "<urn:a> <urn:b> <urn:c>", "<urn:a> <urn:b> <urn:d>") == 2
    assert load(namespace.url, "<urn:a> <urn:b> <urn:e>", "<urn:a> <urn:b> <urn:e>") == 2
    assert select(namespace.url, "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }") == [["3"]]


def test_a_stack_of_both_goes_up_and_comes_down(artefacts: Artefacts, tmp_path: Path) -> None:
    kafka = KafkaService(tmp_path / "kafka", *free_ports(2))
    blazegraph = BlazegraphService(tmp_path / "blazegraph", *free_ports(1))
    stack = Stack(tmp_path)
    try:
        up = stack.up("full", [kafka, blazegraph])
        assert up.urls == {"kafka": kafka.bootstrap, "blazegraph": blazegraph.url}
        assert up.ports["blazegraph"] == blazegraph.port
        assert kafka.ready()
        assert blazegraph.ready()
    finally:
        stopped = stack.down()
    assert stopped == ("blazegraph", "kafka")
    assert is_free(kafka.port)
    assert is_free(blazegraph.port)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT ?t { <urn:b> <urn:t> ?t }", [["2026-01-01T00:00:00.000002Z"]]),
        ("SELECT ?x { ?x <urn:t> ?t } ORDER BY ?t", [["urn:z"], ["urn:a"], ["urn:b"], ["urn:c"], ["urn:d"]]),
        ("SELECT (MIN(?t) AS ?m) { ?x <urn:t> ?t }", [["2025-12-31T23:59:59.999999Z"]]),
        (
            "SELECT ?x { ?x <urn:t> ?t . <urn:b> <urn:t> ?b FILTER(?t <= ?b) } ORDER BY ?t",
            [["urn:z"], ["urn:a"], ["urn:b"]],
        ),
        (
            f'SELECT ?x {{ ?x <urn:t> ?t FILTER(?t = "2026-01-01T01:00:00.5+01:00"^^<{XSD}dateTime>) }}',
            [["urn:c"]],
        ),
    ],
)
def test_instants_are_kept_and_compared_to_the_microsecond(
    namespace: Namespace, query: str, rows: list[list[str]]
) -> None:
    """docs/decisions/0004-blazegraph-date-times.md."""
    instants = {
        "d": "2026-01-01T00:00:01Z",
        "b": "2026-01-01T00:00:00.000002Z",
        "z": "2025-12-31T23:59:59.999999Z",
        "c": "2026-01-01T00:00:00.5Z",
        "a": "2026-01-01T00:00:00.000001Z",
    }
    load(namespace.url, *(f'<urn:{k}> <urn:t> "{v}"^^<{XSD}dateTime>' for k, v in instants.items()))
    assert select(namespace.url, query) == rows
