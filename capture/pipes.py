"""Waiting for a pipe: by poll, as select takes no descriptor beyond 1,023, and a script may have many."""

from __future__ import annotations

import select


def readable(handle: int, seconds: float) -> bool:
    """Tell whether there is something to read, or the end, after waiting so long for it."""
    waiting = select.poll()
    waiting.register(handle, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))
