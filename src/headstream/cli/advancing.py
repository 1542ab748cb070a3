"""Long work on its way: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headstream.cli.telling import progress, tell

_LOG_SECONDS: Final = 10.0


class Advance(Protocol):
    """Told of what is done (messages, or what else), how many in all, and events done, as far as known."""

    def __call__(self, done: int, total: int | None, events: int = 0, /) -> None: ...


@contextmanager
def advancing(doing: str, unit: str = "messages") -> Iterator[Advance]:
    """Show how far something is, on standard error: people read it, programs read the answer."""
    if not progress.is_terminal:
        yield _Log(doing, unit)
        return
    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task(unit, total=None, rate="")

        def advance(done: int, total: int | None, events: int = 0, /) -> None:
            shown = f"{events / max(time.monotonic() - began, 1e-3):,.0f} events/s" if events else ""
            bar.update(task, completed=done, total=total or None, rate=shown)

        yield advance


class _Log:
    """A line every ten seconds."""

    def __init__(self, doing: str, unit: str) -> None:
        self._doing = doing
        self._unit = unit
        self._began = self._told = time.monotonic()

    def __call__(self, done: int, total: int | None, events: int = 0, /) -> None:
        now = time.monotonic()
        if now - self._told < _LOG_SECONDS:
            return
        self._told = now
        of = f" of {total}" if total else ""
        rate = f", {events / (now - self._began):,.0f} events/s" if events else ""
        tell(f"{self._doing}: {done}{of}{f' {self._unit}' if self._unit else ''}{rate}")
