"""What all steps of one run share in one process: its spool, its rules for values, its task ids.

A forked child keeps the object and gets its own spool, producer and suffix of task ids with its
first record, so that ids of parent and children never collide (faults.md row 10).
"""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from headstream.capture import context, errors, telemetry, wire
from headstream.capture.clock import now
from headstream.capture.errors import LOSSES
from headstream.capture.files import FILES, Job, Wanted
from headstream.capture.forms import Plan
from headstream.capture.frames import EVENT
from headstream.capture.header import new_header
from headstream.capture.settings import Settings
from headstream.capture.spool import Writer
from headstream.capture.values import Rules, attribute_value, clean
from headstream.capture.wire import named, scalar
from headstream.schemas.values import AttributeValue, DictValue, Json, ListValue, Reference, Value
from headstream.schemas.vocabulary import REFERENCE_SEMANTICS

if TYPE_CHECKING:
    from headstream.capture.budget import Meter
    from headstream.schemas.definition import Definition
    from headstream.schemas.documents import Document

ODD = re.compile(r"[^A-Za-z0-9_]")
_SMALL_LIMIT = 4096
_FEW = 256  # So many short scalars are smaller than any message.
_LIVE: weakref.WeakSet[Recorder] = weakref.WeakSet()
_hooked = False


class Spelt(NamedTuple):
    """Values as text: those of a record, and by identity what is held because of them."""

    values: str
    held: list[str]
    files: Referred | None = None


class Referred(NamedTuple):
    """Values that refer to files, and what is wanted of these."""

    values: tuple[AttributeValue, ...]
    files: dict[Reference, Wanted]


def spelt(values: tuple[AttributeValue, ...], files: dict[Reference, Wanted] | None = None) -> Spelt:
    text = wire.text(wire.attributes_to(values))
    held = [wire.text(one) for one in wire.held(values)]
    return Spelt(text[1:-1], held, Referred(values, files) if files else None)


