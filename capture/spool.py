"""The spool of one process and run: what a call wrote here survives kill -9 of the script.

Frames go straight into memory-mapped files, so they are in the page cache, and so on the disk of
a machine that stays up, as soon as the call returns (spec of the layout: frames.py). Space is
allocated before it is mapped: a full disk is an error here and never a SIGBUS in the script.
Where no file can be written, segments lie in anonymous memory up to a bound. Where there is no room
at all a policy decides: wait a little, drop the oldest or drop what comes; each drop is counted.
One writer, any number of threads; a forked child has its own.
"""

from __future__ import annotations

import mmap
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from headstream.capture import frames, segments, wire
from headstream.capture.errors import LOSSES, WARNINGS
from headstream.capture.header import Header
from headstream.capture.owner import Owner
from headstream.capture.segments import MEMORY, Lost, Segment
from headstream.capture.settings import BLOCK, DROP_OLDEST, Settings

if TYPE_CHECKING:
    from headstream.capture.families import Family
    from headstream.capture.forms import Form
    from headstream.schemas.documents import Document
    from headstream.schemas.events import Event

FIRST_SEGMENT: Final = 256 << 10
_AGAIN_SECONDS: Final = 0.05  # Between two looks for room where there was none.
_HEAD: Final = frames.FRAME.size
_put_rest: Final = frames.REST.pack_into
_crc: Final = zlib.crc32
_put_length: Final = frames.LENGTH.pack_into
_LINKED: Final = _HEAD + frames.LINK.size
_put_link: Final = frames.LINK.pack


class Rows(NamedTuple):
    """A reserved run of rows. `base` is the offset of row 0 in `data`, `at` that of the frame's payload."""

    data: mmap.mmap
    base: int
    at: int
    size: int
    capacity: int

    def seal(self) -> None:
        """No further row will be opened here."""
        self.data[self.at + frames.ROWS_SEALED] = 1


class Linked(Protocol):
    """A step as a chain of frames: in which segment, and which of its frames is the last."""

    family: Family
    segment: object
    before: int
    data: mmap.mmap
    slots: int
    room: int
    epoch: object


