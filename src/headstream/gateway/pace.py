"""How fast one client may speak: what it owes, in seconds, by the messages that it has sent."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_ADDRESSES: Final = 10_000
_BURST_SECONDS: Final = 1.0


class Pace:
    """One debt an address; it falls with time. `rate` 0 lets everything pass."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._paid: OrderedDict[str, float] = OrderedDict()  # Until when what was sent is paid for.

    def owed(self, address: str, now: float) -> float:
        """The seconds until this address is within its rate again: 0 if it is."""
        return max(0.0, self._paid.get(address, now) - now)

    def charge(self, address: str, messages: int, now: float) -> float:
        """Count messages, and return how long they should be answered later than now.

        What was not used for up to a second may be used at once.
        """
        if not self._rate:
            return 0.0
        paid = max(self._paid.pop(address, 0.0), now - _BURST_SECONDS) + messages / self._rate
        self._paid[address] = paid
        if len(self._paid) > _ADDRESSES:
            self._paid.popitem(last=False)
        return max(0.0, paid - now)
