"""The long-running processes that put siblings together: the embedded service and the relay."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.embedded import Pipeline, Shelf
from headstream.errors import CommandError
from headstream.places import Places
from headstream.query_api.__main__ import listen
from headstream.query_api.settings import Settings as ApiSettings
from headstream.query_api.store import OxigraphStore as QueryableOxigraph
from headstream.schemas.facts import Identified
from headstream.sinks.dead_letters import FileDeadLetters
from headstream.sinks.freshness import FreshnessLog
from headstream.sinks.metrics import Metrics
from headstream.sinks.stores.oxigraph import OxigraphStore

log = logging.getLogger(__name__)


def serve(places: Places) -> None:
    """Run the embedded mode until told to stop: the spool into Oxigraph, the query API on top.

    On SIGTERM the API finishes what it answers, and what lies in the spool is taken in.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    api = ApiSettings.from_env(os.environ)
    api.check_exposure()
    store = OxigraphStore(places.store)
    pipeline = open_pipeline(places, store, base=api.base_iri)
    stop = threading.Event()
    taker = threading.Thread(
        target=_take, args=(pipeline, CaptureSettings.from_env(os.environ), places, stop), name="taker"
    )
    taker.start()
    try:
        listen(api, QueryableOxigraph(store.graph, max_concurrent=api.max_concurrent))
    finally:
        stop.set()
        taker.join()
        pipeline.close()


def open_pipeline(places: Places, store: OxigraphStore, *, base: str) -> Pipeline:
    """The pipeline of a data directory over a store that is open."""
    freshness = os.environ.get("HEADSTREAM_FRESHNESS_LOG")
    return Pipeline(
        store,
        Shelf(places.documents),
        FileDeadLetters(places.dead_letters),
        base=base,
        metrics=Metrics(),
        observer=_freshness_log(Path(freshness)) if freshness else None,
    )


def _freshness_log(path: Path) -> Callable[[list[Identified], float], None]:
    log = FreshnessLog(path)
    return lambda written, at: log.note([time for one in written for time in one.event_times], at)


def relay(
    places: Places, *, watch: bool, stop: threading.Event, tell: Callable[[str], None] = lambda line: None
) -> int:
    """Ship the spool to Kafka; the number of messages that nobody acknowledged."""
    settings = CaptureSettings.from_env(os.environ)
    transport = KafkaTransport.from_settings(settings)
    _say_ready()
    try:
        shipped = ship(_spool(settings), transport, watch=watch, stop=stop, bag_size=settings.bag_size)
    finally:
        transport.close()
    if not watch:
        tell(f"shipped {shipped.events} events in {shipped.bags} bags and {shipped.documents} documents")
    return shipped.waiting


def _take(pipeline: Pipeline, settings: CaptureSettings, places: Places, stop: threading.Event) -> None:
    ship(
        _spool(settings),
        pipeline,
        watch=True,
        stop=stop,
        bag_size=settings.bag_size,
        archive=places.archive,
    )


def _spool(settings: CaptureSettings) -> Path:
    if settings.spool is None:
        raise CommandError("HEADSTREAM_SPOOL is off, so there is nothing to take; set it to a folder")
    return settings.spool


def _say_ready() -> None:
    """Readiness for those who wait for it (HEADSTREAM_READY_FILE)."""
    path = os.environ.get("HEADSTREAM_READY_FILE")
    if path:
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
