"""The embedded mode and the relay count as the workers do; a demo reads the quantiles as Prometheus does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from headstream.capture.errors import LOSSES
from headstream.capture.shipper import Shipped
from headstream.demo.freshness import quantile
from headstream.places import Places
from headstream.query_api.metrics import Metrics as ApiMetrics
from headstream.relay_metrics import RelayMetrics
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, RunEnded, RunStarted
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.vocabulary import FINISHED
from headstream.serving import open_pipeline
from headstream.sinks.stores.oxigraph import OxigraphStore

DEFINITION = parse_definition({"dataflow_name": "w", "data_transformations": {"train": {}}})


def test_the_embedded_mode_counts_as_tracker_and_sink_do(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    store = OxigraphStore(tmp_path / "store")
    pipeline = open_pipeline(Places(tmp_path), store, base=DEFAULT_BASE, registry=registry)
    events = (RunStarted(started=1), RunEnded(started=1, ended=2, outcome=FINISHED))
    bag = Bag(workflow="w", execution="r", producer="p", events=events)
    refused = Bag(
        workflow="w", execution="s", producer="q", events=(RunEnded(started=1, ended=2, outcome="nonsense"),)
    )
    pipeline.publish(document(DEFINITION))
    for each in (bag, bag, refused):
        pipeline.send(each)
    assert pipeline.flush(5.0) == 0
    pipeline.close()
    value = registry.get_sample_value
    assert value("headstream_tracker_bags_total") == 3 and value("headstream_tracker_events_in_total") == 5
    assert value("headstream_tracker_documents_total") == value("headstream_tracker_definitions") == 1
    assert value("headstream_tracker_duplicate_bags_total") == 1
    assert value("headstream_tracker_dead_letters_total", {"reason": "invalid-event"}) == 1
    assert value("headstream_sink_freshness_seconds_count", {"stage": "total"}) == 4
    assert b"headstream_sink_events_total " in ApiMetrics([registry]).text()


@pytest.fixture
def losses() -> None:
    LOSSES.clear()
    yield
    LOSSES.clear()


def test_a_relay_counts_each_event_and_loss_once_and_says_when_the_broker_takes_nothing(losses: None) -> None:
    registry, now = CollectorRegistry(), [0.0]
    relay = RelayMetrics(registry, lambda: 7, lambda: "no route", clock=lambda: now[0])
    LOSSES.add("torn-frame", 2)
    for round_ in (
        Shipped(events=10, bags=1, documents=1),
        Shipped(events=60, bags=2, documents=1, spools=1),
    ):
        relay.shipped(round_)
    LOSSES.add("torn-frame")
    relay.shipped(Shipped(events=60, bags=2, documents=1, spools=1))
    value = registry.get_sample_value
    names = ("events", "bags", "documents", "spools")
    assert [value(f"headstream_relay_{name}_total") for name in names] == [60, 2, 1, 1]
    assert value("headstream_relay_losses_total", {"reason": "torn-frame"}) == 3
    assert value("headstream_relay_waiting_messages") == 7
    now[0] = 4.9
    assert relay.unready() is None
    now[0] = 30.0
    assert relay.unready() == "the broker has taken nothing for 30 s (no route); 7 messages wait for it"


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({1.0: 0, 2.0: 100, math.inf: 100}, 1.95),
        ({1.0: 95, 2.0: 100, math.inf: 100}, 1.0),
        ({1.0: 10, 2.0: 20, math.inf: 100}, 2.0),
    ],
)
def test_a_quantile_is_interpolated_within_its_bucket(buckets: dict[float, float], expected: float) -> None:
    assert quantile(0.95, buckets) == pytest.approx(expected)
