"""What the sink counts, in a registry of its own."""

from __future__ import annotations

from math import nan
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headstream.schemas.exposition import Freshness

# From when the facts were handed to Kafka until they are in the graph; and from the event until then.
STORED: Final = "stored"
TOTAL: Final = "total"
_TRIPLES: Final = (100, 1_000, 5_000, 10_000, 20_000, 40_000, 100_000)


class Room(Protocol):
    """The disk of a store."""

    def left(self) -> float:
        """Bytes that it has free."""

    def taken(self) -> int:
        """Bytes that the store takes of it."""


class Metrics:
    """The numbers of one sink."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.freshness = Freshness(
            "headstream_sink_freshness_seconds",
            "Seconds until an event was in the graph, from when its facts were in Kafka and in total.",
            (STORED, TOTAL),
        )
        self.registry.register(self.freshness)
        self.events_in = self._counter("events_in_total", "Events read from the identified topic.")
        self.events = self._counter("events_total", "Events stored.")
        self.messages = self._counter("messages_total", "Messages read from the identified topic.")
        self.triples = self._counter("triples_total", "Triples sent and confirmed.")
        self.requests = self._counter("requests_total", "Requests that the store confirmed or refused.")
        self.divergence = self._counter(
            "divergence_triples_total", "Triples sent beyond those that the store counted, where it counts."
        )
        self.retries = self._counter("retries_total", "Attempts that are made again.", "reason")
        self.dead_letters = self._counter("dead_letters_total", "Events given up, with the reason.", "reason")
        self.commits_failed = self._counter("commit_failures_total", "Offset commits that are made again.")
        self.lag = Gauge(
            "headstream_sink_lag_messages",
            "Messages not yet committed.",
            ["partition"],
            registry=self.registry,
        )
        self.lag_seconds = Gauge(
            "headstream_sink_lag_seconds",
            "Age of the oldest message not yet committed, 0 without any.",
            ["partition"],
            registry=self.registry,
        )
        self.duplicates = self._counter("duplicate_messages_total", "Messages that came before.")
        self.paused = Gauge("headstream_sink_paused", "1 while the store is away.", registry=self.registry)
        self.blocked = Gauge(
            "headstream_sink_blocked",
            "1 while the dead-letter topic cannot be written, so that nothing more is committed.",
            registry=self.registry,
        )
        self.store_bytes = Gauge(
            "headstream_sink_store_bytes",
            "What the files of the store take on the disk, NaN if that is not watched.",
            registry=self.registry,
        )
        self.store_free_bytes = Gauge(
            "headstream_sink_store_free_bytes",
            "What the disk of the store has free, NaN if that is not watched.",
            registry=self.registry,
        )
        self.store_bytes.set(nan)
        self.store_free_bytes.set(nan)
        self.batch_triples = Histogram(
            "headstream_sink_batch_triples", "Triples in a batch.", buckets=_TRIPLES, registry=self.registry
        )
        self.write_seconds = Histogram(
            "headstream_sink_write_seconds", "Seconds a batch took in the store.", registry=self.registry
        )

    def watch(self, room: Room) -> None:
        """Show how the files of a store grow and what the disk has left, each time somebody looks."""
        self.store_bytes.set_function(room.taken)
        self.store_free_bytes.set_function(room.left)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"headstream_sink_{name}", text, labels, registry=self.registry)
