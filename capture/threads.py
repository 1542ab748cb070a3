"""Threads of capture in somebody else's process: still while it forks, and gone when it ends.

A fork copies no thread but every lock that one holds, and Python 3.12 warns of a fork beside
threads. So whoever runs one joins here; it is paused before a fork and resumed in the parent. A
forked child has none of them. At exit all of them leave before the last spool is closed.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Protocol

from headstream.capture.errors import swallow


class Companion(Protocol):
    """Who runs a thread. Nothing of this may take long, whatever the thread waits for."""

    def pause(self) -> None:
        """End the thread for now."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def leave(self) -> None:
        """End the thread for good, with what it still has to say said."""


_LIVE: list[Companion] = []
# What a child has of its parent's is kept, so that it is never finalised there: a generator would run on.
_FORGOTTEN: list[Companion] = []
_watching = False


def join(companion: Companion) -> None:
    """From now on it is paused, resumed and told to leave with the process."""
    global _watching
    _LIVE.append(companion)
    if not _watching:
        _watching = True
        os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_forget)
        atexit.register(_leave)


def part(companion: Companion) -> None:
    """It has no thread any more."""
    if companion in _LIVE:
        _LIVE.remove(companion)


def _all(what: Callable[[Companion], None]) -> None:
    for companion in list(_LIVE):
        try:
            what(companion)
        except Exception as error:
            swallow(error, "thread")


def _pause() -> None:
    _all(lambda companion: companion.pause())


def _resume() -> None:
    _all(lambda companion: companion.resume())


def _leave() -> None:
    _all(lambda companion: companion.leave())


def _forget() -> None:
    _FORGOTTEN.extend(_LIVE)
    _LIVE.clear()
