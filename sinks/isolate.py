"""Find the event that a store refuses, in few requests, and store all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstream.sinks.batch import Entry, Group
from headstream.sinks.errors import StoreRefused
from headstream.sinks.statements import Renderer
from headstream.sinks.stores.store import Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One event, as an entry that holds nothing else, and why the store would not have it."""

    entry: Entry
    error: StoreRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """What became of a group of events."""

    refused: tuple[Refused, ...] = ()
    modified: int | None = 0
    triples: int = 0
    requests: int = 0
    seconds: float = 0.0

    def __add__(self, other: Isolated) -> Isolated:
        unknown = self.modified is None or other.modified is None
        return Isolated(
            refused=self.refused + other.refused,
            modified=None if unknown else (self.modified or 0) + (other.modified or 0),
            triples=self.triples + other.triples,
            requests=self.requests + other.requests,
            seconds=self.seconds + other.seconds,
        )


def isolate(group: Group, write: Callable[[bytes], Written], renderer: Renderer) -> Isolated:
    """Write a group; if it is refused, halve it until each bad event stands alone.

    No event is given up that was not refused alone. One bad event among n costs at most
    2 + 2 log2(n) requests. Raises what `write` raises, except
    StoreRefused; what was written by then stays, and writing it again changes nothing.
    """
    if not group.triples:
        return Isolated()
    try:
        written = write(group.document(renderer))
    except StoreRefused as error:
        tried = Isolated(requests=1)
        return tried + (_alone(group, error) if group.events == 1 else _halve(group, write, renderer))
    return Isolated(modified=written.modified, triples=group.triples, requests=1, seconds=written.seconds)


def _halve(group: Group, write: Callable[[bytes], Written], renderer: Renderer) -> Isolated:
    """Write the halves of a group that holds a refused event among others."""
    left, right = (half.rendered(renderer) for half in group.halves())
    first = isolate(left, write, renderer)
    if first.refused or right.events == 1:
        return first + isolate(right, write, renderer)
    # The left half is fine, so the fault is in the right one: no need to try it as a whole.
    return first + _halve(right, write, renderer)


def _alone(group: Group, error: StoreRefused) -> Isolated:
    (entry,) = (entry for entry in group.entries if entry.events)
    return Isolated(refused=(Refused(entry=entry, error=error),))
