"""Where steps and loops are opened: in a run, in a step, or nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextvars import Token
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from headstream.capture import parents
from headstream.capture.errors import swallow
from headstream.capture.families import Family
from headstream.capture.recorder import Recorder
from headstream.capture.references import Catalogue
from headstream.capture.settings import Settings
from headstream.capture.values import Rules, clean
from headstream.schemas.vocabulary import ERRORED

if TYPE_CHECKING:
    from headstream.capture.iteration import Block
    from headstream.capture.loop import Loop
    from headstream.capture.step import Step

NEW, OPEN, ENDED = 0, 1, 2
THINNING: Final = "capture_thinning"
THINNED: Final = "capture_thinned"
T = TypeVar("T")


class Inside:
    """What a run or a step knows of the steps and loops that were opened in it."""

    __slots__ = (
        "blocks",
        "chain",
        "chain_epoch",
        "counters",
        "families",
        "loops",
        "thinned",
        "turns",
        "unexplained",
    )

    def __init__(self) -> None:
        self.counters: dict[str, tuple[count[int], str]] = {}
        self.families: dict[str, Family] = {}
        self.turns: dict[str, Family] = {}  # Those of loops.
        self.loops: list[Loop[Any]] = []
        # By name and index of a loop, rows that the next one may go on with.
        self.blocks: dict[tuple[str, str | None], Block | None] = {}
        self.thinned: dict[str, dict[str, float]] = {}  # By loop, what a budget has left out (thinning.py).
        # A turn that an exception left: nobody but the step around it will see which exception.
        self.unexplained: Step | None = None
        # The step and those around it as text, and the epoch of the recorder in which that holds.
        self.chain = ""
        self.chain_epoch: object = None

    def counter(self, name: str) -> tuple[count[int], str]:
        """The ordinals of steps of this name, and the mark of the name: none for the first that is opened."""
        number = len(self.counters)
        return self.counters.setdefault(name, (count(), f"{number}x" if number else ""))


class Opener:
    """Something inside which steps and loops can be opened: a run, or a step."""

    __slots__ = ("_inside", "_place", "recorder")

    # A step opens steps and loops, and the turns of a loop are steps: both make themselves known here.
    steps: ClassVar[type[Step]]
    loops: ClassVar[type[Loop[Any]]]

    recorder: Recorder
    _inside: Inside | None
    _place: Token[Any] | None  # Of the `with` that it is the place of.

    def task(self, name: str, used: Mapping[str, Any] | None = None, *, person: str | None = None) -> Step:
        """A step that carries out the transformation of this name; it begins with `with` or `begin()`."""
        try:
            inside = self._opened()
            family = inside.families.get(name)
            if family is None or family.process is not self.recorder.process:
                family = self._family(name)
            inside.unexplained = None
            return self.steps(family, next(family.counter), used, person)
        except Exception as error:
            swallow(error, "task")
            return self.steps(Family(Nowhere().recorder, None, str(name), count()), 0, used)

    def loop(self, name: str, iterable: Iterable[T], index_as: str | None = None, start: int = 0) -> Loop[T]:
        """Iterate and capture each turn as a step of this name; each turn has `.item` and `.index`.

        With `index_as` the index is also a value that the turn used. A turn ends when the next is
        asked for; one that is left by `break` is finished, one left by an exception is errored.
        """
        try:
            inside = self._opened()
            family = inside.turns.get(name)
            if family is None or family.process is not self.recorder.process:
                family = self._family(name, cycle=True)
            inside.unexplained = None
            return self.loops(self, inside, family, iterable, index_as, start)
        except Exception as error:
            swallow(error, "loop")
            nowhere = Nowhere()
            lost = Family(nowhere.recorder, None, str(name), count(), cycle=True)
            return self.loops(nowhere, nowhere._opened(), lost, iterable, None, start)

    def generated(self, /, **values: Any) -> Self:
        """Say what has been generated, as `attribute=value`."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """Variables for a process that is started here: with them `attach` joins this run, and steps that
        it opens lie inside this one; a `workflow` that it begins is a run inside this one."""
        try:
            self._opened()
            step, recorder = self._parent(), self.recorder
            around = parents.Parent(
                workflow=recorder.workflow,
                execution=recorder.execution,
                enclosing=() if step is None else tuple(json.loads(f"[{step.enclosing()}]")),
                **parents.documents(recorder.definition, recorder.rules.catalogue.stores),
            )
            return parents.variables(around, recorder.settings)
        except Exception as error:
            swallow(error, "environ")
            return {}

    def _opened(self) -> Inside:
        """Begin if that has not happened, because something is opened inside."""
        inside = self._inside
        if inside is None:
            inside = self._inside = Inside()
        return inside

    def _parent(self) -> Step | None:
        """The step that steps opened here are part of."""
        return None

    def _family(self, name: str, *, cycle: bool = False) -> Family:
        inside, cleaned = self._opened(), clean(name)
        counter, mark = inside.counter(cleaned)
        family = Family(self.recorder, self._parent(), cleaned, counter, mark=mark, cycle=cycle)
        (inside.turns if cycle else inside.families)[name] = family
        return family

    def _end_inner(self, outcome: str, error: str | None) -> None:
        """End turns that are still open inside, and say why the last one failed if it is known now."""
        inside = self._inside
        if inside is None:
            return
        for loop in list(inside.loops):
            loop.finish(outcome, error)
        for block in inside.blocks.values():
            if block is not None:
                block.seal(self.recorder.process)
        inside.blocks.clear()
        if inside.thinned:
            say_of_thinning(self, THINNED, inside.thinned)
        if outcome == ERRORED and error is None:
            return  # An exception is on its way through us too; who sees it will say which.
        turn, inside.unexplained = inside.unexplained, None
        if turn is not None and error is not None:
            turn._explain(error)


class Nowhere(Opener):
    """Takes the place of what could not be made, so that the script goes on; all it is told is counted."""

    __slots__ = ()

    def __init__(self) -> None:
        self.recorder = Recorder(workflow="", execution="", settings=Settings(), rules=Rules(Catalogue()))
        self.recorder.closed = True
        self._inside = self._place = None


def say_of_thinning(inside: Opener, name: str, facts: Mapping[str, Any]) -> None:
    """Say that turns were left out (thinning.py) as an output of a step or run; no rank shares the name."""
    inside.generated(**{f"{name}{'' if inside._parent() else inside.recorder.suffix}": dict(facts)})
