"""How every service tells what happens: a line an event with its facts, for people or for programs.

A line names the run, topic, partition and offset that it is about, where there are any. It never
holds a payload; what is secret never gets into an `extra`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from headstream.schemas.errors import SettingsUnusable

TEXT: Final = "text"
JSON: Final = "json"
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# They say much that is of no use to whoever runs headstream.
_CHATTY: Final = ("aiokafka", "faust", "httpcore", "httpx", "mode")
_WHILE: Final = 30.0
_REMEMBERED: Final = 1000
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Send the log of this process to standard error as HEADSTREAM_LOG_FORMAT and _LEVEL say.

    Raises SettingsUnusable for a value that is none.
    """
    form = (environ.get("HEADSTREAM_LOG_FORMAT") or TEXT).lower()
    level = (environ.get("HEADSTREAM_LOG_LEVEL") or "INFO").upper()
    if form not in (TEXT, JSON):
        raise SettingsUnusable(f"HEADSTREAM_LOG_FORMAT is {form!r}; it must be text or json")
    if level not in _LEVELS:
        raise SettingsUnusable(f"HEADSTREAM_LOG_LEVEL is {level!r}; it must be one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(OnceInAWhile())
    handler.setFormatter(JsonLine() if form == JSON else FactsLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


class OnceInAWhile(logging.Filter):
    """Lets the same line of a library through once in half a minute.

    aiokafka says ten times a second that a topic is not there, for as long as it is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _CHATTY:
            return True
        line = (record.name, record.getMessage())
        if record.created - self._said.get(line, float("-inf")) < _WHILE:
            return False
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[line] = record.created
        return True


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What a log line was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class FactsLine(logging.Formatter):
    """A line for people: the message, then its facts as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in facts(record).items())
        line = super().formatMessage(record)
        return f"{line} {told}" if told else line


class JsonLine(logging.Formatter):
    """A line for programs: one JSON object, however many lines the message has."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
