"""Frames of a spool that may still be filled in place, and the steps that what they tell is part of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from headstream.capture.checkpoint import Growing
from headstream.schemas.events import StepRef


class Key(NamedTuple):
    """Segment and payload of a frame."""

    segment: int
    at: int


class Filling:
    """Such frames with how much of each has been told, in the order of the spool."""

    def __init__(self, known: Iterable[Growing] = ()) -> None:
        self._told = {Key(each.segment, each.at): each.told for each in known}
        # Frames by the step that what they tell is part of, and for each frame the set that it is in.
        self._inside: dict[StepRef, set[Key]] = {}
        self._placed: dict[Key, set[Key]] = {}

    def __len__(self) -> int:
        return len(self._told)

    def __contains__(self, key: Key) -> bool:
        return key in self._told

    def __iter__(self) -> Iterator[Key]:
        return iter(sorted(self._told))

    def __getitem__(self, key: Key) -> int:
        return self._told[key]

    def __setitem__(self, key: Key, told: int) -> None:
        self._told[key] = told

    def growing(self) -> tuple[Growing, ...]:
        """As a checkpoint keeps them: without the steps, which the frames say."""
        return tuple(Growing(segment=key.segment, at=key.at, told=self._told[key]) for key in self)

    def segments(self) -> set[int]:
        return {key.segment for key in self._told}

    def unplaced(self) -> list[Key]:
        """Those of a checkpoint whose step nobody has looked up."""
        return [] if len(self._placed) == len(self._told) else [k for k in self if k not in self._placed]

    def add(self, key: Key, parent: StepRef | None) -> None:
        """Begin with a frame of which nothing has been told."""
        self._told[key] = 0
        self.place(key, parent)

    def place(self, key: Key, parent: StepRef | None) -> None:
        """Remember the step that what a frame tells is part of."""
        inside: set[Key] = set()
        if parent is not None:
            inside = self._inside.setdefault(parent, inside)
        inside.add(key)
        self._placed[key] = inside

    def inside(self, step: StepRef) -> list[Key]:
        """The frames that tell parts of a step."""
        return sorted(self._inside.get(step, ()))

    def ended(self, step: StepRef) -> None:
        """Nobody will ask again for the parts of a step."""
        self._inside.pop(step, None)

    def over(self, key: Key) -> None:
        """Forget a frame that nothing more will come into."""
        del self._told[key]
        inside = self._placed.pop(key, None)
        if inside is not None:
            inside.discard(key)
