import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from headstream.schemas import registry
from headstream.schemas.codec import decode_identified, encode_identified
from headstream.schemas.errors import RegistryUnavailable
from headstream.schemas.exposition import serve
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.sinks.batch import Limits
from headstream.sinks.consumer import MemorySource
from headstream.sinks.core import Message, write_identified
from headstream.sinks.dead_letters import FileDeadLetters, MemoryDeadLetters, read_letters
from headstream.sinks.errors import DeadLettersUnavailable, Stopped, StoreBusy, StoreUnknown, Unavailable
from headstream.sinks.freshness import FreshnessLog
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.metrics import STORED, TOTAL, Metrics
from headstream.sinks.retry import Patience, Schedule
from headstream.sinks.run import Sink
from headstream.sinks.stores import MemoryStore, OxigraphStore

from ..environment import without_settings

BASE = "https://provml.example.org/id/"
PLACE = ("headstream.identified", 0)
QUICK = Schedule(first=0.01, most=0.05)


def messages(values: Sequence[bytes]) -> list[Message]:
    return [
        Message(origin=Origin(topic=PLACE[0], partition=0, offset=offset), key=b"w/r", value=value)
        for offset, value in enumerate(values)
    ]


class Running:
    """A sink over doubles, in a thread."""

    def __init__(self, values: Sequence[bytes], **options: Any) -> None:
        self.source = MemorySource(messages(values))
        self.store = options.pop("store", None) or MemoryStore()
        self.letters = MemoryDeadLetters()
        self.stop = threading.Event()
        self.sink = Sink(
            source=self.source,
            store=self.store,
            dead_letters=self.letters,
            base=BASE,
            stop=self.stop,
            schedule=QUICK,
            **options,
        )
        self.thread = threading.Thread(target=self.sink.run)

    def end(self) -> None:
        self.stop.set()
        self.thread.join(15)
        assert not self.thread.is_alive()
        assert self.source.closed

    def metric(self, name: str, **labels: str) -> float | None:
        return self.sink.metrics.registry.get_sample_value(f"headstream_sink_{name}", labels)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Running] = []

    def begin(values: Sequence[bytes], **options: Any) -> Running:
        running = Running(values, **options)
        started.append(running)
        running.thread.start()
        return running

    yield begin
    for running in started:
        if running.thread.is_alive():
            running.end()


Steps = Callable[..., Identified]
Until = Callable[..., float]


def test_offsets_are_committed_after_the_write(start: Start, steps: Steps, until: Until) -> None:
    running = start([encode_identified(steps(number)) for number in range(20)])
    until(lambda: running.source.committed == {PLACE: 20}, 5)
    assert running.store.size() == 20 * 50
    assert running.metric("events_total") == 100
    assert running.metric("triples_total") == 1000
    assert running.metric("divergence_triples_total") == 0
    assert running.metric("freshness_seconds_count", stage=TOTAL) == 100
    assert running.metric("freshness_seconds_bucket", stage=TOTAL, le="10.0") == 100
    running.end()


def test_a_registry_that_is_away_is_waited_for_and_a_schema_it_lacks_is_a_letter(
    start: Start, steps: Steps, until: Until
) -> None:
    """Framed messages (Confluent's wire format) among our own; only the answer "no such id" is a refusal."""
    away = threading.Event()

    def resolve(number: int) -> str | None:
        if not away.is_set():
            raise RegistryUnavailable("nobody answers")
        return registry.current("identified").text if number == 3 else None

    own = [encode_identified(steps(number)) for number in range(3)]
    framed = [b"\0" + number.to_bytes(4, "big") + own[2][10:] for number in (3, 4)]
    registry.resolve_with(resolve)
    try:
        running = start([own[0], framed[0], own[1], framed[1]])
        until(lambda: (running.metric("retries_total", reason="RegistryUnavailable") or 0) >= 2, 5)
        until(lambda: running.source.committed == {PLACE: 1}, 5)
        assert running.source.paused and not running.letters.letters
        away.set()
        until(lambda: running.source.committed == {PLACE: 4}, 5)
        assert running.store.size() == 150
        (letter,) = running.letters.letters
        assert (letter.reason, letter.value, letter.origin.offset) == ("unknown-schema", framed[1], 3)
        running.end()
    finally:
        registry.resolve_with(None)


def test_a_store_that_is_away_is_waited_for_and_costs_nothing(
    start: Start, steps: Steps, until: Until
) -> None:
    store = MemoryStore()
    store.failures = [StoreBusy("away"), StoreUnknown("who knows"), StoreBusy("away")]
    running = start([encode_identified(steps(1))], store=store)
    until(lambda: running.source.committed, 5)
    assert store.size() == 50 and not running.letters.letters
    assert running.metric("retries_total", reason="StoreBusy") == 2
    assert running.metric("retries_total", reason="StoreUnknown") == 1


