"""Processes that join a run which another one tells: workers, ranks, programs that a step starts.

Such a process tells its steps and nothing of the run as a whole. Its task ids end in eight random
hexadecimal digits, so they collide with nobody's, not even with those of the same worker restarted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from headstream.capture import environment, parents, ranks, wire
from headstream.capture.configured import in_force
from headstream.capture.errors import WARNINGS, swallow
from headstream.capture.families import Family
from headstream.capture.opening import OPEN, Nowhere, Opener
from headstream.capture.parents import Parent
from headstream.capture.recorder import ODD
from headstream.capture.run import Making, Run, known_stores, nothing, workflow
from headstream.capture.settings import Settings
from headstream.capture.step import Step

if TYPE_CHECKING:
    from headstream.capture.run import DefinitionLike, PersonLike, StoresLike


class Joined(Run):
    """A run that another process begins and ends. `step` is the step of that process it lies in, if any."""

    __slots__ = ("step",)

    step: Step | None

    @property
    def _first(self) -> bool:
        return False

    def _parent(self) -> Step | None:
        return self.step


def attach(
    name: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    definition: DefinitionLike | None = None,
    person: PersonLike | None = None,
    stores: StoresLike | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
) -> Run:
    """Join the run that the environment names, to be begun with `with` or `begin()`.

    It is the one of HEADSTREAM_WORKFLOW (else `name`) and HEADSTREAM_EXECUTION, else the one in which
    `environ()` of a run or step was called for this process; then steps lie inside that step, and
    definition and stores are those of the run. `environ` is for workers whose environment cannot be
    set: what `environ()` gave, by any way. Where no run is named, a run of the workflow `name` begins;
    without a name nothing is captured, which is a warning. Never raises.
    """
    try:
        given = {**os.environ, **(environ or {})}
        found = in_force(settings, given)
        if ranks.silent(given, found):
            return nothing(found)
        run = _named(given, found, name)
        if run is not None:
            return _join(run, given, found, definition, person, stores)
        if name is not None:
            return workflow(name, definition=definition, person=person, stores=stores, settings=found)
        WARNINGS.add("nothing-to-join", message="neither HEADSTREAM_PARENT nor HEADSTREAM_EXECUTION is set")
        return nothing(found)
    except Exception as error:
        swallow(error, "attach")
        return Run(Nowhere().recorder)


def _named(environ: Mapping[str, str], settings: Settings, name: str | None) -> Parent | None:
    """The run to join: named by hand, or the parent; what is known of the parent holds for its run only."""
    parent = parents.of(environ)
    workflow, execution = environ.get("HEADSTREAM_WORKFLOW") or name, settings.execution
    if workflow is None or execution is None:
        return parent
    if parent is not None and (parent.workflow, parent.execution) == (workflow, execution):
        return parent
    return Parent(workflow=workflow, execution=execution)


def _join(
    run: Parent,
    environ: Mapping[str, str],
    settings: Settings,
    definition: DefinitionLike | None,
    person: PersonLike | None,
    stores: StoresLike | None,
) -> Joined:
    planned = definition or run.definition or environ.get("HEADSTREAM_DEFINITION") or None
    give = Making(settings, planned, person, known_stores(run.stores if stores is None else stores))
    recorder = give.recorder(run.workflow, run.execution)
    rank = environment.rank(environ, settings.rank)
    recorder.rank = rank
    ranked = "" if rank is None else f"-r{ODD.sub('_', rank)}"
    recorder.suffix = f"{ranked}-{os.urandom(4).hex()}"
    joined = Joined(recorder, give.who)
    joined.step = _elsewhere(joined, run)
    return joined


def _elsewhere(inside: Opener, run: Parent) -> Step | None:
    """The step of another process that ours lie inside of: we add to it, and it ends there."""
    step: Step | None = None
    for (name, task), used in reversed(run.enclosing):
        path, _, _ = task.partition("-")
        prefix, dot, ordinal = path.rpartition(".")
        family = Family(inside.recorder, step, name, count())
        family.prefix, family.suffix = prefix + dot, task.removeprefix(path)
        step = Step(family, int(ordinal))
        step._used = dict.fromkeys(map(wire.text, used))
        step._state = OPEN
        step._process = object()  # Never that of ours: so its end is not told here.
        step._opened()
    return step
