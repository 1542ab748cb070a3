import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isnan
from pathlib import Path
from typing import Any

import pyoxigraph as oxigraph
import pytest

from headstream.schemas.facts import Identified
from headstream.sinks.batch import Group
from headstream.sinks.errors import ConfigurationError, StoreBusy, StoreIncomplete, StoreRefused, StoreUnknown
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.isolate import isolate
from headstream.sinks.metrics import Metrics
from headstream.sinks.statements import render
from headstream.sinks.stores import (
    BlazegraphStore,
    MemoryStore,
    OxigraphStore,
    SparqlStore,
    Store,
    open_store,
)
from headstream.sinks.stores.room import Room

from .spoiling import Spoiling

BASE = "https://provml.example.org/id/"
Steps = Callable[..., Identified]


class GraphStore:
    """A small SPARQL 1.1 graph store (W3C protocol) over Oxigraph."""

    def __init__(self) -> None:
        graph = self.graph = oxigraph.Store()
        self.cut = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path != "/store?default=" or self.headers["Content-Type"] != "application/n-triples":
                    return self._answer(415, b"")
                try:
                    graph.load(body, oxigraph.RdfFormat.N_TRIPLES)
                except SyntaxError as error:
                    return self._answer(400, str(error).encode())
                self._answer(204, b"")

            def do_GET(self) -> None:
                data = graph.dump(format=oxigraph.RdfFormat.N_TRIPLES, from_graph=oxigraph.DefaultGraph())
                self._answer(200, (data or b"")[: -20 if outer.cut else None])

            def _answer(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/store"


@pytest.fixture
def graph_store() -> Iterator[GraphStore]:
    served = GraphStore()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.05,))
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


