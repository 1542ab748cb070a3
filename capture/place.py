"""The place of a thread or asyncio task: the step or run in which decorated functions open steps.

A `with` over a run or step is one, and so is what `current` names. A context variable (PEP 567) holds
it, so tasks that run side by side nest each on its own. A thread without a place has the one run
that is open by `with` in this process; where several are, nobody can know which is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import Token
from typing import Any, Final, NamedTuple, TypeVar

from headstream.capture.opening import ENDED, Opener
from headstream.capture.step import PLACE, Step

O = TypeVar("O", bound=Opener)  # noqa: E741

_RUNS: Final[list[Opener]] = []  # Those that are open by `with`.


class Place(NamedTuple):
    """Where steps are opened, and where when that has ended."""

    opener: Opener
    outer: Place | Opener | None


def current(where: O) -> AbstractContextManager[O]:
    """Decorated functions that are called inside this `with` open their steps in this run or step.

    A run or step that is itself used with `with` needs none: this is for a turn of a loop, for one
    that was begun by `begin()`, and for a thread that is not to open its steps in the run.
    """
    return _placed(where)


@contextmanager
def _placed(where: O) -> Iterator[O]:
    token = PLACE.set(Place(where, PLACE.get()))
    try:
        yield where
    finally:
        leave(token)


def leave(token: Token[Any]) -> None:
    """Go back to the place before."""
    with suppress(ValueError):  # A coroutine may be closed by another task, whose place is its own.
        PLACE.reset(token)


def enter(run: Opener) -> None:
    """Make a run the place of this thread or task, and of threads that have none."""
    if run._place is None:
        run._place = PLACE.set(run)
        _RUNS.append(run)


def leave_run(run: Opener) -> None:
    """A run ends; whoever entered it goes back to the place before."""
    if run._place is not None:
        with suppress(RuntimeError, ValueError):  # Left twice, or in another thread or task than entered.
            PLACE.reset(run._place)
        with suppress(ValueError):
            _RUNS.remove(run)


def innermost(place: Place | Opener | None) -> Opener | None:
    """The first of a place and those around it that has not ended."""
    while place is not None:
        opener, place = _unpacked(place)
        found = still_open(opener)
        if found is not None:
            return found
    return None


def only_run() -> Opener | None:
    """The run that is open by `with`, if there is one and no other."""
    found = [run for run in _RUNS if still_open(run) is not None]
    return found[0] if len(found) == 1 else None


def _unpacked(place: Place | Opener) -> tuple[Opener, Place | Opener | None]:
    """What a place is, and what was the place when it was entered."""
    if isinstance(place, Place):
        return place
    before = None if place._place is None else place._place.old_value
    return place, None if before is Token.MISSING else before


def still_open(opener: object) -> Opener | None:
    """The opener, or the nearest step around it that has not ended; None if its run has."""
    while isinstance(opener, Step) and opener._state == ENDED:
        opener = opener.parent
    if not isinstance(opener, Opener) or opener.recorder.closed:
        return None
    return opener