class Recorder:
    """Takes records of one run and puts them into the spool of this process."""

    def __init__(
        self,
        *,
        workflow: str,
        execution: str,
        settings: Settings,
        rules: Rules,
        definition: Definition | None = None,
        documents: tuple[Document, ...] = (),
        rank: str | None = None,
    ) -> None:
        self.workflow = workflow
        self.execution = execution
        self.settings = settings
        self.rules = rules
        self.definition = definition
        self.rank = rank
        self.suffix = "" if rank is None else f"-r{ODD.sub('_', rank)}"
        # A new object whenever what encloses a loop has changed: one comparison a turn.
        self.epoch = object()
        self.process = object()
        self.forked = False
        self.closed = False
        self.columns: dict[tuple[str, str | None], dict[str, int]] = {}  # What turns say, and its kinds.
        self.meters: dict[tuple[str, str | None], Meter] = {}  # What loops take of a budget.
        self.thins = False  # That turns are left out has been said.
        self._plans: dict[str, Plan] = {}
        self._documents = documents
        self.open_writer: Writer | None = None  # The spool of this process if it has one by now.
        self._lock = threading.RLock()
        _LIVE.add(self)
        _hook_forks()

    @property
    def writer(self) -> Writer:
        """The spool of this process, made when it is first needed."""
        found = self.open_writer
        if found is None:
            with self._lock:
                found = self.open_writer
                if found is None:
                    found = self.open_writer = self._make_writer()
        return found

    def plan(self, name: str) -> Plan:
        """What steps of this transformation say, shared by all of them."""
        found = self._plans.get(name)
        if found is None:
            planned = None if self.definition is None else self.definition.transformation(name)
            found = self._plans.setdefault(name, Plan(planned))
        return found

    def write(self, record: str) -> bool:
        """Spool the text of one record; False means dropped and counted."""
        if self.closed:
            LOSSES.add("after-end")
            return False
        return (self.open_writer or self.writer).append(EVENT, record.encode())

    def spell(self, direction: str, transformation: str | None, given: Mapping[str, Any]) -> Spelt:
        """The same as `values`, as text for a record and for what it holds; quick for plain scalars."""
        planned = None
        if self.definition is not None and transformation is not None:
            planned = self.definition.transformation(transformation)
        texts, held = [], []
        for name, value in given.items():
            text = scalar(value)
            attribute = None if planned is None else planned.attribute(direction, name)
            if text is None or (attribute is not None and attribute.semantics in REFERENCE_SEMANTICS):
                return self._spelt(direction, transformation, given)
            known = named(name)
            texts.append(f"[{known.text},{text},null,null]")
            held.append(known.held)
        if len(texts) > _FEW:
            return self._spelt(direction, transformation, given)
        return Spelt(",".join(texts), held)

    def _spelt(self, direction: str, transformation: str | None, given: Mapping[str, Any]) -> Spelt:
        files: dict[Reference, Wanted] = {}
        return spelt(self.values(direction, transformation, given, files), files)

    def values(
        self,
        direction: str,
        transformation: str | None,
        given: Mapping[str, Any],
        files: dict[Reference, Wanted] | None = None,
    ) -> tuple[AttributeValue, ...]:
        """Values of named attributes, coerced, with references resolved; small enough for one message."""
        rules = self.rules if files is None else self.rules._replace(files=files)
        found = self._values(direction, transformation, given, rules)
        if len(given) > 1 and sum(_weight(v.value) for v in found) > self.settings.event_bytes:
            found = self._values(direction, transformation, given, rules._replace(limit=_SMALL_LIMIT))
        return found

    def _values(
        self, direction: str, transformation: str | None, given: Mapping[str, Any], rules: Rules
    ) -> tuple[AttributeValue, ...]:
        planned = None
        if self.definition is not None and transformation is not None:
            planned = self.definition.transformation(transformation)
        return tuple(
            attribute_value(name, value, planned.attribute(direction, name) if planned else None, rules)
            for name, value in given.items()
        )

    def close(self) -> None:
        """End the spool of this process: nothing can be recorded after it."""
        self.closed = True
        self.epoch = object()
        if not FILES.ends(self):
            self.files_told()

    def look(self, step: str, direction: str, said: Referred) -> None:
        """Have the files of values that a step (its reference, as text) has said looked at, aside."""
        FILES.look(Job(self, step, direction, *said), self.settings.exit_seconds)

    def tell_files(self, step: str, direction: str, values: tuple[AttributeValue, ...]) -> None:
        """Say values again with the facts of their files; also after the end of the run."""
        if self.open_writer is not None:
            said = spelt(values).values
            self.open_writer.append(EVENT, f'["V",{step},"{direction}",[{said}],{now()},null]'.encode())

    def files_told(self) -> None:
        """End the spool, now that nothing follows."""
        if self.open_writer is not None:
            self.open_writer.close()
            if not self.open_writer.in_memory() and self.open_writer in _WRITERS:
                _WRITERS.remove(self.open_writer)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's spool alone and begin our own when it is needed."""
        if self.open_writer is not None:
            self.open_writer.release()
        self.open_writer = None
        self._lock = threading.RLock()
        self.epoch = object()
        self.process = object()
        self.forked = True
        self.thins = False
        self.suffix = f"-{os.urandom(4).hex()}"

    def _make_writer(self) -> Writer:
        host = context.hostname()
        producer = f"{clean(host)}-{os.getpid()}-{os.urandom(4).hex()}"
        version = None if self.definition is None else self.definition.content_hash
        header = new_header(self.workflow, self.execution, version, producer, host, whole=True)
        writer = Writer(header, self.settings, self._documents)
        _WRITERS.append(writer)
        for listener in WRITER_LISTENERS:
            listener(writer)
        return writer


# Called with each new writer: the background shipper of this process waits for them.
WRITER_LISTENERS: list[Callable[[Writer], None]] = []
# Writers of this process: a run that nobody holds any more may still have something to ship.
_WRITERS: list[Writer] = []


def finish_all() -> list[Writer]:
    """At exit: give up the locks of all spools of this process, so that all they hold is final."""
    for recorder in list(_LIVE):
        recorder.closed = True
    for writer in _WRITERS:
        writer.closed = True
        writer.release()
    return list(_WRITERS)


def in_memory() -> bool:
    """Tell whether something that this process has spooled lies in its memory alone."""
    return any(writer.in_memory() for writer in _WRITERS)


def _weight(value: Value) -> int:
    match value:
        case str():
            return len(value)
        case Json(text):
            return len(text)
        case ListValue(items):
            return sum(16 + _weight(item) for item in items)
        case DictValue(items):
            return sum(16 + len(key) + _weight(item) for key, item in items)
    return 16


def _hook_forks() -> None:
    global _hooked
    if not _hooked:
        _hooked = True
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    try:
        errors.LOSSES.after_fork()
        errors.WARNINGS.after_fork()
        telemetry.USAGE.after_fork()
        FILES.after_fork()
        _WRITERS.clear()
        for recorder in list(_LIVE):
            recorder.after_fork()
    except Exception as error:
        errors.swallow(error, "fork")
