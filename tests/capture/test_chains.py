"""Steps are short frames that refer to each other; what they tell is what words would tell."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from headstream import capture
from headstream.capture import Settings, chains, forms, frames
from headstream.capture.logs import DirectoryLog
from headstream.capture.reading import Checkpoint, Reader, read, spools
from headstream.capture.spool import Writer
from headstream.schemas.definition import parse_definition
from headstream.schemas.events import Bag, Event, StepEnded, StepRef, StepStarted, ValuesAdded
from headstream.schemas.values import Reference

Told = Callable[[], list[Event]]

PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["\ud800", "x" * 1500, "\0é😀"]),
)
RICH = st.one_of(PLAIN, st.none(), st.binary(max_size=4), st.lists(st.integers(), max_size=3))
SAID = st.dictionaries(st.sampled_from(["a", "b", 'q"', "é", "for"]), RICH, max_size=3)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from("xyz"), SAID),
        st.tuples(st.sampled_from(["used", "generated"]), st.integers(0, 3), SAID),
        st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(["FINISHED", "ERRORED", "why"])),
        st.tuples(st.just("turn"), st.sampled_from("uv"), SAID),
    ),
    max_size=25,
)


def act(acts: list[tuple[Any, ...]], settings: Settings, between: Callable[[], None] = lambda: None) -> None:
    """Do what the list says: steps inside steps, said to at any depth, ended in any order."""
    run = capture.workflow("w", execution="e", settings=settings).begin()
    opened: list[capture.Step] = []
    for kind, which, said in acts:
        between()
        if kind == "open":
            outer = opened[-1] if opened and len(opened) % 3 else run
            opened.append(outer.task(which, used=said).begin())
        elif kind == "turn":
            for turn in (opened[-1] if opened else run).loop(which, range(2), index_as="n"):
                turn.used(**said)
                turn.generated(a=1)
        elif opened and kind == "end":
            step = opened[-1 - which % len(opened)]
            step.end(None if said == "why" else said, said if said == "why" else None)
        elif opened:
            getattr(opened[-1 - which % len(opened)], kind)(**said)
    between()
    run.end()


def events(settings: Settings) -> list[Event]:
    assert settings.spool is not None
    (directory,) = spools(settings.spool)
    return [e for c in read(directory) if isinstance(c, Bag) for e in c.events]


def timeless(found: list[Event]) -> list[str]:
    """Events without what two runs cannot have in common. As text: a NaN is no equal of another."""
    kept = []
    for event in found:
        if isinstance(event, StepStarted | StepEnded):
            event = dataclasses.replace(event, started=0, context=None)
        if isinstance(event, StepEnded):
            parts = tuple(dataclasses.replace(part, total=0, least=0, most=0) for part in event.parts)
            event = dataclasses.replace(event, ended=0, parts=parts)
        if isinstance(event, ValuesAdded):
            event = dataclasses.replace(event, at=0)
        if isinstance(event, StepStarted | StepEnded | ValuesAdded):
            kept.append(repr(event))
    return kept


@contextmanager
def in_words() -> Iterator[None]:
    """Refuse every chain, as a writer does that is in the middle of another frame."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "link", lambda *_: False)
        yield


@trials(max_examples=150, deadline=None)
@given(acts=ACTS, small=st.booleans())
def test_a_chain_tells_what_words_tell(acts: list[tuple[Any, ...]], small: bool) -> None:
    with TemporaryDirectory() as folder:
        where = [
            Settings(spool=Path(folder, name), git=False, packages=False, segment_bytes=4096) for name in "cw"
        ]
        with pytest.MonkeyPatch.context() as patch:
            if small:  # Segments of a page: chains are cut in mid step.
                patch.setattr("headstream.capture.spool.FIRST_SEGMENT", 4096)
            act(acts, where[0])
            with in_words():
                act(acts, where[1])
        assert timeless(events(where[0])) == timeless(events(where[1]))


