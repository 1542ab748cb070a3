"""The double of a transport: keeps what it is given, and can play a broker that is away."""

from __future__ import annotations

from headstream.schemas.documents import Document
from headstream.schemas.events import Bag


class MemoryTransport:
    """Keeps everything in lists. While `up` is False nothing is acknowledged."""

    def __init__(self, up: bool = True) -> None:
        self.up = up
        self.closed = False
        self.documents: list[Document] = []
        self.bags: list[Bag] = []
        self._waiting: list[Document | Bag] = []

    def publish(self, document: Document) -> None:
        self._waiting.append(document)

    def send(self, bag: Bag) -> None:
        self._waiting.append(bag)

    def flush(self, timeout: float) -> int:
        if not self.up:
            return len(self._waiting)
        for content in self._waiting:
            if isinstance(content, Bag):
                self.bags.append(content)
            else:
                self.documents.append(content)
        self._waiting.clear()
        return 0

    def close(self) -> None:
        self.closed = True
