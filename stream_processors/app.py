"""The Faust worker around the pure tracker, in the one pattern that lost nothing in crash tests.

No tables (in crash tests Faust's lost 1 event in 700), `noack_take` and an explicit
acknowledgement after the broker's (80,000 of 80,000 through 76 kills), one coroutine an agent.
Importing this module starts nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import faust
from faust.types import EventT, TopicT

from headstream.schemas.confluent import Frame
from headstream.schemas.facts import Origin
from headstream.stream_processors import topics
from headstream.stream_processors.agents import BagWork, DocumentWork
from headstream.stream_processors.dead_letters import Outgoing, Readiness, Sender
from headstream.stream_processors.definitions import DefinitionReader
from headstream.stream_processors.errors import InvalidSetting, TopicsUnusable
from headstream.stream_processors.handling import Describe, Incoming, Track
from headstream.stream_processors.lag import LagReader
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.parked import Redrive
from headstream.stream_processors.positions import RewindingConsumer
from headstream.stream_processors.settings import Settings, framing

log = logging.getLogger(__name__)

_START_SECONDS = 120.0
_PAUSE = 1.0

Finish = Callable[[Sequence[Incoming]], Awaitable[None]]


def make_app(
    settings: Settings,
    definitions: DefinitionReader,
    metrics: Metrics,
    *,
    datadir: str,
    track: Track,
    describe: Describe,
    readiness: Readiness | None = None,
    frame: Frame = lambda topic, value: value,
) -> faust.App:
    """An app with the two agents; `definitions` must have been started before it runs."""
    names = settings.topics
    readiness = readiness or Readiness()
    app = faust.App(
        settings.group,
        broker=";".join(f"kafka://{host}" for host in settings.bootstrap.split(",")),
        broker_credentials=credentials(settings),
        datadir=datadir,
        web_enabled=False,
        producer_acks=-1,
        # aiokafka knows only lz4 at its highest level: 280 us a bag of facts and 13-fold; zstd 29 us
        # and 34-fold (load_tests/tracker_rate).
        producer_compression_type="zstd",
        producer_max_batch_size=256 * 1024,
        producer_max_request_size=topics.DEAD_LETTER_BYTES,
        producer_request_timeout=30.0,  # Faust's default is 20 minutes: a lost broker would not show
        # What was begun and not finished comes again; waiting for it would hold up each rebalance.
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        # Faust's default of 60 s keeps the partitions of a killed worker idle that long (measured:
        # 117 s until the last bag was through after five kills).
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.session_seconds / 4,
        broker_rebalance_timeout=2 * settings.session_seconds,
        consumer_auto_offset_reset="earliest",
        # Static membership: a worker that is back within its session has its partitions at once, and
        # nobody else's move.
        consumer_group_instance_id=settings.instance,
        topic_allow_declare=False,
        topic_disable_leader=True,
        worker_redirect_stdouts=False,
    )
    app.transport.Consumer = RewindingConsumer  # type: ignore[misc]
    out = {name: _raw(app, name) for name in (names.identified, names.dead_letters, names.events)}

    async def produce(message: Outgoing) -> Awaitable[object]:
        # A dead letter holds the original bytes, whatever they are.
        dead = message.topic == names.dead_letters
        value = message.value if dead else frame(message.topic, message.value)
        sent: Awaitable[object] = await out[message.topic].send(
            key=message.key, value=value, headers=message.headers
        )
        return sent

    sender = Sender(produce, metrics, readiness)
    bags = BagWork(settings, definitions, sender, metrics, track)
    documents = DocumentWork(settings, Redrive(settings, sender, metrics), sender, metrics, describe)

    @app.agent(_raw(app, names.events), concurrency=1, name="bags")
    async def _bags(stream: Any) -> None:
        await follow(stream, settings, metrics, bags.finish)

    @app.agent(_raw(app, names.definitions), concurrency=1, name="documents")
    async def _documents(stream: Any) -> None:
        await follow(stream, settings, metrics, documents.finish)

    @app.on_rebalance_complete.connect(weak=False)
    async def _assigned(sender: faust.App, **_: Any) -> None:
        readiness.assigned = True
        assigned = app.consumer.assignment()
        readiness.partitions = frozenset(tp.partition for tp in assigned if tp.topic == names.events)
        log.info("partitions assigned", extra={"partitions": sorted(readiness.partitions)})
        if settings.ready_file is not None:
            settings.ready_file.write_text(f"{os.getpid()}\n", encoding="ascii")

    return app


def _raw(app: faust.App, name: str) -> TopicT:
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


async def follow(stream: Any, settings: Settings, metrics: Metrics, finish: Finish) -> None:
    """Take, finish, acknowledge: a crash repeats messages and loses none.

    No exception leaves: Faust would acknowledge the event behind it. A batch that cannot be
    finished is tried again, and nothing after it is read meanwhile.
    """
    async for events in stream.noack_take(settings.take, within=settings.within):  # 1
        batch = [incoming(event) for event in events]
        while True:
            try:
                await finish(batch)  # 2: the broker has the results
                break
            except Exception as error:
                metrics.retries.labels(step="batch").inc()
                log.exception("a batch of %d messages is tried again: %s", len(batch), error)
                await asyncio.sleep(_PAUSE)
        for event in events:
            await stream.ack(event)  # 3: only now may the offset move


def incoming(event: EventT[bytes]) -> Incoming:
    """The message behind an event of Faust, as bytes."""
    message = event.message
    headers: Any = message.headers or ()
    return Incoming(
        origin=Origin(topic=message.topic, partition=message.partition, offset=message.offset),
        key=message.key,
        value=message.value,
        headers=tuple(headers.items() if hasattr(headers, "items") else headers),
        at=message.timestamp,
    )


def credentials(settings: Settings) -> Any:
    """What aiokafka wants to know of librdkafka's security options; None for plain text."""
    security = settings.security
    protocol = security.get("security.protocol", "PLAINTEXT").upper()
    if protocol == "PLAINTEXT":
        return None
    context = None
    if protocol in {"SSL", "SASL_SSL"}:
        context = ssl.create_default_context(cafile=security.get("ssl.ca.location"))
        if "ssl.certificate.location" in security:
            context.load_cert_chain(
                security["ssl.certificate.location"],
                security.get("ssl.key.location"),
                security.get("ssl.key.password"),
            )
        if security.get("ssl.endpoint.identification.algorithm", "https") == "none":
            context.check_hostname = False
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if protocol not in {"SASL_PLAINTEXT", "SASL_SSL"}:
        raise InvalidSetting(
            f"HEADSTREAM_KAFKA_SECURITY_PROTOCOL is {protocol!r}; "
            "it must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
        )
    return faust.SASLCredentials(
        username=security.get("sasl.username"),
        password=security.get("sasl.password"),
        mechanism=security.get("sasl.mechanism", security.get("sasl.mechanisms", "PLAIN")),
        ssl_context=context,
    )


