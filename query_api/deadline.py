"""Run work that cannot be interrupted, and stop waiting for it at a deadline."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class DeadlinePassed(Exception):
    """The work was not done in time; it has been told to stop."""


def within(seconds: float, work: Callable[[threading.Event], Result]) -> Result:
    """Return what `work` returns, or raise what it raises, or raise DeadlinePassed.

    The work runs in its own daemon thread and gets an event that is set at the deadline: it must look at
    it wherever it can. Waiting ends at the deadline whether or not the work does.
    """
    stop = threading.Event()
    done = threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:  # Carried to the caller's thread, whatever it is.
            _let_go(error)
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="headstream-query", daemon=True).start()
    if not done.wait(seconds):
        stop.set()
        raise DeadlinePassed
    if errors:
        raise errors[0]
    return results[0]


def _let_go(error: BaseException | None) -> None:
    """Drop what the frames of an error hold, here: pyoxigraph's iterators must die in their own thread."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
