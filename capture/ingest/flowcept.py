"""Buffers of FlowCept (JSON lines of workflows and tasks) as events of headstream.

A task is a step whose transformation is its activity; a workflow is known by its name, its run by
`workflow_id`. A task names its parent by id alone and comes when it has ended, so a child comes
before its parent: files are read a first time to learn who the parents are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from headstream.capture.gateway import wire
from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.markers import coerce
from headstream.capture.gateway.scope import holdings
from headstream.capture.ingest.jsonl import Progress, records
from headstream.capture.ingest.told import Item, Refused, Told, Unmapped
from headstream.schemas.definition import Definition
from headstream.schemas.events import (
    IN,
    NO_SCOPE,
    OUT,
    Context,
    Enclosing,
    Event,
    Holding,
    ParentRun,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue
from headstream.schemas.vocabulary import ERRORED, FINISHED

UNNAMED: Final = "flowcept"
_OUTCOMES: Final = {"FINISHED": FINISHED, "ERROR": ERRORED}
_LOOP: Final = "_iteration"
# What of a record has a property of its own; the rest is metadata.
_WORKFLOW_FIELDS: Final = frozenset(
    {"type", "workflow_id", "parent_workflow_id", "name", "user", "started_at", "ended_at", "status",
     "generated", "utc_timestamp", "interceptor_ids"}
)  # fmt: skip
_TASK_FIELDS: Final = frozenset(
    {"type", "task_id", "workflow_id", "workflow_name", "activity_id", "parent_task_id", "used", "generated",
     "submitted_at", "registered_at", "utc_timestamp", "started_at", "ended_at", "status", "stdout", "stderr",
     "hostname", "node_name", "user"}
)  # fmt: skip

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Task:
    """A task that others are inside of."""

    step: StepRef
    parent: str | None
    held: tuple[Holding, ...]


@dataclass(slots=True)
class _Known:
    """What the first reading found: workflows with their names, and the tasks that are parents."""

    runs: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    parents: set[_Key] = field(default_factory=set)
    tasks: dict[_Key, _Task] = field(default_factory=dict)


def read_flowcept(
    files: Sequence[Path],
    definitions: Iterable[Definition] = (),
    mounts: Mounts | None = None,
    progress: Progress = lambda done, total: None,
) -> Iterator[Item]:
    """Every record of some buffers, which belong together: a parent may lie in another file.

    FlowCept has no references: text is one where a definition of the workflow says so.
    """
    reader = _Reader({each.workflow: each for each in definitions}, mounts or Mounts())
    for kind, body, _ in _bodies(files):
        reader.learn(kind, body)
    if reader.known.parents:
        for kind, body, _ in _bodies(files):
            reader.learn_parent(kind, body)
    for found in records(files, progress):
        if isinstance(found, Refused):
            yield found
        else:
            yield from reader.tell(*found)


class _Reader:
    """Maps records, given what is known of all of them."""

    def __init__(self, definitions: Mapping[str, Definition], mounts: Mounts) -> None:
        self._definitions = definitions
        self._mounts = mounts
        self.known = _Known()

    def learn(self, kind: str, body: Mapping[str, Any]) -> None:
        run = str(body.get("workflow_id"))
        if kind == "workflow":
            self.known.runs.add(run)
            if isinstance(body.get("name"), str) and body["name"]:
                self.known.names[run] = body["name"]
        elif kind == "task" and body.get("parent_task_id") not in (None, ""):
            self.known.parents.add((run, str(body["parent_task_id"])))

    def learn_parent(self, kind: str, body: Mapping[str, Any]) -> None:
        key = (str(body.get("workflow_id")), str(body.get("task_id")))
        if kind != "task" or key not in self.known.parents:
            return
        try:
            step = _step(body)
            used = self._values(self._workflow(body), step, IN, body.get("used"))
        except MessageRefused:
            return  # It is refused when it is told.
        before = self.known.tasks.get(key)  # A task may come in parts.
        held = dict.fromkeys((*(before.held if before else ()), *holdings(used)))
        self.known.tasks[key] = _Task(step, _parent_id(body), tuple(held))

    def tell(self, record: object, where: str) -> Iterator[Item]:
        try:
            body = wire.mapping(wire.cleaned(record), "a record")
            kind = _kind(body)
            if kind == "workflow":
                yield from self._run(body, where)
            elif kind == "task":
                yield from self._task(body, where)
            else:
                yield Unmapped(reason="other-record", message=f"a record of type {kind!r:.80}", where=where)
        except MessageRefused as error:
            yield Refused(reason=error.reason, message=str(error), where=where)

    def _run(self, body: Mapping[str, Any], where: str) -> Iterator[Item]:
        run = _identifier(body, "workflow_id")
        name = self._workflow(body)
        started, ended = wire.instant(body, "started_at"), wire.instant(body, "ended_at")
        rest = {key: value for key, value in body.items() if key not in _WORKFLOW_FIELDS and value}
        context = Context(metadata=wire.json_text({"flowcept": rest})[0]) if rest else None
        parent = body.get("parent_workflow_id")
        around = None
        if parent not in (None, ""):
            around = self.known.names.get(str(parent))
            if around is None:
                yield Unmapped(
                    reason="parent-workflow-unnamed",
                    message=f"workflow {run} lies in {parent}, whose record is in none of the files",
                    where=where,
                )
        events: list[Event] = [
            RunStarted(
                started=started,
                person=wire.person(body.get("user")),
                context=context,
                parent=None if around is None else ParentRun(around, str(parent)),
            )
        ]
        outcome = _OUTCOMES.get(str(body.get("status")))
        values = self._values(name, None, OUT, body.get("generated"))
        if outcome is not None and ended is not None:
            events.append(RunEnded(started=started, ended=ended, outcome=outcome, values=values))
        elif values:
            events.append(ValuesAdded(step=None, direction=OUT, values=values))
        if outcome is not None and ended is None:
            yield Unmapped(reason="end-without-time", message=f"workflow {run} has ended", where=where)
        yield self._told(name, run, events)

    def _task(self, body: Mapping[str, Any], where: str) -> Iterator[Item]:
        run, step, name = _identifier(body, "workflow_id"), _step(body), self._workflow(body)
        used = self._values(name, step, IN, body.get("used"))
        made = self._values(name, step, OUT, body.get("generated"))
        ended = wire.instant(body, "ended_at")
        started = wire.instant(body, "started_at")
        index = body["used"].get("i") if isinstance(body.get("used"), Mapping) else None
        cycle = step.transformation.endswith(_LOOP) and "group_id" in body
        enclosing = tuple(self._enclosing(run, _parent_id(body)))
        if _parent_id(body) is not None and not enclosing:
            yield Unmapped(
                reason="parent-task-unknown",
                message=f"task {step.task} lies in {_parent_id(body)}, which is in none of the files",
                where=where,
            )
        common: dict[str, Any] = {
            "step": step,
            "parent": enclosing[0].step if enclosing else None,
            "cycle": cycle,
            "iteration": wire.iteration(index) if cycle else None,
            "registered": wire.instant(body, "submitted_at"),
            "started": started,
            "person": wire.person(body.get("user")),
            "context": _context(body),
        }
        scope = Scope(used=holdings(used), enclosing=enclosing)
        around = Scope(enclosing=enclosing) if enclosing else NO_SCOPE
        events: list[Event] = []
        if run not in self.known.runs:  # No record is there of its workflow, so its first task begins it.
            self.known.runs.add(run)
            events.append(RunStarted(started=None))
        events.append(StepStarted(values=used, scope=around, **common))
        outcome = _OUTCOMES.get(str(body.get("status")))
        if ended is not None:
            events.append(
                StepEnded(
                    ended=ended,
                    outcome=outcome or FINISHED,
                    error=wire.text(body.get("stderr")),
                    output=wire.text(body.get("stdout")),
                    values=made,
                    scope=scope,
                    **common,
                )
            )
        elif made:
            events.append(ValuesAdded(step=step, direction=OUT, values=made, scope=scope))
        if ended is None and outcome is not None:
            # FlowCept's loops do not say when a turn has ended, the lightweight one not when it began.
            yield Unmapped(
                reason="end-without-time", message=f"{step.transformation} {step.task} has ended", where=where
            )
        yield self._told(name, run, events)

    def _told(self, workflow: str, run: str, events: list[Event]) -> Told:
        definition = self._definitions.get(workflow)
        return Told(workflow=workflow, execution=run, events=tuple(events), definition=definition)

    def _workflow(self, body: Mapping[str, Any]) -> str:
        named = self.known.names.get(str(body.get("workflow_id"))) or body.get("workflow_name")
        return named if isinstance(named, str) and named else UNNAMED

    def _enclosing(self, run: str, parent: str | None) -> Iterator[Enclosing]:
        """The tasks around one, the innermost first; ends if it goes round."""
        seen: set[str] = set()
        while parent is not None and parent not in seen:
            seen.add(parent)
            found = self.known.tasks.get((run, parent))
            if found is None:
                return
            yield Enclosing(found.step, found.held)
            parent = found.parent

    def _values(
        self, workflow: str, step: StepRef | None, direction: str, given: Any
    ) -> tuple[AttributeValue, ...]:
        if given is None or given == {}:
            return ()
        values = given if isinstance(given, Mapping) else {"value": given}
        definition = self._definitions.get(workflow)
        planned = definition.transformation(step.transformation) if definition and step else None
        return tuple(
            coerce(name, value, planned.attribute(direction, name) if planned else None, self._mounts)
            for name, value in values.items()
        )


def _bodies(files: Sequence[Path]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Records that can be read; of the others, the last reading says what is wrong."""
    for found in records(files):
        if isinstance(found, Refused) or not isinstance(found[0], Mapping):
            continue
        try:
            body = wire.mapping(wire.cleaned(found[0]), "a record")
        except MessageRefused:
            continue
        yield _kind(body), body, found[1]


