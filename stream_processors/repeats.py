"""Whether a bag came before: after a crash its shipper or a worker repeats some, which is harmless.

The repeats are counted, so that one can tell a pipeline that repeats a little from one that goes in circles.
"""

from __future__ import annotations

from headstream.schemas.events import Bag

# Runs that are remembered: the one that was silent for longest is forgotten first.
_REMEMBERED = 4096


class Repeats:
    """Remembers how far each producer of a run has come, as far as this worker has seen it."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._last: dict[tuple[str, str, str], tuple[int, int]] = {}

    def repeated(self, bag: Bag, value: bytes) -> bool:
        """Tell whether the bag is behind one of the same producer, or the last one again.

        A bag too large for one message is several with one number, so the same number alone says nothing.
        """
        if not bag.producer:
            return False
        source = (bag.producer, bag.workflow, bag.execution)
        this = (bag.sequence, hash(value))
        last = self._last.pop(source, None)
        if last is None and len(self._last) >= self._remembered:
            del self._last[next(iter(self._last))]
        repeated = last is not None and (this[0] < last[0] or this == last)
        self._last[source] = this if last is None or this[0] >= last[0] else last
        return repeated