class Worker(faust.Worker):
    """A Faust worker that is gone a bounded time after it was told to stop."""

    def __init__(self, app: faust.App, settings: Settings, readiness: Readiness) -> None:
        super().__init__(app, quiet=True, redirect_stdouts=False, override_logging=False)
        self.spinner = None
        self._drain = settings.drain_seconds
        self._readiness = readiness

    def _on_sigterm(self) -> None:
        self._limit()
        super()._on_sigterm()

    def _on_sigint(self) -> None:
        self._limit()
        super()._on_sigint()

    def _limit(self) -> None:
        """Leave at the latest when the grace period ends: what is unfinished comes again."""
        self._readiness.stopping = True
        log.info("told to stop")
        timer = threading.Timer(self._drain, _leave)
        timer.daemon = True
        timer.start()


def _leave() -> None:
    log.warning("not drained in time; unfinished messages will be read again")
    logging.shutdown()
    os._exit(0)


def prepare(settings: Settings) -> None:
    """Make missing topics if that is wished, and refuse to work with topics that lose messages."""
    if settings.create_topics:
        for name in topics.create(settings):
            log.info("topic made", extra={"topic": name})
    problems = topics.check(settings)
    missing = [problem for problem in problems if "does not exist" in problem]
    if missing:
        raise TopicsUnusable(
            f"{' '.join(missing)} Make them, or set HEADSTREAM_CREATE_TOPICS=true to have them made."
        )
    for problem in problems:
        log.warning("%s", problem)


def run(
    settings: Settings,
    metrics: Metrics,
    *,
    datadir: str,
    track: Track,
    describe: Describe,
    readiness: Readiness | None = None,
) -> None:
    """Run a worker until it is told to stop; ends in SystemExit."""
    frame = framing(settings)
    prepare(settings)
    readiness = readiness or Readiness()
    definitions = DefinitionReader(settings, metrics)
    definitions.start(_START_SECONDS)
    lag = LagReader(settings, metrics, lambda: readiness.partitions)
    if settings.metrics_port is not None:
        lag.start()
    try:
        app = make_app(
            settings,
            definitions,
            metrics,
            datadir=datadir,
            track=track,
            describe=describe,
            readiness=readiness,
            frame=frame,
        )
        log.info("tracker begins", extra={"group": settings.group, "broker": settings.bootstrap})
        Worker(app, settings, readiness).execute_from_commandline()
    finally:
        lag.stop()
        definitions.stop()
