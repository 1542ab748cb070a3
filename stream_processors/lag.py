"""How far the group is behind in the partitions of this worker: in messages, and in seconds.

The broker is asked, with a client of our own: what Faust knows stands still while it reads nothing,
which is when the lag matters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicPartition

from headstream.stream_processors import bounded
from headstream.stream_processors.bounded import Reader, Span
from headstream.stream_processors.errors import BrokerUnreachable
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings

log = logging.getLogger(__name__)

_EVERY_SECONDS = 3.0
_ASK_SECONDS = 5.0
_READ_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """What of a partition is not committed; `first` is the offset of the oldest such message."""

    first: int
    messages: int


def lag_of(committed: int, span: Span) -> Lag:
    """The lag of a group that has committed this offset; below 0 it has committed none.

    What retention has deleted cannot be read any more: it is no lag but a loss.
    """
    first = max(committed, span.low)
    return Lag(first=first, messages=max(0, span.high - first))


class LagReader:
    """Asks every few seconds, in a thread of its own; a broker that is away leaves the last numbers."""

    def __init__(
        self, settings: Settings, metrics: Metrics, partitions: Callable[[], frozenset[int]]
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._partitions = partitions
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_READ_SECONDS)

    def _run(self) -> None:
        # The group is the one whose commits are asked for; it is never joined. Little is read ahead: of
        # each partition one message counts.
        options: dict[str, str | int | float | bool] = {
            "group.id": self._settings.group,
            "auto.offset.reset": "earliest",
            "queued.min.messages": 1,
            "queued.max.messages.kbytes": 1024,
        }
        reader = bounded.consumer(self._settings, **options)
        try:
            while not self._stopping.wait(_EVERY_SECONDS):
                try:
                    self._show(reader, self._partitions())
                except (BrokerUnreachable, KafkaException) as error:
                    log.debug("the lag is not known", extra={"error": str(error)})
        finally:
            reader.close()

    def _show(self, reader: Reader, partitions: frozenset[int]) -> None:
        topic = self._settings.topics.events
        asked = [TopicPartition(topic, number) for number in sorted(partitions)]
        if not asked:
            return
        committed = {place.partition: place.offset for place in reader.committed(asked, timeout=_ASK_SECONDS)}
        spans = bounded.spans(reader, topic, _ASK_SECONDS)
        lags = {number: lag_of(committed[number], spans[number]) for number in partitions if number in spans}
        oldest = self._oldest(reader, topic, lags)
        now = time.time()
        for gauge in (self._metrics.lag, self._metrics.lag_seconds):
            gauge.clear()
        for number, lag in lags.items():
            self._metrics.lag.labels(partition=str(number)).set(lag.messages)
            if not lag.messages:
                self._metrics.lag_seconds.labels(partition=str(number)).set(0)
            elif number in oldest:
                age = max(0.0, now - oldest[number])
                self._metrics.lag_seconds.labels(partition=str(number)).set(age)

    def _oldest(self, reader: Reader, topic: str, lags: Mapping[int, Lag]) -> dict[int, float]:
        """When the first uncommitted message of each partition was written, in seconds since the epoch."""
        behind = {number: lag.first for number, lag in lags.items() if lag.messages}
        if not behind:
            return {}
        reader.assign([TopicPartition(topic, number, first) for number, first in behind.items()])
        try:
            return dict(self._times(reader, topic, set(behind)))
        finally:
            # A pause outlives the assignment (librdkafka 2.x).
            reader.resume([TopicPartition(topic, number) for number in behind])
            reader.unassign()

    def _times(self, reader: Reader, topic: str, wanted: set[int]) -> Iterable[tuple[int, float]]:
        deadline = time.monotonic() + _READ_SECONDS
        while wanted and time.monotonic() < deadline and not self._stopping.is_set():
            message = reader.poll(0.2)
            if message is None or message.error() is not None or message.partition() not in wanted:
                continue
            number = message.partition()
            assert number is not None
            wanted.discard(number)
            reader.pause([TopicPartition(topic, number)])
            yield number, message.timestamp()[1] / 1000
