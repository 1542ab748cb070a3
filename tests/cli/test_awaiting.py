"""What `define` and `ingest` leave in the spool is awaited in one way, and ends with one exit status."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from headstream.cli.awaiting import Awaited, Taker

DATA = Path(__file__).parents[1] / "data"
COMMANDS = {
    "define": ("define", "d.yaml"),
    "provlake": ("ingest", "provlake", str(DATA.parent / "gateway" / "data" / "recorded.log")),
    "flowcept": ("ingest", "flowcept", str(DATA / "flowcept" / "flowcept_buffer.jsonl")),
}


def written(cli: Any) -> Any:
    (cli.home / "d.yaml").write_text("dataflow_name: mine\nworkflow_type: Experiment\n")
    return cli


def test_with_nothing_up_it_waits_for_the_next_start(cli: Any) -> None:
    for name, command in COMMANDS.items():
        told = written(cli)(*command)
        assert told.status == 0, (name, told)
        assert f"nothing is up in {cli.data}" in told.said and "until `headstream up` or `ship`" in told.said


def test_a_service_that_is_stuck_or_has_died_fails_the_command_and_is_named_with_its_log(up: Any) -> None:
    written(up)
    service = psutil.Process(up.services()["embedded"]["pid"])
    service.send_signal(signal.SIGSTOP)
    try:
        unasked = up(*COMMANDS["define"], "--wait", "0", "--json")
        assert unasked.status == 0 and unasked.json["taken"] is False, unasked.err
        assert "embedded takes it in" in unasked.said, "nobody was asked to wait"
        for name, command in COMMANDS.items():
            told = up(*command, "--wait", "0.2")
            assert told.status == 1 and "embedded has taken nothing within 0.2 s" in told.said, (name, told)
            assert ".log, may say why" in told.said
    finally:
        service.kill()
    up.until(lambda: not psutil.pid_exists(service.pid) or service.status() == "zombie", "the service dead")
    for name, command in COMMANDS.items():
        told = up(*command)
        assert told.status == 1 and "embedded has died" in told.said, (name, told)
        assert "until `headstream up` starts it again" in told.said


AWAITED = Awaited(
    data=Path("data"),
    spools=(Path("spool/a"), Path("spool/b")),
    waiting=2,
    begun=False,
    taker=Taker(name="relay", log=Path("relay.log"), alive=True),
    seconds=5.0,
)


@pytest.mark.parametrize(
    ("awaited", "failed", "sentence"),
    [
        (replace(AWAITED, waiting=0, begun=True), False, "taken by relay"),
        (replace(AWAITED, waiting=0, begun=True, taker=None), False, "taken"),
        (AWAITED, True, "relay has taken nothing within 5 s: 2 spools wait in spool; its log, relay.log,"),
        (replace(AWAITED, waiting=1, begun=True), False, "relay takes it in: 1 of 2 spools wait in spool"),
        (
            replace(AWAITED, spools=(Path("spool/a"),), waiting=1, taker=None),
            False,
            "nothing is up in data: it",
        ),
    ],
)
def test_only_a_service_that_takes_nothing_is_a_failure(
    awaited: Awaited, failed: bool, sentence: str
) -> None:
    """One that is slow goes on: an import of many runs takes longer than anybody wants to wait."""
    assert awaited.failed is failed
    assert awaited.sentence.startswith(sentence), awaited.sentence
