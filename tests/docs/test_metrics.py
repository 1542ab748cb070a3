"""Every Prometheus metric is in docs/reference/metrics.md, and is named as Prometheus wishes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from headstream.query_api.metrics import Metrics as ApiMetrics
from headstream.sinks.metrics import Freshness
from headstream.sinks.metrics import Metrics as SinkMetrics
from headstream.stream_processors.metrics import Metrics as TrackerMetrics

PAGE = "reference/metrics.md"
Rows = Callable[[str, str], list[dict[str, str]]]
Described = dict[str, tuple[str, frozenset[str]]]

SERVICES: dict[str, Callable[[], object]] = {
    "Tracker": lambda: TrackerMetrics(CollectorRegistry()),
    "Sink": SinkMetrics,
    "Query API": ApiMetrics,
}
PREFIXES = {"Tracker": "headstream_tracker_", "Sink": "headstream_sink_", "Query API": "headstream_api_"}
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
