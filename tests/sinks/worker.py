"""A sink in a thread over a real store, fed from memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from headstream.schemas.facts import Origin
from headstream.sinks.batch import Limits
from headstream.sinks.consumer import MemorySource
from headstream.sinks.core import Message
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.retry import Schedule
from headstream.sinks.run import Sink
from headstream.sinks.statements import Renderer
from headstream.sinks.stores import Store, Written

BASE = "https://provml.example.org/id/"
PLACE = ("headstream.identified", 0)


class Noted:
    """A store that tells whether a write is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writing = False

    def renderer(self, base: str) -> Renderer:
        return self._store.renderer(base)

    def write(self, ntriples: bytes) -> Written:
        self.writing = True
        try:
            return self._store.write(ntriples)
        finally:
            self.writing = False

    def size(self) -> int:
        return self._store.size()

    def dump(self) -> Iterator[bytes]:
        return self._store.dump()

    def close(self) -> None:
        self._store.close()


class Worker:
    """Writes `values` into the store in requests of some `triples`; in doubt it tries again soon."""

    def __init__(
        self, store: Store, values: Sequence[bytes], triples: int = 200, limits: Limits | None = None
    ) -> None:
        self.source = MemorySource()
        self._sent = 0
        self.send(values)
        self.store = Noted(store)
        self.letters = MemoryDeadLetters()
        self.stop = threading.Event()
        self.sink = Sink(
            source=self.source,
            store=self.store,
            dead_letters=self.letters,
            base=BASE,
            stop=self.stop,
            limits=limits or Limits(triples=triples),
            schedule=Schedule(first=0.05, most=0.5),
        )
        self.thread = threading.Thread(target=self.sink.run)

    def __enter__(self) -> Worker:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop.set()
        self.thread.join(15)
        self.store.close()

    def send(self, values: Sequence[bytes]) -> None:
        """Let these follow what was sent before."""
        for value in values:
            origin = Origin(topic=PLACE[0], partition=0, offset=self._sent)
            self.source.messages.append(Message(origin=origin, key=b"w/r", value=value))
            self._sent += 1

    @property
    def done(self) -> int:
        """Messages that are committed."""
        return self.source.committed.get(PLACE, 0)

    def told(self) -> str:
        """Where it is."""
        return f"{self.done} messages committed, {self.retries():.0f} attempts in vain"

    def metric(self, name: str) -> float:
        return self.sink.metrics.registry.get_sample_value(f"headstream_sink_{name}") or 0.0

    def retries(self) -> float:
        return sum(
            sample.value
            for metric in self.sink.metrics.retries.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
