"""What a selection takes is a pure function of events: not of bags, order or source."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.schemas.events import (
    Bag,
    Column,
    IterationBlock,
    RunStarted,
    StepEnded,
    StepRef,
    ValuesAdded,
)
from headstream.schemas.facts import Fact, Origin
from headstream.stream_processors.errors import InvalidSelection
from headstream.stream_processors.selection import Selection, instant, offsets, selection
from headstream.stream_processors.tracker import track

ORIGIN = Origin(topic="t", partition=0, offset=0)
BLOCK = IterationBlock(
    transformation="batch",
    parent=None,
    prefix="0.",
    index_attribute="i",
    ordinals=tuple(range(6)),
    index=tuple(range(6)),
    started=tuple(range(10, 70, 10)),
    ended=tuple(range(15, 75, 10)),
    columns=(Column("loss", (0.5, 0.25, 1.0, 2.0, 3.0, 4.0)),),
)
EVENTS = (
    RunStarted(started=5),
    BLOCK,
    StepEnded(step=StepRef("train", "0"), started=8, ended=40, outcome="FINISHED"),
)


def bag(*events) -> Bag:
    return Bag(workflow="w", execution="e", events=events)


def facts(found: Bag | None) -> set[Fact]:
    return set() if found is None else set(track(found, None, ORIGIN).identified.facts)


@given(st.integers(0, 80))
def test_what_lies_before_an_instant_and_what_lies_after_are_the_whole(cut: int) -> None:
    before = facts(Selection(until=cut).of(bag(*EVENTS)))
    after = facts(Selection(since=cut).of(bag(*EVENTS)))
    assert before | after == facts(bag(*EVENTS))
    ends = {subject for subject, predicate, _, _ in before & after if predicate == "prov:endedAtTime"}
    assert ends == set(), "no event is on both sides"


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 3))
def test_the_cut_into_bags_does_not_change_what_is_selected(a: int, b: int, cut: int) -> None:
    chosen = Selection(since=min(a, b), until=max(a, b) + 1)
    apart = facts(chosen.of(bag(*EVENTS[:cut]))) | facts(chosen.of(bag(*EVENTS[cut:])))
    assert apart == facts(chosen.of(bag(*EVENTS)))


def test_a_block_is_cut_by_its_rows_and_all_columns_with_it() -> None:
    found = Selection(since=25, until=45).of(bag(BLOCK))
    assert found is not None
    (block,) = found.events
    assert isinstance(block, IterationBlock)
    assert (block.ended, block.index, block.columns[0].values) == ((25, 35), (1, 2), (0.25, 1.0))
    assert Selection(since=1000).of(bag(BLOCK)) is None
    assert Selection(since=0).of(bag(BLOCK)) == bag(BLOCK)


def test_an_event_without_a_time_is_in_every_range() -> None:
    untimed = ValuesAdded(step=None, direction="out", values=())
    assert Selection(since=100, until=200).of(bag(untimed)) == bag(untimed)


def test_a_block_that_is_broken_is_left_for_the_tracker_to_refuse() -> None:
    broken = replace(BLOCK, index=(1,))
    assert Selection(since=25).of(bag(broken)) == bag(broken)


def test_only_the_named_workflow_and_run_are_taken() -> None:
    assert Selection(workflow="w", execution="e").of(bag(*EVENTS)) == bag(*EVENTS)
    assert Selection(workflow="v").of(bag(*EVENTS)) is None
    assert Selection(workflow="w", execution="f").of(bag(*EVENTS)) is None


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59", -1_000_000),
    ],
)
def test_a_time_is_iso_8601_and_utc_unless_it_says_otherwise(text: str, microseconds: int) -> None:
    assert instant(text, "--since") == microseconds


def test_offsets_are_told_by_partition() -> None:
    assert offsets("0:100, 3:7", "--from-offset") == {0: 100, 3: 7}
    chosen = selection(from_offset="1:5", to_offset="1:7,2:3")
    assert [chosen.takes_offset(1, offset) for offset in (4, 5, 6, 7)] == [False, True, True, False]
    assert chosen.takes_offset(0, 10**9) and not chosen.takes_offset(2, 3)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"since": "yesterday"}, "--since is 'yesterday'"),
        ({"since": "2026-01-02", "until": "2026-01-02"}, "nothing lies between"),
        ({"from_offset": "100"}, "PARTITION:OFFSET"),
        ({"to_offset": "0:1,0:2"}, "each partition once"),
        ({"from_offset": "0:5", "to_offset": "0:5"}, "partition 0"),
    ],
)
def test_a_range_that_cannot_be_is_named(given: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidSelection, match=named):
        selection(**given)
