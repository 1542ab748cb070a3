from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.sinks.batch import Batch, Entry, Group, Limits
from headstream.sinks.errors import StoreRefused
from headstream.sinks.isolate import isolate
from headstream.sinks.statements import NTriplesRenderer, render
from headstream.sinks.stores import MemoryStore

BASE = "https://provml.example.org/id/"
RENDERER = NTriplesRenderer(BASE)
LIMITS = Limits(triples=20, age=0.5, linger=0.1)


def origin(offset: int, partition: int = 0) -> Origin:
    return Origin(topic="t", partition=partition, offset=offset)


def entry(offset: int, counts: tuple[int, ...] = (2, 2), partition: int = 0) -> Entry:
    facts = tuple(
        (f"e/{partition}/{offset}/{event}", "prov:value", "integer", str(number))
        for event, count in enumerate(counts)
        for number in range(count)
    )
    identified = Identified(
        workflow="w",
        execution="r",
        origin=origin(offset, partition),
        facts=facts,
        counts=counts,
        event_times=tuple(range(1, len(counts) + 1)),
    )
    return Entry(
        origin=origin(offset, partition), key=b"w/r", identified=identified, statements=render(facts, BASE)
    )


def batch(*entries: Entry) -> Batch:
    collected = Batch()
    for one in entries:
        collected = collected.add(one.origin, 0.0, entry=one)
    return collected


def letter(offset: int, partition: int = 0) -> DeadLetter:
    return DeadLetter(
        origin=origin(offset, partition),
        key=b"",
        value=b"x",
        stage="s",
        reason="r",
        error="E",
        message="",
        at=0,
    )


def test_a_batch_that_lags_is_ready_when_full_or_old() -> None:
    small = batch(entry(1))
    assert not small.ready(0.4, LIMITS, last=0.01)
    assert small.ready(0.5, LIMITS, last=0.01)
    assert batch(*map(entry, range(5))).ready(0.0, LIMITS)


def test_a_batch_of_a_slow_stream_waits_as_long_as_the_last_write_took_and_never_longer_than_told() -> None:
    small = batch(entry(1))
    assert small.ready(0.0, LIMITS, caught_up=True, last=0.0)
    assert not small.ready(0.02, LIMITS, caught_up=True, last=0.03)
    assert small.ready(0.03, LIMITS, caught_up=True, last=0.03)
    assert not small.ready(0.09, LIMITS, caught_up=True, last=60.0)
    assert small.ready(LIMITS.linger, LIMITS, caught_up=True, last=60.0)


@given(
    writes=st.lists(st.floats(0.001, 0.09), min_size=2, max_size=20),
    gaps=st.lists(st.floats(0.0, 0.2), min_size=1, max_size=40),
)
def test_messages_that_come_between_writes_keep_the_store_busy_half_of_the_time_at_most(
    writes: list[float], gaps: list[float]
) -> None:
    """Each comes when the write before it has ended; one that comes during a write goes right behind it."""
    now, last, busy, started = 0.0, 0.0, 0.0, None
    for number, gap in enumerate(gaps):
        now += gap
        due = (
            Batch().add(origin(number), now, entry=entry(number, (1,))).due(LIMITS, caught_up=True, last=last)
        )
        assert due is not None and due >= now + last
        started = due if started is None else started
        last = writes[number % len(writes)]
        busy, now = busy + last, due + last
    assert started is not None
    assert busy - last <= (now - started - last) / 2 + 1e-9


def test_nothing_is_never_ready() -> None:
    assert not Batch().ready(1e9, LIMITS, caught_up=True)
    assert Batch().due(LIMITS, caught_up=True, last=0.0) is None


def test_the_offsets_to_commit_are_those_after_the_last_message_of_each_partition() -> None:
    collected = batch(entry(3), entry(4), entry(9, partition=1))
    assert collected.offsets == {("t", 0): 5, ("t", 1): 10}


def test_a_message_that_became_a_dead_letter_moves_the_offset_too() -> None:
    assert Batch().add(origin(7), 0.0, letters=(letter(7),)).offsets == {("t", 0): 8}


def test_what_came_from_a_revoked_partition_is_dropped() -> None:
    collected = batch(entry(3), entry(9, partition=1)).add(origin(10, 1), 0.0, letters=(letter(10, 1),))
    left = collected.without(frozenset({("t", 1)}))
    assert left.offsets == {("t", 0): 4}
    assert left.triples == 4 and not left.letters
    assert not left.without(frozenset({("t", 0)}))


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=6))
def test_splitting_down_to_events_keeps_every_statement_in_order(shape: list[list[int]]) -> None:
    collected = batch(*(entry(offset, tuple(counts)) for offset, counts in enumerate(shape)))
    events = list(collected.split())
    assert all(event.events == 1 for event in events)
    assert len(events) == sum(map(len, shape))
    rendered = [event.rendered(RENDERER) for event in events]
    assert b"".join(event.document(RENDERER) for event in rendered) == collected.group.document(RENDERER)
    assert [one.first for event in events for one in event.entries] == [
        index for counts in shape for index in range(len(counts))
    ]


def poison(*places: tuple[int, int]) -> Callable[[bytes], bool]:
    names = [f"/e/0/{offset}/{event}>".encode() for offset, event in places]
    return lambda line: any(name in line for name in names)


@pytest.mark.parametrize("place", [(0, 0), (5, 3), (15, 49), (31, 49), (16, 0)])
def test_one_bad_event_is_found_in_logarithmic_time_and_its_neighbours_are_stored(
    place: tuple[int, int],
) -> None:
    store = MemoryStore(poison(place))
    group = batch(*(entry(offset, (1,) * 50) for offset in range(32))).group
    isolated = isolate(group, store.write, RENDERER)
    ((bad,),) = [[(one.entry.origin.offset, one.entry.first) for one in isolated.refused]]
    assert bad == place
    assert store.size() == 32 * 50 - 1 == isolated.triples == isolated.modified
    assert store.requests == isolated.requests <= 2 + 2 * 11


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12))
def test_any_number_of_bad_events_is_found_each_in_logarithmic_time(places: set[tuple[int, int]]) -> None:
    store = MemoryStore(poison(*places))
    group = batch(*(entry(offset, (2,) * 8) for offset in range(8))).group
    isolated = isolate(group, store.write, RENDERER)
    assert {(one.entry.origin.offset, one.entry.first) for one in isolated.refused} == places
    assert store.size() == 2 * (64 - len(places)) == isolated.triples
    assert isolated.requests == store.requests <= 1 + 2 * len(places) * 6  # log2(64)


def test_an_event_without_facts_costs_no_request() -> None:
    store = MemoryStore()
    assert isolate(Group((entry(1, (0, 0)),)), store.write, RENDERER).requests == 0


def test_no_event_is_given_up_that_was_not_refused_alone() -> None:
    store = MemoryStore()
    store.failures = [StoreRefused("a whim")]
    assert not isolate(Group((entry(1, (2, 2)),)), store.write, RENDERER).refused
    assert store.size() == 4
