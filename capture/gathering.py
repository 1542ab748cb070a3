"""Facts about a run that take longer to find than its script should wait, told as soon as they are known.

The thread lives as long as git and a look into the folders of packages take, mostly some ten
milliseconds. What is known when the script is killed lies in the spool by then; a run that is
shorter than that waits a moment at its end, because a fact that is not told then is never told.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from headstream.capture import checkout, packages, threads
from headstream.capture.errors import WARNINGS, swallow
from headstream.capture.settings import Settings

Question = Callable[[], Mapping[str, Any] | None]

_END_SECONDS: Final = 1.0  # Longest wait at the end of a run.
_FORK_SECONDS: Final = 0.1


class Gathering:
    """Asks questions one after the other in a thread of its own, and tells each answer at once."""

    def __init__(
        self, questions: Sequence[Question], tell: Callable[[Mapping[str, Any]], None], patience: float
    ) -> None:
        """`patience`: the longest wait for answers at the end, in seconds."""
        self._questions = questions
        self._tell = tell
        self._patience = patience
        self._lock = threading.Lock()
        self._over = False
        self._paused = False
        self._thread = threading.Thread(target=self._ask, name="headstream-facts", daemon=True)
        threads.join(self)
        self._thread.start()

    def leave(self) -> None:
        """Wait for the answers; what is not there in time is a warning, and not told any more."""
        self._thread.join(self._patience)
        # Where the spool is full its thread may wait for room in the middle of telling.
        held = self._lock.acquire(timeout=self._patience)
        late, self._over = not self._over, True
        if held:
            self._lock.release()
        threads.part(self)
        if late:
            WARNINGS.add("facts-too-late", message=f"packages or git took more than {self._patience} s")

    def pause(self) -> None:
        """Before a fork: most likely it is done in a moment. It is waited for once, and not at every fork."""
        if self._thread.is_alive() and not self._paused:
            self._paused = True
            self._thread.join(_FORK_SECONDS)

    def resume(self) -> None:
        """The thread has gone on in the parent."""

    def _ask(self) -> None:
        for question in self._questions:
            try:
                answer = question()
                with self._lock:
                    if answer is not None and not self._over:
                        self._tell(answer)
            except Exception as error:
                swallow(error, "facts")
        with self._lock:
            self._over = True
        threads.part(self)


def gathered(
    settings: Settings, checked_out: Path | None, tell: Callable[[Mapping[str, Any]], None]
) -> Gathering | None:
    """Packages, and the state of the checkout around this folder, on their way; None if neither is wanted."""
    questions: list[Question] = []
    if settings.packages:
        path = list(sys.path)
        questions.append(lambda: {"packages": packages.installed(path)})
    if checked_out is not None:
        questions.append(_changes(checked_out))
    return Gathering(questions, tell, min(settings.exit_seconds, _END_SECONDS)) if questions else None


def _changes(folder: Path) -> Question:
    ask = checkout.dirty(folder, dict(os.environ))

    def question() -> dict[str, Any] | None:
        found = ask()
        if found is None:
            WARNINGS.add("git-silent", message=f"git does not say whether {folder} has changes")
        return None if found is None else {"git_dirty": found}

    return question
