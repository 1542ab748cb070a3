"""One gateway with all that it opens: the way that events go, what it follows, the server, and its end."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import uvicorn

from headstream import live
from headstream.asking import api_url
from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.embedded import Shelf
from headstream.errors import NotUp
from headstream.gateway.app import create_app
from headstream.gateway.desk import Desk
from headstream.gateway.filed_letters import FiledLetters
from headstream.gateway.intake import Intake
from headstream.gateway.keeping import SPOOL, Keeper, Parcel, Through, Way, WithSpool
from headstream.gateway.learning import Folders, Source, Topic, follow
from headstream.gateway.metrics import Metrics
from headstream.gateway.reading import Reading
from headstream.gateway.remembering import Notes
from headstream.gateway.settings import Settings
from headstream.gateway.spooling import SpoolTransport
from headstream.places import Places
from headstream.query_api.__main__ import open_store
from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.settings import Settings as ApiSettings
from headstream.query_api.store import Limits, QueryStore
from headstream.schemas.documents import Document
from headstream.schemas.topics import Topics
from headstream.sinks.dead_letters import FileDeadLetters, KafkaDeadLetters, Settlements
from headstream.stream_processors.settings import Settings as TrackerSettings

log = logging.getLogger(__name__)
# A process that is told to stop has 10 s: for requests that are under way, then for what they said.
_GRACE_SECONDS: Final = 4
_LOOK_SECONDS: Final = 1.0
_SWITCH_SECONDS: Final = 0.001
_HOUR: Final = 3600.0
_RELAY_POLL: Final = 0.5
_RELAY_AGAIN: Final = 5.0
# A look at a broker must not hold up the end of the gateway.
_REACH_SECONDS: Final = 2.0


def serve(places: Places, environ: Mapping[str, str]) -> None:
    """Serve until told to stop; what was sent until then is answered when it is durable."""
    settings = Settings.from_env(environ)
    settings.check_exposure()
    # The keeper's thread must not wait long for the loop's: a bag is translated in some milliseconds.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # The steps that are remembered are many and live long: a full collection of them would stop all answers.
    gc.set_threshold(50_000, 50, 1000)
    # uvicorn raises the signal that ended it once more: by default that would end us before the drain.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with opened(settings, places, environ) as desk:
            log.info("gateway begins", extra={"host": settings.host, "port": settings.port})
            uvicorn.run(
                create_app(desk),
                host=settings.host,
                port=settings.port,
                log_config=None,  # It writes as the rest of us does (schemas/logs.py).
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
    except KeyboardInterrupt:
        pass
    log.info("gateway ends")


@contextmanager
def opened(settings: Settings, places: Places, environ: Mapping[str, str]) -> Iterator[Desk]:
    """A desk with all that is behind it; on leaving, what has come is kept and everything closed."""
    metrics = Metrics()
    api = ApiSettings.from_env(environ)
    bootstrap = live.bootstrap(places, environ)
    capture = replace(CaptureSettings.from_env(environ), bootstrap=bootstrap)
    producer = f"gateway-{socket.gethostname()}-{os.getpid()}"
    notes = Notes(places.gateway / "runs")
    intake = Intake(settings, metrics, notes, now=lambda: time.time_ns() // 1000, producer=producer)
    with ExitStack() as last:
        spool = SpoolTransport(capture, producer)
        letters = FileDeadLetters(places.gateway_letters)
        way: Way = Through(SPOOL, spool, letters, seconds=settings.ack_seconds, unready=spool.unready)
        # Whoever takes the spool knows these a little later than we do.
        shelf = Shelf(places.gateway / "documents")
        sources: list[Source] = [Folders([places.gateway / "documents", places.documents])]
        if bootstrap is not None:
            way = WithSpool(
                KafkaTransport.from_settings(capture),
                _letter_topic(capture, settings.ack_seconds),
                way,
                seconds=settings.ack_seconds,
                metrics=metrics,
                on_return=spool.leave,
            )
            topic = Topic(replace(TrackerSettings.from_env(environ), bootstrap=bootstrap))
            last.callback(topic.close)
            sources.append(topic)
        keeper = Keeper(_Shelving(way, shelf), metrics)

        def learn(document: Document) -> None:
            intake.learn(document)
            spool.know(document)

        follow(sources, learn)
        last.enter_context(_regularly("definitions", _LOOK_SECONDS, lambda: follow(sources, learn)))
        last.enter_context(_regularly("notes", _HOUR, lambda: notes.forget_older(settings.remember_seconds)))
        notes.forget_older(settings.remember_seconds)
        if bootstrap is not None:
            last.enter_context(_relay(capture))
            filed = _filed(capture, places, bootstrap)
            last.enter_context(_regularly("filed letters", _RELAY_AGAIN, filed.bring))
        keeper.start()
        last.callback(keeper.close)
        graph = _Graph(places, api)
        last.callback(graph.close)
        limits = Limits(seconds=api.timeout_seconds, rows=api.max_rows, bytes=api.max_bytes)
        yield Desk(settings, metrics, intake, keeper, Reading(graph.find, api.base_iri, limits))


def published(places: Places, environ: Mapping[str, str]) -> list[Document]:
    """The documents that are published for this data directory, the oldest first."""
    found = Folders([places.gateway / "documents", places.documents])()
    bootstrap = live.bootstrap(places, environ)
    if bootstrap is not None:
        topic = Topic(replace(TrackerSettings.from_env(environ), bootstrap=bootstrap))
        found += topic()
        topic.close()
    return found


@dataclass(slots=True)
class _Shelving:
    """A way that also keeps documents for the next start: the spool brings them to others, not back to us."""

    way: Way
    shelf: Shelf

    def keep(self, parcels: Sequence[Parcel]) -> str:
        where = self.way.keep(parcels)
        for document in (document for parcel in parcels for document in parcel.documents):
            self.shelf.put(document)
        return where

    def unready(self) -> str | None:
        return self.way.unready()

    def close(self) -> None:
        self.way.close()


class _Graph:
    """The store of the settings, else the API that is up when somebody asks; None if there is neither."""

    def __init__(self, places: Places, settings: ApiSettings) -> None:
        self._places = places
        self._settings = settings
        self._store: QueryStore | None = None
        self._url: str | None = None
        self._lock = threading.Lock()

    def find(self) -> QueryStore | None:
        with self._lock:
            if self._settings.store_url or self._settings.store_path:
                if self._store is None:
                    self._store = open_store(self._settings)
                return self._store
            url = api_url(self._places)
            if url != self._url:
                self.close()
                self._url = url
                if url is not None:
                    self._store = SparqlEndpoint(f"{url}/api/v1/sparql", token=self._settings.token)
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = self._url = None


def _filed(capture: CaptureSettings, places: Places, bootstrap: str) -> FiledLetters:
    def reachable() -> bool:
        try:
            live.demand_broker(bootstrap, _REACH_SECONDS)
        except NotUp:
            return False
        return True

    return FiledLetters(
        places.gateway_letters,
        Settlements(places.gateway_settlements),
        open=lambda: _letter_topic(capture, _REACH_SECONDS),
        reachable=reachable,
    )


def _letter_topic(capture: CaptureSettings, seconds: float) -> KafkaDeadLetters:
    configuration = {
        "bootstrap.servers": capture.bootstrap or "",
        **dict(capture.kafka),
        "client.id": "headstream-gateway",
    }
    return KafkaDeadLetters(configuration, Topics(capture.topic_prefix).dead_letters, seconds=seconds)


@contextmanager
def _regularly(name: str, seconds: float, effect: Callable[[], object]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            try:
                effect()
            except Exception:
                log.exception("%s: an error that nobody foresaw", name)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _relay(capture: CaptureSettings) -> Iterator[None]:
    """Bring to Kafka what was spooled while it was away, now or by an earlier gateway."""
    transport = KafkaTransport.from_settings(capture)
    stop = threading.Event()
    spool = capture.spool
    assert spool is not None  # SpoolTransport has been made with it.

    def run() -> None:
        while not stop.is_set():
            try:
                ship(
                    spool,
                    transport,
                    watch=True,
                    stop=stop,
                    poll=_RELAY_POLL,
                    bag_size=capture.bag_size,
                    silent_seconds=capture.silent_seconds,
                )
            except Exception:  # What is spooled stays there, for this thread or for another relay.
                log.exception("the spool cannot be brought to the broker")
                stop.wait(_RELAY_AGAIN)

    thread = threading.Thread(target=run, name="relay", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        transport.close()
