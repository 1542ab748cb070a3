"""Segments of a spool: files that are mapped, anonymous memory in their place, and what goes with one.

A segment that has to make room for newer ones (HEADSTREAM_SPOOL_FULL=drop_oldest) is dropped only
while nobody reads it: a shipper holds a shared lock on each segment file from its first byte until
all of it is acknowledged. So what is dropped is counted once and delivered never.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from headstream.capture import frames
from headstream.capture.checkpoint import START, Checkpoint, load_checkpoint

_EVENTS: Final = (frames.EVENT, frames.BEGUN, frames.SAID, frames.FINISHED)
_STARTED: Final = 2
_ENDED: Final = 3
# Never more than a tenth of a file system is left free for others: small ones are made for this.
_TENTH: Final = 10


class Segment(NamedTuple):
    """A run of frames: a mapped file, or memory if `path` is None."""

    number: int
    data: mmap.mmap
    size: int
    path: Path | None


class Lost(NamedTuple):
    """What goes with a segment: events, a row being two, and bytes."""

    events: int
    size: int


class Memory:
    """The anonymous memory of all spools of this process, together within one bound."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._used = 0

    def take(self, wanted: int, needed: int, bound: int) -> int:
        """As many bytes as there are of those wanted; 0 if there are fewer than are needed."""
        with self._lock:
            if self._process != os.getpid():  # What the parent holds is the parent's.
                self._process, self._used = os.getpid(), 0
            left = (bound - self._used) // mmap.PAGESIZE * mmap.PAGESIZE
            size = min(wanted, left)
            if size < needed:
                return 0
            self._used += size
            return size

    def give_back(self, size: int) -> None:
        with self._lock:
            if self._process == os.getpid():
                self._used -= size


MEMORY: Final = Memory()


def pages(size: int) -> int:
    """The size as whole pages."""
    return (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


def in_file(
    directory: Path, number: int, wanted: int, needed: int, spool_bytes: int, free_bytes: int
) -> Segment | None:
    """A fresh segment file, mapped; None beyond the bound of the spool, OSError if the disk has no room."""
    left = spool_bytes - used_by(directory)
    if left < needed:
        return None
    size = min(wanted, left // mmap.PAGESIZE * mmap.PAGESIZE)
    if room_beside(directory, free_bytes) < size:
        raise OSError(errno.ENOSPC, "what is free is left to others (HEADSTREAM_SPOOL_FREE_BYTES)")
    path = directory / f"{number:06d}.seg"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # A hole would be a SIGBUS in the script when the disk is full.
        os.posix_fallocate(handle, 0, size)
        data = mmap.mmap(handle, size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    return Segment(number=number, data=data, size=size, path=path)


def is_full(error: OSError) -> bool:
    """Tell whether deleting files may help against an error."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def used_by(directory: Path) -> int:
    """Bytes of the segment files of a spool."""
    used = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(".seg"):
                with contextlib.suppress(FileNotFoundError):  # A shipper has just deleted it.
                    used += entry.stat().st_size
    return used


def numbers_in(directory: Path) -> list[int]:
    """The segment files of a spool, oldest first."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".seg"))


def room_beside(directory: Path, free_bytes: int) -> int:
    """Bytes that the file system has beyond those that it is to keep for others."""
    found = os.statvfs(directory)
    whole, left = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    return left - min(free_bytes, whole // _TENTH)


def drop_oldest(
    memory: Iterable[Segment], directory: Path | None, before: int
) -> tuple[Lost, Segment | None] | None:
    """Drop the first segment that can go, in memory or a file numbered below `before`; None: none can.

    A file is deleted; memory is for the caller to free.
    """
    lying = {segment.number: segment for segment in memory}
    files = set() if directory is None else {each for each in numbers_in(directory) if each < before}
    shipped = START if directory is None else load_checkpoint(directory)
    for number in sorted(files | lying.keys()):
        segment = lying.get(number)
        if segment is not None:
            lost = lost_with(segment.data, number, START)
        else:
            assert directory is not None
            lost = drop(directory, number, shipped)
        if lost is not None:
            return lost, segment
    return None


def drop(directory: Path, number: int, shipped: Checkpoint) -> Lost | None:
    """Delete one segment file and say what went with it; None if it has to stay."""
    path = directory / f"{number:06d}.seg"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # Somebody reads it: it is on its way.
        os.close(handle)
        return None
    except OSError:  # A file system without locks: at worst what is counted arrives as well.
        pass
    try:
        with mmap.mmap(handle, 0, prot=mmap.PROT_READ) as data:
            lost = lost_with(data, number, shipped)
        if lost is not None:
            path.unlink()
        return lost
    except (OSError, ValueError):  # Somebody was quicker, or it is no segment.
        return None
    finally:
        os.close(handle)


def lost_with(data: mmap.mmap, number: int, shipped: Checkpoint) -> Lost | None:
    """What of a segment is not shipped; None if it must stay, for what it holds.

    Documents stay because every later event needs them, rows as long as turns may be written there,
    and the first frames of steps as long as those may end there.
    """
    told = {each.at: each.told for each in shipped.growing if each.segment == number}
    events = at = 0
    while at + frames.FRAME.size <= len(data):
        length, _, kind = frames.FRAME.unpack_from(data, at)
        if length == 0 or kind == frames.END:
            break
        payload = at + frames.FRAME.size
        done = (number, at) < (shipped.segment, shipped.offset)
        if kind == frames.DOCUMENT and not done:
            return None
        if kind in _EVENTS:
            events += not done
        elif kind == frames.ROWS and (not done or payload in told):
            left = _turns_left(data, payload, told.get(payload, 0))
            if left is None:
                return None
            events += 2 * left  # Its start and its end.
        if kind == frames.BEGUN and (not done or payload in told):
            more = _slots_left(data, payload, told.get(payload, 0))
            if more is None:
                return None
            events += more
        at += frames.frame_size(length - frames.FRAME.size)
    return Lost(events, len(data))


def _slots_left(data: mmap.mmap, payload: int, told: int) -> int | None:
    """The events in the slots of a step's first frame; None if a further one may be written."""
    _, _, later = frames.LINK.unpack_from(data, payload)
    if not later:
        return 0
    (ended,) = frames.TIME.unpack_from(data, payload + later + frames.FINISH_ENDED)
    if not ended:
        return None
    _, form = frames.SAY_SLOT.unpack_from(data, payload + later + frames.FINISH_SLOT.size)
    return int(form != 0 and not told) + int(ended > 0)


def _turns_left(data: mmap.mmap, payload: int, told: int) -> int | None:
    """The turns of a run of rows behind the first `told`; None if a further one may be written."""
    head = frames.rows_head(data[payload : payload + frames.ROWS_META])
    (meta,) = frames.LENGTH.unpack_from(data, payload)
    first = payload + frames.rows_start(meta)
    step = head.size // frames.CELL
    with memoryview(data)[first : first + head.size * head.capacity].cast("q") as cells:
        started = cells[_STARTED::step].tolist()
        ended = cells[_ENDED::step].tolist()
    opened = len(started) - started.count(0)
    if not head.sealed and opened < head.capacity:
        return None
    over = ended[:opened]
    if 0 in over:
        return None
    return len(over) - told - over[told:].count(frames.MOVED)
