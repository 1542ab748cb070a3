"""Every client of ours gets into a broker with TLS and a password, and says clearly when it does not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.whole.secured import PASSWORD, SecuredKafka, authority

from headstream.schemas.codec import encode_bag
from headstream.schemas.events import Bag, RunStarted
from headstream.schemas.topics import Topics
from headstream.services.ports import free_ports
from headstream.sinks.stores import open_store

SCRIPT = """
from headstream import capture
with capture.workflow("w", execution="r") as run:
    with run.task("train", used={"rate": 0.1}) as train:
        for turn in train.loop("epoch", range(20)):
            turn.generated(loss=1.0)
"""
WRONG = "wr0ng-canary"


@pytest.fixture(scope="module")
def broker(artefacts: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates of this test")
    made = SecuredKafka.in_folder(tmp_path_factory.mktemp("secured") / "broker")
    made.start()
    made.add_scram_user()
    yield made
    made.stop()


class Client:
    """Processes of ours that are told how to get in."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "HEADSTREAM_DATA": str(folder / "data"),
            "HEADSTREAM_STORE_URL": f"oxigraph:{folder / 'graph'}",
            "HEADSTREAM_SINK_GROUP": "secured",
            "HEADSTREAM_EXIT_SECONDS": "30",  # A handshake takes its time where all cores are busy.
            **environ,
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], env=self.environ, capture_output=True, text=True, timeout=60
        )

    def start(self, name: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "headstream", *(command or (name,))],
                env={**self.environ, "HEADSTREAM_READY_FILE": str(self.folder / f"{name}.ready"), **more},
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def await_(condition: Callable[[], object], seconds: float, what: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(environ: dict[str, str]) -> Client:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Client(folder, environ))
        return made[-1]

    yield make
    for each in made:
        for process in each.started:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def test_a_captured_run_reaches_the_graph_over_tls_and_sasl(
    broker: SecuredKafka, client: Callable[..., Client]
) -> None:
    ours = client(broker.environ())
    made = ours.run("-m", "headstream", "topics", "create")
    assert made.returncode == 0 and made.stdout.count("made ") == 4, made.stderr
    assert client(broker.environ("PLAIN")).run("-m", "headstream", "topics", "check").returncode == 0
    ours.start("tracker")
    ours.start("sink")
    captured = ours.run("-c", SCRIPT)
    assert captured.returncode == 0 and not captured.stderr
    await_(lambda: "batch written" in ours.log("sink"), 60, lambda: ours.log("tracker") + ours.log("sink"))
    for process in ours.started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    store = open_store(ours.environ["HEADSTREAM_STORE_URL"])
    assert b"dte/w/r/epoch/" in b"".join(store.dump())
    store.close()
    listed = ours.run("-m", "headstream", "dead-letters", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    said = [ours.log("tracker"), ours.log("sink"), made.stderr, captured.stdout, listed.stdout, listed.stderr]
    assert PASSWORD not in "".join(said)


@pytest.mark.parametrize(
    ("wrong", "words", "remedy"),
    [
        ("password", "authentication", "HEADSTREAM_KAFKA_SASL_"),
        ("authority", "certificate", "HEADSTREAM_KAFKA_SSL_"),
    ],
)
def test_a_wrong_password_or_authority_is_said_soon_by_every_client_and_no_secret(
    broker: SecuredKafka, client: Callable[..., Client], tmp_path: Path, wrong: str, words: str, remedy: str
) -> None:
    environ = broker.environ()
    if wrong == "password":
        environ["HEADSTREAM_KAFKA_SASL_PASSWORD"] = WRONG
    else:
        environ["HEADSTREAM_KAFKA_SSL_CA_LOCATION"] = str(authority(tmp_path))
    ours = client({**environ, "HEADSTREAM_EXIT_SECONDS": "1"})
    captured = ours.run("-c", SCRIPT + "print(capture.losses())")
    assert captured.stdout.strip() == "{}"  # It stays in the spool.
    (port, relay_port) = free_ports(2)
    ours.start("sink", HEADSTREAM_METRICS_PORT=str(port))
    ours.start("relay", "ship", "--watch", HEADSTREAM_RELAY_METRICS_PORT=str(relay_port))
    for command in (["topics", "check"], ["dead-letters", "list"], ["tracker"]):
        begun = time.monotonic()
        refused = ours.run("-m", "headstream", *command)
        assert refused.returncode == 1 and time.monotonic() - begun < 25, refused.stderr
        assert words in refused.stderr.lower() and remedy in refused.stderr, refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
        assert WRONG not in refused.stderr + refused.stdout

    def unready(of: int) -> str:
        answer = httpx.get(f"http://127.0.0.1:{of}/readyz", trust_env=False)
        return answer.text.lower() if answer.status_code == 503 else ""

    await_(lambda: words in unready(port), 20, lambda: ours.log("sink"))
    await_(lambda: words in unready(relay_port), 20, lambda: ours.log("relay"))
    await_(lambda: words in ours.log("relay").lower(), 20, lambda: ours.log("relay"))
    logs = ours.log("sink") + ours.log("relay")
    assert words in ours.log("sink").lower()
    assert len(logs.splitlines()) < 20, "not a line an attempt"
    assert WRONG not in logs and PASSWORD not in logs


def test_a_dead_letter_topic_that_may_not_be_written_stops_the_reading_until_it_may(
    broker: SecuredKafka, client: Callable[..., Client]
) -> None:
    names = Topics("refused")
    ours = client({**broker.environ(), "HEADSTREAM_TOPIC_PREFIX": names.prefix, "HEADSTREAM_PARTITIONS": "1"})
    made = ours.run("-m", "headstream", "topics", "create")
    assert made.returncode == 0, made.stderr
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    plain = {"bootstrap.servers": broker.bootstrap}
    producer = Producer(plain)

    def send(value: bytes) -> None:
        producer.produce(names.events, value, b"w/r", partition=0)
        assert producer.flush(30) == 0

    def unready() -> str:
        try:
            answer = httpx.get(f"{url}/readyz", trust_env=False)
        except httpx.ConnectError:  # It has not begun to listen.
            return "not there"
        return answer.text if answer.status_code == 503 else ""

    group = Consumer({**plain, "group.id": f"{names.prefix}.tracker"})
    reader = Consumer({**plain, "group.id": "unused", "auto.offset.reset": "earliest"})
    reader.assign([TopicPartition(names.dead_letters, 0, 0)])
    try:
        with broker.may_not_write(names.dead_letters):
            ours.start("tracker", HEADSTREAM_TRACKER_METRICS_PORT=str(port))
            await_(lambda: not unready(), 60, lambda: ours.log("tracker"))
            for execution in ("before", "after"):
                if execution == "after":
                    send(b"poison-canary")
                send(encode_bag(Bag(workflow="w", execution=execution, events=(RunStarted(started=1),))))
            await_(lambda: names.dead_letters in unready(), 60, lambda: ours.log("tracker"))
            # Whoever takes over begins with the poison again, at the latest.
            (committed,) = group.committed([TopicPartition(names.events, 0)], timeout=20)
            assert committed.offset <= 1
            assert "TopicAuthorizationFailed" in ours.log("tracker")
            assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        letter = reader.poll(90)
        assert letter is not None and letter.error() is None, ours.log("tracker")
        assert letter.value() == b"poison-canary"
        await_(lambda: not unready(), 60, lambda: ours.log("tracker"))

        def done() -> int:
            return group.committed([TopicPartition(names.events, 0)], timeout=20)[0].offset

        await_(lambda: done() == 3, 60, lambda: ours.log("tracker"))
        assert reader.poll(1) is None, "and nothing else was refused"
        assert "canary" not in ours.log("tracker")
    finally:
        group.close()
        reader.close()
