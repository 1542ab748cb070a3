"""Any SPARQL 1.1 store, by either protocol: Oxigraph's own server and Apache Jena Fuseki, as processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified
from headstream.services.errors import ServicesError
from headstream.services.ports import free_ports
from headstream.sinks.batch import Group
from headstream.sinks.errors import StoreRefused, StoreUnknown
from headstream.sinks.graph_difference import difference
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.isolate import isolate
from headstream.sinks.statements import render
from headstream.sinks.stores import SparqlStore, Store, open_store
from headstream.sinks.stores.probe import holds
from headstream.sinks.stores.witness import witness

from ..faults.http_proxy import HttpProxy
from .servers import Fuseki, OxigraphServer, SparqlServer
from .spoiling import Spoiling
from .worker import BASE, PLACE, Worker

pytestmark = pytest.mark.services
Steps = Callable[..., Identified]
Until = Callable[..., float]
PROTOCOLS = ("graph-store", "graph-store, asked", "sparql-update")


@pytest.fixture(scope="module", params=[OxigraphServer, Fuseki], ids=["oxigraph", "fuseki"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparqlServer]:
    made: SparqlServer = request.param(tmp_path_factory.mktemp("sparql"), *free_ports(1))
    try:
        made.start()
    except ServicesError as missing:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"CI must run the real stores: {missing}")
        pytest.skip(str(missing))
    yield made
    made.stop()


def location(server: SparqlServer, protocol: str, base: str | None = None) -> str:
    """How HEADSTREAM_STORE_URL names the server, perhaps behind a proxy that writes pass."""
    graph_store, update = (
        url.replace(server.base, base or server.base) for url in (server.graph_store, server.update)
    )
    return {
        "graph-store": f"graph-store:{graph_store}",
        "graph-store, asked": f"graph-store:{graph_store},{server.query}",
        "sparql-update": f"sparql-update:{update},{server.query}",
    }[protocol]


@pytest.fixture(params=PROTOCOLS)
def store(server: SparqlServer, request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store by each protocol."""
    server.clear()
    opened = open_store(location(server, request.param))
    yield opened
    opened.close()


TEXTS = (
    r"\u0022 } ; DROP ALL #",  # What SPARQL would read as the end of the text.
    r"\\u0022 \U0001F600 \\\u0041 \\",
    "\\\x01\\u0001 \x7f \u202e 😀 é",
    "\" . <urn:x> <urn:y> <urn:z> } # '''\n\r\t\b\f",
)


def test_every_store_gives_back_what_was_written_and_a_repeat_changes_nothing(
    store: Store, steps: Steps
) -> None:
    facts = tuple((f"text/{number}", "rdfs:label", "string", text) for number, text in enumerate(TEXTS))
    document = render(steps(123456, events=20).facts + facts, BASE)
    for _ in range(2):
        assert store.write(document).modified in (None, 204)
        assert store.size() == 204
        assert difference([document], store.dump()).counts == [0, 0]
        assert graph_hash(store.dump()) == graph_hash([document])


def test_a_poison_triple_costs_its_event_and_few_requests(store: Store, steps: Steps) -> None:
    messages = [steps(number) for number in range(32)]
    spoiling = Spoiling(store.renderer(BASE), bad=messages[19].facts[23])
    isolated = isolate(Group(tuple(spoiling.entries(messages))), store.write, spoiling)
    (refused,) = isolated.refused
    assert (refused.entry.origin.offset, refused.entry.first) == (19, 2)
    assert isinstance(refused.error, StoreRefused) and len(str(refused.error)) < 500
    assert isolated.requests <= 2 + 2 * 8
    facts = messages.pop(19).facts
    clean = [render(one.facts, BASE) for one in messages] + [render(facts[:20] + facts[30:], BASE)]
    assert difference(clean, store.dump()).counts == [0, 0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_after_faults_on_the_way_the_graph_is_the_clean_one(
    protocol: str, server: SparqlServer, steps: Steps, until: Until
) -> None:
    server.clear()
    sent = [steps(number) for number in range(160)]
    modes: tuple[Any, ...] = ("err_before", "err_after", "drop_after", "timeout", "html200")
    with HttpProxy(server.base) as proxy:
        opened = open_store(location(server, protocol, proxy.url))
        with Worker(opened, [encode_identified(one) for one in sent]) as worker:
            for number, mode in enumerate(modes):
                proxy.fault(mode, times=1, seconds=0.1)
                until(lambda: proxy.faulted > number, 60)  # noqa: B023
            until(lambda: worker.source.committed == {PLACE: 160}, 60)
            assert worker.retries() == len(modes)
            assert not worker.letters.letters
    check = open_store(location(server, protocol))
    assert graph_hash(check.dump()) == graph_hash(render(one.facts, BASE) for one in sent)
    check.close()


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
@pytest.mark.parametrize("lie", ["empty200", "empty204", "html200"])
def test_a_proxy_that_says_success_and_has_written_nothing_is_found_out(
    lie: Any, protocol: str, server: SparqlServer, steps: Steps
) -> None:
    server.clear()
    document = render(steps(1).facts, BASE)
    with HttpProxy(server.base) as proxy:
        opened = open_store(location(server, protocol, proxy.url))
        proxy.fault(lie, times=1)
        with pytest.raises(StoreUnknown):
            opened.write(document)
        opened.write(document)
        found = witness(document)
        assert found is not None and holds(opened, [found])
        opened.close()


def test_a_store_that_is_killed_amid_writes_has_everything_after_its_restart(
    server: SparqlServer, steps: Steps, until: Until
) -> None:
    server.clear()
    sent = [steps(number, events=20) for number in range(100)]
    opened = open_store(location(server, "graph-store, asked"))
    assert isinstance(opened, SparqlStore)
    with Worker(opened, [encode_identified(one) for one in sent], triples=1000) as worker:
        until(lambda: worker.done >= 20 and worker.store.writing, 60)
        before = worker.retries()
        server.kill()
        until(lambda: worker.retries() > before, 60)
        server.start()
        until(lambda: worker.source.committed == {PLACE: 100}, 90)
        assert not worker.letters.letters
        clean = [render(one.facts, BASE) for one in sent]
        assert difference(clean, worker.store.dump()).counts == [0, 0]
