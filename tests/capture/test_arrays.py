"""Every kind of array, and every odd value, becomes what the table says and costs a note at most."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import hashlib
import json
import math
import time
from collections import namedtuple
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture import as_dict
from headstream.capture.references import Catalogue
from headstream.capture.values import Rules, attribute_value, coerce
from headstream.schemas.values import DictValue, Instant, Json

RULES = Rules(Catalogue())
Pair = namedtuple("Pair", "x y")


def said(value: Any, rules: Rules = RULES) -> tuple[Any, bool]:
    """The value, JSON read, and whether there is a note."""
    found = attribute_value("a", value, None, rules)
    return json.loads(found.value.text) if isinstance(found.value, Json) else found.value, bool(found.note)


@pytest.mark.parametrize(
    ("array", "expected", "noted"),
    [
        (np.array(3.5), 3.5, False),
        (np.bool_(True), True, False),
        (np.uint64(2**64 - 1), 2**64 - 1, False),
        (np.longdouble("0.5"), 0.5, False),
        (np.clongdouble(1 + 2j), "(1+2j)", True),
        (np.complex64(1 + 2j), "(1+2j)", True),
        (np.str_("a"), "a", False),
        (np.dtype("f4"), "float32", False),
        (np.array([]), [], False),
        (np.zeros((0, 5000)), [], False),
        (np.array([1, "a", None], dtype=object), [1, "a", None], False),
        (np.array([1 + 2j, 3]), ["(1+2j)", "(3+0j)"], True),
        (np.array([[math.nan, math.inf]]), [["NaN", "Infinity"]], False),
        (np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), {"a": 1, "b": 2.5}, False),
        (
            np.array([(1, 2), (3, 4)], dtype=[("a", "i4"), ("b", "i4")]),
            [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
            False,
        ),
        (np.ma.array([1, 2, 3], mask=[0, 1, 0]), [1, None, 3], False),  # type: ignore[no-untyped-call]
        (np.ma.masked, None, False),
        (np.datetime64("2020-01-01T00:00:00.123456789"), Instant(1577836800123456), True),
        (np.datetime64("2020-01-01"), Instant(1577836800000000), False),
        (np.datetime64("2020"), Instant(1577836800000000), False),
        (np.array(["2020-01-01"], dtype="datetime64[h]"), Instant(1577836800000000), False),
        (np.datetime64("10001-01-01"), "10001-01-01", True),
        (np.datetime64("NaT"), None, False),
        (np.timedelta64(1500, "ms"), 1.5, True),
        (np.timedelta64(5, "ns"), 5e-9, True),
        (np.timedelta64(5, "M"), "5 months", False),
        (np.timedelta64("NaT"), None, False),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"), ["2020-01-01T00:00:00Z", None], False),
        (np.array([1500, 2000], dtype="timedelta64[ms]"), [1.5, 2.0], False),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5, False),
        (torch.ones(2, dtype=torch.bfloat16), [1.0, 1.0], False),
        (torch.ones(2).to(torch.float8_e4m3fn), [1.0, 1.0], False),
        (torch.ones(1, requires_grad=True), 1.0, False),
        (torch.nn.Parameter(torch.ones(2)), [1.0, 1.0], False),
        (torch.tensor(1 + 2j), "(1+2j)", True),
        (torch.ones(2, dtype=torch.bool), [True, True], False),
        (torch.empty(0), [], False),
        (torch.eye(2).to_sparse(), [[1.0, 0.0], [0.0, 1.0]], False),
        (torch.empty(3, device="meta"), {"dtype": "torch.float32", "shape": [3]}, True),
        (torch.empty(1, device="meta"), {"dtype": "torch.float32", "shape": [1]}, True),
        (torch.device("cuda", 1), "cuda:1", False),
        (torch.float32, "torch.float32", False),
        (torch.Size([1, 2]), [1, 2], False),
        ({"w": [torch.ones(2), torch.device("cpu")]}, {"w": [[1.0, 1.0], "cpu"]}, False),
    ],
    ids=repr,
)
def test_an_array_becomes_its_elements(array: Any, expected: Any, noted: bool) -> None:
    value, note = said(array)
    assert (value, note) == (expected, noted) and type(value) is type(expected)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_tensor_is_said_by_the_numbers_that_it_stands_for() -> None:
    small = torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.quint8)
    assert said(small) == ([1.0, 1.0, 1.0], False)
    large, noted = said(torch.quantize_per_tensor(torch.ones(3000), 0.5, 0, torch.quint8))
    assert noted and large["bytes"] == 3000 and large["head"] == [1.0] * 8


GRID = np.arange(40000.0).reshape(200, 200)[::2, ::3]
CONJUGATE = torch.full((3000,), 1 + 2j).conj()


@pytest.mark.parametrize(
    ("array", "content"),
    [
        (np.arange(3000.0), np.arange(3000.0).tobytes()),
        (GRID, GRID.tobytes()),
        (np.zeros(3000, dtype=[("a", "i4"), ("b", "f8")]), bytes(36000)),
        (torch.arange(3000), np.arange(3000).tobytes()),
        (torch.ones(3000, dtype=torch.bfloat16), b"\x80\x3f" * 3000),
        (torch.arange(6000).reshape(60, 100).T, np.arange(6000).reshape(60, 100).T.tobytes()),
        (CONJUGATE, np.full(3000, 1 - 2j, dtype=np.complex64).tobytes()),
    ],
    ids=lambda each: "" if isinstance(each, bytes) else str(each.dtype),
)  # fmt: skip
def test_a_large_array_becomes_the_digest_of_its_elements_with_size_shape_dtype_and_head(
    array: Any, content: bytes
) -> None:
    found, noted = said(array)
    assert noted and set(found) == {"dtype", "shape", "bytes", "sha256", "head"}
    assert found["sha256"] == hashlib.sha256(content).hexdigest() and found["bytes"] == len(content)
    assert found["shape"] == list(array.shape) and len(found["head"]) == 8


def test_what_a_digest_would_say_nothing_of_has_none() -> None:
    objects, _ = said(np.array([object()] * 2000, dtype=object))
    sparse, _ = said(torch.eye(100).to_sparse())
    masked, _ = said(np.ma.masked_array(np.arange(3000.0), mask=np.arange(3000) < 9))  # type: ignore[no-untyped-call]
    hidden, _ = said(
        np.ma.masked_array(np.where(np.arange(3000) < 9, 7.0, np.arange(3000.0)), mask=np.arange(3000) < 9)
    )  # type: ignore[no-untyped-call]
    assert "sha256" not in objects and "sha256" not in sparse
    assert sparse["stored"] == 100 and sparse["layout"] == "torch.sparse_coo"
    assert masked["masked"] == 9 and masked == hidden  # What a mask hides makes no difference.


def test_an_array_above_the_limit_costs_no_time_and_has_no_digest() -> None:
    begun = time.monotonic()
    for huge in (torch.ones(1).expand(10**10), np.broadcast_to(np.float64(1), (10**6, 10**4))):
        found, noted = said(huge)
        assert noted and "sha256" not in found and found["bytes"] >= 4 * 10**10 and found["head"] == [1.0] * 8
    assert time.monotonic() - begun < 5
    small = Rules(Catalogue(), digest=100)
    for value in (b"x" * 101, np.zeros(2000), bytearray(101), memoryview(b"x" * 202)[::2]):
        assert "sha256" not in said(value, small)[0]
    assert "sha256" in said(b"x" * 100, small)[0]
    assert "sha256" not in said("x" * 300, Rules(Catalogue(), limit=200, digest=100))[0]


class Hostile:
    """An object that answers nothing."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


