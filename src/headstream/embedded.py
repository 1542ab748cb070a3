"""Embedded mode: the tracker core and the sink core in one process, over an Oxigraph store on disk.

`Pipeline` is to capture's shipper what Kafka is: what it has flushed is in the store.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from headstream.schemas.codec import (
    decode_bag,
    decode_document,
    decode_identified,
    encode_bag,
    encode_document,
)
from headstream.schemas.dead_letters import ASKED, DEFINITION_MISSING, REDRIVEN, attempts, redrive_headers
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.errors import SchemaError
from headstream.schemas.events import Bag, event_count
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import run_key
from headstream.sinks.core import STAGE as SINK
from headstream.sinks.core import Delivered, write_identified
from headstream.sinks.dead_letters import FileDeadLetters, Settlements
from headstream.sinks.errors import Unavailable
from headstream.sinks.metrics import Metrics
from headstream.sinks.stores.store import Store
from headstream.stream_processors.handling import (
    Handled,
    Incoming,
    Letter,
    handle_bag,
    handle_document,
    open_bag,
    version_of,
)
from headstream.stream_processors.metrics import Metrics as TrackerMetrics
from headstream.stream_processors.repeats import Repeats
from headstream.stream_processors.tracker import describe, track

log = logging.getLogger(__name__)

# The origin of documents: they lie in no topic and in no spool of a run.
DOCUMENTS = "documents"


class Shelf:
    """The documents that this pipeline has seen, one file each, so that a restart knows them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, document: Document) -> None:
        """Keep a document; on return it survives a kill."""
        path = self._folder / f"{document.content_hash}.avro"
        if path.exists():
            path.touch()  # It is the latest version again, as in a compacted topic.
            return
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_bytes(encode_document(document))
        draft.replace(path)

    def by_age(self) -> list[Document]:
        """The documents, the one that came last at the end."""
        paths = sorted(self._folder.glob("*.avro"), key=lambda path: path.stat().st_mtime_ns)
        return [decode_document(path.read_bytes()) for path in paths]

    def __iter__(self) -> Iterator[Document]:
        for path in sorted(self._folder.glob("*.avro")):
            yield decode_document(path.read_bytes())


