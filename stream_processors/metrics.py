"""What a worker counts. The registry is passed in, so that two workers in a process do not meet."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


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
        self.definitions = Gauge(
            "headstream_tracker_definitions", "Definitions known to this worker", registry=registry
        )
        self.batch = Histogram(
            "headstream_tracker_batch_bags",
            "Bags taken at once",
            buckets=(1, 5, 20, 50, 100, 200),
            registry=registry,
        )
