"""Dead letters that were filed while the broker was away, brought to their topic when it is back.

    1. read those of which the settlements say nothing     2. send them     3. settle them as moved

Whoever dies between 2 and 3 sends some of them twice, and nobody loses one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from headstream.schemas.dead_letters import MOVED
from headstream.schemas.facts import DeadLetter
from headstream.sinks.dead_letters import DeadLetters, Settlements, numbered_letters
from headstream.sinks.errors import DeadLettersUnavailable

log = logging.getLogger(__name__)
_AT_ONCE: Final = 100  # A letter may have nearly a megabyte.


@dataclass(slots=True)
class FiledLetters:
    """The file of one gateway; `reachable` tells whether it is worth while to `open` the topic."""

    path: Path
    settlements: Settlements
    open: Callable[[], DeadLetters]
    reachable: Callable[[], bool]
    _done: tuple[int, int] | None = None
    _silent: bool = False

    def bring(self) -> int:
        """Send what waits, if the broker is there; how many letters were. Never raises for a broker."""
        seen = self._seen()
        if seen is None or seen == self._done:
            return 0
        settled = self.settlements.read()
        waiting = [each for each in numbered_letters(self.path) if each[0] not in settled]
        if waiting and not self.reachable():
            return 0
        try:
            self._move(waiting)
        except DeadLettersUnavailable as error:
            if not self._silent:
                log.warning("filed dead letters stay where they are", extra={"reason": str(error)})
            self._silent = True
            return 0
        self._done, self._silent = seen, False
        return len(waiting)

    def _move(self, waiting: list[tuple[int, DeadLetter]]) -> None:
        if not waiting:
            return
        with closing(self.open()) as topic:
            for begin in range(0, len(waiting), _AT_ONCE):
                some = waiting[begin : begin + _AT_ONCE]  # 1
                topic.put([letter for _, letter in some])  # 2
                self.settlements.put((number for number, _ in some), MOVED, time.time_ns() // 1000)  # 3
        log.info("filed dead letters are in their topic", extra={"letters": len(waiting)})

    def _seen(self) -> tuple[int, int] | None:
        """The file as it is now; None while there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns
