"""Errors of capture, and the rule that none of them ever reaches the captured script.

CaptureError
|-- SpoolUnusable        a spool directory or segment cannot be written or read
|-- TransportFailed      the transport refused for good; sending again cannot help
`-- MessageTooLarge      one event alone is larger than a message may be

Whatever goes wrong inside is swallowed at the public boundary, counted by its reason
(`losses()`), and reported once at exit. Tests set `on_internal_error` to collect and raise it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final


class CaptureError(Exception):
    """Base of everything that can go wrong inside capture."""


class SpoolUnusable(CaptureError):
    """The spool cannot be used; the message says which path and what to do."""


class TransportFailed(CaptureError):
    """The transport can never deliver; the message says what it refused and why."""


class MessageTooLarge(CaptureError):
    """A single event does not fit into one message."""


class Tally:
    """Counts by reason, safe from any thread; the first message of each reason is kept."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._messages: dict[str, str] = {}

    def add(self, reason: str, count: int = 1, message: str | None = None) -> None:
        if count <= 0:
            return
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + count
            if message is not None:
                self._messages.setdefault(reason, message)

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def message(self, reason: str) -> str | None:
        return self._messages.get(reason)

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()
            self._messages.clear()

    def after_fork(self) -> None:
        """Begin anew in a forked child: the parent reports its own, and its lock may be held."""
        self.__init__()  # type: ignore[misc]


LOSSES: Final = Tally()
WARNINGS: Final = Tally()

# Called with every error that was swallowed; tests collect them here and raise them at the end.
on_internal_error: Callable[[BaseException], None] | None = None


def losses() -> dict[str, int]:
    """What could not be captured or delivered in this process so far, by reason."""
    return LOSSES.counts()


def warnings() -> dict[str, int]:
    """What was captured with something missing (such as a reference without a store), by reason."""
    return WARNINGS.counts()


def swallow(error: BaseException, where: str) -> None:
    """Count an error of our own and go on: the script that is captured must not notice."""
    LOSSES.add(f"internal-{where}", message=f"{type(error).__name__}: {error}")
    hook = on_internal_error
    if hook is not None:
        hook(error)


def report() -> str | None:
    """One line that says what was lost, or None if nothing was."""
    counts = LOSSES.counts()
    if not counts:
        return None
    parts = []
    for reason, count in sorted(counts.items()):
        message = LOSSES.message(reason)
        parts.append(f"{count} {reason}" + (f" ({message[:200]})" if message else ""))
    return "headstream: provenance was lost: " + "; ".join(" ".join(p.split()) for p in parts)
