"""A repeat is a message at a place that was read, or of a bag behind one that was."""

from __future__ import annotations

from headstream.schemas.facts import Origin
from headstream.sinks.repeats import Repeats


def place(topic: str, partition: int, offset: int) -> Origin:
    return Origin(topic=topic, partition=partition, offset=offset)


def test_what_is_read_again_after_a_rebalance_is_a_repeat() -> None:
    repeats = Repeats()
    read = [repeats.repeated(place("identified", 0, n), place("events", 0, n)) for n in (0, 1, 2, 1, 2, 3)]
    assert read == [False, False, False, True, True, False]


def test_what_a_tracker_wrote_twice_is_a_repeat_and_the_parts_of_one_bag_are_none() -> None:
    repeats = Repeats()
    bags = (0, 1, 1, 2, 1, 2, 3)
    found = [
        repeats.repeated(place("identified", 0, n), place("events", 0, bag)) for n, bag in enumerate(bags)
    ]
    assert found == [False, False, False, False, True, False, False]


def test_partitions_do_not_meet() -> None:
    repeats = Repeats()
    assert not repeats.repeated(place("identified", 0, 5), place("events", 0, 5))
    assert not repeats.repeated(place("identified", 1, 0), place("events", 0, 0))
    assert not repeats.repeated(place("identified", 0, 6), place("events", 1, 0))
    assert not repeats.repeated(place("identified", 0, 7), place("definitions", 0, 0))
