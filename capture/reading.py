"""Reading a spool: documents and bags, from any checkpoint, while it is written or after.

A bag holds up to `bag_size` events; a block of rows counts as one event for each ten rows it has,
and has at most ten rows for each event of a bag. A spool whose writer has gone is always read
into the same bags from its start. While the writer lives, bags close at whatever is there, so
their boundaries depend on the moment. The events do not, but for one mark: whether a part that ended
after the step around it, in another thread, is one of its parts or apart.

The end of a step is told after those of its parts that ended before it, with what they came to
(totals.py). A row that is still open is told, as a step that has started, only once the writer has gone. A
frame that was torn by a crash is set aside (`torn`), and everything else is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from headstream.capture import frames, records, wire
from headstream.capture.chains import KINDS, Broken, Chains, checked, has_slots
from headstream.capture.checkpoint import START, Checkpoint
from headstream.capture.errors import SpoolUnusable
from headstream.capture.filling import Filling, Key
from headstream.capture.frames import Row
from headstream.capture.header import Header
from headstream.capture.logs import DirectoryLog, Log
from headstream.capture.rows import blocks, open_row
from headstream.capture.totals import Totals
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, Event, IterationBlock, StepEnded, StepRef, StepStarted

ROWS_PER_EVENT = 10
# Large values fill a bag before it has its number of events: it is in memory several times.
_BAG_BYTES = 512 << 10
_TORN_BYTES = 64 << 10
_AHEAD = 64 << 10
_ROW_BYTES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What was read, the checkpoint behind it, and about how many bytes it is."""

    content: Document | Bag
    checkpoint: Checkpoint
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Torn:
    """Bytes that are no whole frame."""

    segment: int
    offset: int
    data: bytes


