"""However a crashed run's spool is found, and however often it is shipped: it is in the graph once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from headstream.capture.owner import OWNER
from headstream.capture.reading import read, spools
from headstream.schemas.codec import decode_bag, decode_document
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import Topics
from headstream.services.ports import free_ports
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import open_store
from headstream.stream_processors import topics
from headstream.stream_processors.replay import replay_records
from headstream.stream_processors.settings import Settings

from ..awaiting import until

SCRIPT = """
import os, signal, sys, time
from headstream import capture
with capture.workflow("relayed", execution=sys.argv[1], definition={definition!r}) as run:
    with run.task("training", used={{"rate": 0.5}}) as training:
        for epoch in training.loop("epoch", range(40), index_as="epoch"):
            for batch in epoch.loop("batch", range(50)):
                batch.generated(loss=1.0 / (batch.index + 1))
            epoch.generated(loss=0.5)
            if epoch.index == 30 and sys.argv[2] == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
    while os.path.exists(sys.argv[2]):
        time.sleep(0.05)
"""
DEFINITION = {
    "dataflow_name": "relayed",
    "data_transformations": {
        "training": {"type": "LearningStage", "stage_type": "Training"},
        "epoch": {"type": "LearningStageSection", "cycle": True, "parent": "training"},
        "batch": {"type": "LearningStageSection", "cycle": True, "parent": "epoch"},
    },
}


class Field:
    """A folder of spools, and the topics that they are shipped to."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.env = {
            **os.environ,
            "HEADSTREAM_DATA": str(folder),
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_PACKAGES": "off",
            "HEADSTREAM_TOPIC_PREFIX": prefix,
            "HEADSTREAM_PARTITIONS": "2",
        }
        self.online = {"HEADSTREAM_BOOTSTRAP": bootstrap}
        self._bootstrap = bootstrap
        self._topics = Topics(prefix)
        self._graphs = 0

    def script(self, execution: str, way: str, **more: str) -> int:
        text = SCRIPT.format(definition=DEFINITION)
        command = [sys.executable, "-c", text, execution, way]
        return subprocess.run(command, env={**self.env, **more}, check=False, timeout=60).returncode

    def relay(self, **more: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "headstream", "ship", "--watch", str(self.spool)],
            env={**self.env, **self.online, **more},
            stderr=subprocess.DEVNULL,
        )

    def ship(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headstream", "ship", *arguments],
            env={**self.env, **self.online},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def spooled(self, root: Path) -> str:
        """The hash of the graph of what lies in spools."""
        return self._graph(content for directory in spools(root) for content in read(directory))

    def arrived(self, only: str | None = None) -> str:
        """The hash of the graph of what lies in the topics."""
        documents = (decode_document(value) for value in self._values(self._topics.definitions))
        bags = [decode_bag(value) for value in self._values(self._topics.events)]
        chosen = [bag for bag in bags if only in (None, bag.execution)]
        return self._graph([*documents, *chosen])

    def _values(self, topic: str) -> Iterator[bytes]:
        given = {"bootstrap.servers": self._bootstrap, "group.id": "t", "enable.auto.commit": False}
        consumer = Consumer(given)
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            consumer.assign([TopicPartition(topic, number, 0)])
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            while end > 0:
                message = consumer.poll(10)
                assert message is not None and message.error() is None
                yield message.value()
                if message.offset() >= end - 1:
                    break
        consumer.close()

    def _graph(self, records: Any) -> str:
        """Through the tracker core and the sink core into Oxigraph."""
        self._graphs += 1
        store = open_store(f"oxigraph:{self.folder}/graph{self._graphs}")
        letters = MemoryDeadLetters()
        try:
            content: Iterator[Document | Bag] = iter(records)
            replay_records(
                content, lambda facts: write_identified(store, facts, letters, DEFAULT_BASE) and None
            )
            assert letters.letters == []
            return graph_hash(store.dump())
        finally:
            store.close()


@pytest.fixture
def field(kafka: Any, topic_prefix: str, tmp_path: Path) -> Field:
    made = Field(kafka.bootstrap, topic_prefix.rstrip("."), tmp_path)
    topics.create(Settings.from_env({**made.env, **made.online}))
    return made


@pytest.fixture
def crashed(field: Field) -> str:
    """A spool of a run that was killed, a copy of it, and the hash of its graph."""
    assert field.script("dead", "dies") == -signal.SIGKILL
    shutil.copytree(field.spool, field.folder / "copy")
    return field.spooled(field.spool)


def gone(field: Field) -> None:
    until(lambda: not spools(field.spool), "every spool shipped and gone", 60)


def test_the_next_start_ships_the_spool_of_a_crashed_run(field: Field, crashed: str) -> None:
    (dead,) = spools(field.spool)
    # A script that lasts until it is done; its shipper process looks for the dead when it starts.
    assert field.script("next", str(dead), HEADSTREAM_EXIT_SECONDS="20", **field.online) == 0
    gone(field)
    assert field.arrived("dead") == crashed


def test_ship_ships_the_spool_of_a_crashed_run(field: Field, crashed: str) -> None:
    shipped = field.ship()
    assert shipped.returncode == 0 and shipped.stderr.startswith("shipped "), shipped.stderr
    assert spools(field.spool) == [] and field.arrived() == crashed


def test_two_relays_and_a_copy_give_the_graph_of_one(field: Field, crashed: str) -> None:
    relays = [field.relay() for _ in range(2)]
    try:
        gone(field)
        for _ in range(2):  # The same spool again and again, as if somebody had restored it.
            (copy,) = spools(shutil.copytree(field.folder / "copy", field.spool / ".coming"))
            copy.rename(field.spool / copy.name)
            gone(field)
            (field.spool / ".coming").rmdir()
        assert field.ship(str(field.folder / "copy")).returncode == 0
    finally:
        for relay in relays:
            relay.terminate()
        codes = [relay.wait(30) for relay in relays]
    assert codes == [0, 0] and field.arrived() == crashed


def test_a_relay_shows_what_it_shipped_and_is_gone_soon_after_it_is_told(field: Field, crashed: str) -> None:
    (port,) = free_ports(1)
    relay = field.relay(HEADSTREAM_RELAY_METRICS_PORT=str(port))

    def asked(path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}/{path}", trust_env=False)

    try:
        gone(field)
        until(lambda: "headstream_relay_spools_total 1.0" in asked("metrics").text, "a spool counted")
        shown = asked("metrics").text
        assert "headstream_relay_documents_total 1.0" in shown
        assert "headstream_relay_events_total 0.0" not in shown
        assert "headstream_relay_waiting_messages 0.0" in shown
        assert asked("healthz").status_code == asked("readyz").status_code == 200
    finally:
        relay.terminate()
        assert relay.wait(10) == 0


def test_a_relay_ships_a_folder_that_other_hosts_write(field: Field, crashed: str) -> None:
    (directory,) = spools(field.spool)
    (directory / OWNER).write_text("compute-17\n4711\n")
    whole = field.spooled(field.folder / "copy")
    relay = field.relay()
    try:
        until(lambda: (directory / "checkpoint.json").exists(), "the first checkpoint", 60)
        assert directory.exists(), "who writes it may be alive"
        (directory / OWNER).write_text("compute-17\n4711\nleft\n")
        gone(field)
    finally:
        relay.terminate()
        assert relay.wait(30) == 0
    assert field.arrived() == whole == crashed
