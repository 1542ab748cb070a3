"""`dead-letters`: what was refused is listed, shown, sent again and dropped, in both modes."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from headstream.embedded import Pipeline, Shelf
from headstream.errors import CommandError
from headstream.letters import FileBox, Wanted, moment, run_of
from headstream.places import Places
from headstream.schemas.codec import encode_bag
from headstream.schemas.dead_letters import ASKED, WAITING, to_headers
from headstream.schemas.events import Bag, RunEnded, RunStarted
from headstream.schemas.facts import DeadLetter, Origin
from headstream.schemas.topics import Topics
from headstream.sinks.dead_letters import FileDeadLetters, Settlements
from headstream.sinks.errors import DeadLettersUnavailable
from headstream.sinks.stores import OxigraphStore
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings

NOW = time.time_ns() // 1000


def bag(execution: str, outcome: str = "FINISHED") -> Bag:
    ended = RunEnded(started=1, ended=2, outcome=outcome)
    return Bag(workflow="w", execution=execution, events=(RunStarted(started=1), ended))


def letter(execution: str, *, outcome: str = "FINISHED", **more: Any) -> DeadLetter:
    made = DeadLetter(
        origin=Origin(topic="spool:p", partition=0, offset=1),
        key=f"w/{execution}".encode(),
        value=encode_bag(bag(execution, outcome)),
        stage="tracker",
        reason="tracker-failed",
        error="ZeroDivisionError",
        message="a fault [bold]that is[/bold] mended\x1b[31m",
        at=NOW,
    )
    return replace(made, **more)


def refused(data: Path, *letters: DeadLetter) -> None:
    file = FileDeadLetters(data / "dead-letters")
    file.put(letters)
    file.close()


@pytest.fixture
def refusals(cli: Any) -> Any:
    refused(
        cli.data,
        letter("r1"),
        letter("r2", outcome="nonsense", reason="invalid-event"),
        letter("r3", value=b"\xde\xad\xbe\xef", reason="undecodable", at=NOW - 3 * 86_400_000_000),
        letter("r4", reason="refused-by-store", stage="sink"),
    )
    return cli


def test_letters_are_listed_by_what_one_looks_for_and_shown_whole(refusals: Any) -> None:
    listed = refusals("dead-letters", "list", "--json").json
    assert [each["run"] for each in listed] == ["r1", "r2", "r3", "r4"]
    ids = {each["run"]: each["id"] for each in listed}
    kept = FileBox(Places(refusals.data)).kept(lambda done, total: None)
    for wanted, runs in (
        (Wanted(reasons=frozenset({"invalid-event", "undecodable"})), ["r2", "r3"]),
        (Wanted(stages=frozenset({"sink"})), ["r4"]),
        (Wanted(since=moment("1d", datetime.now(UTC))), ["r1", "r2", "r4"]),
        (Wanted(workflow="w", execution="r3"), ["r3"]),
        (Wanted(topics=frozenset({"elsewhere"})), []),
        (Wanted(states=frozenset({"dropped"})), []),
    ):
        assert [run_of(each.letter)[1] for each in kept if wanted.holds(each)] == runs, wanted
    some = ["--reason", "invalid-event", "--reason", "undecodable", "--limit", "1"]
    assert [e["run"] for e in refusals("dead-letters", "list", "--json", *some).json] == ["r2"]
    table = refusals("dead-letters", "list")
    assert ids["r1"] in table.out and "[bold]" in table.out and "\x1b" not in table.out
    shown = refusals("dead-letters", "show", ids["r1"], "--json").json
    assert shown["payload"]["events"][1]["event"] == "RunEnded" and shown["attempt"] == 1
    head = refusals("dead-letters", "show", ids["r3"])
    assert "dead beef" in head.out and "c301" in head.out and head.status == 0
    wrong = refusals("dead-letters", "show", "dead-letters-0-7777")
    assert wrong.status == 1 and "list --all" in wrong.said


def test_what_is_sent_again_is_in_the_graph_and_what_is_refused_again_says_so(refusals: Any) -> None:
    ids = {each["run"]: each["id"] for each in refusals("dead-letters", "list", "--json").json}
    dry = refusals("dead-letters", "redrive", "--reason", "tracker-failed", "--dry-run")
    assert dry.out.split() == [ids["r1"]] and "would be sent again" in dry.err
    early = refusals("dead-letters", "redrive", ids["r1"], "--json")
    assert early.json["sent"] == 0 and "headstream up" in early.err, "nothing is up yet"
    assert refusals("up", "--detach").status == 0
    refusals.until(lambda: refusals.runs() == 1, "the letter of before in the graph")
    again = refusals("dead-letters", "redrive", ids["r2"], "--json")
    assert again.json["sent"] == 1, again.err
    states = {
        (e["run"], e["attempt"]): e["state"] for e in refusals("dead-letters", "list", "--all", "--json").json
    }
    assert states[("r1", 1)] == states[("r2", 1)] == "redriven"
    assert states[("r2", 2)] == "waiting" and states[("r3", 1)] == "waiting"


def test_dropping_wants_to_know_what_and_is_sure(refusals: Any) -> None:
    ids = {each["run"]: each["id"] for each in refusals("dead-letters", "list", "--json").json}
    assert "--all" in refusals("dead-letters", "drop", "--yes").said
    assert refusals("dead-letters", "drop", "--stage", "sink", stdin="n\n").status != 0
    assert refusals("dead-letters", "drop", "--stage", "sink", "--json").status == 1
    done = refusals("dead-letters", "drop", ids["r3"], "--yes", "--json")
    assert done.json == {"chosen": [ids["r3"]], "dropped": 1, "dry_run": False}
    assert ids["r3"] not in refusals("dead-letters", "list").out
    assert refusals("dead-letters", "drop", "--all", "--yes").status == 0
    assert refusals("dead-letters", "list", "--json").json == []


def test_the_topic_of_a_broker_is_served_by_the_same_commands(
    cli: Any, kafka: Any, topic_prefix: str
) -> None:
    names = Topics(topic_prefix.rstrip("."))
    topics.create(Settings(bootstrap=kafka.bootstrap, topics=names))
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for execution, origin in (("r1", names.events), ("r2", "somebody.elses")):
        sent = letter(execution, origin=Origin(topic=origin, partition=0, offset=5))
        producer.produce(names.dead_letters, sent.value, sent.key, headers=to_headers(sent), partition=1)
    assert producer.flush(20) == 0
    env = {"HEADSTREAM_BOOTSTRAP": kafka.bootstrap, "HEADSTREAM_TOPIC_PREFIX": names.prefix}
    listed = cli("dead-letters", "list", "--json", env=env).json
    assert [each["id"] for each in listed] == [f"{names.dead_letters}-1-{n}" for n in (0, 1)]
    ours, other = (each["id"] for each in listed)
    assert cli("dead-letters", "show", ours, "--json", env=env).json["payload"]["execution"] == "r1"
    assert "HEADSTREAM_TOPIC_PREFIX" in cli("dead-letters", "redrive", other, env=env).said
    assert cli("dead-letters", "redrive", ours, env=env).out.split() == [ours]
    assert cli("dead-letters", "drop", "--all", "--yes", env=env).out.split() == [other]
    assert cli("dead-letters", "list", "--json", env=env).json == []


def test_a_since_is_a_time_or_how_long_ago() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    day = 86_400_000_000
    assert moment("1d", now) == moment("24h", now) == moment("2026-01-01", now)
    assert moment("2026-01-01T01:00:00+01:00", now) == int(now.timestamp()) * 1_000_000 - day
    with pytest.raises(CommandError, match="--since 'yesterday'"):
        moment("yesterday", now)


class Full(FileDeadLetters):
    """A file on a disk that is full."""

    full = True

    def put(self, letters: Any) -> None:
        if self.full:
            raise DeadLettersUnavailable("the disk is full")
        super().put(letters)


def test_a_file_that_takes_no_letters_holds_up_what_follows_until_it_does(tmp_path: Path) -> None:
    store, file = OxigraphStore(), Full(tmp_path / "dead-letters")
    pipeline = Pipeline(store, Shelf(tmp_path / "documents"), file)
    pipeline.send(bag("r1", outcome="nonsense"))
    assert pipeline.flush(0.0) > 0, "nothing is acknowledged"
    assert store.size() == 0
    file.full = False
    assert pipeline.flush(0.0) == 0
    (kept,) = file.read()
    assert kept.reason == "invalid-event" and store.size() > 0
    pipeline.close()


def test_a_line_torn_by_a_crash_costs_no_other(tmp_path: Path) -> None:
    settlements = Settlements(tmp_path / "settled")
    settlements.put([1, 2], ASKED, NOW)
    whole = settlements.path.read_bytes()
    for cut in range(len(whole)):
        settlements.path.write_bytes(whole[:cut])
        settlements.put([9], WAITING, NOW)
        assert settlements.read()[9] == WAITING
        assert set(settlements.read()) <= {1, 2, 9}
    assert json.dumps(ASKED).encode() in whole


def test_messages_of_foreign_clients_are_listed_and_shown_but_never_sent_to_a_topic(cli: Any) -> None:
    message = b'[{"act_type": "party"}]'
    foreign = letter("r1", stage="gateway", reason="unknown-act", value=message)
    file = FileDeadLetters(cli.data / "gateway-dead-letters")
    file.put([replace(foreign, origin=Origin(topic="gateway:provlake", partition=0, offset=1))])
    file.close()
    (found,) = cli("dead-letters", "list", "--stage", "gateway", "--json").json
    assert (found["workflow"], found["run"], found["reason"]) == ("w", "r1", "unknown-act")
    assert cli("dead-letters", "show", found["id"], "--json").json["payload"] == json.loads(message)
    sent = cli("dead-letters", "redrive", found["id"])
    assert sent.status == 0 and "headstream ingest" in sent.said
    assert cli("dead-letters", "drop", found["id"], "--yes", "--json").json["dropped"] == 1
    assert cli("dead-letters", "list", "--json").json == []
