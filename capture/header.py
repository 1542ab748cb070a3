"""Who writes a spool and for which run: the first frame of each of its segments, and its name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Final

from headstream.capture import clock, wire
from headstream.capture.errors import SpoolUnusable
from headstream.schemas.identifiers import enc

_NAME_LENGTH: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Who writes a spool and for which run: the first frame of each segment."""

    workflow: str
    execution: str
    definition: str | None
    producer: str
    host: str
    pid: int
    created: int
    # Whether all that its process tells of steps lies here: then their ends say what is inside (totals.py).
    whole: bool = False
    format: int = wire.FORMAT

    def payload(self) -> bytes:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()

    @classmethod
    def read(cls, payload: bytes) -> Header:
        """Read a header; SpoolUnusable if it is none or of another format. More than that is left out."""
        try:
            said = json.loads(payload)
            header = cls(**{name: said[name] for name in cls.__slots__ if name in said})
        except (TypeError, ValueError) as error:
            raise SpoolUnusable(f"the header of a segment cannot be read: {error}") from error
        if header.format != wire.FORMAT:
            raise SpoolUnusable(
                f"spool format {header.format} is not {wire.FORMAT}: ship it with its own version"
            )
        return header

    @property
    def directory(self) -> str:
        return "~".join((_short(self.workflow), _short(self.execution), _short(self.producer)))


def _short(text: str) -> str:
    """One part of a directory name: readable, and unique also where it must be cut."""
    name = enc(text)
    if len(name) <= _NAME_LENGTH:
        return name
    import hashlib  # Imported late, like all that only some scripts need.

    return f"{name[: _NAME_LENGTH - 17]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def new_header(
    workflow: str, execution: str, definition: str | None, producer: str, host: str, *, whole: bool = False
) -> Header:
    return Header(
        workflow=workflow,
        execution=execution,
        definition=definition,
        producer=producer,
        host=host,
        pid=os.getpid(),
        created=clock.now(),
        whole=whole,
    )