def test_repeats_are_counted_and_change_nothing(start: Start, steps: Steps, until: Until) -> None:
    value = encode_identified(steps(1))
    running = start([value, value, value])
    until(lambda: running.source.committed == {PLACE: 3}, 5)
    assert running.store.size() == 50
    assert running.metric("divergence_triples_total") == 100


def test_undecodable_bytes_become_dead_letters_and_the_stream_goes_on(
    start: Start, steps: Steps, until: Until
) -> None:
    good = encode_identified(steps(1))
    garbage = [b"", b"\x00garbage", good[:-3], good + b"x", good[:10] + b"\xff" * 40, b"\xc3\x01" + b"\0" * 8]
    running = start([*garbage, good])
    until(lambda: running.source.committed == {PLACE: len(garbage) + 1}, 5)
    assert running.store.size() == 50
    assert [letter.value for letter in running.letters.letters] == garbage
    assert [letter.origin.offset for letter in running.letters.letters] == list(range(len(garbage)))
    # Bytes that name a schema, of a registry or by fingerprint, may be read one day; the others cannot.
    named = {letter.value for letter in running.letters.letters if letter.reason == "unknown-schema"}
    assert named == {garbage[1], garbage[5]}
    assert {one.reason for one in running.letters.letters if one.value not in named} == {"undecodable"}
    assert {letter.stage for letter in running.letters.letters} == {"sink"}
    assert running.metric("dead_letters_total", reason="undecodable") == len(garbage) - len(named)


def test_an_event_with_an_illegal_iri_is_kept_alone_and_can_be_sent_again(
    start: Start, steps: Steps, until: Until
) -> None:
    running = start([encode_identified(steps(1, events=7, poison="a b"))])
    until(lambda: running.source.committed, 5)
    (letter,) = running.letters.letters
    assert (letter.reason, letter.error) == ("illegal-fact", "IllegalFact")
    again = decode_identified(letter.value)
    assert again.counts == (10,) and again.facts[8][0] == "a b"
    assert running.store.size() == 60


def test_an_event_that_the_store_refuses_is_kept_alone(start: Start, steps: Steps, until: Until) -> None:
    values = [encode_identified(steps(number, poison="odd" if number == 3 else None)) for number in range(8)]
    running = start(values, store=MemoryStore(refuses=lambda line: b"id/odd>" in line))
    until(lambda: running.source.committed == {PLACE: 8}, 5)
    (letter,) = running.letters.letters
    assert (letter.reason, letter.origin.offset) == ("refused-by-store", 3)
    assert "event 2 of its message" in letter.message
    assert running.store.size() == 39 * 10
    assert running.metric("events_total") == 39


def test_dead_letters_that_cannot_be_kept_stop_the_stream(start: Start, steps: Steps, until: Until) -> None:
    running = Running([b"garbage", encode_identified(steps(1))], limits=Limits(triples=10))
    running.letters.broken = True
    running.thread.start()
    try:
        until(lambda: running.metric("retries_total", reason="DeadLettersUnavailable"), 5)
        until(lambda: (running.metric("retries_total", reason="DeadLettersUnavailable") or 0) > 3, 5)
        assert not running.source.committed
        running.letters.broken = False
        until(lambda: running.source.committed == {PLACE: 2}, 5)
        assert len(running.letters.letters) == 1
    finally:
        running.end()


def test_told_to_end_while_the_store_is_away_it_ends_soon_and_commits_nothing(
    start: Start, steps: Steps, until: Until
) -> None:
    store = MemoryStore()
    store.failures = [StoreBusy("away")] * 100_000
    running = start([encode_identified(steps(1))], store=store)
    until(lambda: running.metric("retries_total", reason="StoreBusy"), 5)
    started = time.monotonic()
    running.end()
    assert time.monotonic() - started < 2 and not running.source.committed


