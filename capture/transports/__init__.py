"""Ways to the tracker: one seam, its Kafka implementation, and the double that tests use."""

from headstream.capture.transports.base import Transport
from headstream.capture.transports.memory import MemoryTransport

__all__ = ["MemoryTransport", "Transport"]
