"""Whether a message came before: after a crash a worker repeats some, which changes nothing in the graph.

The repeats are counted, so that one can tell a pipeline that repeats a little from one that goes in circles.
"""

from __future__ import annotations

from headstream.schemas.facts import Origin
from headstream.sinks.batch import Partition


class Repeats:
    """Remembers how far each partition has come, and what of the events topic led there."""

    def __init__(self) -> None:
        self._read: dict[Partition, int] = {}
        self._led: dict[tuple[Partition, Partition], int] = {}

    def repeated(self, message: Origin, source: Origin) -> bool:
        """Tell whether a message at this place was read before, or is of a bag behind one that was.

        `source` is where the bag lies that the facts are of. A bag may be several messages, so the
        same bag again says nothing.
        """
        place, bag = (message.topic, message.partition), (source.topic, source.partition)
        read, led = self._read.get(place, -1), self._led.get((place, bag), -1)
        self._read[place] = max(read, message.offset)
        self._led[place, bag] = max(led, source.offset)
        return message.offset <= read or source.offset < led
