"""A ProvLake message, read: who speaks of which run or step, and when (spec sections 9.2 and 9.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headstream.capture.gateway import wire
from headstream.capture.gateway.errors import MessageRefused
from headstream.schemas import vocabulary
from headstream.schemas.events import IN, OUT, Context, StepRef
from headstream.schemas.identifiers import GLOBAL_EXECUTION, GLOBAL_WORKFLOW

# What is read here lives for one message, and a frozen dataclass takes three times as long to make.
GENERATE, INPUT, OUTPUT = "Generate", "Input", "Output"
WORKFLOW, TASK, CYCLE = "workflow", "task", "cycle"
_DIRECTIONS: Final = {GENERATE: IN, INPUT: IN, OUTPUT: OUT}


@dataclass(slots=True, kw_only=True)
class Envelope:
    """The run that a message belongs to, and what it is about. `is_global`: the client named no run.

    `details` are what the body says of the task or cycle, and the body itself where it is about the run.
    """

    workflow: str
    execution: str
    is_global: bool
    act: str
    body: Mapping[str, Any]
    details: Mapping[str, Any]
    custom_metadata: Any
    context: Any


@dataclass(slots=True, kw_only=True)
class RunMessage:
    """Begin (no `ended`) or end of a run."""

    started: int | None
    ended: int | None
    outcome: str
    person: str | None
    error: str | None
    output: str | None
    configuration: Any
    values: Mapping[str, Any]
    context: Context | None


@dataclass(slots=True, kw_only=True)
class StepMessage:
    """Generate, Input or Output of a task, Input or Output of a turn of a cycle.

    `named_parent` is the turn that the message says it is in; `extends` means that it only adds
    values to a step that is open.
    """

    step: StepRef
    direction: str
    extends: bool
    cycle: bool
    iteration: int | None
    named_parent: StepRef | None
    registered: int | None
    started: int | None
    ended: int | None
    outcome: str
    person: str | None
    error: str | None
    output: str | None
    values: Mapping[str, Any]
    context: Context | None


def read_envelope(message: object, *, plain: bool = False) -> Envelope:
    """Clean a message (unless it is known to be `plain`) and read its envelope, or raise MessageRefused."""
    cleaned = wire.mapping(message if plain else wire.cleaned(message), "a message")
    body = wire.mapping(cleaned.get("prov_obj"), "prov_obj")
    act = cleaned.get("act_type")
    if act is None:
        act = next((name for name in (TASK, CYCLE) if name in body), WORKFLOW)
    if act not in (WORKFLOW, TASK, CYCLE):
        raise MessageRefused("unknown-act", f"act_type must be workflow, task or cycle, found {act!r:.80}")
    details = body if act == WORKFLOW else body.get(act)
    if type(details) is not dict:
        details = wire.mapping(details, f"prov_obj.{act}")
    workflow = wire.optional_identifier(cleaned.get("dataflow_name"), "dataflow_name")
    execution = wire.optional_identifier(details.get("wf_execution"), "wf_execution")
    return Envelope(
        workflow=GLOBAL_WORKFLOW if workflow is None else workflow,
        execution=GLOBAL_EXECUTION if execution is None else execution,
        is_global=workflow is None or execution is None,
        act=act,
        body=body,
        details=details,
        custom_metadata=cleaned.get("custom_metadata"),
        context=cleaned.get("context"),
    )


def read_run(envelope: Envelope) -> RunMessage:
    """Read a workflow message, or raise MessageRefused."""
    body, configuration = envelope.body, envelope.body.get("configuration")
    # One graph holds everything here: the context that a client is told of names none, but is kept.
    further = {"configuration": configuration, "context": envelope.context}
    return RunMessage(
        started=wire.instant(body, "startTime"),
        ended=wire.instant(body, "endTime"),
        outcome=_outcome(body),
        person=wire.person(body.get("person")),
        error=wire.text(body.get("stderr")),
        output=wire.text(body.get("stdout")),
        configuration=configuration,
        values=_values(body),
        context=wire.context(
            envelope.custom_metadata, {key: value for key, value in further.items() if value is not None}
        ),
    )


def read_step(envelope: Envelope) -> StepMessage:
    """Read a task or cycle message, or raise MessageRefused."""
    body, details = envelope.body, envelope.details
    kind = body.get("type")
    if not isinstance(kind, str) or kind not in _DIRECTIONS:
        raise MessageRefused(
            "unknown-type", f"type must be one of {', '.join(_DIRECTIONS)}, found {kind!r:.80}"
        )
    step = _step_ref(envelope.act, body, details)
    extends = body.get("is_extension") is True or details.get("is_extension") is True
    ended, outcome, error, output = None, vocabulary.FINISHED, None, None
    if kind == OUTPUT:
        ended, outcome = wire.instant(details, "endTime"), _outcome(details)
        error = wire.text(details.get("stderr", body.get("stderr")))
        output = wire.text(details.get("stdout", body.get("stdout")))
    if kind == OUTPUT and ended is None and not extends:
        raise MessageRefused("no-end-time", f"the Output of {step.transformation} {step.task} has no endTime")
    cycle, associations = envelope.act == CYCLE, details.get("attribute_associations")
    return StepMessage(
        step=step,
        direction=_DIRECTIONS[kind],
        extends=extends,
        cycle=cycle,
        iteration=wire.iteration(details.get("iteration_id")) if cycle else None,
        named_parent=_named_parent(details),
        registered=wire.instant(details, "generatedTime"),
        started=None if kind == GENERATE else wire.instant(details, "startTime"),
        ended=ended,
        outcome=outcome,
        person=wire.person(body.get("person")),
        error=error,
        output=output,
        values=_values(body),
        # What associations mean is not public, so they are kept as they are (spec section 11.6).
        context=wire.context(
            envelope.custom_metadata, {"attribute_associations": associations} if associations else None
        ),
    )


def _step_ref(act: str, body: Mapping[str, Any], details: Mapping[str, Any]) -> StepRef:
    name, task = ("dt", "id") if act == TASK else ("cycle_name", "iteration_id")
    return StepRef(wire.identifier(body.get(name), name), wire.identifier(details.get(task), task))


def _named_parent(details: Mapping[str, Any]) -> StepRef | None:
    """The turn of a loop that a message says it is in; turn 0 never reaches the wire (spec 9.7.1)."""
    cycle = wire.optional_identifier(details.get("parent_cycle_name"), "parent_cycle_name")
    if not cycle:
        return None
    turn = details.get("parent_cycle_iteration")
    return StepRef(cycle, "0" if turn is None else wire.identifier(turn, "parent_cycle_iteration"))


def _outcome(details: Mapping[str, Any]) -> str:
    """What ended is finished unless the client says that it failed (spec 9.7.3)."""
    return vocabulary.ERRORED if details.get("status") == vocabulary.ERRORED else vocabulary.FINISHED


def _values(body: Mapping[str, Any]) -> Mapping[str, Any]:
    values = body.get("values")
    return {} if values is None else wire.mapping(values, "values")
