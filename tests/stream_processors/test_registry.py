"""A schema registry on the way: the Confluent wire format, and what happens while the registry is away."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest

from headstream.capture.errors import TransportFailed
from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.transports.kafka import KafkaTransport
from headstream.schemas import registry
from headstream.schemas.clients import RegistryOptions, registry_options
from headstream.schemas.codec import decode_bag, encode_bag, encode_document
from headstream.schemas.confluent import SchemaRegistry, use
from headstream.schemas.dead_letters import REDRIVEN
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.errors import RegistryRefused, RegistryUnavailable, RegistryUnusable, UnknownSchema
from headstream.schemas.events import Bag, StepEnded, StepRef
from headstream.schemas.facts import Identified, Origin
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.statements import render
from headstream.sinks.stores import OxigraphStore
from headstream.stream_processors.letters import LetterTopic
from headstream.stream_processors.settings import framing
from headstream.stream_processors.tracker import describe, track

from ..environment import without_settings

BASE = "https://provml.example.org/id/"
NOWHERE = Origin(topic="", partition=0, offset=0)
DEFINITION = parse_definition({"dataflow_name": "fit", "data_transformations": {"train": {"cycle": True}}})


def bag(execution: str) -> Bag:
    ended = StepEnded(step=StepRef("train", "1"), started=1, ended=2, outcome="FINISHED")
    return Bag(workflow="fit", execution=execution, definition=DEFINITION.content_hash, events=(ended,))


def future_schema(colour: str) -> str:
    raw = json.loads(registry.current("bag").text)
    raw["fields"].append({"name": colour, "type": ["null", "string"], "default": None})
    return json.dumps(raw)


def framed(sent: Bag, number: int, schema: str) -> bytes:
    """A bag as a later release sends it, by a schema that nobody here has learnt."""
    whole = BytesIO(encode_bag(sent)[10:])
    record = fastavro.schemaless_reader(whole, registry.current("bag").parsed, None, return_record_name=True)
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(schema)), record)
    return b"\0" + number.to_bytes(4, "big") + out.getvalue()


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A process has one registry; the next test has its own."""
    yield
    use(None)


def executions(found: list[Identified]) -> set[str]:
    return {item.execution for item in found}


def test_every_client_of_ours_speaks_the_wire_format_and_the_graph_is_the_same(
    new_stream, schema_registry, tmp_path: Path
) -> None:
    environ = {
        "HEADSTREAM_REGISTRY_URL": schema_registry.url,
        "HEADSTREAM_DEFINITION_WAIT": "0.2",
    }
    stream = new_stream(**environ)
    names = stream.settings.topics
    environ |= {"HEADSTREAM_BOOTSTRAP": stream.settings.bootstrap, "HEADSTREAM_TOPIC_PREFIX": names.prefix}
    transport = KafkaTransport.from_settings(CaptureSettings.from_env(environ))
    transport.publish(document(DEFINITION))
    transport.send(bag("r1"))
    assert transport.flush(20) == 0
    stream.bag(bag("r2"))  # From a client that knows of no registry: both framings are read.
    stream.flush()
    stream.worker()
    stream.identified(lambda items: executions(items) >= {"", "r1", "r2"})
    for topic, count in ((names.events, 2), (names.definitions, 1), (names.identified, 3)):
        found = stream.read_until(topic, lambda found, count=count: len(found) >= count, 20)
        values = [message.value() for message in found if message.value()[:1] == b"\0"]
        assert len(values) == (1 if topic == names.events else len(found))
        for value in values:  # Any consumer with the registry can read it, to the last byte.
            written = json.loads(schema_registry.text(int.from_bytes(value[1:5], "big")))
            rest = BytesIO(value[5:])
            fastavro.schemaless_reader(rest, fastavro.parse_schema(written), None)
            assert not rest.read()

    location = tmp_path / "store"
    sink = subprocess.Popen(
        [sys.executable, "-m", "headstream.sinks"],
        env={**os.environ, **environ, "HEADSTREAM_STORE_URL": f"oxigraph:{location}",
             "HEADSTREAM_SINK_GROUP": names.prefix},
        stderr=subprocess.PIPE,
    )  # fmt: skip
    wanted = [track(bag(each), DEFINITION, NOWHERE).identified.facts for each in ("r1", "r2")]
    wanted.append(describe(document(DEFINITION), NOWHERE).facts)
    events = 0
    assert sink.stderr is not None
    while events < 3:
        line = sink.stderr.readline().decode()
        assert line, "the sink has ended"
        events += int(line.partition("events=")[2].split()[0]) if "batch written" in line else 0
    sink.send_signal(signal.SIGTERM)
    sink.communicate(timeout=15)
    store = OxigraphStore(location)
    assert graph_hash(store.dump()) == graph_hash([render(sorted(set().union(*wanted)), BASE)])
    store.close()


