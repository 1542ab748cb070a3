"""What a worker counts. The registry is passed in, so that two workers in a process do not meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headstream.schemas.exposition import Freshness

if TYPE_CHECKING:
    from headstream.stream_processors.handling import Handled

# Of a bag: from its events until it was handed to Kafka, and from there until Kafka had its facts.
PUBLISHED: Final = "published"
TRACKED: Final = "tracked"


class Metrics:
    """Counters of one worker; every loss and every refusal has a reason and a number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bags = Counter("headstream_tracker_bags", "Bags handled", registry=registry)
        self.events_in = Counter("headstream_tracker_events_in", "Capture events read", registry=registry)
        self.events_out = Counter(
            "headstream_tracker_events_out",
            "Units of facts written: an event, a row of a block, or what several events share",
            registry=registry,
        )
        self.facts_out = Counter("headstream_tracker_facts_out", "Facts written", registry=registry)
        self.documents = Counter("headstream_tracker_documents", "Documents described", registry=registry)
        self.dead_letters = Counter(
            "headstream_tracker_dead_letters", "Messages refused", ["reason"], registry=registry
        )
        self.resent = Counter("headstream_tracker_resent_bags", "Parked bags sent again", registry=registry)
        self.retries = Counter(
            "headstream_tracker_retries", "Batches tried again", ["step"], registry=registry
        )
        self.blocked = Gauge(
            "headstream_tracker_blocked",
            "1 while a topic cannot be written, so that nothing more is read",
            ["topic"],
            registry=registry,
        )
        self.duplicates = Counter(
            "headstream_tracker_duplicate_bags", "Bags that came before", registry=registry
        )
        self.lag = Gauge(
            "headstream_tracker_lag_messages",
            "Messages of the events topic that are not committed",
            ["partition"],
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "headstream_tracker_lag_seconds",
            "Age of the oldest message of the events topic that is not committed; 0 without any",
            ["partition"],
            registry=registry,
        )
        self.freshness = Freshness(
            "headstream_tracker_freshness_seconds",
            "Seconds from an event until its bag was in Kafka, and from there until its facts were",
            (PUBLISHED, TRACKED),
        )
        registry.register(self.freshness)
        self.definitions = Gauge(
            "headstream_tracker_definitions", "Definitions known to this worker", registry=registry
        )
        self.batch = Histogram(
            "headstream_tracker_batch_bags",
            "Bags taken at once",
            buckets=(1, 5, 20, 50, 100, 200),
            registry=registry,
        )

    def handled(self, handled: Handled) -> None:
        """Count what a message led to."""
        for identified in handled.identified:
            self.facts_out.inc(len(identified.facts))
            self.events_out.inc(len(identified.counts))
        for item in handled.letters:
            self.dead_letters.labels(reason=item.letter.reason).inc()

    def fresh(self, moments: Sequence[int], published_at: float | None, tracked_at: float) -> None:
        """Count how long the events of a bag took as far as the identified topic.

        `moments` are the times of the events in microseconds since the epoch, 0 where unknown;
        `published_at` is when the bag was handed to Kafka, None if it does not say.
        """
        if published_at is None:
            return
        events = self.freshness.since(PUBLISHED, moments, published_at)
        self.freshness.add(TRACKED, tracked_at - published_at, events)