class Reader:
    """Reads one log onwards from a checkpoint; `poll` again for what has come since."""

    def __init__(self, log: Log, start: Checkpoint = START, bag_size: int = 50) -> None:
        self.log = log
        self.bag_size = max(1, bag_size)
        self.header: Header | None = None
        self.torn: list[Torn] = []
        self._segment = start.segment
        self._offset = start.offset
        self._growing = Filling(start.growing)
        self._totals = Totals(start.steps)
        self._sequence = start.sequence
        self._done = start.done
        self._events: list[Event] = []
        self._weight = 0
        self._size = 0
        self._window: tuple[int, int, bytes] = (-1, 0, b"")
        self._chains: dict[int, Chains] = {}  # By segment.
        self._metas: dict[Key, tuple[Any, int, int, int]] = {}

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            segment=self._segment,
            offset=self._offset,
            growing=self._growing.growing(),
            sequence=self._sequence,
            done=self._done,
            steps=self._totals.snapshot(),
        )

    def poll(self, limit: int = 1 << 30) -> Iterator[Item]:
        """Everything that is there now, in about `limit` items at most."""
        alive = self.log.alive()  # Asked first: what a writer that has gone left behind is final.
        self._window = (-1, 0, b"")
        for count, found in enumerate(self._contents(alive), start=1):
            yield found
            if count >= limit:
                return
        if not alive and not self._done and not self._growing:
            self._done = True

    def _contents(self, alive: bool) -> Iterator[Item]:
        for key in self._growing.unplaced():
            self._growing.place(key, self._parent(key))
        for key in self._growing:
            if key in self._growing:  # It may have been told with the end of the step around.
                yield from self._grown(key, alive)
        while (frame := self._next_frame(alive)) is not None:
            kind, at, payload, size = frame
            if kind == frames.DOCUMENT:
                yield from self._flush()
                self._offset += size
                name = wire.load(payload)
                content = Document(kind=name[0], name=name[1], body=name[2])
                yield Item(content=content, checkpoint=self.checkpoint, size=len(payload))
                continue
            if kind in KINDS or kind == frames.EVENT:
                yield from self._said(kind, at, payload, size, alive)
                continue
            self._offset += size
            if kind == frames.ROWS:
                key = Key(self._segment, at)
                self._growing.add(key, records.ref_from(self._meta(key)[0][1]))
                yield from self._told(key, alive)
        yield from self._flush()

    def _said(self, kind: int, at: int, payload: bytes, size: int, alive: bool) -> Iterator[Item]:
        """The event of a frame, and what its slots say by now."""
        key = Key(self._segment, at)
        event: Event | None = None
        try:
            event = (
                records.event_from(wire.load(payload))
                if kind == frames.EVENT
                else self._chains_of(self._segment).event(kind, at - frames.FRAME.size, payload)
            )
        except Broken:
            self._broken(key, payload)
        if isinstance(event, StepEnded):
            # Before the checkpoint moves behind this frame. A step with parts never ends in a slot.
            for part in self._growing.inside(event.step):
                yield from self._grown(part, alive)
            self._growing.ended(event.step)
        self._offset += size
        if event is None:
            return
        slots = kind == frames.BEGUN and has_slots(payload)
        if isinstance(event, StepStarted) and slots:
            self._growing.add(key, event.parent)
        yield from self._take(event, 1, len(payload))
        if slots:
            yield from self._slots(key, payload, alive)

    def _parent(self, key: Key) -> StepRef | None:
        """The step that what a frame of the checkpoint tells is part of."""
        found = self._fetch(key.segment, key.at - frames.FRAME.size)
        if found is None:
            return None
        try:
            if found[0] == frames.ROWS:
                return records.ref_from(self._meta(key)[0][1])
            return self._chains_of(key.segment).parent(found[1])
        except Broken:  # It is told as such when it is read.
            return None

    def _grown(self, key: Key, alive: bool) -> Iterator[Item]:
        """What has been filled in since the last time."""
        segment, at = key
        kind = self.log.read(segment, at - frames.FRAME.size + frames.KIND, 1)
        if not kind:
            if self.log.gone(segment):
                self._growing.over(key)
        elif kind[0] == frames.ROWS:
            yield from self._told(key, alive)
        else:
            found = self._fetch(segment, at - frames.FRAME.size)
            yield from self._slots(key, b"" if found is None else found[1], alive)

    def _slots(self, key: Key, payload: bytes, alive: bool) -> Iterator[Item]:
        """What the slots of the first frame of a step say that has not been told."""
        told = self._growing[key]
        try:
            later = self._chains_of(key[0]).later(key[1] - frames.FRAME.size, payload)
        except (Broken, struct.error):
            self._growing.over(key)
            self._broken(key, payload)
            return
        if later.over or not alive:
            self._growing.over(key)
        elif later.said is not None:
            self._growing[key] = 1
        if later.said is not None and not told:
            if later.ended is not None:  # Told together: a checkpoint between them would say that both are.
                self._add(later.said, 1)
            else:
                yield from self._take(later.said, 1)
        if later.ended is not None:
            yield from self._take(later.ended, 1)

    def _broken(self, key: Key, payload: bytes) -> None:
        at = key[1] - frames.FRAME.size
        self.torn.append(Torn(segment=key[0], offset=at, data=payload[:_TORN_BYTES]))

    def _chains_of(self, segment: int) -> Chains:
        found = self._chains.get(segment)
        if found is None:
            kept = self._growing.segments()
            self._chains = {number: chains for number, chains in self._chains.items() if number in kept}
            found = self._chains[segment] = Chains(partial(self._fetch, segment))
        return found

    def _fetch(self, segment: int, at: int) -> tuple[int, bytes] | None:
        """Kind and payload of an earlier frame of a segment."""
        head = self.log.read(segment, at, frames.FRAME.size)
        if len(head) < frames.FRAME.size:
            return None
        length, crc, kind = frames.FRAME.unpack(head)
        if not frames.FRAME.size <= length <= frames.MAX_LENGTH:
            return None
        payload = self.log.read(segment, at + frames.FRAME.size, length - frames.FRAME.size)
        return (kind, payload) if _whole(kind, crc, payload) else None

    def _add(self, event: Event, weight: int) -> None:
        self._events.append(self._totals.told(event) if self._known_header().whole else event)
        self._weight += weight

    def _take(self, event: Event, weight: int, size: int = 0) -> Iterator[Item]:
        self._add(event, weight)
        self._size += size
        if self._weight >= self.bag_size or self._size >= _BAG_BYTES:
            yield from self._flush()

    def _flush(self) -> Iterator[Item]:
        if not self._events:
            return
        header = self._known_header()
        bag = Bag(
            workflow=header.workflow,
            execution=header.execution,
            events=tuple(self._events),
            definition=header.definition,
            producer=header.producer,
            sequence=self._sequence,
        )
        self._sequence += 1
        size = self._size + _ROW_BYTES * ROWS_PER_EVENT * self._weight
        self._events, self._weight, self._size = [], 0, 0
        yield Item(content=bag, checkpoint=self.checkpoint, size=size)

    def _known_header(self) -> Header:
        if self.header is None:
            for number in self.log.numbers():
                data = self.log.read(number, 0, _AHEAD)
                if len(data) > frames.FRAME.size and data[8] == frames.HEADER:
                    length, _, _ = frames.FRAME.unpack_from(data)
                    self.header = Header.read(data[frames.FRAME.size : length])
                    break
            else:
                raise SpoolUnusable("no segment has a header: this is no spool of headstream")
        return self.header

    def _next_frame(self, alive: bool) -> tuple[int, int, bytes, int] | None:
        """Kind, payload offset, payload and size of the next whole frame; None if there is none yet."""
        while True:
            if self._segment < 0 and not self._advance():
                return None
            head = self._bytes(self._offset, frames.FRAME.size)
            length, crc, kind = frames.FRAME.unpack(head) if len(head) == frames.FRAME.size else (0, 0, 0)
            if length == 0:
                # A writer without room drops segments that nobody has begun to read.
                if self.log.gone(self._segment):
                    if not self._advance():
                        return None
                elif alive or not self._leave_segment():
                    return None
                continue
            size = frames.frame_size(length - frames.FRAME.size)
            payload = self._payload(kind, length)
            if payload is None or not _whole(kind, crc, payload):
                if alive and not any(self._bytes(self._offset + size, 4)):
                    return None  # On some processors the length may be seen before the rest.
                self._set_aside(size if length <= frames.MAX_LENGTH else None)
                continue
            if kind == frames.END:
                if not self._advance():
                    return None
                continue
            at = self._offset + frames.FRAME.size
            if kind == frames.HEADER and self.header is None:
                self.header = Header.read(payload)
            return kind, at, payload, size

    def _payload(self, kind: int, length: int) -> bytes | None:
        if not frames.FRAME.size <= length <= frames.MAX_LENGTH:
            return None
        wanted = length - frames.FRAME.size
        start = self._offset + frames.FRAME.size
        if kind == frames.ROWS:  # Rows are read apart: only what never changes belongs to the frame.
            head = self._bytes(start, frames.ROWS_META)
            if len(head) < frames.ROWS_META:
                return None
            wanted = min(wanted, frames.ROWS_META + frames.ROWS_HEAD.unpack_from(head)[0])
        payload = self._bytes(start, wanted)
        return payload if len(payload) == wanted else None

    def _bytes(self, offset: int, length: int) -> bytes:
        """Bytes of the current segment, read ahead: a frame is small and there are many."""
        segment, start, data = self._window
        if segment != self._segment or offset < start or offset + length > start + len(data):
            data = self.log.read(self._segment, offset, max(length, _AHEAD))
            self._window = (self._segment, offset, data)
            start = offset
        return data[offset - start : offset - start + length]

    def _advance(self) -> bool:
        """Go to the next segment there is; some may lie elsewhere (memory, disk)."""
        later = [number for number in self.log.numbers() if number > self._segment]
        if not later:
            return False
        if later[0] != self._segment + 1:
            self._totals.missed()
        self._segment, self._offset = later[0], 0
        return True

    def _leave_segment(self) -> bool:
        """The writer has gone and this segment has no more whole frames."""
        rest = self._bytes(self._offset, 256)
        if any(rest):
            self._set_aside(None)
        return self._advance()

    def _set_aside(self, size: int | None) -> None:
        data = self.log.read(self._segment, self._offset, min(size or _TORN_BYTES, _TORN_BYTES)).rstrip(b"\0")
        self.torn.append(Torn(segment=self._segment, offset=self._offset, data=data))
        self._offset += size if size is not None else frames.MAX_LENGTH  # None: nothing behind can be found.

    def _told(self, key: Key, alive: bool) -> Iterator[Item]:
        """Tell the rows of one run that have ended since the last time."""
        meta, start, size, capacity = self._meta(key)
        columns = meta[5]
        most = self.bag_size * ROWS_PER_EVENT
        told = self._growing[key]
        sealed = bool(self.log.read(key[0], key[1] + frames.ROWS_SEALED, 1).strip(b"\0"))
        data = self.log.read(key[0], start + told * size, (capacity - told) * size)
        first = told
        finished: list[Row] = []
        row: Row | None = None
        while told < capacity:
            at = (told - first) * size
            row = frames.read_row(data, at, len(columns), meta[7]) if at + size <= len(data) else None
            if row is None or (not row.closed and alive):
                break
            told += 1
            if not row.closed:
                yield from self._tell(key, told - 1, finished, meta)
                finished = []
                self._growing[key] = told
                # Told together: a checkpoint between them would say that both are told.
                *before, last = open_row(meta, row)
                for event in before:
                    self._add(event, 0)
                yield from self._take(last, 1)
            elif not row.moved:
                finished.append(row)
                if len(finished) >= most:
                    yield from self._tell(key, told, finished, meta)
                    finished = []
        # Sealed, and the next row was never opened: no more will come.
        over = told >= capacity or not alive or (sealed and row is None)
        yield from self._tell(key, told, finished, meta, over=over)

    def _tell(self, key: Key, told: int, rows: list[Row], meta: Any, over: bool = False) -> Iterator[Item]:
        if over:
            self._growing.over(key)
            self._metas.pop(key, None)
        else:
            self._growing[key] = told
        blocks_ = blocks(meta, rows)
        for block in blocks_[:-1]:
            # Blocks of one stretch of rows share its checkpoint, so they stay in one bag.
            self._add(block, _block_weight(block))
        for block in blocks_[-1:]:
            yield from self._take(block, _block_weight(block))

    def _meta(self, key: Key) -> tuple[Any, int, int, int]:
        found = self._metas.get(key)
        if found is None:
            head = self.log.read(key[0], key[1], frames.ROWS_META)
            length, size, capacity = frames.ROWS_HEAD.unpack_from(head)
            meta = wire.load(self.log.read(key[0], key[1] + frames.ROWS_META, length))
            found = self._metas[key] = (meta, key[1] + frames.rows_start(length), size, capacity)
        return found


def _whole(kind: int, crc: int, payload: bytes) -> bool:
    if kind == frames.ROWS:
        return crc == frames.crc(kind, payload[: frames.ROWS_HEAD.size], payload[frames.ROWS_META :])
    return crc == frames.crc(kind, checked(kind, payload))


def _block_weight(block: IterationBlock) -> int:
    return -(-len(block.index) // ROWS_PER_EVENT)


def read(directory: Path, start: Checkpoint | None = None, bag_size: int = 50) -> Iterator[Document | Bag]:
    """Everything in a spool directory behind a checkpoint, as documents and bags."""
    log = DirectoryLog(directory)
    try:
        reader = Reader(log, start or START, bag_size)
        for item in reader.poll():
            yield item.content
    finally:
        log.close()


def spools(root: Path) -> list[Path]:
    """The spool directories under a root, in the order in which they were made."""
    try:
        found = [entry for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != "."]
    except FileNotFoundError:
        return []
    kept = [Path(e.path) for e in found if os.path.exists(os.path.join(e.path, "owner"))]
    return sorted(kept, key=lambda path: (path.stat().st_ctime_ns, path.name))
