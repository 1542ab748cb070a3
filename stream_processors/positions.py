"""Where a worker begins to read the partitions that it has just been given.

A fetch that is under way when a rebalance ends brings messages that Faust throws away, because it
goes back to the committed offsets anyway. Where nothing has been committed yet, aiokafka goes back
nowhere: the first messages of such a partition would never be seen, and the next commit would pass
them over (seen as definitions that no worker of a new group read).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from aiokafka.errors import IllegalStateError
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP


class RewindingConsumer(Consumer):
    """Goes back to the beginning of partitions of which nothing is committed."""

    logger = Consumer.logger

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek each partition to its committed offset, or to its beginning if it has none or zero."""
        committed: Mapping[TP, int] = {}
        # Taken away meanwhile: whoever has them now seeks them.
        with suppress(IllegalStateError):
            committed = await super().seek_to_committed()
            fresh = {place for place, offset in committed.items() if not offset} & self.assignment()
            if fresh:
                await self.seek_wait(await self.earliest_offsets(*fresh))
        return committed

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Warn of a partition that stands still; one whose position is not known yet is no news.

        aiokafka asserts that it is known, and the worker would end by that.
        """
        with suppress(AssertionError):
            super().verify_event_path(now, tp)
