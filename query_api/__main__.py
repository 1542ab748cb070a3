"""Serve the API: `python -m headstream.query_api`, with settings from HEADSTREAM_* variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import uvicorn
from prometheus_client import CollectorRegistry

from headstream.query_api.app import create_app
from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.errors import ConfigurationError, QueryApiError
from headstream.query_api.settings import Settings
from headstream.query_api.store import OxigraphStore, QueryStore
from headstream.schemas.configuration import configured
from headstream.schemas.errors import SettingsUnusable
from headstream.schemas.logs import configure


def open_store(settings: Settings) -> QueryStore:
    """Open the one store that the settings name; raises ConfigurationError or StoreUnavailable."""
    if settings.store_url and not settings.store_path:
        return SparqlEndpoint(settings.store_url)
    if settings.store_path and not settings.store_url:
        return OxigraphStore.open(settings.store_path, max_concurrent=settings.max_concurrent)
    raise ConfigurationError(
        "there must be one store to ask, and only one",
        remedy="set HEADSTREAM_STORE_URL (a SPARQL endpoint) or HEADSTREAM_STORE_PATH (an Oxigraph folder)",
    )


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests under way are finished first."""
    settings.check_exposure()
    store = open_store(settings)
    try:
        listen(settings, store)
    finally:
        store.close()


def listen(
    settings: Settings,
    store: QueryStore,
    *,
    also: Sequence[CollectorRegistry] = (),
    grace_seconds: int = 8,
) -> None:
    """Serve a store that somebody else opened, until SIGTERM or Ctrl-C and a grace after it at most."""
    uvicorn.run(
        create_app(settings, store, also),
        host=settings.host,
        port=settings.port,
        log_config=None,  # It writes as the rest of us does (schemas/logs.py).
        server_header=False,
        timeout_graceful_shutdown=grace_seconds,
    )


def main() -> int:
    """Read the settings and serve; a message and status 2 for settings that cannot be used."""
    try:
        environ = configured(os.environ)
        configure(environ)
        serve(Settings.from_env(environ))
    except (QueryApiError, SettingsUnusable) as error:
        print(f"headstream api: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
