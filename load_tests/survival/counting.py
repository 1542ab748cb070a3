"""What is left of a run: its turns, by the identifier and the loss that each was captured with."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from headstream.capture.reading import read, spools
from headstream.schemas.codec import decode_bag
from headstream.schemas.documents import Document
from headstream.schemas.events import Event, IterationBlock, StepEnded, ValuesAdded
from headstream.sinks.stores import open_store

Turn = tuple[str, float]
READER = Path(__file__).with_name("drivers") / "flowcept_records.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many turns the script was told are captured, how many records of them there are, and how
    many identifiers those have: a store that goes by identifiers keeps no more."""

    captured: int
    records: int
    distinct: int
    seconds: float
    exit_code: int | None
    note: str = ""

    @property
    def duplicates(self) -> int:
        return self.records - self.distinct

    def and_(self, other: Outcome) -> Outcome:
        """Both taken together."""
        return Outcome(
            captured=self.captured + other.captured,
            records=self.records + other.records,
            distinct=self.distinct + other.distinct,
            seconds=self.seconds + other.seconds,
            exit_code=other.exit_code,
            note=self.note or other.note,
        )


def count(ledger: Path, turns: Iterable[Turn]) -> tuple[int, int, int]:
    """Captured, records and distinct; a turn in hand at a death that is not in the ledger is left out."""
    told = {float(line) for line in ledger.read_text().split()} if ledger.exists() else set()
    found = [identifier for identifier, loss in turns if loss in told]
    return len(told), len(found), len(set(found))


def in_spools(root: Path) -> Iterator[Turn]:
    """The turns that lie in spools."""
    for directory in spools(root):
        for content in read(directory):
            if not isinstance(content, Document):
                yield from _turns(content.events)


def in_bags(values: Iterable[bytes]) -> Iterator[Turn]:
    """The turns of the bags of a topic."""
    for value in values:
        yield from _turns(decode_bag(value).events)


def _turns(events: Iterable[Event]) -> Iterator[Turn]:
    for event in events:
        if isinstance(event, IterationBlock):
            losses = next((column.values for column in event.columns if column.name == "loss"), ())
            for ordinal, loss in zip(event.ordinals, losses, strict=True):
                if isinstance(loss, float):
                    yield f"{event.prefix}{ordinal}{event.suffix}", loss
        elif isinstance(event, (ValuesAdded, StepEnded)) and event.step is not None:
            for value in event.values:
                if value.name == "loss" and isinstance(value.value, float):
                    yield event.step.task, value.value


_LOSS = re.compile(
    rb'^<[^>]*val/survival/run/batch/([^/>]*)/out/loss> <[^>]*prov#value> "([^"]*)"', re.MULTILINE
)


def in_store(url: str) -> Iterator[Turn]:
    """The turns of a graph: every value of an output of a batch."""
    store = open_store(url)
    try:
        for match in _LOSS.finditer(b"".join(store.dump())):
            yield match[1].decode(), float(match[2])
    finally:
        store.close()


def in_files(place: Path) -> Iterator[Turn]:
    """The turns in FlowCept's files."""
    for path in sorted(place.rglob("flowcept_buffer*.jsonl")):
        for line in path.read_text().splitlines():
            yield from _records([json.loads(line)])


def from_flowcept(python: Path, *arguments: str) -> Iterator[Turn]:
    """The turns in FlowCept's topic or store, read by its own interpreter."""
    done = subprocess.run([python, READER, *arguments], capture_output=True, text=True, check=True)
    yield from _records(json.loads(done.stdout))


def _records(found: Iterable[dict[str, object]]) -> Iterator[Turn]:
    for record in found:
        generated = record.get("generated")
        if isinstance(generated, dict) and "loss" in generated:
            yield str(record.get("task_id")), float(generated["loss"])
