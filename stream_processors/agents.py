"""The work of the two agents on batches of messages; Faust itself stays in app.py.

Each batch is finished, confirmed by the broker, and only then acknowledged: a crash at any point
repeats messages and loses none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from headstream.schemas.dead_letters import attempts
from headstream.schemas.events import Bag, event_count
from headstream.stream_processors.dead_letters import Outgoing, Sender, outgoing
from headstream.stream_processors.definitions import DefinitionReader
from headstream.stream_processors.handling import (
    Describe,
    Handled,
    Incoming,
    Letter,
    Parked,
    Track,
    handle_bag,
    handle_document,
    open_bag,
)
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.parked import Redrive
from headstream.stream_processors.repeats import Repeats
from headstream.stream_processors.settings import Settings

log = logging.getLogger(__name__)

# Bags tracked before heartbeats and signals get their turn again.
_TURN = 10

# What is sent before more is tracked: blocks of many rows give facts of many times their size.
_PENDING_BYTES = 16 * 1024 * 1024


class BagWork:
    """Turns bags into identified facts."""

    def __init__(
        self,
        settings: Settings,
        definitions: DefinitionReader,
        sender: Sender,
        metrics: Metrics,
        track: Track,
    ) -> None:
        self._settings = settings
        self._definitions = definitions
        self._sender = sender
        self._metrics = metrics
        self._track = track
        self._repeats = Repeats()

    async def finish(self, batch: Sequence[Incoming]) -> None:
        """Return when the broker has everything that the batch leads to."""
        opened = [(message, open_bag(message, now=_now())) for message in batch]  # 1
        await self._expect([bag for _, bag in opened if isinstance(bag, Bag)])  # 2
        self._count_repeats(opened)
        parked = await self._handle(opened)  # 3: the broker has it
        while parked:
            await self._definitions.caught_up()  # 4: see parked.py
            found = [item for item in parked if self._definitions.get(item.bag.definition) is not None]
            if not found:
                break
            parked = await self._handle([(item.incoming, item.bag) for item in found])
        self._metrics.batch.observe(len(batch))
        self._metrics.bags.inc(len(batch))
        self._metrics.events_in.inc(
            sum(event_count(event) for _, bag in opened if isinstance(bag, Bag) for event in bag.events)
        )

    def _count_repeats(self, opened: Sequence[tuple[Incoming, Bag | Letter]]) -> None:
        """What was refused once and is sent again is no repeat, so it is left out."""
        for message, bag in opened:
            if isinstance(bag, Bag) and not attempts(message.headers):
                self._metrics.duplicates.inc(self._repeats.repeated(bag, message.value or b""))

    async def _expect(self, bags: Sequence[Bag]) -> None:
        missing = {
            bag.definition
            for bag in bags
            if bag.definition is not None and self._definitions.get(bag.definition) is None
        }
        if missing:
            await self._definitions.expect(missing)

    async def _handle(self, opened: Sequence[tuple[Incoming, Bag | Letter]]) -> list[Parked]:
        """Track and send; the bags that had to be parked."""
        batch: list[Outgoing] = []
        pending = 0
        parked: list[Parked] = []
        refused: list[Refusal] = []
        moments: list[tuple[Sequence[int], float | None]] = []
        for number, (message, bag) in enumerate(opened):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            if isinstance(bag, Letter):
                handled = Handled(letters=(bag,))
            else:
                definition = self._definitions.get(bag.definition)
                handled = handle_bag(message, bag, definition, track=self._track, now=_now())
            if handled.parked is not None:
                parked.append(handled.parked)
            refused += [(bag if isinstance(bag, Bag) else None, letter) for letter in handled.letters]
            moments += [(identified.event_times, message.at) for identified in handled.identified]
            out = self._outgoing(handled, message.key)
            batch += out
            pending += sum(len(item.value) for item in out)
            if pending > _PENDING_BYTES:
                await self._sender.send(batch)
                batch, pending = [], 0
        await self._sender.send(batch)
        now = time.time()
        for times, published_at in moments:
            self._metrics.fresh(times, published_at, now)
        tell(refused)
        return parked

    def _outgoing(self, handled: Handled, key: bytes | None) -> list[Outgoing]:
        self._metrics.handled(handled)
        topics = self._settings.topics
        return outgoing(handled, key, identified=topics.identified, dead_letters=topics.dead_letters)


class DocumentWork:
    """Turns documents into identified facts, and sends the bags again that waited for them."""

    def __init__(
        self,
        settings: Settings,
        redrive: Redrive,
        sender: Sender,
        metrics: Metrics,
        describe: Describe,
    ) -> None:
        self._settings = settings
        self._redrive = redrive
        self._sender = sender
        self._metrics = metrics
        self._describe = describe

    async def finish(self, batch: Sequence[Incoming]) -> None:
        """Return when the broker has the facts, and again every bag that waited for these documents."""
        topics = self._settings.topics
        out: list[Outgoing] = []
        arrived: set[str] = set()
        refused: list[Refusal] = []
        for message in batch:
            handled, version = handle_document(message, describe=self._describe, now=_now())
            self._metrics.handled(handled)
            refused += [(None, letter) for letter in handled.letters]
            if version is not None:
                arrived |= version.hashes
            out += outgoing(
                handled, message.key, identified=topics.identified, dead_letters=topics.dead_letters
            )
        await self._sender.send(out)
        tell(refused)
        again = await self._redrive.send_again(frozenset(arrived))
        self._metrics.documents.inc(len(batch))
        if again:
            log.info("parked bags sent again", extra={"bags": again, "definitions": len(arrived)})


# A letter, and the bag that it is about if that could be read.
Refusal = tuple[Bag | None, Letter]


def tell(refused: Sequence[Refusal]) -> None:
    """Log what was refused: a line for each reason and run of a batch, for poison comes in floods."""
    lines: dict[tuple[str, str, str], list[Refusal]] = {}
    for bag, item in refused:
        run = ("", "") if bag is None else (bag.workflow, bag.execution)
        lines.setdefault((item.letter.reason, *run), []).append((bag, item))
    for (reason, workflow, execution), items in lines.items():
        letter = items[0][1].letter
        run_facts = {"workflow": workflow, "execution": execution} if execution else {}
        log.warning(
            "refused",
            extra={
                **run_facts,
                "topic": letter.origin.topic,
                "partition": letter.origin.partition,
                "offset": letter.origin.offset,
                "reason": reason,
                "error": letter.error,
                "letters": len(items),
            },
        )


def _now() -> int:
    return time.time_ns() // 1000
