"""Dead letters as a user meets them: the topic of the full mode, or the file of the embedded mode."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from headstream import live
from headstream.embedded import Shelf
from headstream.errors import CommandError, NoSuchLetter
from headstream.places import Places
from headstream.schemas.codec import decode_bag, decode_document, decode_identified
from headstream.schemas.dead_letters import (
    ASKED,
    DEFINITION_MISSING,
    DROPPED,
    GATEWAY,
    RESENT,
    WAITING,
    Kept,
)
from headstream.schemas.documents import Document
from headstream.schemas.errors import SchemaError
from headstream.schemas.events import Bag
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.sinks.core import STAGE as SINK
from headstream.sinks.dead_letters import Settlements, numbered_letters
from headstream.stream_processors.handling import version_of
from headstream.stream_processors.letters import LetterTopic
from headstream.stream_processors.settings import Settings, framing

Progress = Callable[[int, int], None]
_PAUSE = 0.05
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Box(Protocol):
    """Where dead letters lie."""

    def kept(self, progress: Progress) -> list[Kept]:
        """Every letter, oldest first, and what became of it."""
        ...

    def letter(self, kept: Kept) -> DeadLetter:
        """A letter with its value; raises NoSuchLetter if retention has taken it."""
        ...

    def redrive(self, chosen: Sequence[Kept], progress: Progress, wait: float) -> int:
        """Send letters again; the number that were sent within `wait` seconds, where somebody else sends."""
        ...

    def drop(self, chosen: Sequence[Kept]) -> None:
        """Take letters out of what waits."""
        ...


def box(places: Places) -> Box:
    """The letters of what is up here, else of HEADSTREAM_BOOTSTRAP, else of the embedded mode's file."""
    found = live.up_for(places)
    full = bool(os.environ.get("HEADSTREAM_BOOTSTRAP")) if found is None else found.mode == "full"
    if not full:
        return FileBox(places)
    live.use_broker(places)
    return TopicBox(Settings.from_env(os.environ))


class TopicBox:
    """The dead-letter topic."""

    def __init__(self, settings: Settings) -> None:
        self._names = settings.topics
        self._topic = LetterTopic(settings, framing(settings))

    def kept(self, progress: Progress) -> list[Kept]:
        return self._topic.kept(progress)

    def letter(self, kept: Kept) -> DeadLetter:
        found = self._topic.letter(kept.place.partition, kept.place.offset)
        if found is None:
            raise NoSuchLetter(f"{kept.id} is no longer in its topic: its retention is over")
        return found

    def redrive(self, chosen: Sequence[Kept], progress: Progress, wait: float) -> int:
        ours = {self._names.events, self._names.definitions, self._names.identified}
        for each in chosen:
            # Whoever may write letters must not make us write to any topic.
            if each.letter.origin.topic not in ours:
                raise CommandError(
                    f"{each.id} came from {each.letter.origin.topic}, which is none of "
                    f"{', '.join(sorted(ours))}; is HEADSTREAM_TOPIC_PREFIX the one it was written under?"
                )
        return self._topic.redrive(chosen, progress)

    def drop(self, chosen: Sequence[Kept]) -> None:
        self._topic.drop(chosen)


