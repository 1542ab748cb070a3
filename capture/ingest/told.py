"""What an importer gives: runs, and what of the source is not in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from headstream.schemas.definition import Definition
from headstream.schemas.documents import Person
from headstream.schemas.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Events of one run, in the order of the source; several of these may tell one run."""

    workflow: str
    execution: str
    events: tuple[Event, ...]
    definition: Definition | None = None


# Each is explained in docs/reference/conformance.md.
UnmappedReason = Literal[
    "end-without-time",
    # MLflow
    "artifacts-not-listed", "deleted-experiment", "deleted-run", "metric-out-of-range", "registered-model",
    "relative-path", "trace",
    # OpenLineage
    "dataset-event", "job-event",
    # FlowCept
    "other-record", "parent-task-unknown", "parent-workflow-unnamed",
    # W3C PROV
    "agent-alone", "agent-no-person", "alternate", "association-without-activity", "attribution",
    "communication", "delegation", "end", "entity-alone", "generation-time", "generation-without-activity",
    "generation-without-entity", "influence", "invalidation", "membership", "mention", "other-relation",
    "relation-attribute", "second-time", "specialization", "start", "usage-time", "usage-without-activity",
    "usage-without-entity",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmapped:
    """Something that the source says and the graph has no place for."""

    reason: UnmappedReason
    message: str
    where: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that cannot be understood; the others are."""

    reason: str
    message: str
    where: str


# A record of a source as it was read, with its place; or what is none.
Record = tuple[Any, str] | Refused
# A person is told once for each source that names it.
Item = Told | Person | Unmapped | Refused
