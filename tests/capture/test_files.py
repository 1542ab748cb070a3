"""What files are like is found out aside: the script never waits, and nothing wrong is told."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from headstream import capture
from headstream.capture import Settings, files, recorder, run
from headstream.capture.files import FILES, Inspector
from headstream.capture.owner import writer_lives
from headstream.capture.reading import read, spools
from headstream.schemas.events import Event, RunEnded, ValuesAdded
from headstream.schemas.values import DictValue, Reference, references

from ..environment import without_settings

Told = Callable[[], list[Event]]
ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
PLAN = {
    "dataflow_name": "wf",
    "data_transformations": {
        "t": {"input_datasets": [{"attributes": [{"name": "planned", "semantics": "FILE_REFERENCE"}]}]}
    },
}


@pytest.fixture
def inspector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inspector]:
    """One whose thread has seen nothing of other tests."""
    found = Inspector()
    for module in (recorder, run):
        monkeypatch.setattr(module, "FILES", found)
    yield found
    found.drain(5)


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return path


def settled(inspector: Inspector, seconds: float = 10.0) -> None:
    """Wait until nothing is left to be looked at."""
    with inspector._changed:
        assert inspector._changed.wait_for(lambda: not inspector._open, seconds)


def found(events: list[Event]) -> dict[str, list[Reference]]:
    """What is said of each file, by the last part of its path, in order and each once."""
    said: dict[str, dict[Reference, None]] = {}
    for event in events:
        for value in getattr(event, "values", ()):
            for each in references(value.value):
                said.setdefault(Path(each.text).name, {})[each] = None
    return {name: list(each) for name, each in said.items()}


def test_size_and_time_of_change_follow_the_reference_in_the_same_slot(
    inspector: Inspector, settings: Settings, told: Told, abc: Path
) -> None:
    with capture.workflow("wf", settings=settings) as run, run.task("t") as step:
        step.used(data=capture.metadata(capture.file(abc), unit="m"), lr=0.5)
        settled(inspector)
    first, then = found(told())["abc"]
    assert first == Reference(text=str(abc))
    assert then == Reference(text=str(abc), size_bytes=3, modified=abc.stat().st_mtime_ns // 1000)
    (again,) = [e for e in told() if isinstance(e, ValuesAdded) and e.values[0].value == then]
    assert again.direction == "in" and again.step is not None and again.step.transformation == "t"
    assert [v.name for v in again.values] == ["data"]


def test_files_in_lists_dictionaries_plans_and_outputs_of_the_run_have_facts_too(
    inspector: Inspector, settings: Settings, told: Told, tmp_path: Path
) -> None:
    for name in "abcdef":
        (tmp_path / name).write_text(name * 7)
    here = {name: capture.file(tmp_path / name) for name in "abcdef"}
    with capture.workflow("wf", settings=settings, definition=PLAN) as run:
        run.task("t", used={"planned": str(tmp_path / "a"), "more": [here["b"], 1]}).begin().end()
        with run.task("t") as step:
            step.generated(parts=capture.as_dict({"c": here["c"], "n": {"d": here["d"]}}))
            for turn in step.loop("turn", range(2)):
                turn.generated(model=here["e"])
        run.generated(final=here["f"])
        settled(inspector)
    assert {name: each[-1].size_bytes for name, each in found(told()).items()} == dict.fromkeys("abcdef", 7)
    (parts,) = [
        e.values[0].value for e in told() if isinstance(e, ValuesAdded) and e.values[0].name == "parts" and
        any(r.size_bytes for r in references(e.values[0].value))
    ]  # fmt: skip
    assert isinstance(parts, DictValue) and [key for key, _ in parts.items] == ["c", "n"]


@pytest.mark.parametrize(
    ("asked", "everywhere", "expected"),
    [
        (None, None, None),
        ("sha256", None, ABC),
        ("blake3", None, f"blake3:{blake3(b'abc').hexdigest()}"),
        (None, "sha256", ABC),
        ("blake3", "sha256", f"blake3:{blake3(b'abc').hexdigest()}"),
        ("off", "sha256", None),
        ("etag:17", "sha256", "etag:17"),
    ],
)
def test_a_checksum_is_what_the_file_asks_for_else_what_the_settings_ask_for(
    inspector: Inspector, spool: Path, told: Told, abc: Path, asked: str, everywhere: str, expected: str
) -> None:
    settings = Settings(spool=spool, git=False, packages=False, checksum=everywhere)
    with capture.workflow("wf", settings=settings) as run:
        run.task("t", used={"f": capture.file(abc, checksum=asked)}).begin().end()
        settled(inspector)
    last = found(told())["abc"][-1]
    assert (last.checksum, last.size_bytes) == (expected, 3)
    assert capture.warnings() == {"reference-without-store": 1}


def test_no_facts_are_told_where_they_are_off_but_a_checksum_that_is_asked_for_is(
    inspector: Inspector, spool: Path, told: Told, abc: Path
) -> None:
    settings = Settings.from_env(
        {"HEADSTREAM_SPOOL": str(spool), "HEADSTREAM_GIT": "off", "HEADSTREAM_FILE_FACTS": "off"}
    )
    with capture.workflow("wf", settings=settings) as run:
        run.task("t", used={"f": capture.file(abc)}).begin().end()
        assert inspector._thread is None
        run.task("t", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        settled(inspector)
    assert found(told())["abc"] == [Reference(text=str(abc)), Reference(text=str(abc), checksum=ABC)]


def test_what_cannot_be_read_is_counted_and_what_is_not_there_just_has_no_facts(
    inspector: Inspector, settings: Settings, told: Told, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with capture.workflow("wf", settings=settings) as run, run.task("t") as step:
        step.used(absent=capture.file(tmp_path / "absent"), url=capture.file("s3://bucket/key"))
        step.used(nul=capture.file("/tmp/a\0b"), loop=capture.file(tmp_path / "loop"))
        settled(inspector)
        assert capture.warnings() == {"reference-without-store": 4, "file-not-read": 2}
        for name in ("absent", "pipe", "folder"):
            step.used(**{name: capture.file(tmp_path / name, checksum="sha256")})
        settled(inspector)
        step.used(f=capture.file(tmp_path / "folder", checksum="off"))
    assert capture.warnings()["checksum-not-computed"] == 3
    assert [r.size_bytes for r in found(told())["folder"]] == [None, None]
    assert [r.modified is None for r in found(told())["folder"]] == [True, False]
    assert len(found(told())["absent"]) == 1


def test_an_algorithm_that_is_none_or_not_installed_costs_the_checksum_and_is_counted(
    inspector: Inspector, spool: Path, told: Told, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    settings = Settings(spool=spool, git=False, packages=False, checksum="md4")
    with capture.workflow("wf", settings=settings) as run, run.task("t") as step:
        step.used(f=capture.file(abc, checksum="blake3"))
        step.used(g=capture.file(abc))
        settled(inspector)
    assert capture.warnings()["checksum-not-computed"] == 2
    assert "headstream[blake3]" in str(capture.errors.WARNINGS.message("checksum-not-computed"))
    assert found(told())["abc"][-1].size_bytes == 3


def test_a_file_that_changes_while_it_is_read_gets_no_checksum(
    settings: Settings, told: Told, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disturbed(Inspector):
        def _between(self) -> None:
            if abc.stat().st_size < 9:  # Else it would never end.
                with abc.open("ab") as more:
                    more.write(b"d")

    disturbed = Disturbed()
    monkeypatch.setattr(recorder, "FILES", disturbed)
    monkeypatch.setattr(files, "_CHUNK", 3)
    with capture.workflow("wf", settings=settings) as run:
        run.task("t", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        settled(disturbed)
    assert [r.checksum for r in found(told())["abc"]] == [None, None]
    assert capture.warnings()["checksum-not-computed"] == 1
    disturbed.drain(5)


class Counting(Inspector):
    """One that counts how often it reads a file."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def _digest(self, handle: int, algorithm: str) -> str:
        self.read += 1
        return super()._digest(handle, algorithm)


