"""Steps of a run: what a script begins, uses, generates and ends.

Whatever a call says is in the spool when the call returns. A call never raises for a reason of
ours: that is swallowed and counted (`headstream.capture.errors`). What the script raises passes
through unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeGuard, TypeVar

from headstream.capture import telemetry, wire
from headstream.capture.clock import now
from headstream.capture.errors import LOSSES, swallow
from headstream.capture.recorder import Recorder
from headstream.capture.references import Catalogue
from headstream.capture.settings import Settings
from headstream.capture.values import Rules, clean
from headstream.capture.wire import IN, OUT
from headstream.schemas.values import AttributeValue
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
        "_cpu",
        "_ended",
        "_error",
        "_generated",
        "_given",
        "_outcome",
        "_path",
        "_process",
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
        self._path = str(ordinal) if parent is None else f"{parent._path}.{ordinal}"
        self.task_id = self._path + recorder.suffix
        self.cycle = False
        self.iteration = None
        self.started = None
        self._process = recorder.process
        self._state = NEW
        self._used: list[wire.Wire] = []
        self._generated: list[wire.Wire] = []
        self._chain: wire.Wire = None
        self._ended: int | None = None
        self._outcome = FINISHED
        self._error: str | None = None
        self._cpu = 0.0

    def __enter__(self) -> Self:
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if failed(error):
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
            self.begin()
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
            self._cpu = telemetry.cpu_seconds()
        given, self._given = self._given, None
        values = self.recorder.values(IN, self.name, given) if given else ()
        self.recorder.write(["S", *self._head(values, self._scope((), ()), None)])
        self._hold(IN, values)

    def _add(self, direction: str, given: Mapping[str, Any]) -> None:
        if not given:
            return
        if self._state == ENDED:
            LOSSES.add("values-after-end")
            return
        values = self.recorder.values(direction, self.name, given)
        self._write_values(direction, values)

    def _write_values(self, direction: str, values: tuple[AttributeValue, ...]) -> None:
        scope = self._scope(self._used, self._generated)
        ref = [self.name, self.task_id]
        self.recorder.write(["V", ref, direction, wire.attributes_to(values), now(), scope])
        self._hold(direction, values)

    def _hold(self, direction: str, values: tuple[AttributeValue, ...]) -> None:
        if not values:
            return
        held = self._used if direction == IN else self._generated
        held.extend(h for h in wire.held(values) if h not in held)
        if direction == IN and self._has_children:
            self.recorder.epoch = object()  # Loops inside have written what enclosed them.

    def _end(self, outcome: str, error: str | None) -> None:
        if self._state != OPEN:
            return
        self._end_inner(outcome, error)
        self._state = ENDED
        if self._process is not self.recorder.process:
            return  # Begun by the process that forked us: that one ends it.
        self._ended, self._outcome, self._error = now(), outcome, error
        self._write_end()

    def _write_end(self) -> None:
        context = None if self.cycle else telemetry.since(self._cpu)
        head = self._head((), self._scope(self._used, self._generated), context)
        self.recorder.write(["E", *head, self._ended, self._outcome, self._error, None])

    def _explain(self, error: str) -> None:
        """Say the error of an end that was written without it: the same facts, and one more."""
        inner, self._unexplained = self._unexplained, None
        if inner is not None:
            inner._explain(error)
        self._error = error
        self._write_end()

    def _head(
        self, values: tuple[AttributeValue, ...], scope: wire.Wire, context: wire.Wire
    ) -> list[wire.Wire]:
        parent = self.parent
        return [
            [self.name, self.task_id],
            None if parent is None else [parent.name, parent.task_id],
            self.cycle,
            self.iteration,
            None,
            self.started,
            self.person,
            wire.attributes_to(values),
            scope,
            context,
        ]

    def _scope(self, used: Iterable[wire.Wire], generated: Iterable[wire.Wire]) -> wire.Wire:
        enclosing = () if self.parent is None else self.parent._enclosing()
        if not (used or generated or enclosing):
            return None
        return [used, generated, enclosing]

    def _enclosing(self) -> wire.Wire:
        """This step and those around it, nearest first. Holds the live lists, so it never grows old."""
        if self._chain is None:
            outer = () if self.parent is None else self.parent._enclosing()
            self._chain = [[[self.name, self.task_id], self._used], *outer]
        return self._chain


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
