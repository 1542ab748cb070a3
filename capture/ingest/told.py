"""What an importer gives: runs, and what of the source is not in them."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmapped:
    """Something that the source says and the graph has no place for (docs/reference/conformance.md)."""

    reason: str
    message: str
    where: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that cannot be understood; the others are."""

    reason: str
    message: str
    where: str


# A person is told once for each source that names it.
Item = Told | Person | Unmapped | Refused