def test_a_file_is_read_once_as_long_as_it_does_not_change(
    settings: Settings, told: Told, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    monkeypatch.setattr(recorder, "FILES", counting)
    monkeypatch.setattr(files, "_SETTLED_NS", -1)
    with capture.workflow("wf", settings=settings) as run:
        for _ in range(3):
            run.task("t", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        settled(counting)
        assert counting.read == 1
        run.task("t", used={"f": capture.file(abc, checksum="blake3")}).begin().end()
        settled(counting)
        abc.write_bytes(b"abd")
        run.task("t", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        settled(counting)
    assert counting.read == 3
    again = [e for e in told() if isinstance(e, ValuesAdded)]
    assert len(again) == 3  # What is known is not said again.
    assert found(told())["abc"][-1].checksum == f"sha256:{hashlib.sha256(b'abd').hexdigest()}"
    counting.drain(5)


def test_a_file_that_has_just_been_written_is_read_again_since_its_clock_may_not_show_a_change(
    settings: Settings, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    monkeypatch.setattr(recorder, "FILES", counting)
    abc.write_bytes(b"abc")
    with capture.workflow("wf", settings=settings) as run:
        for _ in range(2):
            run.task("t", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        settled(counting)
    assert counting.read == 2
    counting.drain(5)


class Hung:
    """A file system that does not answer for one path until it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.asked, self.answer = threading.Event(), threading.Event()
        stat = os.stat

        def hanging(asked: Any, **more: Any) -> os.stat_result:
            if asked == str(path):
                self.asked.set()
                assert self.answer.wait(30)
            return stat(asked, **more)

        monkeypatch.setattr(files.os, "stat", hanging)


def test_a_script_goes_on_and_ends_its_run_while_a_file_system_hangs_and_the_facts_follow(
    inspector: Inspector, settings: Settings, spool: Path, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Hung(monkeypatch, abc)
    with capture.workflow("wf", settings=settings) as run:
        begun = time.monotonic()
        for _ in range(100):
            run.task("t", used={"f": capture.file(abc)}).begin().end()
        assert hung.asked.wait(10)
        assert time.monotonic() - begun < 5
        time.sleep(2 * files._STUCK_SECONDS)  # So long it must take to be known as hung.
        begun = time.monotonic()
    assert time.monotonic() - begun < files._STUCK_SECONDS
    (directory,) = spools(spool)
    events = [e for bag in read(directory) for e in bag.events]  # type: ignore[union-attr]
    assert isinstance(events[-1], RunEnded) and len(found(events)["abc"]) == 1
    assert writer_lives(directory)  # So nobody takes the spool away.
    hung.answer.set()
    assert _await(lambda: not writer_lives(directory))
    events = [e for bag in read(directory) for e in bag.events]  # type: ignore[union-attr]
    assert found(events)["abc"][-1].size_bytes == 3
    assert capture.losses() == {}


def _await(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_what_does_not_fit_into_the_queue_is_counted(
    inspector: Inspector, settings: Settings, abc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = Hung(monkeypatch, abc)
    monkeypatch.setattr(files, "_MOST_JOBS", 3)
    with capture.workflow("wf", settings=settings) as run:
        run.task("t", used={"f": capture.file(abc)}).begin().end()
        assert hung.asked.wait(10)
        for _ in range(8):
            run.task("t", used={"f": capture.file(abc)}).begin().end()
        assert capture.warnings()["file-facts-not-told"] == 5
        hung.answer.set()
        settled(inspector)


def test_while_a_large_file_is_read_small_ones_are_told(
    inspector: Inspector, settings: Settings, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LARGE", 4)
    monkeypatch.setattr(files, "_CHUNK", 2)
    (tmp_path / "large").write_bytes(b"0123456789")
    (tmp_path / "small").write_bytes(b"abc")
    begun, go = threading.Event(), threading.Event()
    between = inspector._between

    def waiting() -> None:
        begun.set()
        assert go.wait(30)
        between()

    monkeypatch.setattr(inspector, "_between", waiting)
    with capture.workflow("wf", settings=settings) as run, run.task("t") as step:
        step.used(large=capture.file(tmp_path / "large", checksum="sha256"))
        assert begun.wait(10)
        step.used(small=capture.file(tmp_path / "small"))
        go.set()
        settled(inspector)
    said = [(Path(r.text).name, r.checksum is not None) for e in told() if isinstance(e, ValuesAdded)
            for v in e.values for r in references(v.value) if r.size_bytes]  # fmt: skip
    assert said == [("large", False), ("small", False), ("large", True)]


def test_a_forked_child_looks_for_itself(settings: Settings, told: Told, abc: Path) -> None:
    def child(run: capture.Run) -> None:
        with run.task("child") as step:
            step.used(f=capture.file(abc, checksum="sha256"))
        settled(FILES)

    with capture.workflow("wf", settings=settings) as run:
        run.task("parent", used={"f": capture.file(abc, checksum="sha256")}).begin().end()
        process = multiprocessing.get_context("fork").Process(target=child, args=(run,))
        process.start()
        process.join(30)
        assert process.exitcode == 0
        settled(FILES)
    sums = [(e.step.transformation, r.checksum) for e in told() if isinstance(e, ValuesAdded) and e.step
            for v in e.values for r in references(v.value) if r.checksum]  # fmt: skip
    assert sorted(sums) == [("child", ABC), ("parent", ABC)]


SCRIPT = """
import os, sys, time
from headstream import capture

stat = os.stat
os.stat = lambda path, **more: time.sleep(600) if str(path).endswith("hung") else stat(path, **more)
with capture.workflow("wf") as run, run.task("t") as step:
    step.used(good=capture.file("good", checksum="sha256"))
    {hung}
"""


@pytest.mark.parametrize(("hung", "warned"), [("pass", False), ("step.used(f=capture.file('hung'))", True)])
def test_a_script_that_ends_at_once_tells_its_files_and_never_waits_longer_than_it_may(
    tmp_path: Path, spool: Path, hung: str, warned: bool
) -> None:
    (tmp_path / "good").write_bytes(b"abc")
    environ = without_settings()
    environ |= {"HEADSTREAM_SPOOL": str(spool), "HEADSTREAM_EXIT_SECONDS": "1", "HEADSTREAM_GIT": "off"}
    show = "\nimport atexit, json\natexit._run_exitfuncs()\nprint(json.dumps(capture.warnings()))"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(hung=hung) + show],
        env=environ, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert time.monotonic() - begun < 10
    assert ("file-facts-not-told" in json.loads(done.stdout)) == warned
    events = [e for d in spools(spool) for bag in read(d) for e in bag.events]  # type: ignore[union-attr]
    last = found(events)["good"][-1]
    assert (last.checksum, last.size_bytes) == (ABC, 3)