@trials(max_examples=60, deadline=None)
@given(acts=ACTS, bag=st.integers(1, 3))
def test_a_reader_that_begins_anywhere_goes_on_the_same(acts: list[tuple[Any, ...]], bag: int) -> None:
    with TemporaryDirectory() as folder:
        settings = Settings(spool=Path(folder, "s"), git=False, packages=False)
        act(acts, settings)
        (directory,) = spools(Path(folder, "s"))
        whole = [item.content for item in Reader(DirectoryLog(directory), bag_size=bag).poll()]
        found, checkpoint = [], Checkpoint()
        while True:
            # Each bag by a reader that knows nothing but the checkpoint of the one before, as text.
            reader = Reader(DirectoryLog(directory), Checkpoint.load(checkpoint.dump()), bag_size=bag)
            item = next(reader.poll(), None)
            if item is None:
                break
            found.append(item.content)
            checkpoint = item.checkpoint
        assert repr(found) == repr(whole)


@trials(max_examples=100, deadline=None)
@given(acts=ACTS, data=st.data(), small=st.booleans())
def test_whoever_reads_along_is_told_everything_once(
    acts: list[tuple[Any, ...]], data: st.DataObject, small: bool
) -> None:
    found: list[Event] = []
    checkpoint = Checkpoint()

    def look(directory: Path) -> None:
        """Read what has come, by a reader that knows the checkpoint alone; perhaps only a part of it."""
        nonlocal checkpoint
        reader = Reader(DirectoryLog(directory), Checkpoint.load(checkpoint.dump()), bag_size=2)
        for item in reader.poll(data.draw(st.integers(1, 5))):
            checkpoint = item.checkpoint
            found.extend(item.content.events if isinstance(item.content, Bag) else ())

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        settings = Settings(spool=Path(folder, "s"), git=False, packages=False, segment_bytes=4096)
        if small:
            patch.setattr("headstream.capture.spool.FIRST_SEGMENT", 4096)

        def between() -> None:
            for directory in spools(Path(folder, "s")) if data.draw(st.booleans()) else ():
                look(directory)

        act(acts, settings, between)
        (directory,) = spools(Path(folder, "s"))
        while not checkpoint.done:
            before = checkpoint
            reader = Reader(DirectoryLog(directory), checkpoint, bag_size=50)
            for item in reader.poll():
                found.extend(item.content.events if isinstance(item.content, Bag) else ())
            checkpoint = reader.checkpoint
            assert checkpoint != before
        assert sorted(map(repr, found)) == sorted(map(repr, events(settings)))


