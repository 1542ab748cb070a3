"""What the fault tests share: their size, their seed, a cluster of processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .cluster import Cluster

FULL_SECONDS = 1800  # No test takes so long; one that hangs ends.


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything; `make test` runs the short one, `make test-faults` the full one."""

    worker_events: int
    kills: int
    broker_events: int
    broker_kills: int
    pause: float
    slow: float
    partition: float
    patience: float
    recovery: float
    store_kills: int
    store_away: float


SHORT = Scale(
    worker_events=10_000,
    kills=6,
    broker_events=5_000,
    broker_kills=1,
    pause=4,
    slow=3,
    partition=5,
    patience=4,
    recovery=60,
    store_kills=2,
    store_away=4,
)
FULL = Scale(
    worker_events=200_000,
    kills=50,
    broker_events=50_000,
    broker_kills=5,
    pause=6,
    slow=20,
    partition=15,
    patience=10,
    recovery=120,
    store_kills=20,
    store_away=60,
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.timeout(FULL_SECONDS))


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    return FULL if request.config.getoption("--full") else SHORT


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of the random schedule: given by --seed or HEADSTREAM_TEST_SEED, else a new one, printed."""
    given = request.config.getoption("--seed")
    number = int(given or os.environ.get("HEADSTREAM_TEST_SEED") or time.time_ns() % 10_000)
    print(f"--seed {number}")
    return number


@pytest.fixture
def new_cluster(namespace: Any, topic_prefix: str, tmp_path: Path) -> Iterator[Callable[[str], Cluster]]:
    """Make the cluster of a test on a broker; its processes end with the test."""
    made: list[Cluster] = []

    def make(bootstrap: str) -> Cluster:
        made.append(Cluster(bootstrap, namespace.url, topic_prefix.rstrip("."), tmp_path))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
