"""Every Prometheus metric is in docs/reference/metrics.md, and is named as Prometheus wishes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from headstream.gateway.metrics import Metrics as GatewayMetrics
from headstream.query_api.metrics import Metrics as ApiMetrics
from headstream.relay_metrics import RelayMetrics
from headstream.schemas.exposition import Freshness
from headstream.sinks.metrics import Metrics as SinkMetrics
from headstream.stream_processors.metrics import Metrics as TrackerMetrics
from headstream.stream_processors.settings import Settings as TrackerSettings

PAGE = "reference/metrics.md"
Rows = Callable[[str, str], list[dict[str, str]]]
Described = dict[str, tuple[str, frozenset[str]]]

SERVICES: dict[str, Callable[[], object]] = {
    "Tracker": lambda: TrackerMetrics(CollectorRegistry()),
    "Sink": SinkMetrics,
    "Query API": ApiMetrics,
    "Relay": lambda: RelayMetrics(CollectorRegistry()),
    "Gateway": GatewayMetrics,
}
PREFIXES = {
    "Tracker": "headstream_tracker_",
    "Sink": "headstream_sink_",
    "Query API": "headstream_api_",
    "Relay": "headstream_relay_",
    "Gateway": "headstream_gateway_",
}
# Units that have a base unit, and ends that Prometheus adds by itself.
NOT_BASE = re.compile(
    r"_(ms|millis|milliseconds|microseconds|minutes|hours|days|kb|mb|kilobytes|megabytes|kib|mib|percent)"
    r"(_total)?$"
)
RESERVED = ("_count", "_sum", "_bucket", "_created", "_info")


@pytest.mark.parametrize("service", SERVICES)
def test_every_metric_is_in_the_page_with_its_type_and_labels_and_no_other(service: str, rows: Rows) -> None:
    documented = {
        row["metric"]: (row["type"], frozenset(re.findall(r"\w+", row["labels"])))
        for row in rows(PAGE, service)
    }
    assert documented == _described(SERVICES[service]())


@pytest.mark.parametrize("service", SERVICES)
def test_names_follow_the_conventions_of_prometheus(service: str) -> None:
    for name, (kind, labels) in _described(SERVICES[service]()).items():
        assert name.startswith(PREFIXES[service])
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert not name.endswith(RESERVED)
        assert not NOT_BASE.search(name), f"{name} is not in a base unit"
        assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in labels - {"le"})


@pytest.fixture(scope="module")
def alerts(root: Path) -> dict[str, dict[str, object]]:
    """The rules for Prometheus by their names."""
    (group,) = yaml.safe_load((root / "docs/reference/alerts.yml").read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_every_alert_is_on_a_metric_that_there_is_with_labels_that_it_has(alerts) -> None:
    known = {name: labels for make in SERVICES.values() for name, (_, labels) in _described(make()).items()}
    for rule in alerts.values():
        named = re.findall(r"(headstream_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert named
        for name, selectors in named:
            labels = {part.split("=")[0].rstrip("!") for part in selectors.split(",") if part}
            assert labels <= known[name.removesuffix("_bucket")], name
        grouped = {name for text in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in text.split(", ")}
        assert set(re.findall(r"labels\.(\w+)", rule["annotations"]["summary"])) <= grouped


def test_the_lag_alerts_while_half_of_the_retention_is_left(alerts) -> None:
    limit = int(alerts["HeadstreamSinkLagNearsRetention"]["expr"].rpartition("> ")[2])
    assert 2 * limit * 1000 == TrackerSettings().identified_retention_ms


def test_the_stages_in_the_page_are_those_that_are_measured(rows: Rows) -> None:
    measured = {stage for make in SERVICES.values() for stage in _stages(make())}
    assert {row["stage"] for row in rows(PAGE, "Freshness")} == measured


def _stages(metrics: object) -> Iterator[str]:
    for each in vars(metrics).values():
        if isinstance(each, Freshness):
            yield from {sample.labels["stage"] for family in each.collect() for sample in family.samples}


def _described(metrics: object) -> Described:
    return {name: about for each in vars(metrics).values() for name, about in _families(each)}


def _families(collector: object) -> Iterator[tuple[str, tuple[str, frozenset[str]]]]:
    if not isinstance(collector, MetricWrapperBase | Freshness):
        return
    # The client has no public way to ask a metric without samples for its labels.
    labels = frozenset(getattr(collector, "_labelnames", ()))
    for family in collector.collect():
        assert family.documentation, f"{family.name} has no help text"
        yield family.name + ("_total" if family.type == "counter" else ""), (family.type, labels)
