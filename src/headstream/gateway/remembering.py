"""The scope of open steps on disk, so that a gateway that is killed goes on where it was.

One file a run with a line for each bag that added something: the notes (`scope.note`) of its messages.
Earlier versions wrote a line a note. A line is in the page cache before the bag is answered, so it
survives a kill of the process; a crash of the machine may cost the last of them, and with them derived
edges of later messages, but no event.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from headstream.capture.gateway.provlake import Translated
from headstream.capture.gateway.scope import Note, note
from headstream.capture.wire import text

log = logging.getLogger(__name__)
SUFFIX = ".notes"
# Half a million messages. Only a run that never ends says more: that of tasks without a workflow.
_MOST_BYTES = 64 << 20


class Notes:
    """The notes of all runs under one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, said: list[Translated]) -> int:
        """Note what messages add to the scope of their runs; the number that could not be noted."""
        notes: dict[tuple[str, str], list[Note]] = {}
        for translated in said:
            written = notes.setdefault((translated.workflow, translated.execution), [])
            for event in translated.events:
                found = note(event)
                if found is not None:
                    written.append(found)
        lost = 0
        for (workflow, execution), written in notes.items():
            if written and not self._append(self._path(workflow, execution), text(written)):
                lost += len(written)
        return lost

    def recall(self, workflow: str, execution: str) -> Iterator[Note]:
        """The notes of a run in their order, up to a torn end; nothing for a run that has none."""
        try:
            data = self._path(workflow, execution).read_bytes()
        except OSError:
            return
        for line in data.splitlines():
            try:
                read = json.loads(line)
            except ValueError:  # Torn by a crash, or what a full disk left of a line.
                continue
            if isinstance(read, list) and read:
                yield from read if isinstance(read[0], list) else [read]

    def forget_older(self, seconds: float, now: float | None = None) -> int:
        """Delete the notes of runs that nobody has heard of for so long; how many."""
        oldest = (time.time() if now is None else now) - seconds
        gone = 0
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    gone += 1
            except OSError:
                continue
        return gone

    def _path(self, workflow: str, execution: str) -> Path:
        name = hashlib.sha256(json.dumps([workflow, execution]).encode()).hexdigest()[:40]
        return self._folder / f"{name}{SUFFIX}"

    def _append(self, path: Path, line: str) -> bool:
        # A line that was torn by a crash must not swallow this one.
        data = f"\n{line}\n".encode()
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(file).st_size > _MOST_BYTES:
                    os.ftruncate(file, 0)
                    log.warning("the notes of a run begin anew", extra={"path": str(path)})
                return os.write(file, data) == len(data)
            finally:
                os.close(file)
        except OSError as error:
            log.warning("the scope of a run is not noted", extra={"path": str(path), "error": str(error)})
            return False