def test_what_is_in_the_wire_format_is_replayed_and_an_archive_of_it_needs_no_registry(
    new_stream, schema_registry, tmp_path: Path
) -> None:
    environ = {"HEADSTREAM_REGISTRY_URL": schema_registry.url}
    stream = new_stream(**environ)
    names = stream.settings.topics
    environ |= {"HEADSTREAM_BOOTSTRAP": stream.settings.bootstrap, "HEADSTREAM_TOPIC_PREFIX": names.prefix}
    transport = KafkaTransport.from_settings(CaptureSettings.from_env(environ))
    transport.publish(document(DEFINITION))
    sent = [bag(f"r{number}") for number in range(30)]
    for each in sent:
        transport.send(each)
    assert transport.flush(20) == 0
    # A release that is not out yet has written one of them: its schema is in the registry alone.
    later = future_schema("scent")
    number = schema_registry.register(f"{names.events}-value", later)
    sent.append(bag("later"))
    stream.send(names.events, b"fit/later", framed(sent[-1], number, later))
    stream.bag(bag("r0"))  # And one again in our own framing.
    stream.flush()
    wanted = {fact for each in sent for fact in track(each, DEFINITION, NOWHERE).identified.facts}
    wanted |= set(describe(document(DEFINITION), NOWHERE).facts)
    expected = graph_hash([render(sorted(wanted), BASE)])

    def ran(*arguments: str, known: dict[str, str] = environ) -> dict[str, Any]:
        kept = without_settings()
        done = subprocess.run(
            [sys.executable, "-m", "headstream", *arguments, "--json", "--data", str(tmp_path / "data")],
            env={**kept, "HEADSTREAM_CONFIG": "off", **known}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    for workers in ("1", "2"):
        into = f"oxigraph:{tmp_path / workers}"
        replayed = ran("replay", "--from", "topics", "--into", into, "--workers", workers)
        assert (replayed["bags"], replayed["refused"]) == (32, {}) and replayed["hash"] == expected
    kept = str(tmp_path / "kept")
    assert ran("archive", kept)["messages"] == 32
    for workers in ("1", "2"):
        into = f"oxigraph:{tmp_path / ('archive' + workers)}"
        replayed = ran("replay", "--from", kept, "--into", into, "--workers", workers, known={})
        assert (replayed["bags"], replayed["refused"]) == (32, {}) and replayed["hash"] == expected


def test_an_id_that_the_registry_does_not_have_is_sent_again_once_it_has(new_stream, schema_registry) -> None:
    stream = new_stream(HEADSTREAM_REGISTRY_URL=schema_registry.url, HEADSTREAM_DEFINITION_WAIT="0.2")
    known = schema_registry.register(f"{stream.settings.topics.events}-value", registry.current("bag").text)
    stream.document(document(DEFINITION))
    stream.flush()
    stream.worker()
    stream.identified_framed(lambda items: "" in executions(items), schema_registry)
    soon = future_schema("colour")
    highest = max(known, schema_registry.register("something.else-value", future_schema("a")))
    stream.send(stream.settings.topics.events, b"fit/r1", framed(bag("r1"), highest + 1, soon))
    stream.flush()
    stream.letters(1)
    settings = stream.settings
    topic = LetterTopic(settings, framing(settings))
    (kept,) = topic.kept()
    assert (kept.letter.reason, kept.letter.error) == ("unknown-schema", "UnknownSchema")
    assert str(highest + 1) in kept.letter.message
    assert topic.letter(kept.place.partition, kept.place.offset).value[:1] == b"\0", "the original bytes"
    assert schema_registry.register(f"{settings.topics.events}-value", soon) == highest + 1
    topic.redrive([kept])
    stream.identified_framed(lambda items: "r1" in executions(items), schema_registry)
    assert [item.state for item in topic.kept()] == [REDRIVEN]


def test_while_the_registry_is_away_what_is_known_goes_on_and_what_is_not_waits(
    new_stream, schema_registry
) -> None:
    stream = new_stream(HEADSTREAM_REGISTRY_URL=schema_registry.url, HEADSTREAM_DEFINITION_WAIT="0.2")
    events = stream.settings.topics.events
    transport = KafkaTransport(
        stream.settings.bootstrap,
        stream.settings.topics,
        frame=use(RegistryOptions(url=schema_registry.url)),
    )
    transport.publish(document(DEFINITION))
    transport.send(bag("before"))
    assert transport.flush(20) == 0
    new = future_schema("taste")
    number = schema_registry.register(f"{events}-value", new)
    stream.worker()
    stream.identified_framed(lambda items: "before" in executions(items), schema_registry)
    with schema_registry.hanging():
        transport.send(bag("meanwhile"))
        assert transport.flush(20) == 0
        cached = {"before", "meanwhile"}
        stream.identified_framed(lambda items: cached <= executions(items), None)
        stream.send(events, b"fit/unseen", framed(bag("unseen"), number, new))
        stream.flush()
        stream.await_(lambda: "does not answer" in stream.log())
    stream.identified_framed(lambda items: "unseen" in executions(items), schema_registry)
    assert LetterTopic(stream.settings).kept() == [], "nobody was to blame"


def test_a_client_that_begins_while_the_registry_is_away_keeps_its_messages(
    schema_registry, kafka, new_stream
) -> None:
    stream = new_stream()
    transport = KafkaTransport(
        kafka.bootstrap, stream.settings.topics, frame=use(RegistryOptions(url=schema_registry.url))
    )
    with schema_registry.hanging():
        transport.send(bag("r1"))
        assert transport.flush(0.5) == 1
        assert "does not answer" in str(transport.last_error)
    stream.await_(lambda: transport.flush(2.0) == 0)
    (message,) = stream.read_until(stream.settings.topics.events, lambda found: len(found) == 1, 20)
    assert decode_bag(message.value()) == bag("r1")


class Guarded(BaseHTTPRequestHandler):
    """Knows one schema, and only whoever shows the right credentials."""

    wanted = ""
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        if self.path.endswith("/7"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
            self.end_headers()
        elif self.headers.get("Authorization") != self.wanted:
            self.reply(401, {"error_code": 401, "message": "who are you"})
        else:
            self.reply(200, {"schema": registry.current("bag").text})

    def reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def guarded(wanted: str) -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (Guarded,), {"wanted": wanted, "seen": seen})
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


SECRET = "s3cret-canary"
BASIC = f"Basic {base64.b64encode(f'lee:{SECRET}'.encode()).decode()}"


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"HEADSTREAM_REGISTRY_USER": "lee", "HEADSTREAM_REGISTRY_PASSWORD": SECRET}, BASIC),
        ({"HEADSTREAM_REGISTRY_TOKEN": SECRET}, f"Bearer {SECRET}"),
    ],
)
def test_we_are_known_by_password_or_token_and_neither_is_ever_shown(
    environ: dict[str, str], header: str
) -> None:
    with guarded(header) as (url, _):
        options = registry_options({"HEADSTREAM_REGISTRY_URL": url, **environ})
        assert options is not None and SECRET not in repr(options)
        assert SchemaRegistry(options).text(1) == registry.current("bag").text
    with guarded("Bearer other") as (url, seen):
        options = registry_options({"HEADSTREAM_REGISTRY_URL": url, **environ})
        with pytest.raises(RegistryRefused, match="401 who are you") as refused:
            SchemaRegistry(options).text(1)
        assert SECRET not in str(refused.value) and refused.value.__cause__ is None
        with pytest.raises(RegistryUnavailable):
            SchemaRegistry(options).text(7)
        assert len(seen) == 2, "no redirect was followed with our password"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://lee:{SECRET}@registry", "HEADSTREAM_REGISTRY_PASSWORD"),
        ("registry:8081", "must begin with http"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence_without_the_password(url: str, words: str) -> None:
    environ = {"HEADSTREAM_REGISTRY_URL": url, "HEADSTREAM_BOOTSTRAP": "127.0.0.1:1"}
    for begin in (
        lambda: use(registry_options(environ)),
        lambda: KafkaTransport.from_settings(CaptureSettings.from_env(environ)),
    ):
        with pytest.raises((RegistryUnusable, TransportFailed), match=words) as refused:
            begin()
        assert SECRET not in str(refused.value)


def test_after_a_failure_nobody_waits_for_a_timeout_again_at_once() -> None:
    now = 0.0
    away = SchemaRegistry(RegistryOptions(url="http://127.0.0.1:9"), clock=lambda: now)
    for _ in range(3):
        with pytest.raises(RegistryUnavailable, match=":9 does not answer"):
            away.text(1)
    with guarded("Bearer t") as (url, seen):
        there = SchemaRegistry(RegistryOptions(url=url, token="other"), clock=lambda: now)
        for at in (0.0, 0.5, 1.5):
            now = at
            with pytest.raises(RegistryRefused, match="401"):
                there.text(1)
        assert len(seen) == 2


def test_without_a_registry_the_wire_format_is_a_letter_that_says_what_to_set() -> None:
    with pytest.raises(UnknownSchema, match="HEADSTREAM_REGISTRY_URL"):
        decode_bag(b"\0" + (5).to_bytes(4, "big") + encode_bag(bag("r"))[10:])


def test_a_schema_that_breaks_the_rules_of_the_registry_is_told(schema_registry) -> None:
    subject = "ruled.events"
    schema_registry.register(f"{subject}-value", json.dumps({"type": "record", "name": "Bag", "fields": []}))
    config = {"compatibility": "FULL_TRANSITIVE"}
    httpx.put(f"{schema_registry.url}/config/{subject}-value", json=config, trust_env=False)
    frame = use(RegistryOptions(url=schema_registry.url))
    with pytest.raises(RegistryRefused, match="409"):
        frame(subject, encode_bag(bag("r")))
    assert frame("fine.definitions", encode_document(document(DEFINITION)))[:1] == b"\0"
