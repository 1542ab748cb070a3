"""Steps of a run: what a script begins, uses, generates and ends.

Whatever a call says is in the spool when the call returns. A call never raises for a reason of
ours: that is swallowed and counted (`headstream.capture.errors`). What the script raises passes
through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from mmap import mmap
from types import TracebackType
from typing import Any, Final, Self

from headstream.capture import deferred
from headstream.capture.clock import OFFSET, monotonic, now
from headstream.capture.errors import LOSSES, swallow
from headstream.capture.families import Family
from headstream.capture.forms import Form
from headstream.capture.frames import (
    BEGUN,
    BEGUN_TAIL,
    FINISH_ENDED,
    FINISH_SLOT,
    FINISHED_TAIL,
    MOVED,
    NO_ITERATION,
    SAID,
    SAID_TAIL,
    SAY_BODY,
    SAY_SLOT,
    TIME,
)
from headstream.capture.frames import FINISHED as FINISHED_FRAME
from headstream.capture.opening import ENDED, NEW, OPEN, Inside, Opener
from headstream.capture.outcomes import describe, failed, verdict
from headstream.capture.recorder import Recorder, spelt
from headstream.capture.said import NOTHING, Said, held_texts
from headstream.capture.telemetry import USAGE
from headstream.capture.values import clean
from headstream.capture.wire import IN, OUT, quote, text
from headstream.schemas.vocabulary import ERRORED, FINISHED

# Where decorated functions open their steps (place.py): the run or step of the innermost `with`, or what
# `current` names.
PLACE: ContextVar[Any] = ContextVar("headstream_place", default=None)
_put: Final = PLACE.set
_put_back: Final = PLACE.reset


class Step(Opener):
    """One execution of a transformation. Thread-safe as long as one thread ends it.

    While it says plain values it is a chain of short frames in the spool (frames.py); what does not
    fit there is said in words, that is by the events of records.py, and so is all that follows.
    """

    __slots__ = (
        "_cpu",
        "_deferred",
        "_ended",
        "_error",
        "_generated",
        "_given",
        "_ordinal",
        "_outcome",
        "_process",
        "_state",
        "_used",
        "before",
        "data",
        "epoch",
        "family",
        "person",
        "room",
        "segment",
        "slots",
        "started",
    )

    family: Family
    person: str | None
    started: int | None
    segment: object  # Where its chain lies; None while, or since, there is none.
    before: int  # The last frame of its chain.
    data: mmap  # Where its first frame lies,
    slots: int  # at which offset that has slots (0: none),
    room: int  # how many bytes the slot for values has as long as it is free,
    epoch: object  # and with which enclosing steps.
    _ordinal: int
    _state: int
    _process: object
    _given: dict[str, Any] | None
    _ended: int
    _outcome: str
    _error: str | None
    _cpu: float
    _deferred: deferred.Values | None
    # What is held, by identity, in order and each once: texts, or forms for all of theirs.
    _used: dict[str | Form, None] | None
    _generated: dict[str | Form, None] | None

    def __init__(
        self, family: Family, ordinal: int, used: Mapping[str, Any] | None = None, person: str | None = None
    ) -> None:
        self.recorder = family.recorder
        self.family = family
        self._ordinal = ordinal
        self._given = dict(used) if used else None
        self.person = None if person is None else clean(person)
        self.started = None
        self._state = NEW
        self._inside = None
        self._place = None
        self._deferred = None
        self._used = self._generated = None
        self.segment = None
        self._process = family.process
        self.before = self.slots = self.room = 0

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def parent(self) -> Step | None:
        return self.family.parent

    @property
    def path(self) -> str:
        """What task ids of steps inside begin with: a path of counters, parent first (spec section 5.3)."""
        return f"{self.family.prefix}{self.family.mark}{self._ordinal}"

    @property
    def task_id(self) -> str:
        """The path to the parent, its own ordinal, and what tells this process from others of the run."""
        return self.family.task_id(self._ordinal)

    @property
    def ref(self) -> str:
        """The step as JSON: transformation and task id."""
        return self.family.ref(self._ordinal)

    @property
    def cycle(self) -> bool:
        """Whether it is a turn of a loop."""
        return self.family.cycle

    @property
    def iteration(self) -> int | None:
        """Position of a turn in its loop."""
        return None

    def __enter__(self) -> Self:
        if self._place is None:  # Once only, so that places never go round in a circle.
            self._place = _put(self)
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        place = self._place
        if place is not None:
            try:  # noqa: SIM105 - `suppress` would cost as much as all the rest.
                _put_back(place)
            except (RuntimeError, ValueError):
                pass  # Left twice, or in another thread or task than entered: innermost() sees it has ended.
        if error is None or not failed(error):
            self.end()
        else:
            self.end(ERRORED, describe(error))

    def begin(self) -> Self:
        """Start now; a step that has started is left as it is."""
        try:
            if self._state == NEW:
                self._begin((monotonic() + OFFSET) // 1000)
        except Exception as error:
            swallow(error, "begin")
        return self

    def used(self, /, **values: Any) -> Self:
        """Say what the step uses, as `attribute=value`."""
        try:
            if self._state == NEW:
                self._given = {**(self._given or {}), **values}
                self._begin(now())
            else:
                self._add(IN, values)
        except Exception as error:
            swallow(error, "used")
        return self

    def generated(self, /, **values: Any) -> Self:
        """Say what the step has generated, as `attribute=value`."""
        try:
            if self._state == NEW:
                self._begin(now())
            if self._state == OPEN and (writer := self.recorder.open_writer) is not None:
                form = self.family.plan.generated.get(tuple(values))
                if form is not None:
                    body = form.said((monotonic() + OFFSET) // 1000, *values.values())
                    if body is not None and (self._fill(form, body) or writer.link(SAID, self, form, body)):
                        if self._generated is None:
                            self._generated = {form: None}
                        else:
                            self._generated[form] = None
                        return self
            self._add(OUT, values)
        except Exception as error:
            swallow(error, "generated")
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End now: FINISHED, or ERRORED if that is said or an error is given. Later calls do nothing."""
        try:
            if self._state == NEW:
                self._begin(now())
            if outcome is not None or error is not None:
                self._end(*verdict(outcome, error))
            elif not self._finish():
                self._end(FINISHED, None)
        except Exception as failure:
            swallow(failure, "end")

    def _opened(self) -> Inside:
        if self._state == NEW:
            self.begin()
        return super()._opened()

    def _parent(self) -> Step:
        return self

    def _begin(self, started: int) -> None:
        self._state = OPEN
        self.started = started
        recorder = self.recorder
        self._process = recorder.process
        family = self.family
        if not family.cycle:
            if started >= USAGE.until:
                USAGE.ask(started)
            self._cpu = USAGE.cpu
        ordinal, iteration = self._ordinal, NO_ITERATION
        if family.cycle and self.iteration is not None:
            iteration = self.iteration
        given, self._given = self._given, None
        form: Form | None = None
        if self.person is None and (writer := self.recorder.open_writer) is not None:
            body: bytes | None = None
            if not given:
                body = BEGUN_TAIL.pack(ordinal, iteration, started)
            elif (form := family.plan.used.get(tuple(given))) is not None:
                body = form.begun(ordinal, iteration, started, *given.values())
            if body is not None and writer.link(BEGUN, self, form, body, family.plan.room):
                if form is not None:
                    self._used = {form: None}
                return
        said = self._say_now(IN, given) if given else NOTHING
        if self.person is None and self._link(BEGUN, said, ordinal, iteration, started):
            self._used = dict.fromkeys(said.held) if said.held else None
            self._look(IN, said)
            return
        values = self._words(IN, said, given)
        parent = self.parent
        enclosing = "" if parent is None else parent.enclosing()
        scope = f"[[],[],[{enclosing}]]" if enclosing else "null"
        self.recorder.write(f'["S",{self._head()},[{values}],{scope},null]')
        self._hold(IN, said.held)
        self._look(IN, said)

    def _add(self, direction: str, given: Mapping[str, Any]) -> None:
        if not given:
            return
        if self._state == ENDED:
            LOSSES.add("values-after-end")
            return
        said = self._say_now(direction, given)
        if said.held:
            self._write_said(direction, said, given)

    def _write_said(self, direction: str, said: Said, given: Mapping[str, Any]) -> None:
        at = now()
        self.room = 0
        if self.segment is None or not self._link(SAID, said, at):
            self.segment = None  # What follows cannot know this by the chain.
            values = self._words(direction, said, given)
            self.recorder.write(f'["V",{self.ref},"{direction}",[{values}],{at},{self._scope()}]')
        self._hold(direction, said.held)
        self._look(direction, said)

    def _look(self, direction: str, said: Said) -> None:
        """Have the files that were said looked at, aside (files.py)."""
        if said.spelt is not None and said.spelt.files is not None:
            self.recorder.look(self.ref, direction, said.spelt.files)

    def _fill(self, form: Form, body: bytes) -> bool:
        """Put what is said first into the slot of the step's first frame; False if it cannot go there."""
        room, self.room = self.room, 0  # Nothing can come between these two: there is no call.
        recorder, size = self.recorder, len(body)
        if size > room or form.segment is not self.segment or not self._in_place(recorder):
            if self.before and size > room:
                self.family.plan.room = max(self.family.plan.room, min(_MOST_ROOM, (size + 15) & ~7))
            return False
        at = self.slots + SAY_BODY
        self.data[at : at + size] = body
        _put_say(self.data, at - SAY_SLOT.size, size, form.at)
        return True

    def _in_place(self, recorder: Recorder) -> bool:
        """Tell whether the slots of the first frame can still say what is so now."""
        return (
            self.slots != 0
            and self.epoch is recorder.epoch
            and self._process is recorder.process
            and not recorder.closed
        )

    def _say_now(self, direction: str, given: Mapping[str, Any]) -> Said:
        """Values but for those that only an accelerator knows."""
        form = self.family.plan.form(direction, given)
        if form is not None:
            values = tuple(given.values())
            if form.said(0, *values) is not None:
                return Said((form,), form, values)
        given = self._defer(direction, given)
        return Said.of(direction, self.recorder.spell(direction, self.name, given)) if given else NOTHING

    def _link(self, kind: int, said: Said, *numbers: float) -> bool:
        """Go on with the chain; False if it has to be said in words."""
        recorder = self.recorder
        if recorder.closed:
            return False
        body: bytes | None
        if said.form is None:
            body = _TAILS[kind].pack(*numbers) + said.text
        else:
            body = (said.form.begun if kind == BEGUN else said.form.said)(*numbers, *said.values)
        writer = recorder.open_writer or recorder.writer
        room = self.family.plan.room if kind == BEGUN else None
        return body is not None and writer.link(kind, self, said.form, body, room)

    def _words(self, direction: str, said: Said, given: Mapping[str, Any] | None) -> str:
        """The values of a record of their own, where the chain cannot go on."""
        if said.spelt is not None:
            return said.spelt.values
        return self.recorder.spell(direction, self.name, given).values if given else ""

    def _defer(self, direction: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep what only an accelerator knows for the end of the step; the rest is to be said now."""
        late = deferred.split(given)
        if late is None:
            return given
        if self._deferred is None:
            self._deferred = []
        self._deferred.extend((direction, name, value) for name, value in late.items())
        return {name: value for name, value in given.items() if name not in late}

    def _hold(self, direction: str, held: Iterable[str | Form]) -> None:
        if direction == IN:
            if self._used is None:
                self._used = {}
            before = len(self._used)
            self._used.update(dict.fromkeys(held))
            if self._inside is not None and len(self._used) > before:
                self.recorder.epoch = object()  # Loops inside have written what enclosed them.
        elif self._generated is None:
            self._generated = dict.fromkeys(held)
        else:
            self._generated.update(dict.fromkeys(held))

    def _finish(self) -> bool:
        """End as finished by one short frame; False if there is more to be said."""
        if self._state != OPEN or self._inside is not None or self._deferred is not None:
            return False
        recorder = self.recorder
        writer = recorder.open_writer
        if writer is None or self._process is not recorder.process:
            return False
        ended, cpu, peak = (monotonic() + OFFSET) // 1000, 0.0, 0
        if not self.family.cycle:
            if USAGE.meters:
                return False  # What telemetry says of a step has no place in a frame.
            if ended >= USAGE.until:
                USAGE.ask(ended)
            cpu, peak = USAGE.cpu - self._cpu, USAGE.peak
        if self.segment is not None and self._in_place(recorder):
            _put_finish(self.data, self.slots, cpu, peak, self.before, ended)
        elif not writer.link(FINISHED_FRAME, self, None, FINISHED_TAIL.pack(ended, cpu, peak)):
            return False
        else:
            self._elsewhere()
        self._state = ENDED
        self._ended, self._outcome, self._error = ended, FINISHED, None
        return True

    def _end(self, outcome: str, error: str | None) -> None:
        if self._state != OPEN:
            return
        if self._inside is not None:
            self._end_inner(outcome, error)
        late, self._deferred = self._deferred, None
        self._state = ENDED
        if self._process is not self.recorder.process:
            return  # Begun by the process that forked us: that one ends it.
        self._ended, self._outcome, self._error = now(), outcome, error
        for direction, name, value in late or ():
            value = deferred.read(value)
            values = self.recorder.values(direction, self.name, {name: value})
            self._write_said(direction, Said.of(direction, spelt(values)), {name: value})
        self._write_end()

    def _write_end(self) -> None:
        ended, outcome, error = self._ended, self._outcome, self._error
        if self.segment is not None and (self.family.cycle or not USAGE.meters):
            spent = _UNKNOWN
            if not self.family.cycle:
                if ended >= USAGE.until:
                    USAGE.ask(ended)
                spent = USAGE.cpu - self._cpu, USAGE.peak
            said = NOTHING
            if outcome != FINISHED or error is not None:
                said = Said((), text=text([outcome, error]).encode())
            if self._link(FINISHED_FRAME, said, ended, *spent):
                self._elsewhere()
                return
        context = "null" if self.family.cycle else USAGE.since(self._cpu, ended)
        why = "null" if error is None else quote(error)
        self.recorder.write(
            f'["E",{self._head()},[],{self._scope()},{context},{ended},{quote(outcome)},{why},null]'
        )
        self._elsewhere()

    def _elsewhere(self) -> None:
        """The end has been told by a frame: readers need not wait for it in the first one."""
        if self.slots and self._process is self.recorder.process:
            _put_time(self.data, self.slots + FINISH_ENDED, MOVED)
            self.slots = 0

    def _explain(self, error: str) -> None:
        """Say the error of an end that was written without it: the same facts, and one more."""
        inside = self._inside
        if inside is not None:
            inner, inside.unexplained = inside.unexplained, None
            if inner is not None:
                inner._explain(error)
        self._error = error
        self.segment = None  # The end has been said in the chain.
        self._write_end()

    def _head(self) -> str:
        parent, iteration = self.parent, self.iteration
        return (
            f"{self.ref},{'null' if parent is None else parent.ref},{'true' if self.cycle else 'false'}"
            f",{'null' if iteration is None else iteration},null,{self.started}"
            f",{'null' if self.person is None else quote(self.person)}"
        )

    def _scope(self) -> str:
        parent = self.parent
        enclosing = "" if parent is None else parent.enclosing()
        return f"[[{held_texts(self._used)}],[{held_texts(self._generated)}],[{enclosing}]]"

    def enclosing(self) -> str:
        """This step and those around it, nearest first; written anew only when one of them used something."""
        inside = self._inside
        if inside is None:
            inside = self._inside = Inside()
        epoch = self.recorder.epoch
        if inside.chain_epoch is not epoch:
            outer = "" if self.parent is None else self.parent.enclosing()
            inside.chain = f"[{self.ref},[{held_texts(self._used)}]]{',' if outer else ''}{outer}"
            inside.chain_epoch = epoch
        return inside.chain


_MOST_ROOM: Final = 256
_put_say: Final = SAY_SLOT.pack_into
_put_finish: Final = FINISH_SLOT.pack_into
_put_time: Final = TIME.pack_into
_TAILS: Final = {BEGUN: BEGUN_TAIL, SAID: SAID_TAIL, FINISHED_FRAME: FINISHED_TAIL}
_UNKNOWN: Final = (0.0, 0)


Opener.steps = Step
