"""The sink against the real store, with what can go wrong between them (faults.md rows 14 to 19)."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified
from headstream.sinks.batch import Group
from headstream.sinks.binary_statements import BinaryRenderer
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.isolate import isolate
from headstream.sinks.statements import NTriplesRenderer, Renderer, render
from headstream.sinks.stores import BlazegraphStore

from .spoiling import Spoiling
from .worker import BASE, PLACE, Worker

pytestmark = pytest.mark.services
Steps = Callable[..., Identified]
Until = Callable[..., float]


def _proxy_type() -> Any:
    path = Path(__file__).parents[1] / "faults" / "http_proxy.py"
    specification = importlib.util.spec_from_file_location("http_proxy", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.HttpProxy


@pytest.fixture
def proxy(namespace: Any) -> Iterator[Any]:
    with _proxy_type()(namespace.base) as running:
        running.namespace = namespace
        yield running


def graph_of(url: str) -> str:
    store = BlazegraphStore(url)
    try:
        return graph_hash(store.dump())
    finally:
        store.close()


def through(proxy: Any) -> str:
    return f"{proxy.url}/blazegraph/namespace/{proxy.namespace.name}/sparql"


@pytest.mark.parametrize(
    ("mode", "seconds"),
    [
        ("err_before", 0),
        ("err_after", 0),
        ("drop_before", 0),
        ("drop_after", 0),
        ("slow", 1.5),
        ("timeout", 0.5),
        ("truncate", 0),
        ("html200", 0),
        ("empty200", 0),
        ("empty204", 0),
    ],
)
def test_after_any_fault_on_the_way_the_graph_is_the_clean_one(
    mode: str, seconds: float, proxy: Any, steps: Steps, until: Until
) -> None:
    messages = [steps(number) for number in range(20)]
    proxy.fault(mode, times=4, seconds=seconds)
    with Worker(BlazegraphStore(through(proxy)), [encode_identified(one) for one in messages]) as worker:
        until(lambda: proxy.faulted == 4, 15)
        recovery = until(lambda: worker.source.committed == {PLACE: 20}, 15)
    assert recovery < 10
    assert not worker.letters.letters
    assert worker.retries() == (0 if mode == "slow" else 4)
    # Batch by batch: what was sent is what the store says that it read, and what was expected.
    assert (worker.metric("triples_total"), worker.metric("events_total")) == (1000, 100)
    assert worker.metric("divergence_triples_total") == 0
    assert graph_of(proxy.namespace.url) == graph_hash(render(one.facts, BASE) for one in messages)


@pytest.mark.parametrize("renderer", [BinaryRenderer, NTriplesRenderer])
def test_a_poison_triple_costs_one_event_and_few_requests(
    renderer: Callable[[str], Renderer], namespace: Any, steps: Steps
) -> None:
    """Bytes that Blazegraph cannot read, in one of 400 events: the messages around it are real."""
    messages = [steps(number) for number in range(80)]
    store = BlazegraphStore(namespace.url)
    spoiling = Spoiling(renderer(BASE), bad=messages[37].facts[23])
    isolated = isolate(Group(tuple(spoiling.entries(messages))), store.write, spoiling)
    (refused,) = isolated.refused
    assert (refused.entry.origin.offset, refused.entry.first) == (37, 2)
    assert "refused the statements" in str(refused.error)
    assert store.size() == 399 * 10
    assert isolated.requests <= 2 + 2 * 9
    store.close()
