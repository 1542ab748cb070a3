"""Steps and loops that say nothing, for processes that capture nothing: no spool, no file, hardly any time.

A script uses them like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

from headstream.capture.families import Family
from headstream.capture.iteration import Iteration
from headstream.capture.loop import Loop
from headstream.capture.opening import ENDED, OPEN, Inside, Opener
from headstream.capture.settings import ZERO
from headstream.capture.step import Step

T = TypeVar("T")


class Silent(Opener):
    """Something inside which steps and loops can be opened, of which nobody will hear."""

    __slots__ = ()

    def task(self, name: str, used: Mapping[str, Any] | None = None, *, person: str | None = None) -> Step:
        inside = self._opened()
        return SilentStep(inside.families.get(name) or self._family(name))

    def loop(self, name: str, iterable: Iterable[T], index_as: str | None = None, start: int = 0) -> Loop[T]:
        return SilentLoop(self, name, iterable, start)

    def _opened(self) -> Inside:
        return Opener._opened(self)

    def environ(self) -> dict[str, str]:
        """What this process starts is as silent as it is itself."""
        rank = self.recorder.rank
        return {} if rank is None else {"HEADSTREAM_RANKS": ZERO, "HEADSTREAM_RANK": rank}


class SilentStep(Silent, Step):
    """A step that says nothing."""

    __slots__ = ()

    def __init__(self, family: Family) -> None:
        super().__init__(family, 0)
        self._state = OPEN

    def begin(self) -> Self:
        return self

    def used(self, **values: Any) -> Self:
        return self

    def generated(self, **values: Any) -> Self:
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        self._state = ENDED

    def _add(self, direction: str, given: Mapping[str, Any]) -> None:
        pass


class SilentLoop(Loop[T]):
    """A loop that only iterates."""

    __slots__ = ()

    def __init__(self, inside: Opener, name: str, iterable: Iterable[T], start: int) -> None:
        self.recorder = inside.recorder
        self.inside = inside
        self.family = inside._family(name, cycle=True)
        self._iterable = iterable
        self._start = start

    def __iter__(self) -> Iterator[Iteration[T]]:
        index = self._start
        for item in self._iterable:
            turn: SilentTurn[T] = SilentTurn(self)
            turn.item = item
            turn.index = index
            yield turn
            index += 1


class SilentTurn(Silent, Iteration[T]):
    """A turn that has its item and its index, and says nothing."""

    __slots__ = ()

    def __init__(self, loop: SilentLoop[T]) -> None:
        super().__init__(loop, None)
        self._inside = None
        self._at = self._ordinal = 0

    def __enter__(self) -> Self:
        self._place = None  # What is called inside is as silent where it is.
        return self

    def generated(self, /, **values: Any) -> Self:
        return self

    def used(self, /, **values: Any) -> Self:
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        pass

    def _add(self, direction: str, given: Mapping[str, Any]) -> None:
        pass
