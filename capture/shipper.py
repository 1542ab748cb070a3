"""From spools to a transport: read, send, and move the checkpoint behind what is acknowledged.

    1. read what has come            3. wait until all of it is acknowledged
    2. hand it to the transport      4. write the checkpoint, delete what is done

A crash anywhere repeats messages and loses none. One shipper serves a spool at a time (a lock in
its directory); any process may take over, so the spool of a script that died is shipped too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as StopEvent
from typing import Final

from headstream.capture.checkpoint import START, Checkpoint, load_checkpoint, save_checkpoint
from headstream.capture.errors import LOSSES, CaptureError, swallow
from headstream.capture.logs import DirectoryLog, MemoryLog
from headstream.capture.reading import Reader, Torn, spools
from headstream.capture.settings import DEFAULT_BAG_SIZE, SILENT_SECONDS
from headstream.capture.spool import Writer
from headstream.capture.transports.base import Transport
from headstream.schemas.documents import Document
from headstream.schemas.events import event_count

LOCK: Final = "shipper"
TORN: Final = "torn"
_ITEMS: Final = 200
# What is handed over and not acknowledged lies in memory, a few times over, however long a broker is away.
_BYTES: Final = 512 << 10
# Open files are few: of many live spools some are let go between two looks.
_MOST_HELD: Final = 128
_OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE)
_AGAIN_SECONDS: Final = 30.0
_FLUSH_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What a shipper has done so far; `waiting` messages are handed over and not acknowledged."""

    documents: int = 0
    bags: int = 0
    events: int = 0
    spools: int = 0
    torn: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How spools are shipped, and what becomes of those that are done."""

    bag_size: int = DEFAULT_BAG_SIZE
    keep: bool = False
    archive: Path | None = None
    silent_seconds: float = SILENT_SECONDS


class Shipment:
    """One spool on its way."""

    def __init__(self, reader: Reader, start: Checkpoint) -> None:
        self.reader = reader
        self.sent = start
        self.kept = start
        self.noted = 0  # Torn pieces that are counted.

    def again(self, start: Checkpoint, bag_size: int) -> None:
        """Go back to where nothing has been sent yet."""
        self.reader = Reader(self.reader.log, start, bag_size)
        self.sent = start
        self.noted = 0

    def acknowledged(self) -> bool:
        """Keep the checkpoint of what was sent; True if nothing can follow."""
        self.kept = self.sent
        return self.kept.done

    def close(self) -> None:
        """Let another shipper have it."""


class DirectoryShipment(Shipment):
    """A spool directory, held by its lock."""

    def __init__(self, directory: Path, lock: int, manner: Manner) -> None:
        self.directory = directory
        self._lock = lock
        self._keep = manner.keep or manner.archive is not None
        self._archive = manner.archive
        self._log = DirectoryLog(directory, claim=True, silent_seconds=manner.silent_seconds)
        start = load_checkpoint(directory)
        self._needed: frozenset[int] = frozenset()  # Segments that were, when we last looked.
        super().__init__(Reader(self._log, start, manner.bag_size), start)

    @classmethod
    def take(cls, directory: Path, manner: Manner) -> DirectoryShipment | None:
        """Take a spool for ourselves; None if somebody else ships it or it has just gone."""
        try:
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:  # A file system without locks: then two shippers only repeat each other.
            pass
        return cls(directory, lock, manner)

    def acknowledged(self) -> bool:
        if self.sent != self.kept:
            save_checkpoint(self.directory, self.sent)
        if not self._keep:
            set_aside(self.directory, self.reader.torn[self.noted :])
        done = super().acknowledged()
        if done and self._archive is not None:
            self._archive.mkdir(parents=True, exist_ok=True)
            self.directory.rename(self._archive / self.directory.name)
        elif done and not self._keep:
            remove(self.directory)
        else:
            self._drop_segments()
        return done

    def close(self) -> None:
        self._log.close()
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # A forked child may hold the same lock.
        os.close(self._lock)

    def _drop_segments(self) -> None:
        """Close, and unless they are to be kept delete, segments that have been read to their end."""
        needed = self.kept.needed
        if needed != self._needed:
            self._needed = needed
            for number in self._log.numbers():
                if number < self.kept.segment and number not in needed:
                    self._log.forget(number)
                    if not self._keep:
                        (self.directory / f"{number:06d}.seg").unlink(missing_ok=True)


class MemoryShipment(Shipment):
    """The memory segments of a writer of this process."""

    def __init__(self, writer: Writer, bag_size: int) -> None:
        self._writer = writer
        super().__init__(Reader(MemoryLog(writer), START, bag_size), START)

    def acknowledged(self) -> bool:
        done = super().acknowledged()
        needed = frozenset() if done else self.kept.needed
        self._writer.forget(lambda number: number <= self.kept.segment and number not in needed)
        return done


class Shipper:
    """Ships whatever spools it is given, round by round."""

    def __init__(
        self,
        transport: Transport,
        *,
        bag_size: int = DEFAULT_BAG_SIZE,
        keep: bool = False,
        archive: Path | None = None,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self.transport = transport
        self.shipped = Shipped()
        self._manner = Manner(bag_size=bag_size, keep=keep, archive=archive, silent_seconds=silent_seconds)
        self._held: dict[Path | Writer, Shipment] = {}
        self._done: set[Path | Writer] = set()
        self._later: dict[Path | Writer, float] = {}
        self._first = 0

    def round(self, sources: Iterable[Path | Writer], stop: Callable[[], bool]) -> bool:
        """Send what has come since the last round and have it acknowledged; False if nothing had come."""
        if not self._settle(stop):
            return True
        left = _BYTES
        moved = False
        for source in self._in_turn(list(sources)):
            shipment = self._take(source)
            if shipment is None:
                continue
            try:
                sent = self._send(shipment, stop, left)
            except (OSError, CaptureError, ValueError, struct.error) as error:
                self._set_by(source, error)
                continue
            if sent is None:
                if len(self._held) > _MOST_HELD:
                    self._held.pop(source).close()
                continue
            moved = True
            left -= sent
            if left <= 0 or len(self._held) > _MOST_HELD:
                break
        if not self._settle(stop):
            return True
        while len(self._held) > _MOST_HELD:  # All of it is acknowledged, so any can be let go.
            self._held.pop(next(iter(self._held))).close()
        return moved

    def drain(self, sources: Callable[[], Iterable[Path | Writer]], deadline: float) -> int:
        """Ship all that there is, once at least, until all is acknowledged or the time is over.

        Returns how many messages are not acknowledged; -1: what was sent is, and there was more.
        """

        def over() -> bool:
            return time.monotonic() >= deadline

        while self.round(sources(), over):
            if over():
                more = any(source not in self._done for source in sources())
                return self.shipped.waiting or (-1 if more else 0)
        return self.shipped.waiting

    def _in_turn(self, sources: list[Path | Writer]) -> list[Path | Writer]:
        """Each source comes first once, so that one with a great deal to ship holds up no other."""
        if len(sources) < 2:
            return sources
        self._first = (self._first + 1) % len(sources)
        return sources[self._first :] + sources[: self._first]

    def _set_by(self, source: Path | Writer, error: Exception) -> None:
        """Leave a spool that cannot be read: what may pass is tried again, what is no spool is not."""
        self._held.pop(source).close()
        if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:
            return
        if isinstance(error, OSError):
            self._later[source] = time.monotonic() + _AGAIN_SECONDS
        else:
            self._done.add(source)
        swallow(error, "spool-unreadable")

    def close(self) -> None:
        """Let all spools go; the transport is closed by who made it."""
        while self._held:
            self._held.popitem()[1].close()

    def _take(self, source: Path | Writer) -> Shipment | None:
        if source in self._done or self._later.get(source, 0.0) > time.monotonic():
            return None
        held = self._held.get(source)
        if held is None:
            if isinstance(source, Writer):
                held = MemoryShipment(source, self._manner.bag_size)
            else:
                held = DirectoryShipment.take(source, self._manner)
            if held is not None:
                self._held[source] = held
        return held

    def _send(self, shipment: Shipment, stop: Callable[[], bool], most: int) -> int | None:
        """Hand over what has come, up to about so many bytes; how many, or None if nothing had come."""
        unpublished = False
        before = shipment.sent
        size = 0
        for item in shipment.reader.poll(_ITEMS):
            if isinstance(item.content, Document):
                self.transport.publish(item.content)
                unpublished = True
                self.shipped = replace(self.shipped, documents=self.shipped.documents + 1)
            else:
                # A bag may only follow when the documents it names are there for good.
                if unpublished and not self._acknowledged(stop):
                    shipment.again(before, self._manner.bag_size)
                    return size
                unpublished = False
                self.transport.send(item.content)
                events = sum(map(event_count, item.content.events))
                self.shipped = replace(
                    self.shipped, bags=self.shipped.bags + 1, events=self.shipped.events + events
                )
            shipment.sent = item.checkpoint
            size += item.size
            if size >= most:
                return size
        shipment.sent = shipment.reader.checkpoint
        return size if shipment.sent != before else None

    def _acknowledged(self, stop: Callable[[], bool]) -> bool:
        while True:
            waiting = self.transport.flush(_FLUSH_SECONDS)
            self.shipped = replace(self.shipped, waiting=waiting)
            if waiting == 0:
                return True
            if stop():
                return False

    def _settle(self, stop: Callable[[], bool]) -> bool:
        """Wait until everything is acknowledged, then keep the checkpoints."""
        if not self._acknowledged(stop):
            return False
        for source, shipment in list(self._held.items()):
            done = shipment.acknowledged()
            torn, shipment.noted = len(shipment.reader.torn) - shipment.noted, len(shipment.reader.torn)
            LOSSES.add("torn-frame", torn)
            self.shipped = replace(
                self.shipped, spools=self.shipped.spools + done, torn=self.shipped.torn + torn
            )
            if done:
                self._held.pop(source).close()
                # One that is gone may come again under its name: somebody has restored it.
                if isinstance(source, Writer) or source.exists():
                    self._done.add(source)
        return True


def ship(
    root: Path,
    transport: Transport,
    *,
    watch: bool = False,
    stop: StopEvent | None = None,
    poll: float = 0.05,
    progress: Callable[[Shipped], None] | None = None,
    timeout: float | None = None,
    bag_size: int = DEFAULT_BAG_SIZE,
    keep: bool = False,
    archive: Path | None = None,
    silent_seconds: float = SILENT_SECONDS,
) -> Shipped:
    """Ship every spool under a root, those of processes that died included.

    Without `watch` this returns when all that is there now is acknowledged; with it, when `stop`
    is set. `timeout` bounds both, and what is not acknowledged by then stays in the spool.
    A record that is written while this watches is handed over within `poll` seconds. A spool that is
    done is deleted, or moved to `archive` if there is one, or left where it is with `keep`.
    """
    root = Path(root)
    event = stop or StopEvent()
    deadline = None if timeout is None else time.monotonic() + timeout

    def over() -> bool:
        return event.is_set() or (deadline is not None and time.monotonic() >= deadline)

    shipper = Shipper(transport, bag_size=bag_size, keep=keep, archive=archive, silent_seconds=silent_seconds)
    try:
        while not over():
            moved = shipper.round(spools(root), over)
            if progress is not None:
                progress(shipper.shipped)
            if not moved:
                if not watch:
                    break
                event.wait(poll)
    finally:
        shipper.close()
    return shipper.shipped


def set_aside(directory: Path, torn: list[Torn]) -> None:
    """Keep torn bytes where the spool lay, for whoever wants to look."""
    for piece in torn:
        folder = directory.parent / TORN
        folder.mkdir(exist_ok=True)
        (folder / f"{directory.name}-{piece.segment}-{piece.offset}.bin").write_bytes(piece.data)


def remove(directory: Path) -> None:
    """Take a spool away at once, then its files."""
    gone = directory.with_name(f".gone-{directory.name}"[:250])
    try:
        directory.rename(gone)
    except OSError:
        gone = directory
    shutil.rmtree(gone, ignore_errors=True)
