"""Names of the topics and how they are keyed (architecture section 3)."""

from __future__ import annotations

from dataclasses import dataclass

# librdkafka's default partitioner differs from the one of Java and aiokafka; every producer of
# ours uses this one, so that a run stays in one partition whoever writes (measured: architecture 3).
PARTITIONER = "murmur2_random"


@dataclass(frozen=True, slots=True)
class Topics:
    """The four topics under one prefix, so that tenants and tests can share a broker."""

    prefix: str = "headstream"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"

    @property
    def definitions(self) -> str:
        return f"{self.prefix}.definitions"

    @property
    def identified(self) -> str:
        return f"{self.prefix}.identified"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"


def run_key(workflow: str, execution: str) -> bytes:
    """Kafka key of everything that belongs to one run: it keeps the run's order in one partition."""
    return f"{workflow}/{execution}".encode()
