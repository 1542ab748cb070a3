"""How far a spool has been read, and where that is kept: a file of the spool that is replaced whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headstream.capture.errors import swallow

CHECKPOINT: Final = "checkpoint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRows:
    """A run of rows that may still grow, and how many of them have been told."""

    segment: int
    at: int
    told: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a spool has been read."""

    segment: int = -1
    offset: int = 0
    rows: tuple[OpenRows, ...] = ()
    sequence: int = 0
    done: bool = False

    def dump(self) -> str:
        rows = [[r.segment, r.at, r.told] for r in self.rows]
        return json.dumps([self.segment, self.offset, rows, self.sequence, self.done])

    @classmethod
    def load(cls, text: str) -> Checkpoint:
        """Read what `dump` wrote; ValueError if it is anything else."""
        try:
            segment, offset, rows, sequence, done = json.loads(text)
            opened = tuple(OpenRows(segment=s, at=at, told=told) for s, at, told in rows)
        except TypeError as error:
            raise ValueError(f"no checkpoint: {error}") from error
        return cls(segment=segment, offset=offset, rows=opened, sequence=sequence, done=done)


START: Final = Checkpoint()


def load_checkpoint(directory: Path) -> Checkpoint:
    """How far a spool was shipped; from its start if that cannot be told, which only repeats."""
    try:
        return Checkpoint.load((directory / CHECKPOINT).read_text())
    except (OSError, ValueError):
        return START


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that a crash leaves the old one or the new one, whole."""
    fresh = directory / f"{CHECKPOINT}.new"
    try:
        fresh.write_text(checkpoint.dump())
        fresh.replace(directory / CHECKPOINT)
    except OSError as error:  # A full disk: going on repeats messages after a crash, no more.
        swallow(error, "checkpoint")
