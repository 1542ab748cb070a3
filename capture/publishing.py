"""Leave in the spool what no script of ours captures: documents, and runs that somebody else recorded."""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from headstream.capture import context, frames, records, wire
from headstream.capture.errors import MessageTooLarge, SpoolUnusable
from headstream.capture.header import new_header
from headstream.capture.settings import DROP_NEWEST, Settings
from headstream.capture.spool import Writer
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document, document
from headstream.schemas.events import (
    Event,
    Holding,
    IterationBlock,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
)
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import FINISHED

_REMEDY: Final = "it is off, full or read-only; set HEADSTREAM_SPOOL to a folder that can be written"
# Most runs are short, and a segment is allocated as a whole.
_FIRST_SEGMENT: Final = 64 << 10
# A message is a bag of at least one event, and a broker takes 1 MB of it.
_MOST_BYTES: Final = 800_000
_ROW_BYTES: Final = 128 << 10
# Each holds two descriptors; a run that comes again after others gets a further spool.
_MOST_OPEN: Final = 64


def leave(documents: Sequence[Document], environ: Mapping[str, str]) -> Path:
    """Write documents into a spool of their own and return it; on return they survive a kill.

    Whoever ships the spool publishes them. Raises SpoolUnusable if there is no spool on disk:
    here nobody's run is at stake, so the failure is the caller's to know.
    """
    settings = Settings.from_env(environ)
    token = secrets.token_hex(8)
    producer = f"{context.hostname()}-{os.getpid()}"
    writer = Writer(new_header("documents", token, None, producer, context.hostname()), settings)
    try:
        if writer.directory is None:
            raise SpoolUnusable(f"documents cannot be left in the spool {settings.spool}: {_REMEDY}")
        for each in documents:
            _document(writer, each)
    finally:
        writer.close()
    return writer.directory


class Runs:
    """Runs that lie elsewhere, left in the spool as if they had been captured; each in a spool of its own.

    What `tell` has returned from survives a kill of this process. Close it, or shippers wait for more.
    """

    def __init__(self, environ: Mapping[str, str], source: str) -> None:
        settings = Settings.from_env(environ)
        # Nothing may be dropped or kept in memory only: whoever called can wait and call again.
        self._settings = replace(settings, spool_full=DROP_NEWEST, memory_bytes=0)
        self._source = source
        self._open: OrderedDict[tuple[str, str, str | None], Writer] = OrderedDict()
        self.left: list[Path] = []

    def tell(
        self, workflow: str, execution: str, definition: Definition | None, events: Iterable[Event]
    ) -> list[str]:
        """Write events of a run; a sentence for each that is too large for any message, and left out.

        Raises SpoolUnusable where there is no room.
        """
        writer = self._writer(workflow, execution, definition)
        refused = []
        for event in events:
            try:
                _event(writer, event)
            except MessageTooLarge as error:
                refused.append(str(error))
        return refused

    def close(self) -> None:
        """Say of every run that nothing follows."""
        while self._open:
            self._open.popitem()[1].close()

    def _writer(self, workflow: str, execution: str, definition: Definition | None) -> Writer:
        key = (workflow, execution, None if definition is None else definition.content_hash)
        found = self._open.get(key)
        if found is None:
            while len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            found = self._open[key] = self._made(*key, () if definition is None else (document(definition),))
        self._open.move_to_end(key)
        return found

    def _made(
        self, workflow: str, execution: str, hash_: str | None, preamble: tuple[Document, ...]
    ) -> Writer:
        producer = f"{self._source}-{secrets.token_hex(6)}"
        header = new_header(workflow, execution, hash_, producer, context.hostname())
        first = min(_FIRST_SEGMENT, self._settings.segment_bytes)
        writer = Writer(header, replace(self._settings, segment_bytes=first))
        writer.settings = self._settings
        if writer.directory is None:
            raise SpoolUnusable(f"runs cannot be left in the spool {self._settings.spool}: {_REMEDY}")
        for each in preamble:
            _document(writer, each)
        self.left.append(writer.directory)
        return writer


def _document(writer: Writer, given: Document) -> None:
    if not writer.document(given):
        raise SpoolUnusable(
            f"{given.kind} {given.name!r} did not fit into the spool {writer.settings.spool}; "
            "is the disk full?"
        )


def _event(writer: Writer, event: Event) -> None:
    if isinstance(event, IterationBlock):
        _rows(writer, event)
        return
    payload = wire.dump(records.event_to(event))
    if len(payload) > _MOST_BYTES:
        raise MessageTooLarge(f"a {type(event).__name__} has {len(payload)} bytes, of {_MOST_BYTES} at most")
    if not writer.append(frames.EVENT, payload):
        raise _full(writer)


def _rows(writer: Writer, block: IterationBlock) -> None:
    """Write a block whose values are plain numbers, as the rows that a loop would have written."""
    names = [column.name for column in block.columns]
    size = frames.row_size(len(names))
    capacity = max(1, _ROW_BYTES // size)
    # Times in rows are never 0, so they count from the moment before the first.
    offset = (min(block.started, default=0) - 1) * 1000
    meta = wire.dump(
        [
            block.transformation, records.ref_to(block.parent), block.prefix, block.suffix,
            block.index_attribute, names, records.enclosing_to(block.enclosing), offset,
        ]
    )  # fmt: skip
    # A row that ended at 0 would be one that has not: such a turn is told by events.
    plain = [row for row, ended in enumerate(block.ended) if ended]
    for row, ended in enumerate(block.ended):
        if not ended:
            _turn(writer, block, row)
    for first in range(0, len(plain), capacity):
        part = plain[first : first + capacity]
        rows = writer.reserve(meta, len(names), len(part))
        if rows is None:
            raise _full(writer)
        for number_of_row, row in enumerate(part):
            at = rows.base + number_of_row * size
            for number, column in enumerate(block.columns):
                value = column.values[row]
                assert isinstance(value, bool | int | float)
                frames.write_cell(rows.data, at, number, len(names), value)
            frames.OPEN.pack_into(
                rows.data, at, block.ordinals[row], block.index[row], block.started[row] * 1000 - offset
            )
            frames.TIME.pack_into(rows.data, at + frames.ENDED, block.ended[row] * 1000 - offset)
        rows.seal()


def _turn(writer: Writer, block: IterationBlock, row: int) -> None:
    """A row of a block as the events that it stands for."""
    index = (
        () if block.index_attribute is None else (AttributeValue(block.index_attribute, block.index[row]),)
    )
    common: dict[str, Any] = {
        "step": StepRef(block.transformation, f"{block.prefix}{block.ordinals[row]}{block.suffix}"),
        "parent": block.parent,
        "cycle": True,
        "iteration": block.index[row],
        "started": block.started[row],
    }
    if index:
        _event(writer, StepStarted(values=index, scope=Scope(enclosing=block.enclosing), **common))
    used = tuple(Holding(each.name) for each in index)
    values = tuple(AttributeValue(column.name, column.values[row]) for column in block.columns)
    scope = Scope(used=used, enclosing=block.enclosing)
    ended = StepEnded(ended=block.ended[row], outcome=FINISHED, values=values, scope=scope, **common)
    _event(writer, ended)


def _full(writer: Writer) -> SpoolUnusable:
    return SpoolUnusable(
        f"there is no more room in the spool {writer.settings.spool} (HEADSTREAM_SPOOL_BYTES, "
        "HEADSTREAM_SPOOL_FREE_BYTES); make some, or let `headstream up` or `ship` take what lies there, and "
        "call again: what is told twice changes nothing"
    )
