"""The place of a thread or asyncio task: the step or run in which decorated functions open steps.

A context variable (PEP 567) holds it, so tasks that run side by side nest each on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar, Token
from typing import NamedTuple, TypeVar

from headstream.capture.step import ENDED, Opener, Step

O = TypeVar("O", bound=Opener)  # noqa: E741


class Place(NamedTuple):
    """Where steps are opened, and where when that has ended."""

    opener: Opener
    outer: Place | None


PLACE: ContextVar[Place | None] = ContextVar("headstream_place", default=None)


def current(where: O) -> AbstractContextManager[O]:
    """Decorated functions that are called inside this `with` open their steps in this run or step.

    It holds for this thread or asyncio task and for tasks that it starts. A new thread begins
    with nothing: enter `current` there again, or start it by `asyncio.to_thread`.
    """
    return _placed(where)


@contextmanager
def _placed(where: O) -> Iterator[O]:
    token = PLACE.set(Place(where, PLACE.get()))
    try:
        yield where
    finally:
        leave(token)


def leave(token: Token[Place | None]) -> None:
    """Go back to the place before."""
    with suppress(ValueError):  # A coroutine may be closed by another task, whose place is its own.
        PLACE.reset(token)


def innermost(place: Place | None) -> Opener | None:
    """The first of a place and those around it that has not ended."""
    while place is not None:
        opener = still_open(place.opener)
        if opener is not None:
            return opener
        place = place.outer
    return None


def still_open(opener: object) -> Opener | None:
    """The opener, or the nearest step around it that has not ended; None if its run has."""
    while isinstance(opener, Step) and opener._state == ENDED:
        opener = opener.parent
    if not isinstance(opener, Opener) or opener.recorder.closed:
        return None
    return opener
