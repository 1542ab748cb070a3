"""Rows of the spool as the events that they stand for."""

from __future__ import annotations

from typing import Any

from headstream.capture import records
from headstream.capture.frames import Row
from headstream.schemas.events import (
    OUT,
    Column,
    Event,
    Holding,
    IterationBlock,
    Scope,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue


def blocks(meta: Any, rows: list[Row]) -> list[IterationBlock]:
    """Finished rows as blocks: one for each set of columns that rows have values in."""
    name, parent, prefix, suffix, index_as, columns, enclosing, _ = meta
    by_columns: dict[tuple[bool, ...], list[Row]] = {}
    for row in rows:
        by_columns.setdefault(tuple(value is not None for value in row.values), []).append(row)
    return [
        IterationBlock(
            transformation=name,
            parent=records.ref_from(parent),
            prefix=prefix,
            suffix=suffix,
            index_attribute=index_as,
            ordinals=tuple(row.ordinal for row in same),
            index=tuple(row.position for row in same),
            started=tuple(row.started for row in same),
            ended=tuple(row.ended for row in same),
            columns=tuple(
                Column(column, tuple(row.values[number] for row in same))
                for number, column in enumerate(columns)
                if present[number]
            ),
            enclosing=records.enclosing_from(enclosing),
        )
        for present, same in by_columns.items()
    ]


def open_row(meta: Any, row: Row) -> list[Event]:
    """What a turn had said when its process died: that it started, and the values it had generated."""
    name, parent, prefix, suffix, index_as, columns, enclosing, _ = meta
    around = records.enclosing_from(enclosing)
    step = StepRef(name, f"{prefix}{row.ordinal}{suffix}")
    index = () if index_as is None else (AttributeValue(index_as, row.position),)
    told: list[Event] = [
        StepStarted(
            step=step,
            parent=records.ref_from(parent),
            cycle=True,
            iteration=row.position,
            started=row.started,
            values=index,
            scope=Scope(enclosing=around),
        )
    ]
    values = tuple(AttributeValue(c, v) for c, v in zip(columns, row.values, strict=True) if v is not None)
    if values:
        used = () if index_as is None else (Holding(index_as),)
        told.append(
            ValuesAdded(step=step, direction=OUT, values=values, scope=Scope(used=used, enclosing=around))
        )
    return told