SLOTS = st.lists(
    st.tuples(st.floats(0, 1), st.text(max_size=40), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=30,
)


@trials(max_examples=60, deadline=None)
@given(steps=SLOTS)
def test_steps_that_say_the_same_again_and_again_are_told_as_in_words(
    steps: list[tuple[float, str, int, bool]],
) -> None:
    """Of such steps the first frame has room for what they say and for their end."""

    def body(settings: Settings) -> None:
        with capture.workflow("w", execution="e", settings=settings) as run, run.task("outer") as outer:
            for loss, model, more, tell in steps:
                with outer.task("t", used={"text": model, "n": more}) as step:
                    step.generated(loss=loss, model=model)
                    for number in range(more):
                        step.generated(**{f"more{number}": number})
                    if tell:
                        outer.used(extra=loss)

    with TemporaryDirectory() as folder:
        where = [Settings(spool=Path(folder, name), git=False, packages=False) for name in "cw"]
        body(where[0])
        with in_words():
            body(where[1])
        assert sorted(timeless(events(where[0]))) == sorted(timeless(events(where[1])))


@given(values=st.lists(st.one_of(PLAIN, st.none()), min_size=1, max_size=6))
def test_what_is_packed_is_unpacked_the_same_or_not_packed_at_all(values: list[Any]) -> None:
    letters = "".join(forms.LETTERS.get(type(v), "-") for v in values)
    if "-" in letters:
        return
    body = forms.packer(letters, 0)(*values)
    small = all(not isinstance(v, int) or -(2**63) <= v < 2**63 for v in values)
    plain = all(len(v) <= 1000 and "\ud800" not in v for v in values if isinstance(v, str))
    assert (body is not None) == (small and plain)
    if body is not None:
        assert repr(chains.unpacked(letters, body)) == repr(values)


def test_a_form_takes_no_value_of_another_type() -> None:
    pack = forms.packer("qdsb", 0)
    assert pack(1, 1.0, "x", True) is not None
    for other in [(True, 1.0, "x", True), (1, 1, "x", True), (1, 1.0, b"x", True), (1, 1.0, "x", 1)]:
        assert pack(*other) is None


def test_a_text_that_the_definition_calls_a_reference_is_one(settings: Settings, told: Told) -> None:
    data = {"name": "data", "semantics": "FILE_REFERENCE", "data_store_id": "s"}
    transformation = {"input_datasets": [{"attributes": [data]}]}
    plan = parse_definition({"dataflow_name": "w", "data_transformations": {"t": transformation}})
    with capture.workflow("w", definition=plan, settings=settings) as run:
        for _ in range(2):
            run.task("t", used={"data": "/a/b"}).begin().end()
            run.task("u", used={"data": "/a/b"}).begin().end()
    found = [e for e in told() if isinstance(e, StepStarted)]
    values = {e.step.transformation: e.values[0].value for e in found}
    assert values == {"t": Reference(text="/a/b", store="s"), "u": "/a/b"} and len(found) == 4


def test_a_step_is_told_once_however_its_segment_ends(settings: Settings, told: Told) -> None:
    with capture.workflow("w", settings=dataclasses.replace(settings, segment_bytes=8192)) as run:
        outer = run.task("outer", used={"lr": 0.5}).begin()
        for number in range(400):  # 256 KiB are the first segment, then pages.
            with outer.task("t", used={"n": number, "text": "x" * 900}) as step:
                step.generated(loss=1.0)
                step.generated(text="y" * 900)
        outer.end()
    found = told()
    starts = [e for e in found if isinstance(e, StepStarted) and e.step.transformation == "t"]
    ends = [e for e in found if isinstance(e, StepEnded) and e.step.transformation == "t"]
    assert [e.step for e in starts] == [e.step for e in ends] == [StepRef("t", f"0.{n}") for n in range(400)]
    assert all(len(e.scope.used) == 2 and len(e.scope.generated) == 2 for e in ends)
    assert all([h.attribute for h in e.scope.enclosing[0].used] == ["lr"] for e in starts + ends)
    assert len(list((spools(settings.spool or Path())[0]).glob("*.seg"))) > 3


def test_a_frame_that_names_what_is_not_there_is_set_aside(settings: Settings, spool: Path) -> None:
    with capture.workflow("w", settings=settings) as run:
        for name in "abc":
            with run.task(name, used={"x": 1}) as step:
                step.generated(y=2.0)
    (directory,) = spools(spool)
    segment = directory / "000000.seg"
    data = bytearray(segment.read_bytes())
    at = 0
    begun = []
    while length := struct.unpack_from("<I", data, at)[0]:
        if data[at + 8] == frames.BEGUN:
            begun.append(at)
        at += frames.frame_size(length - frames.FRAME.size)
    data[begun[1] + 20] ^= 1  # The start of b is no longer what its checksum says.
    segment.write_bytes(data)
    reader = Reader(DirectoryLog(directory))
    found = [e for i in reader.poll() if isinstance(i.content, Bag) for e in i.content.events]
    steps = [e.step.transformation for e in found if isinstance(e, StepStarted | StepEnded | ValuesAdded)]
    assert "".join(steps) == "aaaccc" and len(reader.torn) == 2 and reader.checkpoint.done
