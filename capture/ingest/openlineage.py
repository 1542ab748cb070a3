"""OpenLineage events (spec 2-0-2 and those before) as events of headstream.

A job is a workflow, its run an execution with one step that is called after the job: it uses the
inputs and generates the outputs. `read_message` is a pure function of one message; a `Translator`
also remembers what runs used, so that outputs derive from inputs that an earlier message named.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from headstream.capture.gateway import wire
from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.scope import RunScope
from headstream.capture.ingest.moments import microseconds
from headstream.capture.ingest.told import Item, Record, Refused, Told, Unmapped, UnmappedReason
from headstream.schemas.events import (
    IN,
    OUT,
    Context,
    Event,
    ParentRun,
    RunEnded,
    RunStarted,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue, Reference
from headstream.schemas.vocabulary import ERRORED, FINISHED

START, OTHER = "START", "OTHER"
_ENDS: Final = {"COMPLETE": FINISHED, "FAIL": ERRORED, "ABORT": ERRORED}
_TYPES: Final = frozenset({START, "RUNNING", OTHER, *_ENDS})
_TASK: Final = "0"
_INPUT, _OUTPUT = "input", "output"
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*$")
# Runs whose inputs are remembered; those that were heard of longest ago are forgotten first.
_MOST_RUNS: Final = 10_000
# Events about a thing and no run, by the key of the thing.
_STATIC: Final[dict[str, tuple[UnmappedReason, str]]] = {
    "dataset": ("dataset-event", "what a dataset is said to be, of no run"),
    "job": ("job-event", "what a job is said to read and write, of no run"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One run event, read. Times are microseconds; `inputs` and `outputs` are values of the step."""

    workflow: str
    execution: str
    step: StepRef
    type: str
    at: int
    parent: ParentRun | None
    error: str | None
    context: Context | None
    step_context: Context | None
    inputs: tuple[AttributeValue, ...]
    outputs: tuple[AttributeValue, ...]


@dataclass(slots=True)
class _Run:
    """What is remembered of a run."""

    scope: RunScope = field(default_factory=RunScope)
    started: int | None = None


class Translator:
    """Translates the messages of any number of runs; those of one run should come in their order.

    The same messages again say the same. Of a run that is not remembered, less is derived.
    """

    def __init__(self, mounts: Mounts | None = None) -> None:
        self._mounts = mounts or Mounts()
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def translate(self, message: object, where: str = "") -> tuple[Item, ...]:
        """What one message says, or why nothing; never raises."""
        read = read_message(message, self._mounts, where)
        if isinstance(read, Message):
            return (Told(workflow=read.workflow, execution=read.execution, events=tuple(self._events(read))),)
        return (read,)

    def _events(self, message: Message) -> Iterator[Event]:
        run = self._run(message)
        step, outcome = message.step, _ENDS.get(message.type)
        if message.type == START:
            run.started = message.at if run.started is None else run.started
        begun = message.at if message.type == START else None
        yield RunStarted(started=begun, parent=message.parent, context=message.context)
        run.scope.place(step, run.started, None, None)
        if message.inputs or begun is not None:
            scope = run.scope.around(step, IN, message.inputs, None)
            yield StepStarted(
                step=step, started=begun, values=message.inputs, scope=scope, context=message.step_context
            )
        scope = run.scope.around(step, OUT, message.outputs, None)
        if outcome is None:
            if message.outputs:
                yield ValuesAdded(
                    step=step, direction=OUT, values=message.outputs, at=message.at, scope=scope
                )
            return
        ended = {"started": run.started, "ended": message.at, "outcome": outcome, "error": message.error}
        context = message.step_context
        yield StepEnded(step=step, values=message.outputs, scope=scope, context=context, **ended)  # type: ignore[arg-type]
        yield RunEnded(**ended)  # type: ignore[arg-type]

    def _run(self, message: Message) -> _Run:
        key = (message.workflow, message.execution)
        found = self._runs.setdefault(key, _Run())
        self._runs.move_to_end(key)
        if len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)
        return found


def read_openlineage(records: Iterable[Record], mounts: Mounts | None = None) -> Iterator[Item]:
    """Every event of some records, in their order."""
    translator = Translator(mounts)
    for found in records:
        if isinstance(found, Refused):
            yield found
        else:
            yield from translator.translate(*found)


def read_message(message: object, mounts: Mounts, where: str = "") -> Message | Unmapped | Refused:
    """Read one run event; an event about a job or a dataset alone has no place. Never raises."""
    try:
        body = wire.mapping(wire.cleaned(message), "an event")
        static = next((said for kind, said in _STATIC.items() if kind in body), None)
        if static is not None and "run" not in body:
            return Unmapped(reason=static[0], message=static[1], where=where)
        return _message(body, mounts)
    except MessageRefused as error:
        return Refused(reason=error.reason, message=str(error), where=where)


