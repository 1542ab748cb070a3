"""Steps of a run: what a script begins, uses, generates and ends.

Whatever a call says is in the spool when the call returns. A call never raises for a reason of
ours: that is swallowed and counted (`headstream.capture.errors`). What the script raises passes
through unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeGuard, TypeVar

from headstream.capture import deferred, parents
from headstream.capture.clock import now
from headstream.capture.errors import LOSSES, swallow
from headstream.capture.recorder import Recorder, Spelt, spelt
from headstream.capture.references import Catalogue
from headstream.capture.settings import Settings
from headstream.capture.telemetry import USAGE
from headstream.capture.values import Rules, clean
from headstream.capture.wire import IN, OUT, named, quote
from headstream.schemas.vocabulary import ERRORED, FINISHED, OUTCOMES

if TYPE_CHECKING:
    from headstream.capture.loop import Loop

NEW, OPEN, ENDED = 0, 1, 2
_ERROR_LENGTH = 4000
T = TypeVar("T")


class Opener:
    """Something inside which steps and loops can be opened: a run, or a step."""

    __slots__ = ("_counters", "_has_children", "_loops", "_unexplained", "recorder")

    recorder: Recorder

    def _prepare(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._counters: dict[str, count[int]] = {}
        self._loops: list[Loop[Any]] = []
        # A turn that an exception left: nobody but the step around it will see which exception.
        self._unexplained: Step | None = None
        self._has_children = False

    def task(self, name: str, used: Mapping[str, Any] | None = None, *, person: str | None = None) -> Step:
        """A step that carries out the transformation of this name; it begins with `with` or `begin()`."""
        try:
            parent = self._as_parent()
            self._unexplained = None
            return Step(self, parent, clean(name), used=used, person=person)
        except Exception as error:
            swallow(error, "task")
            return Step(Nowhere(), None, str(name), used=used, person=person)

    def loop(self, name: str, iterable: Iterable[T], index_as: str | None = None, start: int = 0) -> Loop[T]:
        """Iterate and capture each turn as a step of this name; each turn has `.item` and `.index`.

        With `index_as` the index is also a value that the turn used. A turn ends when the next is
        asked for; one that is left by `break` is finished, one left by an exception is errored.
        """
        from headstream.capture.loop import Loop  # A loop's turns are steps themselves.

        try:
            parent = self._as_parent()
            self._unexplained = None
            return Loop(self, parent, clean(name), iterable, index_as=index_as, start=start)
        except Exception as error:
            swallow(error, "loop")
            return Loop(Nowhere(), None, str(name), iterable, start=start)

    def environ(self) -> dict[str, str]:
        """Variables for a process that is started here: with them `attach` joins this run, and steps that
        it opens lie inside this one; a `workflow` that it begins is a run inside this one."""
        try:
            step, recorder = self._as_parent(), self.recorder
            around = parents.Parent(
                workflow=recorder.workflow,
                execution=recorder.execution,
                enclosing=() if step is None else tuple(json.loads(f"[{step._enclosing()}]")),
                **parents.documents(recorder.definition, recorder.rules.catalogue.stores),
            )
            return parents.variables(around, recorder.settings)
        except Exception as error:
            swallow(error, "environ")
            return {}

    def _as_parent(self) -> Step | None:
        self._has_children = True
        return None

    def _next(self, name: str) -> int:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters.setdefault(name, count())
        return next(counter)

    def _counter(self, name: str) -> count[int]:
        return self._counters.setdefault(name, count())

    def _end_inner(self, outcome: str, error: str | None) -> None:
        """End turns that are still open inside, and say why the last one failed if it is known now."""
        for loop in list(self._loops):
            loop.finish(outcome, error)
        if outcome == ERRORED and error is None:
            return  # An exception is on its way through us too; who sees it will say which.
        turn, self._unexplained = self._unexplained, None
        if turn is not None and error is not None:
            turn._explain(error)


class Nowhere(Opener):
    """Takes the place of what could not be made, so that the script goes on; all it is told is counted."""

    __slots__ = ()

    def __init__(self) -> None:
        recorder = Recorder(workflow="", execution="", settings=Settings(), rules=Rules(Catalogue()))
        recorder.closed = True
        self._prepare(recorder)


class Step(Opener):
    """One execution of a transformation. Thread-safe as long as one thread ends it."""

    __slots__ = (
        "_chain",
        "_chain_epoch",
        "_cpu",
        "_deferred",
        "_ended",
        "_error",
        "_generated",
        "_given",
        "_head",
        "_outcome",
        "_path",
        "_process",
        "_ref",
        "_state",
        "_used",
        "cycle",
        "iteration",
        "name",
        "parent",
        "person",
        "started",
        "task_id",
    )

    name: str
    task_id: str
    parent: Step | None
    person: str | None
    started: int | None
    cycle: bool
    iteration: int | None
    _path: str
    _state: int
    _process: object
    _given: dict[str, Any] | None
    _head: str
    _ended: int
    _outcome: str
    _error: str | None
    _cpu: float

    def __init__(
        self,
        inside: Opener,
        parent: Step | None,
        name: str,
        *,
        used: Mapping[str, Any] | None = None,
        person: str | None = None,
    ) -> None:
        self._identify(inside, parent, name, inside._next(name))
        self._given = None if used is None else dict(used)
        self.person = None if person is None else clean(person)

    def _identify(self, inside: Opener, parent: Step | None, name: str, ordinal: int) -> None:
        """Settle who this step is: its dotted path of counters, parent first (spec section 5.3)."""
        recorder = inside.recorder
        self._prepare(recorder)
        self.parent = parent
        self.name = name
        self._path = path = str(ordinal) if parent is None else f"{parent._path}.{ordinal}"
        self.task_id = path + recorder.suffix
        # Paths and suffixes are made of digits, dots and letters: nothing to escape.
        self._ref = f'[{named(name).text},"{self.task_id}"]'
        self.cycle = False
        self.iteration = None
        self.started = None
        self._process = recorder.process
        self._state = NEW
        # What is held, as texts by identity, in order and each once.
        self._used: dict[str, None] = {}
        self._generated: dict[str, None] = {}
        self._chain = ""
        self._chain_epoch: object = None
        self._deferred: deferred.Values | None = None

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and failed(error):
            self.end(ERRORED, describe(error))
        else:
            self.end()

    def begin(self) -> Self:
        """Start now; a step that has started is left as it is."""
        try:
            if self._state == NEW:
                self._begin(now())
        except Exception as error:
            swallow(error, "begin")
        return self

    def used(self, **values: Any) -> Self:
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

    def generated(self, **values: Any) -> Self:
        """Say what the step has generated, as `attribute=value`."""
        try:
            self.begin()
            self._add(OUT, values)
        except Exception as error:
            swallow(error, "generated")
        return self

    def end(self, outcome: str | None = None, error: BaseException | str | None = None) -> None:
        """End now: FINISHED, or ERRORED if that is said or an error is given. Later calls do nothing."""
        try:
            if self._state == NEW:
                self._begin(now())
            if outcome is None and error is None:
                self._end(FINISHED, None)
            else:
                self._end(*verdict(outcome, error))
        except Exception as failure:
            swallow(failure, "end")

    def _as_parent(self) -> Step:
        self.begin()
        self._has_children = True
        return self

    def _begin(self, started: int) -> None:
        self._state = OPEN
        self.started = started
        self._process = self.recorder.process
        if not self.cycle:
            self._cpu = USAGE.cpu(started)
        parent, iteration = self.parent, self.iteration
        self._head = (
            f"{self._ref},{'null' if parent is None else parent._ref},{'true' if self.cycle else 'false'}"
            f",{'null' if iteration is None else iteration},null,{started}"
            f",{'null' if self.person is None else quote(self.person)}"
        )
        given, self._given = self._given, None
        now_known = self._defer(IN, given) if given else None
        said = self.recorder.spell(IN, self.name, now_known) if now_known else _NOTHING
        enclosing = "" if parent is None else parent._enclosing()
        scope = f"[[],[],[{enclosing}]]" if enclosing else "null"
        self.recorder.write(f'["S",{self._head},[{said.values}],{scope},null]')
        self._hold(IN, said.held)

    def _add(self, direction: str, given: Mapping[str, Any]) -> None:
        if not given:
            return
        if self._state == ENDED:
            LOSSES.add("values-after-end")
            return
        given = self._defer(direction, given)
        if given:
            self._write_values(direction, self.recorder.spell(direction, self.name, given))

    def _defer(self, direction: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep what only an accelerator knows for the end of the step; the rest is to be said now."""
        late = deferred.split(given)
        if late is None:
            return given
        if self._deferred is None:
            self._deferred = []
        self._deferred.extend((direction, name, value) for name, value in late.items())
        return {name: value for name, value in given.items() if name not in late}

    def _write_values(self, direction: str, said: Spelt) -> None:
        record = f'["V",{self._ref},"{direction}",[{said.values}],{now()},{self._scope()}]'
        self.recorder.write(record)
        self._hold(direction, said.held)

    def _hold(self, direction: str, texts: list[str]) -> None:
        if not texts:
            return
        held = self._used if direction == IN else self._generated
        for text in texts:
            held[text] = None
        if direction == IN and self._has_children:
            self.recorder.epoch = object()  # Loops inside have written what enclosed them.

    def _end(self, outcome: str, error: str | None) -> None:
        if self._state != OPEN:
            return
        if self._loops or self._unexplained is not None:
            self._end_inner(outcome, error)
        late, self._deferred = self._deferred, None
        self._state = ENDED
        if self._process is not self.recorder.process:
            return  # Begun by the process that forked us: that one ends it.
        self._ended, self._outcome, self._error = now(), outcome, error
        for direction, name, value in late or ():
            self._write_values(direction, spelt(self.recorder.values(direction, self.name, {name: value})))
        self._write_end()

    def _write_end(self) -> None:
        ended = self._ended
        context = "null" if self.cycle else USAGE.since(self._cpu, ended)
        error = "null" if self._error is None else quote(self._error)
        self.recorder.write(
            f'["E",{self._head},[],{self._scope()},{context},{ended},{quote(self._outcome)},{error},null]'
        )

    def _explain(self, error: str) -> None:
        """Say the error of an end that was written without it: the same facts, and one more."""
        inner, self._unexplained = self._unexplained, None
        if inner is not None:
            inner._explain(error)
        self._error = error
        self._write_end()

    def _scope(self) -> str:
        parent = self.parent
        enclosing = "" if parent is None else parent._enclosing()
        return f"[[{','.join(self._used)}],[{','.join(self._generated)}],[{enclosing}]]"

    def _enclosing(self) -> str:
        """This step and those around it, nearest first; written anew only when one of them used something."""
        epoch = self.recorder.epoch
        if self._chain_epoch is not epoch:
            outer = "" if self.parent is None else self.parent._enclosing()
            self._has_children = True
            self._chain = f"[{self._ref},[{','.join(self._used)}]]{',' if outer else ''}{outer}"
            self._chain_epoch = epoch
        return self._chain


_NOTHING = Spelt("", [])


def verdict(outcome: str | None, error: BaseException | str | None) -> tuple[str, str | None]:
    """Outcome and error text of an end as the script said it."""
    text = describe(error) if isinstance(error, BaseException) else error
    if outcome not in OUTCOMES:
        outcome = FINISHED if text is None else ERRORED
    return outcome, None if text is None else clean(str(text))[:_ERROR_LENGTH]


def failed(error: BaseException | None) -> TypeGuard[BaseException]:
    """Tell whether an exception that leaves a `with` means failure: a generator that is closed inside
    it has not failed, and neither has a script that says `sys.exit(0)`."""
    if isinstance(error, SystemExit):
        return error.code not in (None, 0)
    return error is not None and not isinstance(error, GeneratorExit)


def describe(error: BaseException) -> str:
    """`Type: message` of an exception, whatever its `__str__` does."""
    try:
        message = str(error)
        text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    except Exception:
        text = type(error).__name__
    return clean(text)[:_ERROR_LENGTH]
