"""`up` and `down`: in order and in reverse, all or nothing, found again by another command."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headstream.services import ports, processes, state
from headstream.services.errors import AlreadyRunning, PortInUse, StartFailed, StateUnreadable
from headstream.services.processes import Child
from headstream.services.stack import Stack, answers

# Says when it starts and when it is told to stop, in a journal that all share.
CODE = """
import signal, sys, time
def say(word):
    with open({journal!r}, "a") as journal:
        journal.write(word + " {name}\\n")
def end(*_):
    say("stop")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say("start")
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    subject = Stack(tmp_path / "data")
    yield subject
    subject.down()


@pytest.fixture
def part(tmp_path: Path) -> Callable[[str], Child]:
    journal = tmp_path / "journal"

    def make(name: str) -> Child:
        code = CODE.format(journal=str(journal), name=name)
        return Child(
            name=name,
            argv=[sys.executable, "-c", code],
            ready=lambda: journal.exists() and f"start {name}\n" in journal.read_text(),
            log=tmp_path / "data" / "logs" / f"{name}.log",
            url=f"http://127.0.0.1/{name}",
            ports={name: 1},
        )

    return make


def failing(tmp_path: Path) -> Child:
    return Child(
        name="bad", argv=[sys.executable, "-c", "1/0"], ready=lambda: False, log=tmp_path / "data" / "bad.log"
    )


def test_parts_start_in_order_and_stop_in_reverse(
    stack: Stack, part: Callable[[str], Child], tmp_path: Path
) -> None:
    told: list[str] = []
    stack.up("full", [part("a"), part("b")], told.append)
    assert stack.down() == ("b", "a")
    assert (tmp_path / "journal").read_text().split("\n")[:-1] == ["start a", "start b", "stop b", "stop a"]
    assert told[:2] == ["starting a", "a is ready at http://127.0.0.1/a"]


def test_down_leaves_data_and_logs_only(stack: Stack, part: Callable[[str], Child]) -> None:
    up = stack.up("embedded", [part("a")])
    stack.down()
    assert not any(each.alive for each in up.processes)
    assert {path.name for path in stack.data.iterdir()} == {"logs", "services.lock"}
    assert stack.down() == ()


def test_what_is_up_is_found_by_another_command(stack: Stack, part: Callable[[str], Child]) -> None:
    up = stack.up("full", [part("a"), part("b")])
    found = state.read(stack.data)
    assert found == up
    assert found is not None
    assert found.mode == "full"
    assert [each.name for each in found.alive] == ["a", "b"]
    assert found.urls == {"a": "http://127.0.0.1/a", "b": "http://127.0.0.1/b"}
    assert found.ports == {"a": 1, "b": 1}


def test_a_part_that_died_is_recognised(stack: Stack, part: Callable[[str], Child]) -> None:
    up = stack.up("full", [part("a"), part("b")])
    os.kill(up.processes[0].identity.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not up.dead:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    found = state.read(stack.data)
    assert found is not None
    assert [each.name for each in found.dead] == ["a"]
    assert stack.down() == ("b",)


def test_a_second_up_is_refused_and_harms_nothing(stack: Stack, part: Callable[[str], Child]) -> None:
    up = stack.up("full", [part("a")])
    with pytest.raises(AlreadyRunning, match=r"a already run in .*headstream down"):
        stack.up("full", [part("b")])
    assert all(each.alive for each in up.processes)
    assert state.read(stack.data) == up


def test_up_after_a_power_cut_forgets_the_dead(stack: Stack, part: Callable[[str], Child]) -> None:
    up = stack.up("full", [part("a")])
    processes.kill(up.processes[0].identity)
    again = stack.up("full", [part("b")])
    assert [each.name for each in again.alive] == ["b"]


def test_one_part_that_fails_takes_down_those_before_it(
    stack: Stack, part: Callable[[str], Child], tmp_path: Path
) -> None:
    with pytest.raises(StartFailed, match=r"bad died before it was ready(.|\n)*ZeroDivisionError"):
        stack.up("full", [part("a"), failing(tmp_path)])
    assert (tmp_path / "journal").read_text() == "start a\nstop a\n"
    assert state.read(stack.data) is None


def test_an_interrupted_up_takes_down_what_it_started(
    stack: Stack, part: Callable[[str], Child], tmp_path: Path
) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stack.up("full", [part("a"), replace(part("b"), ready=interrupted)])
    assert state.read(stack.data) is None
    assert (tmp_path / "journal").read_text().count("start a\nstop a\n") <= 1


def test_two_ups_at_once_do_not_race(stack: Stack, part: Callable[[str], Child]) -> None:
    inside = threading.Event()
    go_on = threading.Event()

    def slow() -> bool:
        inside.set()
        return go_on.wait(20)

    first = threading.Thread(target=lambda: stack.up("full", [replace(part("a"), ready=slow)]))
    first.start()
    assert inside.wait(20)
    with pytest.raises(AlreadyRunning, match="starting or stopping services"):
        stack.up("full", [part("b")])
    go_on.set()
    first.join(20)
    found = state.read(stack.data)
    assert found is not None
    assert [each.name for each in found.alive] == ["a"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99, "mode": "full"}', '{"mode": "full"}'])
def test_a_state_that_is_not_ours_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "services.json").write_text(text)
    with pytest.raises(StateUnreadable, match=r"services\.json"):
        state.read(tmp_path)


def test_nothing_up_is_none(tmp_path: Path) -> None:
    assert state.read(tmp_path) is None


def test_the_state_is_plain_json(stack: Stack, part: Callable[[str], Child]) -> None:
    stack.up("embedded", [part("a")])
    found = json.loads((stack.data / "services.json").read_text())
    assert found["mode"] == "embedded"
    assert [each["name"] for each in found["processes"]] == ["a"]


def test_a_port_in_use_is_named_with_the_setting_that_changes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert ports.accepts(port)
        with pytest.raises(PortInUse, match=rf"port {port} on 127\.0\.0\.1, wanted for Kafka.*HEADSTREAM_X"):
            ports.demand(port, "Kafka", "HEADSTREAM_X")


def test_a_port_that_any_address_listens_on_is_in_use() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not ports.is_free(server.getsockname()[1])


def test_free_ports_are_different_and_free() -> None:
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    assert all(ports.is_free(port) for port in found)


def test_a_readiness_probe_of_nothing_is_false() -> None:
    (port,) = ports.free_ports(1)
    assert not answers(f"http://127.0.0.1:{port}/")()
