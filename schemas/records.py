"""Capture events as the plain dictionaries that fastavro writes and reads, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from headstream.schemas.events import (
    NO_SCOPE,
    Bag,
    Column,
    Context,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    ParentRun,
    PartTotals,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import (
    AttributeValue,
    DictValue,
    Instant,
    Json,
    ListValue,
    Reference,
    Value,
)

_NAMESPACE = "org.headstream."
_LONG = range(-(2**63), 2**63)

Record = dict[str, Any]
# A member of a union with its name: without one fastavro tries the record on each, field by field.
Named = tuple[str, Record]


def bag_to_record(bag: Bag) -> Record:
    """A bag and its events as fastavro wants them."""
    return {
        "workflow": bag.workflow,
        "execution": bag.execution,
        "definition": bag.definition,
        "producer": bag.producer,
        "sequence": bag.sequence,
        "events": [event_to_record(event) for event in bag.events],
    }


def bag_from_record(record: Record) -> Bag:
    """The inverse of `bag_to_record`, for records that were read with their names."""
    return Bag(
        workflow=record["workflow"],
        execution=record["execution"],
        definition=record["definition"],
        producer=record["producer"],
        sequence=record["sequence"],
        events=tuple(event_from_record(name, body) for name, body in record["events"]),
    )


def event_to_record(event: Event) -> Named:
    """The Avro name of an event and its fields, as fastavro wants a member of a union."""
    match event:
        case RunStarted():
            return _NAMESPACE + "RunStarted", {
                "started": event.started,
                "registered": event.registered,
                "person": event.person,
                "context": _context_to(event.context),
                "parent": _parent_to(event.parent),
            }
        case RunEnded():
            return _NAMESPACE + "RunEnded", {
                "started": event.started,
                "ended": event.ended,
                "outcome": event.outcome,
                "error": event.error,
                "output": event.output,
                "values": [_attribute_to(v) for v in event.values],
                "context": _context_to(event.context),
            }
        case StepStarted():
            return _NAMESPACE + "StepStarted", _step_to(event)
        case StepEnded():
            return _NAMESPACE + "StepEnded", {
                **_step_to(event),
                "ended": event.ended,
                "outcome": event.outcome,
                "error": event.error,
                "output": event.output,
                "parts": [asdict(part) for part in event.parts],
                "apart": event.apart,
            }
        case ValuesAdded():
            return _NAMESPACE + "ValuesAdded", {
                "step": _maybe_step(event.step),
                "direction": event.direction,
                "values": [_attribute_to(v) for v in event.values],
                "at": event.at,
                "scope": _scope_to(event.scope),
            }
        case IterationBlock():
            return _NAMESPACE + "IterationBlock", _block_to(event)


def event_from_record(name: str, record: Record) -> Event:
    """The event that an Avro record of this name says."""
    match name.removeprefix(_NAMESPACE):
        case "RunStarted":
            context, parent = _context_from(record["context"]), _parent_from(record["parent"])
            return RunStarted(**{**record, "context": context, "parent": parent})
        case "RunEnded":
            values = tuple(_attribute_from(v) for v in record["values"])
            return RunEnded(**{**record, "values": values, "context": _context_from(record["context"])})
        case "StepStarted":
            return StepStarted(**_step_from(record))
        case "StepEnded":
            # Release 0.1.0 knew neither these nor `apart`, and its messages are read as it wrote them.
            parts = tuple(PartTotals(**part) for part in record.get("parts", ()))
            return StepEnded(**{**_step_from(record), "parts": parts})
        case "ValuesAdded":
            step = record["step"]
            return ValuesAdded(
                step=None if step is None else StepRef(**_body(step)),
                direction=record["direction"],
                values=tuple(_attribute_from(v) for v in record["values"]),
                at=record["at"],
                scope=_scope_from(record["scope"]),
            )
        case "IterationBlock":
            return _block_from(record)
    raise ValueError(f"unknown event {name!r}")


def value_to(value: Value) -> Any:
    """A value as fastavro wants it in the union: big integers apart, since a double would swallow them."""
    match value:
        case bool() | float() | str():
            return value
        case int():
            return value if value in _LONG else (_NAMESPACE + "BigInteger", {"digits": str(value)})
        case Json(text):
            return _NAMESPACE + "Json", {"text": text}
        case Instant(microseconds):
            return _NAMESPACE + "Instant", {"microseconds": microseconds}
        case Reference():
            return _NAMESPACE + "Reference", _reference_to(value)
        case ListValue(items):
            return _NAMESPACE + "ListValue", {"items": [value_to(item) for item in items]}
        case DictValue(items):
            return _NAMESPACE + "DictValue", {
                "items": [{"key": key, "value": value_to(item)} for key, item in items]
            }


def value_from(datum: Any) -> Value:
    """The inverse of `value_to`."""
    if not isinstance(datum, tuple):
        scalar: Value = datum
        return scalar
    name, record = datum
    match name.removeprefix(_NAMESPACE):
        case "BigInteger":
            return int(record["digits"])
        case "Json":
            return Json(record["text"])
        case "Instant":
            return Instant(record["microseconds"])
        case "Reference":
            return Reference(**record)
        case "ListValue":
            return ListValue(tuple(value_from(item) for item in record["items"]))
        case "DictValue":
            return DictValue(tuple((item["key"], value_from(item["value"])) for item in record["items"]))
    raise ValueError(f"unknown value {name!r}")


def _reference_to(reference: Reference) -> Record:
    return {
        "text": reference.text,
        "store": reference.store,
        "kind": reference.kind,
        "version": reference.version,
        "checksum": reference.checksum,
        "size_bytes": reference.size_bytes,
        "modified": reference.modified,
    }


def _attribute_to(value: AttributeValue) -> Record:
    return {
        "name": value.name,
        "value": value_to(value.value),
        "metadata": value.metadata,
        "note": value.note,
    }


def _attribute_from(record: Record) -> AttributeValue:
    return AttributeValue(record["name"], value_from(record["value"]), record["metadata"], record["note"])


def _step_ref_to(step: StepRef) -> Record:
    return {"transformation": step.transformation, "task": step.task}


def _maybe_step(step: StepRef | None) -> Named | None:
    return None if step is None else (_NAMESPACE + "StepRef", _step_ref_to(step))


def _parent_to(parent: ParentRun | None) -> Named | None:
    if parent is None:
        return None
    step = _maybe_step(parent.step)
    return _NAMESPACE + "ParentRun", {
        "workflow": parent.workflow,
        "execution": parent.execution,
        "step": step,
    }


def _parent_from(datum: Any) -> ParentRun | None:
    if datum is None:
        return None
    body = _body(datum)
    step = body["step"]
    return ParentRun(body["workflow"], body["execution"], None if step is None else StepRef(**_body(step)))


def _step_to(event: StepStarted | StepEnded) -> Record:
    return {
        "step": _step_ref_to(event.step),
        "parent": _maybe_step(event.parent),
        "cycle": event.cycle,
        "iteration": event.iteration,
        "registered": event.registered,
        "started": event.started,
        "person": event.person,
        "values": [_attribute_to(v) for v in event.values],
        "scope": _scope_to(event.scope),
        "context": _context_to(event.context),
    }


def _step_from(record: Record) -> Record:
    parent = record["parent"]
    return {
        **record,
        "step": StepRef(**record["step"]),
        "parent": None if parent is None else StepRef(**_body(parent)),
        "values": tuple(_attribute_from(v) for v in record["values"]),
        "scope": _scope_from(record["scope"]),
        "context": _context_from(record["context"]),
    }


def _body(datum: Any) -> Record:
    """The fields of a record that stood in a union, with or without its name."""
    body: Record = datum[1] if isinstance(datum, tuple) else datum
    return body


def _holding_to(holding: Holding) -> Record:
    reference = holding.reference
    return {
        "attribute": holding.attribute,
        "reference": None if reference is None else (_NAMESPACE + "Reference", _reference_to(reference)),
    }


def _holding_from(record: Record) -> Holding:
    reference = record["reference"]
    return Holding(record["attribute"], None if reference is None else Reference(**_body(reference)))


def _enclosing_to(enclosing: Enclosing) -> Record:
    return {"step": _step_ref_to(enclosing.step), "used": [_holding_to(h) for h in enclosing.used]}


def _enclosing_from(record: Record) -> Enclosing:
    return Enclosing(StepRef(**record["step"]), tuple(_holding_from(h) for h in record["used"]))


def _scope_to(scope: Scope) -> Named | None:
    if scope == NO_SCOPE:
        return None
    return _NAMESPACE + "Scope", {
        "used": [_holding_to(h) for h in scope.used],
        "generated": [_holding_to(h) for h in scope.generated],
        "enclosing": [_enclosing_to(e) for e in scope.enclosing],
    }


def _scope_from(datum: Any) -> Scope:
    if datum is None:
        return NO_SCOPE
    record = _body(datum)
    return Scope(
        used=tuple(_holding_from(h) for h in record["used"]),
        generated=tuple(_holding_from(h) for h in record["generated"]),
        enclosing=tuple(_enclosing_from(e) for e in record["enclosing"]),
    )


def _context_to(context: Context | None) -> Named | None:
    if context is None:
        return None
    return _NAMESPACE + "Context", {
        "cluster": context.cluster,
        "job": context.job,
        "hosts": list(context.hosts),
        "peak_memory_bytes": context.peak_memory_bytes,
        "cpu_seconds": context.cpu_seconds,
        "gpu_seconds": context.gpu_seconds,
        "gpu_peak_memory_bytes": context.gpu_peak_memory_bytes,
        "metadata": context.metadata,
    }


def _context_from(datum: Any) -> Context | None:
    if datum is None:
        return None
    record = _body(datum)
    return Context(**{**record, "hosts": tuple(record["hosts"])})


def _block_to(block: IterationBlock) -> Record:
    return {
        "transformation": block.transformation,
        "parent": _maybe_step(block.parent),
        "prefix": block.prefix,
        "suffix": block.suffix,
        "index_attribute": block.index_attribute,
        "ordinals": block.ordinals,
        "index": block.index,
        "started": block.started,
        "ended": block.ended,
        "columns": [{"name": c.name, "values": _column_to(c.values)} for c in block.columns],
        "enclosing": [_enclosing_to(e) for e in block.enclosing],
        "apart": block.apart,
    }


def _column_to(values: tuple[Value, ...]) -> tuple[str, Record]:
    types = {type(value) for value in values}
    if types == {float}:
        return _NAMESPACE + "Doubles", {"items": values}
    if types == {int} and all(value in _LONG for value in values):
        return _NAMESPACE + "Longs", {"items": values}
    return _NAMESPACE + "Mixed", {"items": [value_to(value) for value in values]}


def _block_from(record: Record) -> IterationBlock:
    parent = record["parent"]
    columns = []
    for column in record["columns"]:
        name, body = column["values"]
        items = body["items"]
        mixed = name.endswith("Mixed")
        columns.append(Column(column["name"], tuple(map(value_from, items)) if mixed else tuple(items)))
    return IterationBlock(
        transformation=record["transformation"],
        parent=None if parent is None else StepRef(**_body(parent)),
        prefix=record["prefix"],
        suffix=record["suffix"],
        index_attribute=record["index_attribute"],
        ordinals=tuple(record["ordinals"]),
        index=tuple(record["index"]),
        started=tuple(record["started"]),
        ended=tuple(record["ended"]),
        columns=tuple(columns),
        enclosing=tuple(_enclosing_from(e) for e in record["enclosing"]),
        apart=record.get("apart", False),
    )
