"""Bags that waited in the dead-letter topic for their definition are sent again when it arrives.

No state is kept: the dead-letter topic is read, bounded, when a definition arrives, and the
offset of the definition is acknowledged only afterwards. No bag falls between the two, because
whoever parks a bag reads the definitions to their end after the letter is acknowledged:

    the letter is acknowledged before the definition     the reading finds the letter
    the definition is acknowledged before the letter     whoever parked finds the definition
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from itertools import islice

from confluent_kafka import Consumer, Message

from headstream.schemas.dead_letters import definition_of, from_headers, redrive_headers
from headstream.schemas.errors import MalformedMessage
from headstream.stream_processors import bounded
from headstream.stream_processors.bounded import Span
from headstream.stream_processors.dead_letters import Outgoing, Sender
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings

_CHUNK = 100


class Redrive:
    """Sends parked bags to the events topic again."""

    def __init__(self, settings: Settings, sender: Sender, metrics: Metrics) -> None:
        self._settings = settings
        self._sender = sender
        self._metrics = metrics
        # Every run publishes its definition anew: a worker reads only the letters since the last
        # time. To lose this costs repeats, which are harmless.
        self._read_to: dict[str, dict[int, int]] = {}

    async def send_again(self, hashes: frozenset[str]) -> int:
        """Send the bags that wait for one of these definitions; how many there were.

        Raises BrokerUnreachable if the dead letters cannot be read to their present end.
        """
        if not hashes:
            return 0
        reader = await asyncio.to_thread(
            bounded.consumer, self._settings, **{"auto.offset.reset": "earliest"}
        )
        reading = threading.Lock()
        try:
            topic = self._settings.topics.dead_letters
            ends = await asyncio.to_thread(bounded.spans, reader, topic)
            first = {n: min(self._seen(h, n) for h in hashes) for n in ends}
            wanted = {n: Span(max(span.low, first[n]), span.high) for n, span in ends.items()}
            letters = self._waiting(bounded.read(reader, topic, wanted), hashes)
            sent = 0
            while chunk := await asyncio.to_thread(_next, letters, reading):
                await self._sender.send(chunk)
                sent += len(chunk)
        finally:
            # A cancelled task leaves its thread behind: it is waited for before the client goes.
            await asyncio.to_thread(_close, reader, reading)
        for content_hash in hashes:
            self._read_to[content_hash] = {number: span.high for number, span in ends.items()}
        self._metrics.resent.inc(sent)
        return sent

    def _seen(self, content_hash: str, partition: int) -> int:
        return self._read_to.get(content_hash, {}).get(partition, 0)

    def _waiting(self, letters: Iterator[Message], hashes: frozenset[str]) -> Iterator[Outgoing]:
        for message in letters:
            headers = message.headers()
            definition = definition_of(headers)
            number, offset = message.partition(), message.offset()
            assert number is not None and offset is not None
            if definition not in hashes or offset < self._seen(definition or "", number):
                continue
            try:
                letter = from_headers(headers, key=message.key(), value=message.value())
            except MalformedMessage:  # Somebody else's letter: nothing that this worker parked.
                continue
            yield Outgoing(
                topic=self._settings.topics.events,
                key=letter.key or None,
                value=letter.value,
                headers=redrive_headers(letter),
            )


def _next(letters: Iterator[Outgoing], reading: threading.Lock) -> list[Outgoing]:
    with reading:
        return list(islice(letters, _CHUNK))


def _close(reader: Consumer, reading: threading.Lock) -> None:
    with reading:
        reader.close()
