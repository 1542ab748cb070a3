"""What clients said, made durable: one thread takes what has come, keeps it, and only then says so.

    1. take every parcel that waits     3. wait until all of it is durable
    2. hand documents, then bags over   4. say so to whoever waits for an answer

Many requests share one wait for the broker or the disk, so each waits for two rounds at most.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol

from headstream.capture.transports.base import Transport
from headstream.capture.transports.kafka import KafkaTransport
from headstream.gateway.errors import NotKept
from headstream.gateway.metrics import Metrics
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_count
from headstream.schemas.facts import DeadLetter
from headstream.sinks.dead_letters import DeadLetters
from headstream.sinks.errors import DeadLettersUnavailable

log = logging.getLogger(__name__)
KAFKA, SPOOL = "kafka", "spool"
_ROUND: Final = 64
_REMEDY: Final = "send it again, or read the client's log file with `headstream ingest provlake FILE`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What one request leads to."""

    documents: tuple[Document, ...] = ()
    bags: tuple[Bag, ...] = ()
    letters: tuple[DeadLetter, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.documents or self.bags or self.letters)

    @property
    def events(self) -> int:
        return sum(event_count(event) for bag in self.bags for event in bag.events)


class Way(Protocol):
    """A place that keeps parcels."""

    def keep(self, parcels: Sequence[Parcel]) -> str:
        """Keep parcels and name where; on return they are durable. Raises NotKept."""
        ...

    def unready(self) -> str | None:
        """Why nothing could be kept at this moment, or None."""
        ...

    def close(self) -> None:
        """Let go of connections and files."""
        ...


class Through:
    """A transport, and a place for dead letters, as a way; `seconds` bounds each wait."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        letters: DeadLetters,
        *,
        seconds: float,
        unready: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._name = name
        self._transport = transport
        self._letters = letters
        self._seconds = seconds
        self._unready = unready

    def keep(self, parcels: Sequence[Parcel]) -> str:
        documents = [document for parcel in parcels for document in parcel.documents]
        for document in documents:
            self._transport.publish(document)
        if documents:  # They are there for good before a bag names them.
            self._flush()
        for parcel in parcels:
            for bag in parcel.bags:
                self._transport.send(bag)
        self._flush()
        letters = [letter for parcel in parcels for letter in parcel.letters]
        if letters:
            try:
                self._letters.put(letters)
            except DeadLettersUnavailable as error:
                raise NotKept(str(error), remedy=_REMEDY) from error
        return self._name

    def unready(self) -> str | None:
        return self._unready()

    def close(self) -> None:
        self._transport.close()
        self._letters.close()

    def _flush(self) -> None:
        left = self._transport.flush(self._seconds)
        if left:
            raise NotKept(f"{self._name} has not taken {left} messages", remedy=_REMEDY)


class WithSpool:
    """Kafka, and the spool in its place while the broker does not acknowledge.

    What Kafka did not acknowledge in time is spooled and may come there too: a repeat changes nothing.
    While the broker is away nothing more is handed to it, so little lies in memory; `on_return` is called
    when it is back.
    """

    def __init__(
        self,
        transport: KafkaTransport,
        letters: DeadLetters,
        spool: Way,
        *,
        seconds: float,
        metrics: Metrics,
        on_return: Callable[[], object] = lambda: None,
    ) -> None:
        self._transport = transport
        self._kafka = Through(KAFKA, transport, letters, seconds=seconds)
        self._spool = spool
        self._metrics = metrics
        self._on_return = on_return
        self._away = False

    def keep(self, parcels: Sequence[Parcel]) -> str:
        if self._away and self._transport.flush(0) == 0:
            log.info("the broker acknowledges again")
            self._say(False)
            self._on_return()
        if not self._away:
            try:
                return self._kafka.keep(parcels)
            except NotKept as error:
                trouble = self._transport.last_error or error.detail
                log.warning("the broker does not acknowledge: the spool is used", extra={"reason": trouble})
                self._say(True)
        return self._spool.keep(parcels)

    def unready(self) -> str | None:
        return self._spool.unready() if self._away else None

    def close(self) -> None:
        self._kafka.close()
        self._spool.close()

    def _say(self, away: bool) -> None:
        self._away = away
        self._metrics.away.set(away)


class Keeper(threading.Thread):
    """Keeps parcels in the order in which they come."""

    def __init__(self, way: Way, metrics: Metrics) -> None:
        super().__init__(name="keeper", daemon=True)
        self.way = way
        self._metrics = metrics
        self._queue: queue.SimpleQueue[tuple[Parcel, Future[None]] | None] = queue.SimpleQueue()

    def keep(self, parcel: Parcel) -> Future[None]:
        """A promise that is kept when the parcel is durable, and else fails with NotKept."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # Who no longer waits (a server that ends) cancels nothing.
        self._queue.put((parcel, future))
        self._metrics.waiting.inc()
        return future

    def close(self) -> None:
        """Keep what has come, then let go of everything."""
        self._queue.put(None)
        self.join()
        self.way.close()

    def run(self) -> None:
        more = True
        while more:
            taken = [self._queue.get()]  # 1
            while len(taken) < _ROUND and not self._queue.empty():
                taken.append(self._queue.get())
            waiting = [each for each in taken if each is not None]
            more = len(waiting) == len(taken)
            if waiting:
                self._round(waiting)

    def _round(self, waiting: list[tuple[Parcel, Future[None]]]) -> None:
        parcels = [parcel for parcel, _ in waiting]
        failure: Exception | None = None
        try:
            where = self.way.keep(parcels)  # 2, 3
            self._metrics.events.labels(where=where).inc(sum(parcel.events for parcel in parcels))
        except NotKept as error:
            log.error("nothing is kept", extra={"reason": error.detail, "requests": len(parcels)})
            failure = error
        except Exception as error:
            log.exception("an error that nobody foresaw")
            if len(waiting) > 1:  # One is to blame, and the others must not pay: a repeat changes nothing.
                for each in waiting:
                    self._round([each])
                return
            failure = NotKept(f"an error that nobody foresaw: {error}", remedy=_REMEDY)
        self._metrics.waiting.dec(len(waiting))
        for _, future in waiting:  # 4
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(failure)