def workflow_of(namespace: str, name: str) -> str:
    """The workflow that a job is."""
    return f"{namespace}/{name}"


def text_of(namespace: str, name: str) -> str:
    """What identifies a dataset: its path or URL, as others name the same data, where it has one."""
    if namespace == "file" or namespace.startswith("file:"):
        return name
    if "://" in namespace:
        return f"{namespace.rstrip('/')}/{name.lstrip('/')}"
    if _SCHEME.match(namespace):
        return f"{namespace}://{name}"
    return f"openlineage://{quote(namespace, safe='')}/{name}"


def _message(body: Mapping[str, Any], mounts: Mounts) -> Message:
    kind = body.get("eventType") or OTHER  # It may be left out.
    if not isinstance(kind, str) or kind.upper() not in _TYPES:
        raise MessageRefused(
            "unknown-event-type", f"eventType must be one of {', '.join(sorted(_TYPES))}, found {kind!r:.80}"
        )
    run, job = wire.mapping(body.get("run"), "run"), wire.mapping(body.get("job"), "job")
    namespace, name = _text(job, "namespace", "job"), _text(job, "name", "job")
    facets = _facets(run, "facets")
    said = {"producer": body.get("producer"), "run": facets, "job": _facets(job, "facets")}
    inputs, outputs = _datasets(body, "inputs"), _datasets(body, "outputs")
    each = {"inputs": _own(inputs, "inputFacets"), "outputs": _own(outputs, "outputFacets")}
    return Message(
        workflow=workflow_of(namespace, name),
        execution=_text(run, "runId", "run"),
        step=StepRef(name, _TASK),
        type=kind.upper(),
        at=_instant(body.get("eventTime")),
        parent=_parent(facets.get("parent")),
        error=_error(kind.upper(), facets),
        context=_context(said),
        step_context=_context(each),
        inputs=tuple(_value(_INPUT, each, mounts) for each in inputs),
        outputs=tuple(_value(_OUTPUT, each, mounts) for each in outputs),
    )


def _value(slot: str, dataset: Mapping[str, Any], mounts: Mounts) -> AttributeValue:
    namespace, name = _text(dataset, "namespace", "a dataset"), _text(dataset, "name", "a dataset")
    facets = _facets(dataset, "facets")
    text = text_of(namespace, name)
    version = facets.get("version")
    said = version.get("datasetVersion") if isinstance(version, Mapping) else None
    statistics = _facets(dataset, "outputFacets").get("outputStatistics")
    size = statistics.get("size") if isinstance(statistics, Mapping) else None
    facts = {"namespace": namespace, "name": name, **({"facets": facets} if facets else {})}
    return AttributeValue(
        slot,
        Reference(
            text=text,
            store=mounts.store_of(text),
            version=None if said is None or said == "" else wire.identifier(said, "datasetVersion"),
            size_bytes=wire.iteration(size),
        ),
        wire.json_text({"openlineage": facts})[0],
    )


def _parent(facet: Any) -> ParentRun | None:
    """The run around a run; a facet that lacks a part stays among the facets only."""
    if not isinstance(facet, Mapping):
        return None
    run, job = facet.get("run"), facet.get("job")
    if not isinstance(run, Mapping) or not isinstance(job, Mapping):
        return None
    named = (job.get("namespace"), job.get("name"), run.get("runId"))
    if not all(isinstance(each, str) and each for each in named):
        return None
    return ParentRun(workflow_of(str(named[0]), str(named[1])), str(named[2]))


def _error(kind: str, facets: Mapping[str, Any]) -> str | None:
    if _ENDS.get(kind) != ERRORED:
        return None
    facet = facets.get("errorMessage")
    said = wire.text(facet.get("message")) if isinstance(facet, Mapping) else None
    return said or f"OpenLineage says {kind}"


def _context(said: Mapping[str, Any]) -> Context | None:
    kept = {key: value for key, value in said.items() if value}
    return Context(metadata=wire.json_text({"openlineage": kept})[0]) if kept else None


def _own(datasets: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """What facets say of a dataset as this run met it."""
    found = {text_of(str(each.get("namespace")), str(each.get("name"))): each.get(key) for each in datasets}
    return {text: facets for text, facets in found.items() if facets}


def _datasets(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = body.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise MessageRefused("bad-message", f"{key} must be a list")
    return [wire.mapping(each, f"one of {key}") for each in found]


def _facets(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = body.get(key)
    return {} if found is None else wire.mapping(found, key)


def _text(body: Mapping[str, Any], key: str, what: str) -> str:
    found = body.get(key)
    if not isinstance(found, str) or not found:
        raise MessageRefused("bad-identifier", f"{key} of {what} must be text that is not empty")
    return found


def _instant(text: Any) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise MessageRefused("bad-time", f"eventTime must be ISO 8601, found {text!r:.80}") from error
    return microseconds(moment)
