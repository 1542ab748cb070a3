"""Events as the records of the spool, and back (layout: wire.py)."""

from __future__ import annotations

from typing import Any

from headstream.capture.wire import Wire, attributes_from, attributes_to, reference_from, reference_to
from headstream.schemas.events import (
    NO_SCOPE,
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


def ref_to(step: StepRef | None) -> Wire:
    return None if step is None else [step.transformation, step.task]


def ref_from(wire: Wire) -> StepRef | None:
    return None if wire is None else StepRef(wire[0], wire[1])


def holdings_to(held: tuple[Holding, ...]) -> Wire:
    return [[h.attribute, None if h.reference is None else reference_to(h.reference)] for h in held]


def holdings_from(wire: Wire) -> tuple[Holding, ...]:
    return tuple(Holding(name, None if r is None else reference_from(r)) for name, r in wire)


def enclosing_to(enclosing: tuple[Enclosing, ...]) -> Wire:
    return [[ref_to(e.step), holdings_to(e.used)] for e in enclosing]


def enclosing_from(wire: Wire) -> tuple[Enclosing, ...]:
    return tuple(Enclosing(StepRef(*step), holdings_from(used)) for step, used in wire)


def scope_to(scope: Scope) -> Wire:
    if scope == NO_SCOPE:
        return None
    return [holdings_to(scope.used), holdings_to(scope.generated), enclosing_to(scope.enclosing)]


def scope_from(wire: Wire) -> Scope:
    if wire is None:
        return NO_SCOPE
    used, generated, enclosing = wire
    if not (used or generated or enclosing):
        return NO_SCOPE
    return Scope(holdings_from(used), holdings_from(generated), enclosing_from(enclosing))


def context_to(context: Context | None) -> Wire:
    if context is None:
        return None
    return [
        context.cluster,
        context.job,
        list(context.hosts),
        context.peak_memory_bytes,
        context.cpu_seconds,
        context.gpu_seconds,
        context.gpu_peak_memory_bytes,
        context.metadata,
    ]


def context_from(wire: Wire) -> Context | None:
    if wire is None:
        return None
    cluster, job, hosts, memory, cpu, gpu, gpu_memory, metadata = wire
    return Context(
        cluster=cluster,
        job=job,
        hosts=tuple(hosts),
        peak_memory_bytes=memory,
        cpu_seconds=cpu,
        gpu_seconds=gpu,
        gpu_peak_memory_bytes=gpu_memory,
        metadata=metadata,
    )


def parent_to(parent: ParentRun) -> Wire:
    return [parent.workflow, parent.execution, ref_to(parent.step)]


def parent_from(wire: Wire) -> ParentRun:
    workflow, execution, step = wire
    return ParentRun(workflow, execution, ref_from(step))


def event_to(event: Event) -> Wire:
    """The record of an event. Blocks are not written as records: they are rows."""
    match event:
        case RunStarted():
            context = context_to(event.context)
            said = ["R", event.started, event.registered, event.person, context]
            return said if event.parent is None else [*said, parent_to(event.parent)]
        case RunEnded():
            values = attributes_to(event.values)
            context = context_to(event.context)
            return [
                "Q",
                event.started,
                event.ended,
                event.outcome,
                event.error,
                event.output,
                values,
                context,
            ]
        case StepStarted():
            return ["S", *_step_to(event)]
        case StepEnded():
            return ["E", *_step_to(event), event.ended, event.outcome, event.error, event.output]
        case ValuesAdded():
            values = attributes_to(event.values)
            return ["V", ref_to(event.step), event.direction, values, event.at, scope_to(event.scope)]
    raise TypeError(f"a {type(event).__name__} is no record of the spool")


def event_from(wire: Wire) -> Event:
    kind, *body = wire
    match kind:
        case "R":
            started, registered, person, context, *parent = body  # Most runs have no parent, and say none.
            return RunStarted(
                started=started,
                registered=registered,
                person=person,
                context=context_from(context),
                parent=parent_from(parent[0]) if parent else None,
            )
        case "Q":
            started, ended, outcome, error, output, values, context = body
            return RunEnded(
                started=started,
                ended=ended,
                outcome=outcome,
                error=error,
                output=output,
                values=attributes_from(values),
                context=context_from(context),
            )
        case "S":
            return StepStarted(**_step_from(body))
        case "E":
            ended, outcome, error, output = body[10:]
            step = _step_from(body[:10])
            return StepEnded(**step, ended=ended, outcome=outcome, error=error, output=output)
        case "V":
            step, direction, values, at, scope = body
            return ValuesAdded(
                step=ref_from(step),
                direction=direction,
                values=attributes_from(values),
                at=at,
                scope=scope_from(scope),
            )
    raise ValueError(f"unknown record {kind!r}")


def _step_to(event: StepStarted | StepEnded) -> list[Wire]:
    return [
        ref_to(event.step),
        ref_to(event.parent),
        event.cycle,
        event.iteration,
        event.registered,
        event.started,
        event.person,
        attributes_to(event.values),
        scope_to(event.scope),
        context_to(event.context),
    ]


def _step_from(body: list[Wire]) -> dict[str, Any]:
    step, parent, cycle, iteration, registered, started, person, values, scope, context = body
    return {
        "step": StepRef(*step),
        "parent": ref_from(parent),
        "cycle": cycle,
        "iteration": iteration,
        "registered": registered,
        "started": started,
        "person": person,
        "values": attributes_from(values),
        "scope": scope_from(scope),
        "context": context_from(context),
    }
