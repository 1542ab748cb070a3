"""The long-running processes that put siblings together: the embedded service and the relay."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from headstream.capture.owner import writer_lives
from headstream.capture.reading import spools
from headstream.capture.settings import Settings as CaptureSettings
from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.embedded import Pipeline, Shelf
from headstream.errors import CommandError
from headstream.places import Places
from headstream.query_api.__main__ import listen
from headstream.query_api.settings import Settings as ApiSettings
from headstream.query_api.store import OxigraphStore as QueryableOxigraph
from headstream.relay_metrics import RelayMetrics
from headstream.schemas.exposition import serve as offer
from headstream.schemas.facts import Identified
from headstream.schemas.logs import configure
from headstream.services.ports import HOST
from headstream.sinks.dead_letters import FileDeadLetters, Settlements
from headstream.sinks.freshness import FreshnessLog
from headstream.sinks.metrics import Metrics
from headstream.sinks.settings import Settings as SinkSettings
from headstream.sinks.stores.oxigraph import OxigraphStore
from headstream.stream_processors.metrics import Metrics as TrackerMetrics

log = logging.getLogger(__name__)
# A process that is told to stop has 10 s: for the answers that are under way, then for what is left in
# the spool. What is not taken in by then is there at the next start.
_GRACE_SECONDS = 4
_LAST_SECONDS = 4.0
_LOOK_SECONDS = 2.0


def serve(places: Places) -> None:
    """Run the embedded mode until told to stop: the spool into Oxigraph, the query API on top.

    On SIGTERM the API finishes what it answers, and what lies in the spool is taken in.
    """
    configure(os.environ)
    api = ApiSettings.from_env(os.environ)
    api.check_exposure()
    sink = SinkSettings.from_env({**os.environ, "HEADSTREAM_STORE_URL": "memory:"})
    store = OxigraphStore(places.store, free_bytes=sink.free_bytes)
    registry = CollectorRegistry()
    pipeline = open_pipeline(places, store, base=api.base_iri, registry=registry)
    taker = _Taker(pipeline, CaptureSettings.from_env(os.environ), places)
    # uvicorn raises the signal that ended it once more: by default that would end us before the spool is in.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    taker.start()
    try:
        queryable = QueryableOxigraph(store.graph, max_concurrent=api.max_concurrent)
        listen(api, queryable, also=[registry], grace_seconds=_GRACE_SECONDS)
    except KeyboardInterrupt:
        log.info("told to stop")
    finally:
        taker.stop.set()
        taker.join()
        pipeline.close()
    if taker.failed is not None:
        raise CommandError(f"the spool could not be taken in: {taker.failed}")


def open_pipeline(
    places: Places, store: OxigraphStore, *, base: str, registry: CollectorRegistry | None = None
) -> Pipeline:
    """The pipeline of a data directory over a store that is open."""
    freshness = os.environ.get("HEADSTREAM_FRESHNESS_LOG")
    metrics = Metrics(registry)
    if store.room is not None:
        metrics.watch(store.room)
    return Pipeline(
        store,
        Shelf(places.documents),
        FileDeadLetters(places.dead_letters),
        base=base,
        settlements=Settlements(places.settlements),
        metrics=metrics,
        tracker_metrics=None if registry is None else TrackerMetrics(registry),
        observer=_freshness_log(Path(freshness)) if freshness else None,
    )


def _freshness_log(path: Path) -> Callable[[list[Identified], float], None]:
    log = FreshnessLog(path)
    return lambda written, at: log.note([time for one in written for time in one.event_times], at)


def relay(
    root: Path | None,
    *,
    watch: bool,
    stop: threading.Event,
    timeout: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> int:
    """Ship a folder of spools (None: that of the settings) to Kafka; the number not acknowledged."""
    settings = CaptureSettings.from_env(os.environ)
    folder = root or _spool(settings)
    transport = KafkaTransport.from_settings(settings)
    registry = CollectorRegistry()
    metrics = RelayMetrics(registry, lambda: transport.waiting, lambda: transport.last_error)
    if watch:
        configure(os.environ)
        _show(registry, metrics)
        threading.Thread(target=_tell_trouble, args=(metrics, stop), name="trouble", daemon=True).start()
        log.info("relay begins", extra={"spool": str(folder), "broker": settings.bootstrap})
    _say_ready()
    try:
        shipped = ship(
            folder,
            transport,
            watch=watch,
            stop=stop,
            timeout=timeout,
            bag_size=settings.bag_size,
            silent_seconds=settings.silent_seconds,
            progress=metrics.shipped,
        )
    finally:
        transport.close()
    if watch:
        log.info("relay ends", extra={"events": shipped.events, "waiting": shipped.waiting})
    if not watch:
        if shipped.waiting and transport.last_error is not None:
            tell(f"the broker is not reached: {transport.last_error}")
        tell(f"shipped {shipped.events} events in {shipped.bags} bags and {shipped.documents} documents")
        stay = sum(writer_lives(each, settings.silent_seconds) for each in spools(folder))
        if stay:
            tell(
                f"{stay} spools stay for what may still come: they are being written, here or on other hosts"
            )
    return shipped.waiting


def _show(registry: CollectorRegistry, metrics: RelayMetrics) -> None:
    """Offer the metrics of the relay where HEADSTREAM_RELAY_METRICS_PORT says, if it says anything."""
    port = os.environ.get("HEADSTREAM_RELAY_METRICS_PORT")
    if not port:
        return
    if not port.isdecimal() or int(port) > 65535:
        raise CommandError(f"HEADSTREAM_RELAY_METRICS_PORT is {port!r}; it must be a port, 1 to 65535")
    host = os.environ.get("HEADSTREAM_METRICS_HOST") or HOST
    if int(port):
        offer(registry, host, int(port), metrics.unready)


def _tell_trouble(metrics: RelayMetrics, stop: threading.Event) -> None:
    """Log when nothing gets through any more, and when it does again."""
    held = False
    while not stop.wait(_LOOK_SECONDS):
        reason = metrics.unready()
        if reason is not None and not held:
            log.warning("nothing gets through", extra={"reason": reason})
        elif reason is None and held:
            log.info("the broker takes messages again")
        held = reason is not None


class _Taker(threading.Thread):
    """Takes the spool in until `stop` is set, then once more what is left; ends the process if it fails."""

    def __init__(self, pipeline: Pipeline, settings: CaptureSettings, places: Places) -> None:
        super().__init__(name="taker")
        self.stop = threading.Event()
        self.failed: Exception | None = None
        self._pipeline = pipeline
        self._settings = settings
        self._spool = _spool(settings)
        self._archive = places.archive

    def run(self) -> None:
        try:
            self._ship(watch=True, stop=self.stop)
            self._ship(watch=False, timeout=_LAST_SECONDS)
        except Exception as error:
            # Without it the API would go on answering from a graph that no longer grows.
            log.exception("the spool can no longer be taken in")
            self.failed = error
            os.kill(os.getpid(), signal.SIGTERM)

    def _ship(
        self, *, watch: bool, stop: threading.Event | None = None, timeout: float | None = None
    ) -> None:
        ship(
            self._spool,
            self._pipeline,
            watch=watch,
            stop=stop,
            timeout=timeout,
            bag_size=self._settings.bag_size,
            silent_seconds=self._settings.silent_seconds,
            archive=self._archive,
            # Between two rounds: what somebody asked for is written with the next.
            progress=lambda _: self._redrive(),
        )

    def _redrive(self) -> None:
        sent = self._pipeline.redrive()
        if sent:
            log.info("dead letters sent again: %d", sent)


def _spool(settings: CaptureSettings) -> Path:
    if settings.spool is None:
        raise CommandError("HEADSTREAM_SPOOL is off, so there is nothing to take; set it to a folder")
    return settings.spool


def _say_ready() -> None:
    """Readiness for those who wait for it (HEADSTREAM_READY_FILE)."""
    path = os.environ.get("HEADSTREAM_READY_FILE")
    if path:
        Path(path).write_text(f"{os.getpid()}\n", encoding="ascii")
