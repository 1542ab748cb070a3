"""Embedded mode: the tracker core and the sink core in one process, over an Oxigraph store on disk.

`Pipeline` is to capture's shipper what Kafka is: what it has flushed is in the store.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from headstream.schemas.codec import decode_bag, decode_document, encode_bag, encode_document
from headstream.schemas.dead_letters import DEFINITION_MISSING
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.errors import SchemaError
from headstream.schemas.events import Bag
from headstream.schemas.facts import Identified, Origin
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import run_key
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import FileDeadLetters
from headstream.sinks.errors import Unavailable
from headstream.sinks.metrics import Metrics
from headstream.sinks.statements import Renderer
from headstream.sinks.stores.store import Store
from headstream.stream_processors.handling import (
    Handled,
    Incoming,
    handle_bag,
    handle_document,
    version_of,
)
from headstream.stream_processors.tracker import describe, track

log = logging.getLogger(__name__)


class Shelf:
    """The documents that this pipeline has seen, one file each, so that a restart knows them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, document: Document) -> None:
        """Keep a document; on return it survives a kill."""
        path = self._folder / f"{document.content_hash}.avro"
        if path.exists():
            return
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_bytes(encode_document(document))
        draft.replace(path)

    def __iter__(self) -> Iterator[Document]:
        for path in sorted(self._folder.glob("*.avro")):
            yield decode_document(path.read_bytes())


class Pipeline:
    """Takes documents and bags, tracks them, and writes their facts when flushed.

    One thread at a time. Whatever is refused goes to the dead-letter file with its reason.
    """

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        dead_letters: FileDeadLetters,
        *,
        base: str = DEFAULT_BASE,
        metrics: Metrics | None = None,
        observer: Callable[[list[Identified], float], None] | None = None,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._dead_letters = dead_letters
        self._renderer = Renderer(base)
        self._base = base
        self._metrics = metrics
        self._observer = observer
        self._known: dict[str, Definition] = {}
        self._ready: list[Identified] = []
        self._new: list[Document] = []
        self._trouble: str | None = None
        for document in shelf:
            self._learn(document)

    def publish(self, document: Document) -> None:
        """Queue the facts of a document; bags that waited for it are tracked again."""
        message = self._incoming("documents", document.key.encode(), encode_document(document), 0)
        handled, version = handle_document(message, describe=describe, now=_now())
        self._take(handled)
        # It is kept only with the facts: whoever sends it again after a crash finds the bags that wait.
        self._new.append(document)
        if version is not None and not version.hashes <= self._known.keys():
            self._known |= dict.fromkeys(version.hashes, version.definition)
            for bag in self._parked(version.hashes):
                self.send(bag)

    def send(self, bag: Bag) -> None:
        """Track a bag and queue its facts."""
        message = self._incoming(
            f"spool:{bag.producer}", run_key(bag.workflow, bag.execution), encode_bag(bag), bag.sequence
        )
        definition = None if bag.definition is None else self._known.get(bag.definition)
        self._take(handle_bag(message, bag, definition, track=track, now=_now()))

    def flush(self, timeout: float) -> int:
        """Write what is queued; the number of messages that are not in the store yet."""
        if self._ready:
            try:
                delivered = write_identified(
                    self._store,
                    self._ready,
                    self._dead_letters,
                    self._base,
                    metrics=self._metrics,
                    renderer=self._renderer,
                )
            except Unavailable as error:
                self._wait(error, timeout)
                return len(self._ready)
            self._trouble = None
            if self._observer is not None:
                self._observer(self._ready, delivered.stored_at)
            self._ready = []
        while self._new:
            self._shelf.put(self._new.pop())
        return 0

    def _wait(self, error: Unavailable, seconds: float) -> None:
        """A disk that is full stays so for a while: say it once, and do not try without pause."""
        if self._trouble != str(error):
            self._trouble = str(error)
            log.error("the graph cannot be written, what is captured stays in the spool: %s", error)
        time.sleep(seconds)

    def close(self) -> None:
        """Let go of the store and the dead-letter file."""
        self._dead_letters.close()
        self._store.close()

    def _take(self, handled: Handled) -> None:
        self._ready.extend(handled.identified)
        if handled.letters:
            self._dead_letters.put([item.letter for item in handled.letters])

    def _learn(self, document: Document) -> None:
        try:
            version = version_of(document)
        except SchemaError:
            return  # It was dead-lettered when it came.
        if version is not None:
            self._known |= dict.fromkeys(version.hashes, version.definition)

    def _parked(self, hashes: Iterable[str]) -> list[Bag]:
        waiting = (letter for letter in self._dead_letters.read() if letter.reason == DEFINITION_MISSING)
        bags = (decode_bag(letter.value) for letter in waiting)
        return [bag for bag in bags if bag.definition in set(hashes)]

    @staticmethod
    def _incoming(topic: str, key: bytes, value: bytes, offset: int) -> Incoming:
        return Incoming(origin=Origin(topic=topic, partition=0, offset=offset), key=key, value=value)


def _now() -> int:
    return time.time_ns() // 1000