class FileBox:
    """The files of the embedded mode and of the gateway; the service that is up, or comes up next, sends
    what is asked for."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._settlements = Settlements(places.settlements)
        self._files = {
            places.dead_letters.name: (places.dead_letters, self._settlements),
            places.gateway_letters.name: (places.gateway_letters, Settlements(places.gateway_settlements)),
        }

    def kept(self, progress: Progress) -> list[Kept]:
        arrived = _hashes(Shelf(self._places.documents)) if self._places.documents.is_dir() else frozenset()
        found = []
        for path, settlements in self._files.values():
            outcomes = settlements.read()
            found += [
                _kept(path.name, number, letter, outcomes.get(number), arrived)
                for number, letter in numbered_letters(path)
            ]
        return found

    def letter(self, kept: Kept) -> DeadLetter:
        path, _ = self._files[kept.place.topic]
        for number, letter in numbered_letters(path):
            if number == kept.place.offset:
                return letter
        raise NoSuchLetter(f"{kept.id} is not in {path}")

    def redrive(self, chosen: Sequence[Kept], progress: Progress, wait: float) -> int:
        numbers = {each.place.offset for each in chosen}
        self._settlements.put(numbers, ASKED, time.time_ns() // 1000)
        taker = live.taker(live.up_for(self._places))
        deadline = time.monotonic() + wait
        while True:
            outcomes = self._settlements.read()
            done = sum(outcomes.get(number) != ASKED for number in numbers)
            progress(done, len(numbers))
            if done == len(numbers) or taker is None or not taker.alive or time.monotonic() >= deadline:
                return done
            time.sleep(_PAUSE)

    def drop(self, chosen: Sequence[Kept]) -> None:
        for name, (_, settlements) in self._files.items():
            numbers = [each.place.offset for each in chosen if each.place.topic == name]
            if numbers:
                settlements.put(numbers, DROPPED, time.time_ns() // 1000)


def _kept(file: str, number: int, letter: DeadLetter, outcome: str | None, arrived: frozenset[str]) -> Kept:
    definition = _missing(letter)
    return Kept(
        place=Origin(topic=file, partition=0, offset=number),
        letter=replace(letter, value=b""),
        size=len(letter.value),
        definition=definition,
        state=outcome or (RESENT if definition in arrived else WAITING),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters a command is about; what is empty or None leaves all."""

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    workflow: str | None = None
    execution: str | None = None
    since: int | None = None
    states: frozenset[str] = frozenset({WAITING, ASKED})

    @property
    def everything(self) -> bool:
        """Nothing but the state narrows it."""
        return replace(self, states=frozenset()) == Wanted(states=frozenset())

    def holds(self, kept: Kept) -> bool:
        """Tell whether a letter is one of them."""
        letter = kept.letter
        workflow, execution = run_of(letter)
        return (
            kept.state in self.states
            and (not self.ids or kept.id in self.ids)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.stages or letter.stage in self.stages)
            and (not self.topics or letter.origin.topic in self.topics)
            and self.workflow in (None, workflow)
            and self.execution in (None, execution)
            and (self.since is None or letter.at >= self.since)
        )


def is_foreign(kept: Kept) -> bool:
    """Tell the message of a foreign client: it lies in no topic of ours to which it could be sent again."""
    return kept.letter.stage == GATEWAY


def redrivable(kept: Kept, wanted: Wanted) -> bool:
    """Parked bags wait for their definition, and are only sent before it when asked for by name."""
    parked = kept.letter.reason == DEFINITION_MISSING
    return not parked or kept.id in wanted.ids or DEFINITION_MISSING in wanted.reasons


def demand(ids: Iterable[str], found: Iterable[Kept]) -> None:
    """Raise NoSuchLetter unless each id is that of a letter."""
    unknown = sorted(set(ids) - {each.id for each in found})
    if unknown:
        raise NoSuchLetter(
            f"no dead letter is called {', '.join(unknown)}; `headstream dead-letters list --all` lists them"
        )


def run_of(letter: DeadLetter) -> tuple[str | None, str | None]:
    """Workflow and execution that the key of a letter names; of a document only the name."""
    key = letter.key.decode("utf-8", "replace")
    if letter.origin.topic.endswith((".definitions", "documents")):
        return key.partition("/")[2].rpartition("/")[0] or None, None
    workflow, slash, execution = key.rpartition("/")
    return (workflow, execution) if slash else (None, None)


@dataclass(frozen=True, slots=True)
class Foreign:
    """The message of a foreign client as it came."""

    text: str


def decoded(letter: DeadLetter) -> Bag | Document | Identified | Foreign | str:
    """What a letter holds, or the sentence that says why it cannot be read."""
    if letter.stage == GATEWAY:
        return Foreign(letter.value.decode("utf-8", "replace"))
    try:
        if letter.stage == SINK:
            return decode_identified(letter.value)
        if letter.origin.topic.endswith((".definitions", "documents")):
            return decode_document(letter.value)
        return decode_bag(letter.value)
    except SchemaError as error:
        return str(error)


def moment(text: str, now: datetime) -> int:
    """A time, or how long ago (90s, 15m, 2h, 3d, 1w), in microseconds since the epoch."""
    number, unit = text[:-1], _UNITS.get(text[-1:])
    if unit is not None and number.replace(".", "", 1).isdecimal():
        then = now - timedelta(seconds=float(number) * unit)
    else:
        try:
            then = datetime.fromisoformat(text)
        except ValueError as error:
            raise CommandError(
                f"--since {text!r} is no time: give one like 2026-11-26T10:00, or how long ago, like 2h or 3d"
            ) from error
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return int(then.timestamp() * 1_000_000)


def _missing(letter: DeadLetter) -> str | None:
    """The definition that a parked bag of the file waits for: there are no headers, but the bag says it."""
    if letter.reason != DEFINITION_MISSING:
        return None
    try:
        return decode_bag(letter.value).definition
    except SchemaError:
        return None


def _hashes(documents: Iterable[Document]) -> frozenset[str]:
    found: set[str] = set()
    for each in documents:
        try:
            version = version_of(each)
        except SchemaError:
            continue
        found |= version.hashes if version is not None else frozenset()
    return frozenset(found)
