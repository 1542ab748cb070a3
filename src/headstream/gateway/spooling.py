"""The spool as a transport: what it has flushed is on the disk, for the service that is up, or a relay.

A run has a spool of its own, as those that a script leaves, so whoever takes the spool takes this too.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from headstream.capture.header import new_header
from headstream.capture.settings import DROP_NEWEST
from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.spool import Writer
from headstream.errors import CommandError
from headstream.gateway.errors import NotKept
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, RunEnded

# Each open spool is a file of 256 KiB at least, and whoever takes the spool looks at each again and again.
_MOST_OPEN: Final = 128
_IDLE_SECONDS: Final = 300.0
_SYNCERS: Final = 8

Key = tuple[str, str, str | None]


@dataclass(slots=True)
class _Open:
    """A spool that is being written: its last segment that is wholly synced, and when it was last used."""

    writer: Writer
    used: float
    synced: int = -1
    ended: bool = False
    lost: int = 0


class SpoolTransport:
    """Writes documents and bags into the spool. One thread at a time."""

    def __init__(
        self,
        settings: CaptureSettings,
        producer: str,
        on_made: Callable[[Path], object] = lambda path: None,
    ) -> None:
        if settings.spool is None:
            raise CommandError("HEADSTREAM_SPOOL is off, so nothing could be kept; set it to a folder")
        self._root = settings.spool
        # What has no room on the disk is told to the client: it is neither dropped nor kept in memory.
        self._settings = replace(settings, spool_full=DROP_NEWEST, memory_bytes=0)
        # In a container every gateway is process 1, and what the last one left may still lie there.
        self._producer = f"{producer}-{secrets.token_hex(4)}"
        self._on_made = on_made
        self._numbers = count(1)
        self._syncers = ThreadPoolExecutor(_SYNCERS, "sync")
        self._documents: dict[str, Document] = {}
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        self._touched: dict[Key, _Open] = {}

    def know(self, document: Document) -> None:
        """A document that is published: spools of runs that name it bring it along."""
        self._documents[document.content_hash] = document

    def publish(self, document: Document) -> None:
        self.know(document)
        spool = self._writer(("documents", self._producer, None), ())
        spool.lost += not spool.writer.document(document)
        spool.ended = True

    def send(self, bag: Bag) -> None:
        named = self._documents.get(bag.definition or "")
        spool = self._writer((bag.workflow, bag.execution, bag.definition), (named,) if named else ())
        spool.lost += sum(not spool.writer.event(event) for event in bag.events)
        spool.ended = any(isinstance(event, RunEnded) for event in bag.events)

    def flush(self, timeout: float) -> int:
        """Sync what was written; the number of records for which there was no room."""
        lost = 0
        touched, self._touched = self._touched, {}
        # Together: a file system brings several files to the disk in hardly more time than one.
        synced = (
            self._syncers.map(_sync, touched.values()) if len(touched) > 1 else map(_sync, touched.values())
        )
        for (key, spool), failed in zip(touched.items(), synced, strict=True):
            lost += spool.lost + failed
            spool.lost = 0
            if spool.ended:
                self._open.pop(key, None)
                spool.writer.close()
        self._close_idle(time.monotonic())
        return lost

    def leave(self) -> None:
        """Write no more into what is open, so that whoever takes the spool comes to its end."""
        for spool in self._open.values():
            spool.writer.close()
        self._open.clear()

    def close(self) -> None:
        self.leave()
        self._syncers.shutdown()

    def unready(self) -> str | None:
        """Why nothing could be spooled, or None."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"the spool {self._root} cannot be written: {error.strerror}"
        return None if os.access(self._root, os.W_OK) else f"the spool {self._root} cannot be written"

    def _writer(self, key: Key, preamble: tuple[Document, ...]) -> _Open:
        found = self._open.pop(key, None)
        if found is None:
            found = _Open(self._make(key, preamble), time.monotonic())
        found.used = time.monotonic()
        self._open[key] = self._touched[key] = found
        return found

    def _make(self, key: Key, preamble: tuple[Document, ...]) -> Writer:
        workflow, execution, definition = key
        header = new_header(
            workflow, execution, definition, f"{self._producer}-{next(self._numbers)}", os.uname().nodename
        )
        writer = Writer(header, self._settings, preamble)
        if writer.directory is None:
            writer.close()
            raise NotKept(
                f"no spool could be made in {self._root}", remedy="is the disk full, or the folder read-only?"
            )
        self._on_made(writer.directory)
        return writer

    def _close_idle(self, now: float) -> None:
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if len(self._open) <= _MOST_OPEN and now - oldest.used < _IDLE_SECONDS:
                return
            del self._open[key]
            oldest.writer.close()


def _sync(spool: _Open) -> int:
    """Bring what was written to the disk; 1 if the disk did not take it."""
    directory, written = spool.writer.directory, spool.writer.segments
    if directory is None or not written:
        return 1
    try:
        for number in range(max(spool.synced, 0), written[-1].number + 1):
            _sync_file(directory / f"{number:06d}.seg")
        if spool.synced < written[-1].number:
            _sync_file(directory)
            _sync_file(directory.parent)
    except OSError:
        return 1
    spool.synced = written[-1].number
    return 0


def _sync_file(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # A shipper has had it acknowledged and deleted it.
        return
    try:
        os.fsync(file)
    finally:
        os.close(file)
