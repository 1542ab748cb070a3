"""The header of a segment, as versions before and after this one write it."""

from __future__ import annotations

import json

import pytest

from headstream.capture.errors import SpoolUnusable
from headstream.capture.header import Header, new_header

HEADER = new_header("w", "e", None, "p", "host", whole=True)


def test_a_header_comes_back_equal() -> None:
    assert Header.read(HEADER.payload()) == HEADER


def test_what_a_later_version_says_besides_is_left_out_and_what_an_earlier_one_lacks_is_not_so() -> None:
    said = json.loads(HEADER.payload())
    assert Header.read(json.dumps({**said, "colour": "red"}).encode()) == HEADER
    del said["whole"]
    assert not Header.read(json.dumps(said).encode()).whole


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b'{"workflow": "w"}'])
def test_what_is_no_header_is_an_error_of_ours(payload: bytes) -> None:
    with pytest.raises(SpoolUnusable, match="header"):
        Header.read(payload)