class Odd(dict[str, int]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("items")


class Text(str):
    """A text that will not be one."""

    def __str__(self) -> str:
        raise RuntimeError("str")


class Claims:
    """What says it is an array and has nothing to show."""

    shape = (2000,)
    dtype = "float32"

    def item(self) -> float:
        raise RuntimeError("item")


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


class Kind(enum.Enum):
    PAIR = (1, 2)
    THING = object()


@dataclasses.dataclass(slots=True)
class Node:
    name: str
    next: Any = None


def ring() -> Node:
    node = Node("n")
    node.next = node
    return node


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep(times: int) -> Any:
    found: list[Any] = []
    for _ in range(times):
        found = [found]
    return found


def doubled(times: int) -> Any:
    found: list[Any] = []
    for _ in range(times):
        found = [found, found]
    return found


@pytest.mark.parametrize(
    ("odd", "expected", "noted"),
    [
        (Level.LOW | Level.HIGH, 3, False),
        (Kind.PAIR, [1, 2], False),
        (Kind.THING, "Kind.THING", True),
        (Pair(1, 2), [1, 2], False),
        (ring(), {"name": "n", "next": "<Node>"}, True),
        (circle(), ["<list>"], True),
        (Text("a"), "a", False),
        (decimal.Decimal("sNaN"), "sNaN", True),
        ({1: "a", "1": "b"}, {"1": "a", "1 (2)": "b"}, True),
        ({None: 1, (1, 2): 2}, {"None": 1, "(1, 2)": 2}, False),
        ([1, "a\ud800"], [1, "a\ufffd"], True),
        ([object], ["<class 'object'>"], True),
        ([decimal.Decimal(1)], ["1"], True),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_odd_value_has_one_form_and_says_what_was_changed(odd: Any, expected: Any, noted: bool) -> None:
    assert said(odd) == (expected, noted)


ODD = {
    "hostile": Hostile,
    "hostile inside": lambda: [Hostile()],
    "hostile deep inside": lambda: {"a": {"b": Hostile()}},
    "mapping": lambda: Odd(a=1),
    "mapping inside": lambda: [Odd(a=1)],
    "array": Claims,
    "time": lambda: datetime.min,
    "deep": lambda: deep(3000),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_represented_costs_a_note_and_takes_nothing_else_away(name: str) -> None:
    value, noted = said({"good": 1, "odd": ODD[name]()})
    assert value["good"] == 1 and noted
    assert said(ODD[name]())[1]


def test_a_structure_that_grows_without_end_is_cut_in_little_time() -> None:
    begun = time.monotonic()
    value, noted = said({"good": 1, "doubled": doubled(60)})
    assert noted and value["bytes"] < 10**7
    assert time.monotonic() - begun < 20


def test_a_generator_is_not_advanced() -> None:
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    generator = numbers()
    for value in (generator, [generator], {"a": map(int, "12")}):
        assert said(value)[1]
    assert list(generator) == [1, 2]


def test_keys_of_values_of_their_own_never_become_one() -> None:
    value, note = coerce(as_dict({1: "c", "1": "b"}), None, RULES)
    assert value == DictValue((("1", "c"), ("1 (2)", "b"))) and note is not None


@given(st.lists(st.text(max_size=3) | st.integers(0, 3) | st.none(), max_size=8, unique=True))
def test_no_key_is_lost_whatever_the_keys_are(keys: list[Any]) -> None:
    value, _ = said(dict.fromkeys(keys, 0))
    assert len(value) == len(dict.fromkeys(keys))
