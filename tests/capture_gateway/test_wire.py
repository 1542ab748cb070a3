"""What is known of a text at a glance agrees with what a look at each value finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.wire import MAX_DEPTH, cleaned, is_plain

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(VALUES, st.booleans())
def test_a_text_that_is_plain_at_a_glance_is_cleaned_to_itself(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    if is_plain(text):
        assert cleaned(json.loads(text)) == value


def test_what_a_client_sends_as_a_rule_is_plain_at_a_glance() -> None:
    message = {"prov_obj": {"task": {"id": 1.5}, "values": {"a": [1, {"b": "x"}], "path": "/a b"}}, "n": None}
    assert is_plain(json.dumps([message] * 50).encode())
    assert is_plain(b'[{"loss": NaN}]')


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        json.dumps("é"),
        "é",
        "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
        '{"a":' * (MAX_DEPTH + 2) + "1" + "}" * (MAX_DEPTH + 2),
        '[{"a":' * (MAX_DEPTH // 2 + 1) + "1" + "}]" * (MAX_DEPTH // 2 + 1),
        "[" + '["]",' * (MAX_DEPTH + 2) + "0" + ',"["]' * (MAX_DEPTH + 2) + "]",
    ],
)
def test_what_may_need_a_look_is_not_plain(text: str) -> None:
    assert not is_plain(text.encode())


def test_the_depth_that_is_plain_is_one_that_is_taken() -> None:
    text = b'[{"a":' * (MAX_DEPTH // 2) + b"1" + b"}]" * (MAX_DEPTH // 2)
    assert is_plain(text)
    cleaned(json.loads(text))
    deep: Any = 1
    for _ in range(MAX_DEPTH + 2):
        deep = [deep]
    with pytest.raises(MessageRefused, match="nested"):
        cleaned(deep)