class Pipeline:
    """Takes documents and bags, tracks them, and writes their facts when flushed.

    One thread at a time. Whatever is refused goes to the dead-letter file with its reason; a file that
    cannot be written holds up the flush, so the spool keeps what led there.
    """

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        dead_letters: FileDeadLetters,
        *,
        base: str = DEFAULT_BASE,
        settlements: Settlements | None = None,
        metrics: Metrics | None = None,
        tracker_metrics: TrackerMetrics | None = None,
        observer: Callable[[list[Identified], float], None] | None = None,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._dead_letters = dead_letters
        self._renderer = store.renderer(base)
        self._base = base
        self._metrics = metrics
        self._tracker_metrics = tracker_metrics
        self._observer = observer
        self._settlements = settlements
        self._known: dict[str, Definition] = {}
        self._ready: list[Identified] = []
        self._refused: list[DeadLetter] = []
        self._new: list[Document] = []
        # Letters sent again: facts that the store refused once, and all that are settled by the next flush.
        self._again: list[tuple[Identified, int]] = []
        self._settling: set[int] = set()
        self._settlements_read = 0
        self._trouble: str | None = None
        self._repeats = Repeats()
        for document in shelf:
            self._learn(document)
        self._count_definitions()

    def publish(self, document: Document) -> None:
        """Queue the facts of a document; bags that waited for it are tracked again."""
        self._publish(
            self._incoming(DOCUMENTS, document.key.encode(), encode_document(document), 0), document
        )

    def send(self, bag: Bag) -> None:
        """Track a bag and queue its facts."""
        key = run_key(bag.workflow, bag.execution)
        self._send(self._incoming(f"spool:{bag.producer}", key, encode_bag(bag), bag.sequence), bag)

    def flush(self, timeout: float) -> int:
        """Write what is queued; the number of messages that are not in the store yet."""
        try:
            self._keep_refused()
            self._write()
        except Unavailable as error:
            self._wait(error, timeout)
            return len(self._ready) + len(self._refused) + len(self._again) or 1
        self._trouble = None
        while self._new:
            self._shelf.put(self._new.pop())
        return 0

    def redrive(self) -> int:
        """Send again the letters that somebody asked for (`headstream dead-letters redrive`); how many.

        They are settled by the flush that has written what they lead to: a crash before it repeats.
        """
        if self._settlements is None or self._settlements.size() == self._settlements_read:
            return 0
        self._settlements_read = self._settlements.size()
        outcomes = self._settlements.read()
        asked = {number for number, outcome in outcomes.items() if outcome == ASKED} - self._settling
        for number, letter in self._dead_letters.numbered() if asked else ():
            if number in asked:
                self._send_again(letter)
        self._settling |= asked
        return len(asked)

    def _write(self) -> None:
        if self._ready:
            delivered = self._deliver(self._ready)
            if self._observer is not None:
                self._observer(self._ready, delivered.stored_at)
            self._ready = []
        while self._again:
            identified, attempt = self._again[-1]
            self._deliver([identified], attempt)
            self._again.pop()
        if self._settling and self._settlements is not None:
            self._settlements.put(self._settling, REDRIVEN, _now())
            self._settling.clear()

    def _deliver(self, identifieds: list[Identified], attempt: int = 1) -> Delivered:
        return write_identified(
            self._store,
            identifieds,
            self._dead_letters,
            self._base,
            metrics=self._metrics,
            renderer=self._renderer,
            attempt=attempt,
        )

    def _keep_refused(self) -> None:
        if self._refused:
            self._dead_letters.put(self._refused)
            self._refused = []

    def _publish(self, message: Incoming, document: Document) -> None:
        handled, version = handle_document(message, describe=describe, now=_now())
        self._take(handled)
        if self._tracker_metrics is not None:
            self._tracker_metrics.documents.inc()
        # It is kept only with the facts: whoever sends it again after a crash finds the bags that wait.
        self._new.append(document)
        if version is not None and not version.hashes <= self._known.keys():
            self._known |= dict.fromkeys(version.hashes, version.definition)
            self._count_definitions()
            for bag in self._parked(version.hashes):
                self.send(bag)

    def _send(self, message: Incoming, bag: Bag) -> None:
        definition = None if bag.definition is None else self._known.get(bag.definition)
        self._take(handle_bag(message, bag, definition, track=track, now=_now()))
        if self._tracker_metrics is not None:
            self._tracker_metrics.bags.inc()
            self._tracker_metrics.events_in.inc(sum(map(event_count, bag.events)))
            self._tracker_metrics.duplicates.inc(
                not attempts(message.headers) and self._repeats.repeated(bag, message.value or b"")
            )

    def _send_again(self, letter: DeadLetter) -> None:
        """Begin anew where the letter was refused; a second refusal says that it is the second."""
        message = Incoming(
            origin=letter.origin, key=letter.key, value=letter.value, headers=tuple(redrive_headers(letter))
        )
        try:
            if letter.stage == SINK:
                self._again.append((decode_identified(letter.value), letter.attempt + 1))
                return
            if letter.origin.topic == DOCUMENTS:
                self._publish(message, decode_document(letter.value))
                return
        except SchemaError:
            log.error("a letter cannot be read", extra={"stage": letter.stage, "at": letter.at})
            return
        bag = open_bag(message, now=_now())
        if isinstance(bag, Letter):
            self._take(Handled(letters=(bag,)))
        else:
            self._send(message, bag)

    def _wait(self, error: Unavailable, seconds: float) -> None:
        """A disk that is full stays so for a while: say it once, and do not try without pause."""
        if self._trouble != str(error):
            self._trouble = str(error)
            log.error("nothing more is taken in, what is captured stays in the spool: %s", error)
        time.sleep(seconds)

    def close(self) -> None:
        """Let go of the store and the dead-letter file."""
        self._dead_letters.close()
        self._store.close()

    def _take(self, handled: Handled) -> None:
        if self._tracker_metrics is not None:
            self._tracker_metrics.handled(handled)
        self._ready.extend(handled.identified)
        self._refused.extend(item.letter for item in handled.letters)

    def _learn(self, document: Document) -> None:
        try:
            version = version_of(document)
        except SchemaError:
            return  # It was dead-lettered when it came.
        if version is not None:
            self._known |= dict.fromkeys(version.hashes, version.definition)

    def _count_definitions(self) -> None:
        if self._tracker_metrics is not None:
            self._tracker_metrics.definitions.set(len(set(map(id, self._known.values()))))

    def _parked(self, hashes: Iterable[str]) -> list[Bag]:
        refused = (*self._dead_letters.read(), *self._refused)
        waiting = (letter for letter in refused if letter.reason == DEFINITION_MISSING)
        bags = (decode_bag(letter.value) for letter in waiting)
        return [bag for bag in bags if bag.definition in set(hashes)]

    @staticmethod
    def _incoming(topic: str, key: bytes, value: bytes, offset: int) -> Incoming:
        return Incoming(origin=Origin(topic=topic, partition=0, offset=offset), key=key, value=value)


def _now() -> int:
    return time.time_ns() // 1000
