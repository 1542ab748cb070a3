"""A shipper in a process of its own: it goes with the script, and the script does not notice it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstream import capture
from headstream.capture import Settings
from headstream.capture.delegate import _shared
from headstream.capture.helper import Helper, Input, settings_of
from headstream.capture.reading import spools
from headstream.capture.transports.memory import MemoryTransport
from headstream.schemas.clients import RegistryOptions
from headstream.schemas.events import Bag, event_count


class Served:
    """A helper in a thread, at the other end of a pipe."""

    def __init__(self, settings: Settings, transport: MemoryTransport) -> None:
        theirs, self._to = os.pipe()
        self.answers: list[Any] = []
        self.answered = threading.Event()

        def answer(said: Any) -> None:
            self.answers.append(said)
            self.answered.set()

        def serve() -> None:
            Helper(settings, lambda _: transport).serve(Input(theirs), answer)
            os.close(theirs)

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()

    def say(self, message: Any) -> None:
        os.write(self._to, json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        os.close(self._to)
        self.thread.join(20)
        assert not self.thread.is_alive()


def _count(bags: list[Bag]) -> int:
    return sum(event_count(e) for bag in bags for e in bag.events)


def _until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def test_a_helper_ships_what_it_is_told_of_and_answers_when_it_is_done(spool: Path) -> None:
    settings = Settings(spool=spool, git=False, packages=False, exit_seconds=10)
    transport = MemoryTransport()
    served = Served(settings, transport)
    with capture.workflow("w", settings=settings) as run:
        directory = run.recorder.writer.directory
        served.say({"spool": str(directory)})
        run.task("t").begin().end()
        assert _until(lambda: _count(transport.bags) == 3)
    served.say({"drain": 10.0})
    assert served.answered.wait(20)
    assert served.answers == [{"waiting": 0, "losses": {}, "warnings": {}}]
    assert _count(transport.bags) == 4 and spools(spool) == [] and transport.closed
    served.end()


def test_a_helper_leaves_in_the_spool_what_cannot_be_shipped(spool: Path) -> None:
    settings = Settings(spool=spool, git=False, packages=False, exit_seconds=0.3)
    with capture.workflow("w", settings=settings):
        pass
    served = Served(settings, MemoryTransport(up=False))
    served.say({"spool": str(spools(spool)[0])})
    served.say({"drain": 0.3})
    assert served.answered.wait(20)
    assert served.answers[0]["waiting"] != 0
    served.end()
    assert len(spools(spool)) == 1


def test_what_a_script_set_is_what_its_helper_has(tmp_path: Path) -> None:
    kafka = (("sasl.password", "x"),)
    registry = RegistryOptions(url="http://registry:8081", user="lee", password="y")
    settings = Settings(spool=tmp_path, bootstrap="h:1", kafka=kafka, registry=registry, bag_size=7)
    assert settings_of(json.loads(json.dumps(_shared(settings)))) == settings


BODY = """
import os, sys, time, signal
from headstream import capture
run = capture.workflow("w").begin()
for turn in run.loop("t", range(100)):
    turn.generated(loss=0.5)
try:
    os.wait()
except ChildProcessError:
    print("no children", flush=True)
time.sleep({seconds})
"""


def _helpers(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (
                b"headstream.capture.helper" in (entry / "cmdline").read_bytes()
                and mark.encode() in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _script(spool: Path, seconds: float) -> subprocess.Popen[str]:
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
        "HEADSTREAM_BOOTSTRAP": "127.0.0.1:9",
        "HEADSTREAM_EXIT_SECONDS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", BODY.format(seconds=seconds)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_helper_goes_with_its_script_and_the_script_has_no_child(spool: Path) -> None:
    child = _script(spool, 60)
    assert child.stdout is not None and child.stdout.readline() == "no children\n"
    assert _until(lambda: len(_helpers(str(spool))) == 1)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert _until(lambda: _helpers(str(spool)) == [])
    assert len(spools(spool)) == 1


def test_a_script_says_in_one_line_what_its_helper_could_not_ship(spool: Path) -> None:
    child = _script(spool, 0)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 0
    assert said.count("\n") == 1 and "headstream ship" in said
    assert _until(lambda: _helpers(str(spool)) == []) and len(spools(spool)) == 1


def test_a_script_whose_helper_was_killed_keeps_its_spool_and_its_exit_code(spool: Path) -> None:
    child = _script(spool, 3)
    assert _until(lambda: len(_helpers(str(spool))) == 1)
    for pid in _helpers(str(spool)):
        os.kill(pid, signal.SIGKILL)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 0 and "headstream ship" in said and "Traceback" not in said
    assert len(spools(spool)) == 1


MANY = """
import os, sys
from headstream import capture
with capture.workflow("first"):
    pass
print("begun", flush=True)
sys.stdin.readline()
for n in range(500):
    with capture.workflow("w"):
        pass
"""


def test_a_helper_that_hangs_makes_no_script_wait(spool: Path) -> None:
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_BOOTSTRAP": "127.0.0.1:9",
        "HEADSTREAM_EXIT_SECONDS": "1",
        "HEADSTREAM_SEGMENT_BYTES": "4096",
    }
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", MANY], env=env, text=True, **pipes)  # type: ignore[call-overload]
    assert child.stdout.readline() == "begun\n"
    assert _until(lambda: len(_helpers(str(spool))) == 1)
    (helper,) = _helpers(str(spool))
    os.kill(helper, signal.SIGSTOP)
    try:
        _, said = child.communicate("go\n", timeout=200)
    finally:
        os.kill(helper, signal.SIGKILL)
    assert child.returncode == 0 and said.count("\n") == 1 and "headstream ship" in said, said
    assert len(spools(spool)) == 501
