"""`python -m headstream.stream_processors`: one tracker worker, until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server

from headstream.stream_processors.app import run
from headstream.stream_processors.errors import TrackerError
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.tracker import describe, track

log = logging.getLogger(__name__)


def main() -> None:
    """Run a worker with the settings of the environment."""
    try:
        settings = Settings.from_env(os.environ)
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        for noisy in ("faust", "mode", "aiokafka"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        _serve(settings.metrics_host, settings.metrics_port, registry)
        run(settings, metrics, datadir=_folder(), track=track, describe=describe)
    except TrackerError as error:
        sys.exit(f"headstream tracker: {error}")


def _folder() -> str:
    """The folder that Faust wants even without tables; one for all workers, so kill -9 leaves no litter."""
    folder = Path(tempfile.gettempdir()) / f"headstream-tracker-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder)


def _serve(host: str, port: int | None, registry: CollectorRegistry) -> None:
    """Offer the metrics; a port in use costs the metrics, never the pipeline."""
    if port is None:
        return
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        log.warning("metrics are not offered on %s:%d: %s", host, port, error)


if __name__ == "__main__":
    main()