def _kind(body: Mapping[str, Any]) -> str:
    """What a record is of; the loops of FlowCept write tasks that do not say it."""
    kind = body.get("type")
    return str(kind) if kind is not None else "task" if "task_id" in body else "nothing"


def _step(body: Mapping[str, Any]) -> StepRef:
    activity = body.get("activity_id")
    return StepRef(
        "task" if activity in (None, "") else wire.identifier(activity, "activity_id"),
        _identifier(body, "task_id"),
    )


def _parent_id(body: Mapping[str, Any]) -> str | None:
    parent = body.get("parent_task_id")
    return None if parent in (None, "") else str(parent)


def _identifier(body: Mapping[str, Any], key: str) -> str:
    found = wire.optional_identifier(body.get(key), key)
    if not found:
        raise MessageRefused("bad-identifier", f"a record without {key}")
    return found


def _context(body: Mapping[str, Any]) -> Context | None:
    host = body.get("hostname") or body.get("node_name")
    rest = {key: value for key, value in body.items() if key not in _TASK_FIELDS and value}
    before, after = _seconds(rest.get("telemetry_at_start")), _seconds(rest.get("telemetry_at_end"))
    context = Context(
        hosts=(host,) if isinstance(host, str) else (),
        cpu_seconds=None if before is None or after is None else round(after - before, 6),
        metadata=wire.json_text({"flowcept": rest})[0] if rest else None,
    )
    return None if context == Context() else context


def _seconds(telemetry: Any) -> float | None:
    """Processor time of the process by then, if it was captured."""
    try:
        times = telemetry["process"]["cpu_times"]
        return float(times["user"]) + float(times["system"])
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
