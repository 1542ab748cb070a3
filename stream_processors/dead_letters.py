"""Messages to the broker, dead letters among them: sent until the broker has them.

A dead-letter topic that cannot be written stops the worker here: it neither drops the letter nor
acknowledges the message behind it, and goes on when the topic can be written.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from headstream.schemas.dead_letters import Headers
from headstream.stream_processors.handling import Handled, messages
from headstream.stream_processors.metrics import Metrics

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to be sent."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers | None = None


# Hands a message to the producer; what it returns is done when the broker has acknowledged it.
Produce = Callable[[Outgoing], Awaitable[Awaitable[object]]]


def outgoing(handled: Handled, key: bytes | None, *, identified: str, dead_letters: str) -> list[Outgoing]:
    """The messages that say what became of one message."""
    facts = [
        Outgoing(topic=identified, key=key, value=value)
        for item in handled.identified
        for value in messages(item)
    ]
    letters = [
        Outgoing(
            topic=dead_letters,
            key=item.letter.key or None,
            value=item.letter.value,
            headers=item.headers,
        )
        for item in handled.letters
    ]
    return facts + letters


@dataclass(slots=True)
class Readiness:
    """Whether a worker gets on: it has partitions, and every topic that it writes can be written."""

    assigned: bool = False
    stopping: bool = False
    blocked: Counter[str] = field(default_factory=Counter)
    # Of the events topic, as this worker has them now.
    partitions: frozenset[int] = frozenset()

    def unready(self) -> str | None:
        """Why the worker is not ready, or None."""
        if self.stopping:
            return "the worker is told to stop"
        if self.blocked:
            names = ", ".join(sorted(self.blocked))
            return f"{names} cannot be written, so nothing more is read until it can"
        return None if self.assigned else "no partitions are assigned yet"


class Sender:
    """Sends messages and returns when the broker has them, however long that takes."""

    def __init__(self, produce: Produce, metrics: Metrics, readiness: Readiness | None = None) -> None:
        self._produce = produce
        self._metrics = metrics
        self._readiness = readiness or Readiness()

    async def send(self, batch: Sequence[Outgoing]) -> None:
        """Send all of them; those that fail are sent again with growing pauses. Repeats are harmless."""
        pause = _FIRST_PAUSE
        left = list(batch)
        blocked: frozenset[str] = frozenset()
        try:
            while left:
                left = await self._attempt(left)
                blocked = self._show(blocked, frozenset(message.topic for message in left))
                if left:
                    self._metrics.retries.labels(step="send").inc(len(left))
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._show(blocked, frozenset())

    def _show(self, before: frozenset[str], now: frozenset[str]) -> frozenset[str]:
        """Say which topics this send cannot write; the other agent may be held up by them too."""
        held = self._readiness.blocked
        held.update(now - before)
        held.subtract(before - now)
        for topic in before | now:
            self._metrics.blocked.labels(topic=topic).set(held[topic] > 0)
        self._readiness.blocked = +held
        return now

    async def _attempt(self, batch: Iterable[Outgoing]) -> list[Outgoing]:
        """Send once; the messages that the broker did not acknowledge."""
        begun: list[tuple[Outgoing, Awaitable[object]]] = []
        failed: list[Outgoing] = []
        for message in batch:
            try:
                begun.append((message, await self._produce(message)))
            except Exception as error:
                _warn(message, error)
                failed.append(message)
        answers = await asyncio.gather(*(answer for _, answer in begun), return_exceptions=True)
        for (message, _), answer in zip(begun, answers, strict=True):
            if isinstance(answer, BaseException):
                _warn(message, answer)
                failed.append(message)
        return failed


def _warn(message: Outgoing, error: BaseException) -> None:
    log.error(
        "%s could not be written (%s): nothing is acknowledged until it is",
        message.topic,
        type(error).__name__,
        extra={"topic": message.topic, "bytes": len(message.value), "error": str(error)[:500]},
    )
