"""How far a spool has been read, and where that is kept: a file of the spool that is replaced whole."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from headstream.capture.errors import swallow
from headstream.capture.totals import OpenStep
from headstream.schemas.events import PartTotals, StepRef

CHECKPOINT: Final = "checkpoint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """A frame that may still be filled in place, by its payload: how many of its rows have been told,
    or of a step whether what its slot says has."""

    segment: int
    at: int
    told: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a spool has been read."""

    segment: int = -1
    offset: int = 0
    growing: tuple[Growing, ...] = ()
    sequence: int = 0
    done: bool = False
    steps: tuple[OpenStep, ...] = ()

    @property
    def needed(self) -> frozenset[int]:
        """The segments up to here that a reader which goes on from here still has to read."""
        return frozenset((self.segment, *(each.segment for each in self.growing)))

    def dump(self) -> str:
        growing = [[each.segment, each.at, each.told] for each in self.growing]
        steps = [
            [each.step.transformation, each.step.task, [astuple(part) for part in each.parts]]
            for each in self.steps
        ]
        return json.dumps([self.segment, self.offset, growing, self.sequence, self.done, steps])

    @classmethod
    def load(cls, text: str) -> Checkpoint:
        """Read what `dump` wrote; ValueError if it is anything else."""
        try:
            segment, offset, growing, sequence, done, *later = json.loads(text)
            (steps,) = later or ([],)  # Release 0.1.0 kept none.
            opened = tuple(Growing(segment=s, at=at, told=told) for s, at, told in growing)
            begun = tuple(
                OpenStep(StepRef(name, task), tuple(PartTotals(*part) for part in parts))
                for name, task, parts in steps
            )
        except TypeError as error:
            raise ValueError(f"no checkpoint: {error}") from error
        return cls(segment=segment, offset=offset, growing=opened, sequence=sequence, done=done, steps=begun)


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
