"""A log line names what it is about, for people and for programs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from headstream.schemas.errors import SettingsUnusable
from headstream.schemas.logs import configure


@pytest.fixture(autouse=True)
def root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def told(**environ: str) -> str:
    stream = io.StringIO()
    configure(environ, stream)
    log = logging.getLogger("headstream.test")
    log.debug("unheard")
    log.info("batch\nwritten of %s", "é", extra={"workflow": "w", "execution": "r", "offset": 7})
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    return stream.getvalue()


def test_a_line_of_json_has_time_level_message_and_facts_of_their_types() -> None:
    first, second = map(json.loads, told(HEADSTREAM_LOG_FORMAT="json").splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "logger": "headstream.test",
        "message": "batch\nwritten of é",
        "workflow": "w",
        "execution": "r",
        "offset": 7,
    }
    assert second["level"] == "ERROR" and "ValueError: broken" in second["exception"]


def test_a_line_for_people_has_the_facts_behind_the_message() -> None:
    text = told()
    assert "INFO headstream.test: batch\nwritten of é workflow=w execution=r offset=7\n" in text
    assert "unheard" not in text and "ValueError: broken" in text


def test_the_level_is_that_of_the_setting() -> None:
    assert "unheard" in told(HEADSTREAM_LOG_LEVEL="debug")
    assert told(HEADSTREAM_LOG_LEVEL="CRITICAL") == ""


def test_a_library_that_repeats_itself_is_heard_once_and_we_each_time() -> None:
    stream = io.StringIO()
    configure({}, stream)
    for name in ("aiokafka.cluster", "headstream.test"):
        for _ in range(5):
            logging.getLogger(name).error("no topic %s", "t")
    assert stream.getvalue().count("aiokafka.cluster: no topic t") == 1
    assert stream.getvalue().count("headstream.test: no topic t") == 5


@pytest.mark.parametrize("name", ["HEADSTREAM_LOG_FORMAT", "HEADSTREAM_LOG_LEVEL"])
def test_a_setting_that_is_none_is_named(name: str) -> None:
    with pytest.raises(SettingsUnusable, match=f"{name} is"):
        configure({name: "yaml"})
