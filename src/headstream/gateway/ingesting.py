"""The log files of ProvLake clients into the spool: what a client wrote while nobody listened, or for once.

The same files give the same events however often they are read, so a repeat changes nothing in the graph.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from headstream.capture.gateway.provlake import Bagging, Rejected, Translator, read_log
from headstream.errors import Unreadable
from headstream.gateway.spooling import SpoolTransport
from headstream.schemas.definition import Definition, Store
from headstream.schemas.documents import Document, content, document
from headstream.schemas.errors import SchemaError

_PATTERN: Final = "*.log"
_BAGS: Final = 200
_SHOWN: Final = 20
_LOOKED_AT: Final = 100


@dataclass(slots=True)
class Ingested:
    """What came of the files: messages and events, and what was refused, the first of it by place."""

    files: int = 0
    messages: int = 0
    events: int = 0
    runs: set[tuple[str, str]] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)


def log_files(given: Path) -> list[Path]:
    """The file, or the logs in a folder, in the order in which they begin; raises Unreadable for none."""
    if given.is_file():
        return [given]
    found = sorted(given.rglob(_PATTERN)) if given.is_dir() else []
    if not found:
        raise Unreadable(f"{given} is neither a log of a ProvLake client nor a folder with {_PATTERN} in it")
    return sorted(found, key=lambda path: (_begins(path), path.name))


def ingest(
    files: Iterable[Path],
    published: Iterable[Document],
    spool: SpoolTransport,
    progress: Callable[[int], object] = lambda size: None,
) -> Ingested:
    """Read log files and spool what they say; `progress` is told of the bytes as they are read.

    References get their stores, and steps their planned parents, by what is published. Raises Unreadable.
    """
    translator = Translator()
    for each in published:
        spool.know(each)
        try:
            found = content(each)
        except SchemaError:  # Whoever described it has refused it.
            continue
        if isinstance(found, Definition | Store):
            translator.learn(found)
    bagging = Bagging(translator, producer="provlake")
    done = Ingested()
    for path in files:
        done.files += 1
        for number, message in enumerate(_messages(path, progress), start=1):
            done.messages += 1
            said = translator.translate(message)
            if isinstance(said, Rejected):
                _refuse(done, path, number, said)
                continue
            done.events += len(said.events)
            done.runs.add((said.workflow, said.execution))
            for store in said.stores:
                spool.publish(document(store))
            for bag in bagging.add(said):
                spool.send(bag)
                if bag.sequence % _BAGS == 0:
                    _flush(spool)
    for bag in bagging.flush():
        spool.send(bag)
    _flush(spool)
    return done


def _messages(path: Path, progress: Callable[[int], object]) -> Iterator[Any]:
    def lines() -> Iterator[str]:
        with path.open("rb") as file:
            for line in file:
                progress(len(line))
                yield line.decode("utf-8", "replace")

    try:
        yield from read_log(lines())
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from error


def _refuse(done: Ingested, path: Path, number: int, rejected: Rejected) -> None:
    done.reasons[rejected.reason] += 1
    if len(done.refused) < _SHOWN:
        done.refused.append(f"{path}: message {number}: {rejected.message}")


def _flush(spool: SpoolTransport) -> None:
    lost = spool.flush(0)
    if lost:
        raise Unreadable(
            f"{lost} records had no room in the spool; is the disk full? Ingest again afterwards"
        )


def _begins(path: Path) -> float:
    """When the first message of a log was, by any time in it; infinity for one that has none.

    Its first lines may be empty bags: a client that publishes a definition writes one.
    """
    try:
        with path.open("rb") as file:
            for line in islice(file, _LOOKED_AT):
                found = min(_times(json.loads(line)), default=None)
                if found is not None:
                    return found
    except (OSError, ValueError, RecursionError):
        pass
    return float("inf")


def _times(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("generatedTime", "startTime", "endTime") and isinstance(item, int | float):
                yield float(item)
            yield from _times(item)
    elif isinstance(value, list):
        for item in value:
            yield from _times(item)
