"""Situations around a real broker: it is away, it dies, or what reads from it dies."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition
from load_tests import broker
from load_tests.peers import environment, flowcept_settings
from load_tests.survival.counting import Outcome, Turn, from_flowcept, in_bags, in_store
from load_tests.survival.scripts import DRIVERS, PREFIX, Contender, Script, await_, folder, product

from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.schemas.topics import Topics
from headstream.services.kafka import KafkaService
from headstream.stream_processors import topics as tracker_topics
from headstream.stream_processors.settings import Settings as TrackerSettings

TOPICS: Final = Topics(PREFIX)
TURNS: Final = 6000
# A consumer that was killed is let in again after 6 s, so the second kill hits one at work.
KILLED_AT: Final = (1000, 5000)
PAUSE: Final = 0.002
SETTLE: Final = 8.0


def _make_topics(kafka: KafkaService, who: Sequence[Contender]) -> None:
    given = {"HEADSTREAM_BOOTSTRAP": kafka.bootstrap, "HEADSTREAM_TOPIC_PREFIX": PREFIX}
    tracker_topics.create(TrackerSettings.from_env(given))
    channels = [each.channel for each in who if not each.ours]
    if channels:
        broker.make_topics(kafka.bootstrap, *channels)


def _recover(kafka: KafkaService, script: Script) -> None:
    """What the next start, `headstream ship` or a relay does: send what lies in the spool."""
    transport = KafkaTransport(kafka.bootstrap, TOPICS)
    shipped = ship(script.spool, transport, timeout=60)
    transport.close()
    if shipped.waiting:
        raise TimeoutError(f"{shipped.waiting} messages of {script.spool} are not acknowledged after 60 s")


def _in_topic(kafka: KafkaService, script: Script) -> Iterator[Turn]:
    if script.who.ours:
        return in_bags(broker.values(kafka.bootstrap, TOPICS.events))
    return from_flowcept(script.python, "kafka", kafka.bootstrap, script.who.channel)


def down(python: Path, who: Sequence[Contender], patience: float) -> list[Outcome]:
    """The broker is away from before the start until after the end of the script."""
    with ExitStack() as stack:
        kafka = stack.enter_context(broker.service(running=False))
        scripts = [
            Script(
                python=python,
                who=each,
                place=stack.enter_context(folder()),
                situation="end",
                turns=1000,
                bootstrap=kafka.bootstrap,
            ).start()
            for each in who
        ]
        with ThreadPoolExecutor(len(scripts)) as pool:
            list(pool.map(lambda script: script.wait(patience), scripts))
        kafka.start()
        _make_topics(kafka, who)
        found = []
        for script in scripts:
            if script.who.ours:
                _recover(kafka, script)
            note = f"killed: still waiting in stop() after {patience:g} s" if script.exit_code is None else ""
            found.append(script.outcome(_in_topic(kafka, script), note))
        return found


def bounced(python: Path, who: Sequence[Contender], patience: float) -> list[Outcome]:
    """The broker is killed while the scripts run, and comes back after two seconds."""
    with ExitStack() as stack:
        kafka = stack.enter_context(broker.service())
        _make_topics(kafka, who)
        scripts = [
            Script(
                python=python,
                who=each,
                place=stack.enter_context(folder()),
                situation="end",
                turns=TURNS,
                pause=PAUSE,
                bootstrap=kafka.bootstrap,
            ).start()
            for each in who
        ]
        for script in scripts:
            script.reach(1000)
        kafka.kill()
        time.sleep(2.0)
        kafka.start()
        found = []
        for script in scripts:
            script.wait(max(patience, 60.0))
            if script.who.ours:
                _recover(kafka, script)
            found.append(script.outcome(_in_topic(kafka, script)))
        return found


def consumer(python: Path, who: Sequence[Contender], patience: float) -> list[Outcome]:
    """What reads from the broker is killed and started again while the script runs, into a real store."""
    with broker.service() as kafka:
        _make_topics(kafka, who)
        return [(_our_store if each.ours else _their_store)(kafka, python, each) for each in who]


def _run_with(
    kafka: KafkaService, python: Path, who: Contender, place: Path, workers: Sequence[Worker]
) -> Script:
    for worker in workers:
        worker.start()
    for worker in workers:
        await_(worker.ready, 60, "a consumer that is ready")
    script = Script(
        python=python,
        who=who,
        place=place,
        situation="end",
        turns=TURNS,
        pause=PAUSE,
        bootstrap=kafka.bootstrap,
    ).start()
    for moment in KILLED_AT:
        script.reach(moment)
        for worker in workers:
            worker.kill()
            worker.start()
    return script.wait()


def _our_store(kafka: KafkaService, python: Path, who: Contender) -> Outcome:
    """Tracker (Faust) and sink, both killed with -9, into an Oxigraph store."""
    with folder() as place:
        settings = {
            "HEADSTREAM_DATA": str(place),
            "HEADSTREAM_BOOTSTRAP": kafka.bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": PREFIX,
            "HEADSTREAM_STORE_URL": f"oxigraph:{place}/store",
            "HEADSTREAM_SINK_GROUP": f"{PREFIX}.sink",
            "HEADSTREAM_SESSION_SECONDS": "6",
            "HEADSTREAM_SINK_SESSION_SECONDS": "6",
        }
        found = TrackerSettings.from_env(settings)
        workers = [
            Worker(
                place,
                [str(product()), "-m", "headstream", name],
                environment(place, **settings, HEADSTREAM_READY_FILE=str(place / f"{name}.ready")),
                place / f"{name}.ready",
            )
            for name in ("tracker", "sink")
        ]
        with _stopped(workers):
            script = _run_with(kafka, python, who, place, workers)
            _recover(kafka, script)
            groups = ((found.group, TOPICS.events), (f"{PREFIX}.sink", TOPICS.identified))
            for group, topic in groups:
                done = partial(_caught_up, kafka.bootstrap, group, topic)
                await_(done, 90, f"{group} at the end of {topic}")
        return script.outcome(in_store(f"oxigraph:{place}/store"))


def _their_store(kafka: KafkaService, python: Path, who: Contender) -> Outcome:
    """FlowCept's DocumentInserter, killed with -9, into its LMDB store."""
    with folder() as place:
        inserter = place / "inserter"
        inserter.mkdir()
        path = flowcept_settings(inserter, kafka.bootstrap, who.channel, lmdb=True)
        env = environment(inserter, FLOWCEPT_SETTINGS_PATH=str(path))
        # Its store is there once it has started.
        ready = inserter / "flowcept_lmdb" / "data.mdb"
        worker = Worker(inserter, [str(python), str(DRIVERS / "flowcept_consumer.py")], env, ready)
        with _stopped([worker]):
            script = _run_with(kafka, python, who, place, [worker])
            time.sleep(SETTLE)  # It flushes each second, and says nowhere how far it is.
        return script.outcome(from_flowcept(python, "lmdb", str(inserter / "flowcept_lmdb")))


class Worker:
    """A process that consumes, in a folder of its own."""

    def __init__(self, place: Path, command: list[str], env: dict[str, str], ready: Path) -> None:
        self._place, self._command, self._env, self._ready = place, command, env, ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._place / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._place, env=self._env, stdout=log, stderr=log
            )

    def ready(self) -> bool:
        return self._ready.exists()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def _stopped(workers: Sequence[Worker]) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()


def _caught_up(bootstrap: str, group: str, topic: str) -> bool:
    """Tell whether a group has committed all messages of a topic."""
    asker = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        numbers = asker.list_topics(topic, timeout=10).topics[topic].partitions
        for part in asker.committed([TopicPartition(topic, number) for number in numbers], timeout=10):
            _, end = asker.get_watermark_offsets(TopicPartition(topic, part.partition), timeout=10)
            if end > max(part.offset, 0):
                return False
        return True
    finally:
        asker.close()


WITH_BROKER: Final = {
    "down": ("broker down for the whole run", down),
    "bounced": ("broker killed in mid run, back after 2 s", bounced),
    "consumer": ("consumers killed twice in mid run (turns in the store)", consumer),
}