@pytest.fixture(
    params=[
        "memory",
        "oxigraph",
        "oxigraph-disk",
        "sparql",
        pytest.param("blazegraph", marks=pytest.mark.services),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store
    match request.param:
        case "memory":
            opened = MemoryStore()
        case "oxigraph":
            opened = OxigraphStore()
        case "oxigraph-disk":
            opened = OxigraphStore(tmp_path / "store")
        case "sparql":
            opened = SparqlStore(request.getfixturevalue("graph_store").url)
        case _:
            opened = BlazegraphStore(request.getfixturevalue("namespace").url)
    yield opened
    opened.close()


def test_writing_twice_changes_nothing(store: Store, steps: Callable[..., Identified]) -> None:
    document = render(steps(1, events=50).facts, BASE)
    first = store.write(document)
    assert first.modified in (500, None)
    size, once = store.size(), graph_hash(store.dump())
    assert size == 500
    store.write(document)
    assert (store.size(), graph_hash(store.dump())) == (size, once)


def test_every_store_gives_back_the_graph_that_was_written(
    store: Store, steps: Callable[..., Identified]
) -> None:
    """Microseconds, characters beyond ASCII and beyond the BMP, controls, doubles: all by value."""
    document = render(steps(123456, events=20).facts, BASE)
    store.write(document)
    assert difference([document], store.dump()).counts == [0, 0]
    assert graph_hash(store.dump()) == graph_hash([document])


def test_a_large_write_is_like_many_small_ones(store: Store, steps: Callable[..., Identified]) -> None:
    documents = [render(steps(number, events=50).facts, BASE) for number in range(20)]
    store.write(b"".join(documents))
    assert store.size() == 10_000
    assert graph_hash(store.dump()) == graph_hash(documents)


def test_an_empty_store_has_an_empty_dump(store: Store) -> None:
    assert store.size() == 0
    assert graph_hash(store.dump()) == graph_hash([])


def test_statements_that_cannot_be_read_are_refused(store: Store) -> None:
    if isinstance(store, MemoryStore):  # The double reads nothing: it is told what to refuse.
        store = MemoryStore(refuses=lambda line: b"@@@" in line)
    with pytest.raises(StoreRefused) as caught:
        store.write(b"<urn:a> <urn:b> @@@ .\n")
    assert "\tat " not in str(caught.value)  # No stack trace.
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_oxigraph_finds_the_bad_line_of_a_large_write(
    cores: int, tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One among 10,000: by bulk loads at first, of two halves at once or one, by plain ones at last."""
    monkeypatch.setattr("headstream.sinks.stores.oxigraph._HALVED", 600_000)
    monkeypatch.setattr("headstream.sinks.stores.oxigraph._cores", lambda: cores)
    messages = [steps(number, events=50) for number in range(20)]
    store = OxigraphStore(tmp_path / "store")
    spoiling = Spoiling(store.renderer(BASE), bad=messages[7].facts[123])
    isolated = isolate(Group(tuple(spoiling.entries(messages))), store.write, spoiling)
    (refused,) = isolated.refused
    assert (refused.entry.origin.offset, refused.entry.first) == (7, 12)
    assert isolated.requests <= 2 + 2 * 10
    facts = messages.pop(7).facts
    clean = [render(one.facts, BASE) for one in messages] + [render(facts[:120] + facts[130:], BASE)]
    assert difference(clean, store.dump()).counts == [0, 0]
    store.close()


def test_two_halves_at_once_are_the_whole(
    tmp_path: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstream.sinks.stores.oxigraph._HALVED", 1)
    monkeypatch.setattr("headstream.sinks.stores.oxigraph._cores", lambda: 2)
    one = b"<urn:a> <urn:b> <urn:c> .\n"
    documents = [render(steps(number, events=50).facts, BASE) for number in range(4)]
    store = OxigraphStore(tmp_path / "store")
    for ntriples in (b"".join(documents), one, one[:-1]):  # Two thousand triples, one, one without its end.
        store.write(ntriples)
    assert difference([*documents, one], store.dump()).counts == [0, 0]
    store.close()


def test_a_store_on_disk_is_found_again(tmp_path: Path) -> None:
    first = OxigraphStore(tmp_path)
    first.write(b"<urn:a> <urn:b> <urn:c> .\n")
    with pytest.raises(StoreBusy):
        OxigraphStore(tmp_path)
    first.close()
    del first
    assert OxigraphStore(tmp_path).size() == 1


def test_a_store_that_is_not_there_is_busy() -> None:
    for kind in (BlazegraphStore, SparqlStore):
        store = kind("http://127.0.0.1:9/namespace/kb/sparql")
        with pytest.raises(StoreBusy):
            store.write(b"")
        store.close()


def test_a_namespace_that_is_not_there_is_busy(namespace: Any) -> None:
    store = BlazegraphStore(f"{namespace.base}/namespace/nothing/sparql")
    with pytest.raises(StoreBusy):
        store.write(b"<urn:a> <urn:b> <urn:c> .\n")
    store.close()


def test_a_dump_that_ends_within_a_line_is_noticed(graph_store: GraphStore) -> None:
    store = SparqlStore(graph_store.url)
    store.write(b"<urn:a> <urn:b> <urn:c> .\n<urn:a> <urn:b> <urn:d> .\n")
    graph_store.cut = True
    with pytest.raises(StoreIncomplete):
        list(store.dump())
    store.close()


def test_a_graph_store_that_answers_otherwise_confirms_nothing(graph_store: GraphStore) -> None:
    store = SparqlStore(graph_store.url + "/elsewhere")
    with pytest.raises(StoreUnknown):
        store.write(b"<urn:a> <urn:b> <urn:c> .\n")
    store.close()


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("oxigraph:", OxigraphStore),
        ("memory:", MemoryStore),
        ("http://h:9999/blazegraph/namespace/kb/sparql", BlazegraphStore),
        ("blazegraph:http://h/other", BlazegraphStore),
        ("https://h/store", SparqlStore),
        ("graph-store:http://h/namespace/x", SparqlStore),
    ],
)
def test_a_location_says_which_store_it_means(location: str, kind: type[Store]) -> None:
    store = open_store(location)
    assert isinstance(store, kind)
    store.close()


@pytest.mark.parametrize("location", ["", "ftp://h", "oxigraph", "blazegraph:kb", "/path"])
def test_a_location_that_means_nothing_says_what_to_give(location: str) -> None:
    with pytest.raises(ConfigurationError, match="oxigraph:PATH"):
        open_store(location)


def test_a_disk_that_cannot_be_looked_at_hides_no_other_metric(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.watch(Room(tmp_path / "gone"))
    shown = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert isnan(shown["headstream_sink_store_free_bytes"])
    assert shown["headstream_sink_triples_total"] == 0