class SlowStore(MemoryStore):
    """A store that hangs until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def write(self, ntriples: bytes) -> Any:
        self.release.wait()
        return super().write(ntriples)


def test_a_slow_store_pauses_the_partitions_while_polling_goes_on(
    start: Start, steps: Steps, until: Until
) -> None:
    store = SlowStore()
    running = start(
        [encode_identified(steps(number)) for number in range(1500)], store=store, limits=Limits(triples=100)
    )
    until(lambda: running.source.paused, 5)
    assert running.metric("paused") == 1
    polls = running.source.polls
    until(lambda: running.source.polls >= polls + 2, 5)
    store.release.set()
    until(lambda: running.source.committed == {PLACE: 1500}, 10)
    assert store.size() == 1500 * 50


def test_a_hanging_store_does_not_keep_the_sink_from_ending(start: Start, steps: Steps, until: Until) -> None:
    store = SlowStore()
    running = start([encode_identified(steps(1))], store=store, drain_seconds=0.2)
    until(lambda: not running.source.messages, 5)
    running.end()
    assert not running.source.committed
    store.release.set()


def test_revoked_partitions_are_not_committed(steps: Steps) -> None:
    running = Running([encode_identified(steps(1))], store=SlowStore(), limits=Limits(triples=1))
    running.sink.run_once()
    running.sink.revoked(frozenset({PLACE}), True)
    running.store.release.set()
    for _ in range(100):
        running.sink.run_once()
    assert running.store.size() == 50 and running.source.committed == {}


def test_a_revoked_partition_that_is_soon_written_is_committed(steps: Steps) -> None:
    running = Running([encode_identified(steps(1))], limits=Limits(triples=1))
    running.sink.run_once()
    running.sink.revoked(frozenset({PLACE}), False)
    assert running.source.committed == {PLACE: 1}


def test_the_embedded_mode_writes_the_same_graph_and_keeps_what_is_refused(
    tmp_path: Path, steps: Steps
) -> None:
    store, letters, metrics = OxigraphStore(), FileDeadLetters(tmp_path / "dead" / "letters"), Metrics()
    messages = [steps(number, poison="a%zz" if number == 1 else None) for number in range(4)]
    delivered = write_identified(store, messages, letters, BASE, metrics=metrics, limits=Limits(triples=100))
    assert (delivered.events, len(delivered.letters)) == (19, 1)
    (letter,) = letters.read()
    assert letter == delivered.letters[0] and letter.origin.topic == "headstream.events"
    clean = MemoryStore(lambda line: b"a%zz" in line)
    write_identified(clean, messages, MemoryDeadLetters(), BASE)
    assert graph_hash(store.dump()) == graph_hash(clean.dump())
    letters.close()


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        origin=Origin(topic="t", partition=0, offset=number),
        key=b"k",
        value=bytes(range(256)),
        stage="sink",
        reason="r",
        error="E",
        message="m \u202e",
        at=1,
        attempt=number,
    )


@pytest.mark.parametrize("torn", [1, 7, 8, 9, 100])
def test_a_torn_end_of_the_file_costs_only_the_letter_that_was_not_acknowledged(
    tmp_path: Path, torn: int
) -> None:
    path = tmp_path / "letters"
    file = FileDeadLetters(path)
    file.put([letter(1), letter(2)])
    end = path.stat().st_size
    file.put([letter(3)])
    file.close()
    with path.open("r+b") as raw:
        raw.truncate(end + torn)
    assert list(read_letters(path)) == [letter(1), letter(2)]
    file = FileDeadLetters(path)
    file.put([letter(4)])
    assert list(file.read()) == [letter(1), letter(2), letter(4)]
    file.close()


def test_a_file_that_cannot_be_written_is_unavailable() -> None:
    with pytest.raises(DeadLettersUnavailable):
        FileDeadLetters(Path("/proc/nothing/letters"))


def test_the_freshness_log_has_a_line_an_event(
    tmp_path: Path, start: Start, steps: Steps, until: Until
) -> None:
    path = tmp_path / "freshness"
    running = start([encode_identified(steps(1))], observer=FreshnessLog(path))
    until(lambda: path.read_text().count("\n") == 5, 5)
    happened, stored = map(int, path.read_text().split()[:2])
    assert 0 <= stored - happened < 10_000_000
    running.end()


def test_delays_double_up_to_a_minute_and_spread() -> None:
    schedule = Schedule()
    assert [schedule.delay(n, 0.0) for n in (0, 1, 2, 7, 8, 5000)] == [0.3, 0.6, 1.2, 38.4, 60.0, 60.0]
    assert schedule.delay(8, 0.999) == pytest.approx(30.03)


def test_patience_ends_when_told_to() -> None:
    waits: list[float] = []

    def attempt() -> None:
        raise Unavailable("no")

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 4

    patience = Patience(wait=wait, failed=lambda error, delay: None, chance=lambda: 0.0)
    with pytest.raises(Stopped):
        patience.persist(attempt)
    assert waits == [0.3, 0.6, 1.2, 2.4]


def test_metrics_are_shown_and_a_port_in_use_costs_nothing_else() -> None:
    import httpx

    metrics = Metrics()
    now = 2e9
    metrics.freshness.since(TOTAL, [int((now - age) * 1e6) for age in (0.2, 7.0, 1e9)], now)
    metrics.freshness.add(STORED, 0.3, events=5)
    server = serve(metrics.registry, "127.0.0.1", 0, lambda: "not yet")
    assert server is not None
    port = server.server_address[1]
    assert isinstance(port, int)
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{url}/metrics").content == generate_latest(metrics.registry)
        assert 'freshness_seconds_bucket{le="+Inf",stage="total"} 3.0' in client.get(f"{url}/metrics").text
        assert client.get(f"{url}/readyz").status_code == 503
        assert client.get(f"{url}/healthz").status_code == client.get(f"{url}/livez").status_code == 200
    assert serve(metrics.registry, "127.0.0.1", port, lambda: None) is None
    server.shutdown()
    server.server_close()


def test_a_worker_without_a_store_says_what_to_set() -> None:
    environment = without_settings()
    done = subprocess.run(
        [sys.executable, "-m", "headstream.sinks"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "HEADSTREAM_STORE_URL" in done.stderr
