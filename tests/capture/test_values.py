"""Whatever a script hands over becomes a value that crosses the wire, and never an exception."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstream.capture import as_dict, as_list, file, metadata, records, wire
from headstream.capture.references import Catalogue
from headstream.capture.values import Rules, attribute_value, coerce
from headstream.schemas.codec import decode_bag, encode_bag
from headstream.schemas.events import Bag, StepRef, StepStarted
from headstream.schemas.values import DictValue, Instant, Json, ListValue, Reference

RULES = Rules(Catalogue())


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("given", "expected", "noted"),
    [
        (True, True, False),
        (3, 3, False),
        (2**63, 2**63, False),
        (-(10**40), -(10**40), False),
        (math.inf, math.inf, False),
        (-0.0, -0.0, False),
        ("text", "text", False),
        ("a\ud800b", "a\ufffdb", True),
        (None, Json("null"), False),
        (datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), Instant(1577836800000000), False),
        (date(2020, 1, 1), Instant(1577836800000000), True),
        (timedelta(seconds=1.5), 1.5, True),
        (Decimal("1.10"), "1.10", True),
        (Path("a/b"), "a/b", False),
        (Colour.RED, "red", False),
        (Level.HIGH, 3, False),
        ([1, 2.5, None, "x"], Json('[1,2.5,null,"x"]'), False),
        ((0, 1), Json("[0,1]"), False),
        ({"b": 1, 2: {"a": math.nan}}, Json('{"2":{"a":"NaN"},"b":1}'), False),
        ([math.inf, -math.inf], Json('["Infinity","-Infinity"]'), False),
        ({3, 1, 2}, Json("[1,2,3]"), False),
        (Point(1, 2.0), Json('{"x":1,"y":2.0}'), False),
        (as_list([1, "a"]), ListValue((1, "a")), False),
        (as_dict({"k": [1]}), DictValue((("k", Json("[1]")),)), False),
        ([file("/a"), 1], ListValue((Reference(text="/a"), 1)), False),
        ({"f": file("/a")}, DictValue((("f", Reference(text="/a")),)), False),
    ],
)
def test_each_kind_of_value_has_one_form(given: Any, expected: Any, noted: bool) -> None:
    value, note = coerce(given, None, RULES)
    assert repr(value) == repr(expected)
    assert (note is not None) == noted


def test_a_time_without_a_zone_is_local_and_says_so() -> None:
    moment = datetime(2020, 6, 1, 12)
    value, note = coerce(moment, None, RULES)
    assert value == Instant(int(moment.astimezone(UTC).timestamp()) * 1_000_000) and note is not None


def test_large_values_are_kept_as_digest_size_and_head() -> None:
    for large in ("x" * 300_000, list(range(100_000)), b"\x00" * 10, "é" * 140_000):
        value, note = coerce(large, None, RULES)
        assert isinstance(value, Json) and note is not None
        facts = json.loads(value.text)
        assert set(facts) == {"type", "bytes", "sha256", "head"} and len(value.text) < 1000


def test_an_integer_that_python_cannot_write_in_decimal_is_cut_and_noted() -> None:
    value, note = coerce(10**6000, None, RULES)
    assert isinstance(value, str) and note is not None


def test_arrays_are_numbers_lists_or_digests() -> None:
    import numpy

    assert coerce(numpy.float32(0.5), None, RULES).value == 0.5
    assert coerce(numpy.float64(0.5), None, RULES) == (0.5, None)
    assert type(coerce(numpy.float64(0.5), None, RULES).value) is float
    assert coerce(numpy.int64(7), None, RULES).value == 7
    assert coerce(numpy.bool_(True), None, RULES).value is True
    assert coerce(numpy.array([[3]]), None, RULES).value == 3
    assert coerce(numpy.array([1.0, numpy.nan]), None, RULES).value == Json('[1.0,"NaN"]')
    assert coerce({"a": numpy.int32(1), "b": numpy.ones(2)}, None, RULES).value == Json(
        '{"a":1,"b":[1.0,1.0]}'
    )
    large, note = coerce(numpy.zeros((100, 100)), None, RULES)
    assert isinstance(large, Json) and note is not None
    assert json.loads(large.text)["shape"] == [100, 100]
    assert isinstance(coerce(numpy.datetime64("2020-01-01T00:00:00"), None, RULES).value, Instant)


def test_what_cannot_be_represented_becomes_its_repr() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    for odd in (object(), Hostile(), lambda: 0, 1 + 2j):
        value = attribute_value("a", odd, None, RULES)
        assert isinstance(value.value, str) and value.note is not None
    circle: list[Any] = []
    circle.append(circle)
    attribute_value("a", circle, None, RULES)


def test_metadata_is_kept_with_its_value() -> None:
    value = attribute_value("a", metadata(0.5, unit="mm", by={"x": 1}), None, RULES)
    assert (value.value, value.metadata) == (0.5, '{"by":{"x":1},"unit":"mm"}')


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]))
    | st.binary()
    | st.datetimes()
    | st.dates()
    | st.decimals()
    | st.complex_numbers()
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner)
        | st.tuples(inner)
        | st.lists(inner).map(as_list)
        | st.dictionaries(st.text(), inner).map(as_dict)
        | st.text().map(file)
    ),
    max_leaves=8,
)


# Generating anything at all is slow on a busy machine; that says nothing of what is tested.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.text(st.characters()), ANYTHING, max_size=3))
def test_every_value_survives_spool_and_wire_exactly(values: dict[str, Any]) -> None:
    coerced = tuple(attribute_value(name, value, None, RULES) for name, value in values.items())
    event = StepStarted(step=StepRef("t", "0"), values=coerced)
    again = records.event_from(wire.load(wire.dump(records.event_to(event))))
    assert repr(again) == repr(event)
    bag = Bag(workflow="w", execution="e", events=(event,))
    assert repr(decode_bag(encode_bag(bag))) == repr(bag)
