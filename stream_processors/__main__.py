"""`python -m headstream.stream_processors`: one tracker worker, until SIGTERM."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from prometheus_client import CollectorRegistry

from headstream.schemas.configuration import configured
from headstream.schemas.errors import SettingsUnusable
from headstream.schemas.exposition import serve
from headstream.schemas.logs import configure
from headstream.stream_processors.app import run
from headstream.stream_processors.dead_letters import Readiness
from headstream.stream_processors.errors import TrackerError
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.tracker import describe, track


def main() -> None:
    """Run a worker with the settings of the environment."""
    try:
        environ = configured(os.environ)
        settings = Settings.from_env(environ)
        configure(environ)
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        readiness = Readiness()
        if settings.metrics_port is not None:
            serve(registry, settings.metrics_host, settings.metrics_port, readiness.unready)
        run(settings, metrics, datadir=_folder(), track=track, describe=describe, readiness=readiness)
    except (TrackerError, SettingsUnusable) as error:
        sys.exit(f"headstream tracker: {error}")


def _folder() -> str:
    """The folder that Faust wants even without tables; one for all workers, so kill -9 leaves no litter."""
    folder = Path(tempfile.gettempdir()) / f"headstream-tracker-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder)


if __name__ == "__main__":
    main()
