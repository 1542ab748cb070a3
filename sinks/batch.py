"""What is written in one request, and how it is cut in two when the store refuses it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.sinks.statements import Renderer

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a batch is full or old enough to be written."""

    # Measured: 75 k triples/s at 10,000 a request, 92 k at 40,000, less above.
    triples: int = 40_000
    size: int = 16 * 1024 * 1024
    age: float = 0.5
    linger: float = 0.1

    def __post_init__(self) -> None:
        if min(self.triples, self.size) < 1 or min(self.age, self.linger) < 0:
            raise ValueError(f"limits of a batch must not be below zero: {self}")


# Each bulk load makes files that are merged later: a third less processor than at 40,000 (decision 0014).
OXIGRAPH_LIMITS: Final = Limits(triples=160_000, size=32 * 1024 * 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message, or some of its events; `statements` are its facts as the store takes them."""

    origin: Origin
    key: bytes
    identified: Identified
    statements: bytes
    first: int = 0
    attempt: int = 1
    at: float | None = None  # When the message was handed to Kafka, in seconds since the epoch.

    @property
    def events(self) -> int:
        return len(self.identified.counts)

    def rendered(self, renderer: Renderer) -> Entry:
        """The same with its statements; raises IllegalFact."""
        return replace(self, statements=renderer.render(self.identified.facts))

    def halves(self) -> tuple[Entry, Entry]:
        """Cut between two events; there must be two. The halves have no statements yet."""
        middle = self.events // 2
        facts = sum(self.identified.counts[:middle])
        return (
            replace(
                self,
                identified=_events(self.identified, slice(0, middle), slice(0, facts)),
                statements=b"",
            ),
            replace(
                self,
                identified=_events(self.identified, slice(middle, None), slice(facts, None)),
                statements=b"",
                first=self.first + middle,
            ),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that are written together."""

    entries: tuple[Entry, ...]

    @property
    def events(self) -> int:
        return sum(entry.events for entry in self.entries)

    @property
    def runs(self) -> frozenset[tuple[str, str]]:
        """Workflow and execution of each run in it."""
        return frozenset(
            (entry.identified.workflow, entry.identified.execution)
            for entry in self.entries
            if entry.identified.execution
        )

    @property
    def triples(self) -> int:
        return sum(len(entry.identified.facts) for entry in self.entries)

    def rendered(self, renderer: Renderer) -> Group:
        """The same, with statements where they are missing; raises IllegalFact."""
        return Group(tuple(one if one.statements else one.rendered(renderer) for one in self.entries))

    def document(self, renderer: Renderer) -> bytes:
        """What one request holds, of entries that have their statements."""
        return renderer.document((entry.statements for entry in self.entries), self.triples)

    def halves(self) -> tuple[Group, Group]:
        """Cut into two groups with at least one event each; there must be two events."""
        if len(self.entries) == 1:
            left, right = self.entries[0].halves()
            return Group((left,)), Group((right,))
        middle = len(self.entries) // 2
        return Group(self.entries[:middle]), Group(self.entries[middle:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Messages on their way into the store, and the offsets to commit once they are there."""

    group: Group = field(default_factory=lambda: Group(()))
    letters: tuple[DeadLetter, ...] = ()
    offsets: Mapping[Partition, int] = field(default_factory=dict)
    opened: float = 0.0
    triples: int = 0
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.offsets)

    def add(
        self, origin: Origin, now: float, *, entry: Entry | None = None, letters: tuple[DeadLetter, ...] = ()
    ) -> Batch:
        """Take what became of the message at `origin`: statements, dead letters, both or neither."""
        size = sum(len(letter.value) for letter in letters) + (len(entry.statements) if entry else 0)
        return Batch(
            group=Group((*self.group.entries, entry)) if entry else self.group,
            letters=self.letters + letters,
            offsets={**self.offsets, (origin.topic, origin.partition): origin.offset + 1},
            opened=self.opened if self else now,
            triples=self.triples + (len(entry.identified.facts) if entry else 0),
            size=self.size + size,
        )

    def full(self, limits: Limits) -> bool:
        return self.triples >= limits.triples or self.size >= limits.size

    def due(self, limits: Limits, *, caught_up: bool, last: float) -> float | None:
        """The moment when to write it if nothing is added, None without anything to write.

        With `caught_up` nothing more waits to be read: then it is as soon as the batch has waited for
        company as long as the `last` write took. So a stream whose messages come further apart than a
        write takes is written in small requests, in half of the store's time at most; a stream that
        lags fills its batches, and one in between makes them as large as what comes during a write.
        """
        if not self:
            return None
        if self.full(limits):
            return self.opened
        return self.opened + (min(limits.linger, limits.age, last) if caught_up else limits.age)

    def ready(self, now: float, limits: Limits, *, caught_up: bool = False, last: float = 0.0) -> bool:
        """Tell whether to write now."""
        due = self.due(limits, caught_up=caught_up, last=last)
        return due is not None and now >= due

    def without(self, partitions: frozenset[Partition]) -> Batch:
        """Drop what came from partitions that now belong to another worker, who reads it again."""
        entries = tuple(entry for entry in self.group.entries if _at(entry.origin) not in partitions)
        letters = tuple(letter for letter in self.letters if _at(letter.origin) not in partitions)
        group = Group(entries)
        return Batch(
            group=group,
            letters=letters,
            offsets={place: offset for place, offset in self.offsets.items() if place not in partitions},
            opened=self.opened,
            triples=group.triples,
            size=sum(len(entry.statements) for entry in entries) + sum(len(one.value) for one in letters),
        )

    def split(self) -> Iterator[Group]:
        """Yield each event as a group of its own."""
        waiting = [self.group] if self.group.events else []
        while waiting:
            group = waiting.pop()
            if group.events <= 1:
                yield group
            else:
                left, right = group.halves()
                waiting += [right, left]


def _at(origin: Origin) -> Partition:
    return origin.topic, origin.partition


def _events(identified: Identified, events: slice, facts: slice) -> Identified:
    return replace(
        identified,
        facts=identified.facts[facts],
        counts=identified.counts[events],
        event_times=identified.event_times[events],
    )
