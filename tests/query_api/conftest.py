"""The worked example of spec section 8: its graph, and the answers that rdflib gave once."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyoxigraph
import pytest

from headstream.query_api.app import create_app
from headstream.query_api.export import formats
from headstream.query_api.export.subgraph import Demand, find
from headstream.query_api.settings import Settings
from headstream.query_api.store import OxigraphStore, QueryStore
from headstream.schemas.identifiers import DEFAULT_BASE

from ..asgi import Client

DATA = Path(__file__).parents[1] / "data" / "worked_example"


@pytest.fixture
def example_graph() -> pyoxigraph.Store:
    store = pyoxigraph.Store()
    store.load(path=str(DATA / "example.ttl"), format=pyoxigraph.RdfFormat.TURTLE)
    return store


@pytest.fixture
def example_store(example_graph: pyoxigraph.Store) -> OxigraphStore:
    return OxigraphStore(example_graph)


@pytest.fixture(scope="session")
def answers() -> dict[str, Any]:
    return json.loads((DATA / "answers.json").read_text(encoding="utf-8"))


@pytest.fixture
def client_of() -> Callable[..., Client]:
    """An HTTP client of an app over a store; `host` is the name that it asks for."""

    def make(store: QueryStore, host: str = "127.0.0.1", **settings: Any) -> Client:
        app = create_app(Settings(**settings), store)
        return Client(app, host)

    return make


@pytest.fixture
def client(client_of: Callable[..., Client], example_store: OxigraphStore) -> Client:
    return client_of(example_store)


@pytest.fixture
def serving() -> Callable[..., Any]:
    """A real HTTP server on the loopback that answers every POST in one way, and keeps what it was sent."""

    @contextmanager
    def serve(
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/sparql-results+json",
        promised: int | None = None,
        wait: threading.Event | None = None,
        more: threading.Event | None = None,
    ) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
        seen: list[tuple[str, dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
                seen.append((self.path, dict(self.headers.items()), sent))
                if wait is not None and "cancelQuery" not in self.path:
                    wait.wait(20)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body) if promised is None else promised))
                self.end_headers()
                self.wfile.write(body)
                if more is not None:  # The answer goes on, and nobody has seen its end.
                    self.wfile.flush()
                    more.wait(20)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            for held in (wait, more):
                if held is not None:
                    held.set()
            server.shutdown()
            thread.join()
            server.server_close()

    return serve


@pytest.fixture
def exported() -> Callable[..., bytes]:
    """A run of a store in a format, as bytes."""

    def make(
        store: QueryStore,
        run: str,
        form: str,
        *,
        lineage: bool = False,
        license: str | None = None,
        **limits: Any,
    ) -> bytes:
        chosen = formats.of_name(form)
        assert chosen is not None
        if license is not None:
            chosen = formats.licensed(chosen, license)
        found = find(store, run, base_iri=DEFAULT_BASE, seconds=60.0)
        out = io.BytesIO()
        formats.export(
            store, Demand(run=found, base_iri=DEFAULT_BASE, lineage=lineage, **limits), chosen, out
        )
        return out.getvalue()

    return make