class Writer:
    """Appends frames to the segments of one spool. Never raises for want of space; it counts."""

    def __init__(self, header: Header, settings: Settings, preamble: tuple[Document, ...] = ()) -> None:
        self.header = header
        self.settings = settings
        self.segments: list[Segment] = []  # Those in memory, and the one being written.
        self.directory: Path | None = None
        self.closed = False
        self._owner: Owner | None = None
        # Reentrant: a signal handler of the script may capture while the script does.
        self._lock = threading.RLock()
        self._busy = False
        self._deferred: list[tuple[int, bytes]] = []
        self._number = 0
        self._segment: object = None  # Stands for the one being written, and holds nothing of it.
        self._position = 0
        self._limit = 0  # Where the frames of the segment being written must end.
        self._unsure = False  # An asynchronous exception struck in mid frame.
        self._data: Any = None
        self._room_made = threading.Condition(self._lock)
        self._look_at = 0.0  # When to look for room again.
        self._disk_failed = False  # By an error that deleting files does not help against.
        self._waited = False  # In vain, and there was no room since then.
        self.claimed = -1  # The last memory segment that somebody reads; see claim().
        self.on_memory: Callable[[Writer], None] | None = None  # Told once that a segment found no file.
        if settings.spool is not None:
            try:
                self._make_directory(settings.spool)
            except OSError as error:
                WARNINGS.add("spool-in-memory", message=f"{settings.spool}: {error}")
                self.directory = None
        for document in preamble:
            self.document(document)

    def document(self, document: Document) -> bool:
        return self.append(frames.DOCUMENT, wire.dump([document.kind, document.name, document.body]))

    def event(self, event: Event) -> bool:
        """Append an event that is not a block of rows."""
        from headstream.capture.records import event_to  # The steps of a script write records at once.

        return self.append(frames.EVENT, wire.dump(event_to(event)))

    def append(self, kind: int, payload: bytes) -> bool:
        """Write one frame; it survives the process once this has returned True. False: dropped, counted."""
        with self._lock:
            if self._busy:
                # A signal handler or a finaliser interrupted this thread between two stores: afterwards.
                self._deferred.append((kind, payload))
                return True
            self._busy = True
            try:
                written = self._append(kind, payload)
            except BaseException:
                self._unsure = True
                raise
            finally:
                self._busy = False
            if self._deferred:
                self.append(*self._deferred.pop(0))
        return written

    def link(self, kind: int, step: Linked, form: Form | None, body: bytes, room: int | None = None) -> bool:
        """Write the next frame of the chain of a step (frames.py), as durable as `append`.

        With `room` the frame of a step that begins gets slots, of which the one for values has so many
        bytes. False: it was not written, as the chain would leave its segment or another frame is being
        written by this very thread. It has to be said by an event then.
        """
        family = step.family
        length = _LINKED + len(body)
        later = length - _HEAD
        if room is not None:
            length += frames.SAY_BODY + room
        size = (length + 7) & ~7
        with self._lock:
            segment = self._segment
            if self._busy or self.closed or (kind != frames.BEGUN and step.segment is not segment):
                return False
            self._busy = True
            try:
                if (
                    family.segment is not segment
                    or family.epoch is not family.recorder.epoch
                    or (form is not None and form.segment is not segment)
                    or self._position + size > self._limit
                    or self._unsure
                ):
                    if not self._introduce(family, form, size):
                        return False
                    if kind != frames.BEGUN and self._segment is not segment:
                        return False
                    segment = self._segment
                at, data = self._position, self._data
                form_at, third = 0 if form is None else form.at, step.before if room is None else later
                payload = _put_link(family.at, form_at, third) + body
                start = at + _HEAD
                data[start : start + len(payload)] = payload
                _put_rest(data, at + 4, _crc(payload, kind), kind)
                _put_length(data, at, length)
                self._position = at + size
                step.segment, step.before = segment, at
                if room is not None:
                    step.data, step.slots, step.room, step.epoch = data, start + later, room, family.epoch
            except BaseException:
                self._unsure = True
                raise
            finally:
                self._busy = False
            if self._deferred:
                self.append(*self._deferred.pop(0))
        return True

    def reserve(self, meta: bytes, columns: int, capacity: int) -> Rows | None:
        """Room for rows of this many columns, already visible to readers; None: dropped, counted."""
        with self._lock:
            if self._busy:
                return None
            self._busy = True
            try:
                rows = self._reserve(meta, frames.row_size(columns), capacity)
            except BaseException:
                self._unsure = True
                raise
            finally:
                self._busy = False
            if self._deferred:
                self.append(*self._deferred.pop(0))
        return rows

    def close(self) -> None:
        """Say that nothing follows, and let readers take the spool away once it is shipped."""
        if self.closed:
            return
        with self._lock:
            if not self._busy and self._position + frames.frame_size(0) <= self._limit:
                self._append(frames.CLOSED, b"")
        self.closed = True
        self.segments = self.in_memory()  # Each mapped file holds a descriptor.
        self._segment, self._data, self._limit = None, None, 0
        self.release()

    def release(self) -> None:
        """Tell readers that this process writes no more; a forked child only lets go of its copy."""
        if self._owner is not None:
            self._owner.leave()
            self._owner = None

    def in_memory(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.path is None]

    def claim(self, number: int) -> Segment | None:
        """A memory segment for somebody who ships it: from now on it is not dropped."""
        with self._lock:
            for segment in self.in_memory():
                if segment.number == number:
                    self.claimed = max(self.claimed, number)
                    return segment
        return None

    def forget(self, shipped: Callable[[int], bool]) -> None:
        """Free memory segments that have been shipped."""
        with self._lock:
            self._free([s for s in self.in_memory() if shipped(s.number)])

    def _append(self, kind: int, payload: bytes) -> bool:
        length = len(payload) + _HEAD
        size = (length + 7) & ~7
        if (self._unsure or self._position + size > self._limit) and self._room(size) is None:
            LOSSES.add("spool-full" if kind == frames.EVENT else "spool-full-documents")
            return False
        at, data = self._position, self._data
        data[at + _HEAD : at + length] = payload
        _put_rest(data, at + 4, _crc(payload, kind), kind)
        # Published from here on. A length of zero is the end of the data, so it counts the header too.
        _put_length(data, at, length)
        self._position = at + size
        return True

    def _introduce(self, family: Family, form: Form | None, size: int) -> bool:
        """Make room for a frame, and write before it what it names and its segment does not have."""
        text = family.text()
        size += frames.frame_size(len(text)) + (0 if form is None else frames.frame_size(len(form.text)))
        if self._room(size) is None:
            return False
        segment = self._segment
        if family.segment is not segment or family.epoch is not family.recorder.epoch:
            family.at = self._position
            self._append(frames.FAMILY, text)
            family.segment, family.epoch = segment, family.recorder.epoch
        if form is not None and form.segment is not segment:
            form.at = self._position
            self._append(frames.FORM, form.text)
            form.segment = segment
        return True

    def _reserve(self, meta: bytes, size: int, capacity: int) -> Rows | None:
        start = frames.rows_start(len(meta))
        segment = self._room(frames.frame_size(start + size * capacity))
        if segment is None:
            return None  # Its turns become general steps, and each of those is written or counted.
        at, data = self._position, segment.data
        payload_at = at + frames.FRAME.size
        head = frames.ROWS_HEAD.pack(len(meta), size, capacity)
        data[payload_at : payload_at + len(head)] = head
        data[payload_at + frames.ROWS_META : payload_at + frames.ROWS_META + len(meta)] = meta
        length = start + size * capacity
        frames.REST.pack_into(data, at + 4, frames.crc(frames.ROWS, head, meta), frames.ROWS)
        frames.LENGTH.pack_into(data, at, length + frames.FRAME.size)
        self._position = at + frames.frame_size(length)
        return Rows(data=data, base=payload_at + start, at=payload_at, size=size, capacity=capacity)

    def _room(self, size: int) -> Segment | None:
        """The segment that the next frame of this size goes to; moves past a frame cut off by a signal."""
        until = 0.0
        while True:
            segment = self.segments[-1] if self.segments else None
            if segment is not None:
                if self._unsure:
                    self._skip_published(segment)
                    self._unsure = False
                if self._position + size <= self._limit:
                    return segment
            segment = self._next_segment(size)
            if segment is not None or self._waited or self.closed or self.settings.spool_full != BLOCK:
                return segment
            if not until:
                until = time.monotonic() + self.settings.block_seconds
                WARNINGS.add("spool-blocked")
            self._wait(until)

    def _wait(self, until: float) -> None:
        """Let others have the lock until there may be room, or the time is over."""
        self._busy = False  # Nothing is half written here.
        try:
            self._room_made.wait(_AGAIN_SECONDS / 5)
        finally:
            self._busy = True
        self._look_at = 0.0
        self._waited = time.monotonic() >= until

    def _skip_published(self, segment: Segment) -> None:
        """An asynchronous exception may have struck between publishing a frame and moving on."""
        while segment.data[self._position : self._position + 4] != b"\0\0\0\0":
            (length,) = frames.LENGTH.unpack_from(segment.data, self._position)
            self._position += frames.frame_size(length - frames.FRAME.size)
        # Rows and slots begin as zeros, and half a frame may lie here.
        segment.data[self._position : segment.size] = bytes(segment.size - self._position)

    def _next_segment(self, size: int) -> Segment | None:
        if time.monotonic() < self._look_at:
            return None
        header = self.header.payload()
        needed = segments.pages(size + frames.frame_size(len(header)) + 2 * frames.frame_size(0))
        doubled = FIRST_SEGMENT << min(self._number, 10)
        wanted = max(segments.pages(min(doubled, self.settings.segment_bytes)), needed)
        fresh = self._fresh_segment(wanted, needed)
        freed = 0
        while fresh is None and self.settings.spool_full == DROP_OLDEST and freed < 2 * wanted:
            lost = self._drop_oldest()
            if lost is None:
                break
            freed += lost.size
            fresh = self._fresh_segment(wanted, needed)
        if fresh is None:
            # Asking a full disk again costs far more than a call may.
            self._look_at = time.monotonic() + _AGAIN_SECONDS
            return None
        self._waited = False
        previous = self.segments[-1] if self.segments else None
        at = self._position
        self._position = 0
        self.segments = [*self.in_memory(), fresh]
        self._segment = object()
        self._data = fresh.data
        self._limit = fresh.size - frames.frame_size(0)  # Room is kept for the END frame.
        self._number = fresh.number + 1
        self._append(frames.HEADER, header)
        if previous is not None:
            _publish_end(previous, at)
        return fresh

    def _fresh_segment(self, wanted: int, needed: int) -> Segment | None:
        """A file, or memory if the disk has failed us; None where the bounds do not allow it."""
        if self.directory is not None:
            bounds = self.settings.spool_bytes, self.settings.free_bytes
            try:
                self._disk_failed = False
                return segments.in_file(self.directory, self._number, wanted, needed, *bounds)
            except OSError as error:
                self._disk_failed = not segments.is_full(error)
                WARNINGS.add("spool-in-memory", message=f"{self.directory}: {error}")
        return self._memory_segment(wanted, needed)

    def _memory_segment(self, wanted: int, needed: int) -> Segment | None:
        bound = self.settings.memory_bytes
        # Memory is freed a segment at a time, so segments are small beside the bound.
        size = MEMORY.take(max(needed, min(wanted, segments.pages(bound // 8))), needed, bound)
        if size == 0:
            return None
        listener, self.on_memory = self.on_memory, None
        if listener is not None:
            listener(self)
        return Segment(number=self._number, data=mmap.mmap(-1, size), size=size, path=None)

    def _drop_oldest(self) -> Lost | None:
        """Free the oldest segment that nobody ships and nobody writes, and count what went with it."""
        now = self.segments[-1].number if self.segments else -1
        memory = [each for each in self.in_memory() if self.claimed < each.number < now]
        # Where the disk has failed, deleting files would free nothing.
        found = segments.drop_oldest(memory, None if self._disk_failed else self.directory, now)
        if found is None:
            return None
        lost, gone = found
        if gone is not None:
            self._free([gone])
        LOSSES.add("spool-full", lost.events)
        return lost

    def _free(self, gone: list[Segment]) -> None:
        self.segments = [s for s in self.segments if s not in gone]
        MEMORY.give_back(sum(segment.size for segment in gone))
        self._look_at = 0.0
        self._room_made.notify_all()

    def _make_directory(self, root: Path) -> None:
        """Make the directory under another name first: readers see it only with its lock held."""
        root.mkdir(parents=True, exist_ok=True)
        fresh = root / f".new-{self.header.producer}"
        fresh.mkdir(mode=0o700)
        self._owner = Owner(fresh, self.header.host, self.header.pid)
        self.directory = fresh
        try:
            if self._next_segment(0) is None or self.segments[-1].path is None:
                raise OSError(f"no segment could be made in {root}")
            target = root / self.header.directory
            fresh.rename(target)
            self.directory = target
        except BaseException:
            import shutil  # Imported late: an import of capture stays light.

            self.release()
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def _publish_end(segment: Segment, at: int) -> None:
    frames.REST.pack_into(segment.data, at + 4, frames.crc(frames.END, b""), frames.END)
    frames.LENGTH.pack_into(segment.data, at, frames.FRAME.size)
