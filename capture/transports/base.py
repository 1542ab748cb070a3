"""The seam between the shipper and whatever carries documents and bags."""

from __future__ import annotations

from typing import Protocol

from headstream.schemas.documents import Document
from headstream.schemas.events import Bag


class Transport(Protocol):
    """Takes documents and bags, and says how many of them are not acknowledged yet."""

    def publish(self, document: Document) -> None:
        """Hand over a document for the definitions topic."""
        ...

    def send(self, bag: Bag) -> None:
        """Hand over a bag for the events topic; bags of a run keep their order."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait until all is acknowledged or the time is over; return how many are not."""
        ...

    def close(self) -> None:
        """Give up connections; what is not acknowledged stays in the spool."""
        ...
