"""Which part of what is kept a replay takes: one workflow, one run, a range of time or of offsets.

Documents are replayed whatever the selection, but definitions of other workflows: a bag may name
any of them. Conditions are joined by "and".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from headstream.schemas.events import Bag, Event, IterationBlock, event_time
from headstream.stream_processors.errors import InvalidSelection

_RANGE: Final = re.compile(r"(\d+):(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Conditions on events; all of them must hold.

    `since` and `until` are microseconds since the epoch by the clock of the script: an event of
    the time t is taken if since <= t < until. The time of an event is when the latest thing that
    it tells happened; a turn of a loop counts at its end. An event that tells no time is taken.
    So the same range gives the same graph from topics, spools and archives, however bags are cut.

    `first` and `last` are offsets of partitions of the events topic, `last` exclusive; a partition
    that is not named is taken whole.
    """

    workflow: str | None = None
    execution: str | None = None
    since: int | None = None
    until: int | None = None
    first: Mapping[int, int] = field(default_factory=dict)
    last: Mapping[int, int] = field(default_factory=dict)

    def takes_run(self, workflow: str, execution: str) -> bool:
        """Whether events of this run are wanted."""
        return self.workflow in (None, workflow) and self.execution in (None, execution)

    def takes_offset(self, partition: int, offset: int) -> bool:
        """Whether the bag at this place of the events topic is wanted."""
        if offset < self.first.get(partition, 0):
            return False
        return partition not in self.last or offset < self.last[partition]

    @property
    def has_offsets(self) -> bool:
        return bool(self.first or self.last)

    def of(self, bag: Bag) -> Bag | None:
        """The bag with just the events that are wanted, or None if there are none."""
        if not self.takes_run(bag.workflow, bag.execution):
            return None
        if self.since is None and self.until is None:
            return bag
        kept = [found for event in bag.events if (found := self._within(event)) is not None]
        return replace(bag, events=tuple(kept)) if kept else None

    def as_json(self) -> dict[str, Any]:
        """What tells one selection from another."""
        return {
            "workflow": self.workflow,
            "execution": self.execution,
            "since": self.since,
            "until": self.until,
            "first": {str(key): value for key, value in sorted(self.first.items())},
            "last": {str(key): value for key, value in sorted(self.last.items())},
        }

    def _within(self, event: Event) -> Event | None:
        if isinstance(event, IterationBlock):
            return self._rows_within(event)
        time = event_time(event)
        return event if time is None or self._takes_time(time) else None

    def _takes_time(self, time: int) -> bool:
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)

    def _rows_within(self, block: IterationBlock) -> IterationBlock | None:
        columns = [block.ordinals, block.index, block.started, *(column.values for column in block.columns)]
        if any(len(column) != len(block.ended) for column in columns):
            return block  # No rows to choose from: the tracker refuses it, as it does online.
        kept = [row for row, ended in enumerate(block.ended) if self._takes_time(ended)]
        if len(kept) == len(block.ended):
            return block

        def chosen(values: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(values[row] for row in kept)

        if not kept:
            return None
        return replace(
            block,
            ordinals=chosen(block.ordinals),
            index=chosen(block.index),
            started=chosen(block.started),
            ended=chosen(block.ended),
            columns=tuple(replace(column, values=chosen(column.values)) for column in block.columns),
        )


def instant(text: str, option: str) -> int:
    """Microseconds since the epoch of an ISO 8601 date or date-time; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidSelection(
            f"{option} is {text!r}; write a date or time as in ISO 8601: 2026-11-26, 2026-11-26T08:30:00Z"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since_epoch = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds


def offsets(text: str, option: str) -> dict[int, int]:
    """Offsets by partition from "0:100,1:50"."""
    found: dict[int, int] = {}
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None or int(match[1]) in found:
            raise InvalidSelection(
                f"{option} is {text!r}; write PARTITION:OFFSET, several with commas and each partition once: "
                "0:100,1:50"
            )
        found[int(match[1])] = int(match[2])
    return found


def selection(
    *,
    workflow: str | None = None,
    execution: str | None = None,
    since: str | None = None,
    until: str | None = None,
    from_offset: str | None = None,
    to_offset: str | None = None,
) -> Selection:
    """A selection as users write it; raises InvalidSelection that names the option."""
    chosen = Selection(
        workflow=workflow,
        execution=execution,
        since=None if since is None else instant(since, "--since"),
        until=None if until is None else instant(until, "--until"),
        first=offsets(from_offset, "--from-offset") if from_offset else {},
        last=offsets(to_offset, "--to-offset") if to_offset else {},
    )
    if chosen.since is not None and chosen.until is not None and chosen.since >= chosen.until:
        raise InvalidSelection(f"--since {since} is not before --until {until}, so nothing lies between them")
    for partition in chosen.first.keys() & chosen.last.keys():
        if chosen.first[partition] >= chosen.last[partition]:
            raise InvalidSelection(
                f"--from-offset {chosen.first[partition]} of partition {partition} is not before its "
                f"--to-offset {chosen.last[partition]}, so nothing lies between them"
            )
    return chosen
