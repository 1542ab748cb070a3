"""Iteration blocks: many finished turns of one loop, named row by row at little cost.

A row means the same as the StepEnded that `rows` makes of it; `plain_rows` is the quick way for
rows whose values are scalars, which is nearly all of them (a test holds the two equal).
"""

from __future__ import annotations

from collections.abc import Iterator

from headstream.schemas import identifiers as ids
from headstream.schemas.errors import MalformedMessage
from headstream.schemas.events import (
    IN,
    OUT,
    Holding,
    IterationBlock,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
)
from headstream.schemas.facts import DATE_TIME, DOUBLE, ID, INTEGER, STRING, TERM, Fact
from headstream.schemas.values import AttributeValue, DictValue, ListValue, Reference
from headstream.schemas.vocabulary import FINISHED
from headstream.stream_processors.identify import TYPE, VALUE, duration, instant, literal
from headstream.stream_processors.join import CYCLE_ITERATION, StepPlan

_STRUCTURED = (Reference, ListValue, DictValue)


def check(block: IterationBlock) -> None:
    """MalformedMessage if the columns of a block differ in length."""
    length = len(block.index)
    columns = {
        "ordinals": block.ordinals,
        "started": block.started,
        "ended": block.ended,
        **{column.name: column.values for column in block.columns},
    }
    for name, values in columns.items():
        if len(values) != length:
            raise MalformedMessage(
                f"block of {block.transformation!r}: column {name!r} has {len(values)} rows, index {length}"
            )


def is_plain(block: IterationBlock, plan: StepPlan) -> bool:
    """Whether every value of the block is a scalar in a slot without special meaning."""
    check(block)
    slots = [plan.slot(OUT, column.name) for column in block.columns]
    if block.index_attribute is not None:
        slots.append(plan.slot(IN, block.index_attribute))
    if any(slot.is_range or slot.describes is not None or slot.reference_kind is not None for slot in slots):
        return False
    return not any(isinstance(value, _STRUCTURED) for column in block.columns for value in column.values)


def rows(block: IterationBlock) -> Iterator[StepStarted | StepEnded]:
    """The general events that a block stands for; a used index is a start event of its own."""
    check(block)
    for i, index in enumerate(block.index):
        step = StepRef(block.transformation, f"{block.prefix}{block.ordinals[i]}{block.suffix}")
        scope = Scope(enclosing=block.enclosing)
        if block.index_attribute is not None:
            yield StepStarted(
                step=step,
                parent=block.parent,
                cycle=True,
                iteration=index,
                started=block.started[i],
                values=(AttributeValue(block.index_attribute, index),),
                scope=scope,
            )
            scope = Scope(used=(Holding(block.index_attribute),), enclosing=block.enclosing)
        yield StepEnded(
            step=step,
            parent=block.parent,
            cycle=True,
            iteration=index,
            started=block.started[i],
            ended=block.ended[i],
            outcome=FINISHED,
            values=tuple(AttributeValue(c.name, c.values[i]) for c in block.columns),
            scope=scope,
            apart=block.apart,
        )


def plain_rows(
    block: IterationBlock, plan: StepPlan, execution: str, run: str, parent: str | None
) -> Iterator[tuple[list[Fact], int]]:
    """Facts and end time of each row of a block that `is_plain`."""
    dt = f"{ids.enc(plan.workflow)}/{ids.enc(execution)}/{ids.enc(block.transformation)}/"
    # A whole task id is never empty, "." or "~", which `enc` treats apart; the digit stands for its number.
    before = dt + ids.enc(block.prefix + "0")[:-1]
    after = ids.enc("0" + block.suffix)[1:]
    types = (*plan.types, CYCLE_ITERATION)
    index_slot = None if block.index_attribute is None else plan.slot(IN, block.index_attribute)
    columns = [(plan.slot(OUT, column.name), column.values) for column in block.columns]
    for i, index in enumerate(block.index):
        task = f"{before}{block.ordinals[i]}{after}"
        step = "dte/" + task
        started, ended = block.started[i], block.ended[i]
        facts: list[Fact] = [(step, TYPE, TERM, name) for name in types]
        facts += (
            (step, "provml:wasDerivedFromDataTransformation", ID, plan.iri),
            (step, "provml:wasMemberOfWorkflowExecution", ID, run),
            (step, "provml:iteration", INTEGER, str(index)),
            (step, "prov:startedAtTime", DATE_TIME, instant(started)),
            (step, "prov:endedAtTime", DATE_TIME, instant(ended)),
            (step, "provml:outcome", STRING, FINISHED),
            (step, "provml:durationSeconds", DOUBLE, duration(started, ended)),
        )
        if parent is not None:
            facts.append((step, "provml:wasPartOf", ID, parent))
            if block.apart:
                facts.append((parent, "provml:hasPartBeyondTotals", ID, plan.iri))
        if index_slot is not None:
            iri = f"val/{task}/{index_slot.tail}"
            facts += (
                (iri, TYPE, TERM, VALUE),
                (iri, "provml:wasDerivedFromAttribute", ID, index_slot.iri),
                (iri, "prov:value", INTEGER, str(index)),
                (step, "prov:used", ID, iri),
            )
            if index_slot.value_class is not None:
                facts.append((iri, TYPE, TERM, index_slot.value_class))
        for slot, values in columns:
            iri = f"val/{task}/{slot.tail}"
            kind, text = literal(values[i])
            facts += (
                (iri, TYPE, TERM, VALUE),
                (iri, "provml:wasDerivedFromAttribute", ID, slot.iri),
                (iri, "prov:value", kind, text),
                (iri, "prov:wasGeneratedBy", ID, step),
            )
            if slot.value_class is not None:
                facts.append((iri, TYPE, TERM, slot.value_class))
        yield facts, ended
