"""`python -m headstream.sinks`: one worker of the sink, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from headstream.schemas.configuration import configured
from headstream.schemas.confluent import use
from headstream.schemas.errors import RegistryUnusable, SettingsUnusable
from headstream.schemas.exposition import serve
from headstream.schemas.logs import configure
from headstream.sinks.consumer import KafkaSource
from headstream.sinks.dead_letters import KafkaDeadLetters
from headstream.sinks.errors import ConfigurationError, SinkError
from headstream.sinks.freshness import FreshnessLog
from headstream.sinks.metrics import Metrics
from headstream.sinks.run import Sink
from headstream.sinks.settings import Settings
from headstream.sinks.stores import OxigraphStore, Room, Store, open_store
from headstream.sinks.stores.room import StoreOnDisk

log = logging.getLogger("headstream.sinks")


def main(environ: Mapping[str, str]) -> int:
    """Run a worker with the settings of the environment; 0 after a clean end."""
    try:
        configure(configured(environ))
    except SettingsUnusable as error:
        print(f"headstream sink: {error}", file=sys.stderr)
        return 1
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        work(_settings(environ), stop)
    except SinkError as error:
        log.error("the sink cannot go on", extra={"error": str(error), "reason": error.reason})
        return 1
    return 0


def _settings(environ: Mapping[str, str]) -> Settings:
    try:
        return Settings.from_env(configured(environ))
    except SettingsUnusable as error:
        raise ConfigurationError(str(error)) from error


def work(settings: Settings, stop: threading.Event, metrics: Metrics | None = None) -> None:
    """Carry identified facts into the store until `stop` is set. Raises SinkError if it cannot begin."""
    metrics = metrics or Metrics()
    try:
        use(settings.registry)
    except RegistryUnusable as error:
        raise ConfigurationError(str(error)) from error
    store, room = _store(settings)
    if room is not None:
        metrics.watch(room)
    dead_letters = KafkaDeadLetters(settings.client(), settings.topics.dead_letters)
    source = KafkaSource(
        settings.client(),
        settings.topics.identified,
        group=settings.group,
        instance=settings.instance,
        session_seconds=settings.session_seconds,
        poll_seconds=settings.poll_seconds,
        commit_failed=metrics.commits_failed.inc,
    )
    sink = Sink(
        source=source,
        store=store,
        dead_letters=dead_letters,
        base=settings.base_iri,
        stop=stop,
        metrics=metrics,
        limits=settings.limits,
        schedule=settings.schedule,
        drain_seconds=settings.drain_seconds,
        observer=FreshnessLog(settings.freshness_log) if settings.freshness_log else None,
    )
    source.revoked = sink.revoked
    source.has_joined = partial(_ready, settings.ready_file)
    if settings.metrics_port is not None:
        unready = partial(_unready, source, sink, stop, room)
        serve(metrics.registry, settings.metrics_host, settings.metrics_port, unready)
    log.info("starting", extra={"topic": settings.topics.identified, "group": settings.group})
    try:
        sink.run()
    finally:
        dead_letters.close()
        store.close()
        if settings.ready_file:
            settings.ready_file.unlink(missing_ok=True)
    log.info("ended")


def _store(settings: Settings) -> tuple[Store, Room | None]:
    """The store, and the disk that is watched for it: that of a folder, or the one that was named."""
    store = open_store(settings.store_url, free_bytes=settings.free_bytes)
    if isinstance(store, OxigraphStore):
        return store, store.room
    if settings.store_disk is None:
        return store, None
    room = Room(settings.store_disk, settings.free_bytes)
    return StoreOnDisk(store, room), room


def _unready(source: KafkaSource, sink: Sink, stop: threading.Event, room: Room | None) -> str | None:
    """Why messages do not get into the store just now, as far as it is ours to say."""
    if room is not None and (short := room.short()) is not None:
        return short
    if sink.blocked:
        return "the dead-letter topic cannot be written, so nothing more is committed until it can"
    if stop.is_set():
        return "the worker is told to stop"
    said = source.trouble.refused or source.trouble.last
    return None if source.joined else f"no partitions yet{'' if said is None else f': {said}'}"


def _ready(file: Path | None) -> None:
    """Say that messages are coming in: readiness for those who wait for it."""
    log.info("ready")
    if file is not None:
        file.write_text(f"{os.getpid()}\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main(os.environ))
