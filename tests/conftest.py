"""Real services for the tests that need them: one Kafka and one Blazegraph a session, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts
    from headstream.services.blazegraph import BlazegraphService
    from headstream.services.kafka import KafkaService

# Imported where they are used: capture's tests run with the plain install, which has no psutil and no httpx.
SERVICES = {"kafka", "blazegraph", "namespace", "artefacts"}


@dataclass(frozen=True, slots=True)
class Namespace:
    """An empty Blazegraph namespace of one test; `url` is its SPARQL endpoint, `base` the server's."""

    name: str
    url: str
    base: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of tests/faults; here, because pytest reads options only from the folder it is given."""
    faults = parser.getgroup("faults")
    faults.addoption("--full", action="store_true", help="run tests/faults in full size, not the short one")
    faults.addoption("--seed", type=int, help="of the random schedules; a failed test prints its own")


def pytest_configure(config: pytest.Config) -> None:
    """End a session that is told to stop in the way of a Ctrl-C, so that no JVM outlives it."""
    session = os.getpid()
    os.environ.setdefault("HEADSTREAM_CONFIG", "off")  # A developer's own settings are no part of a test.
    os.environ.setdefault("HEADSTREAM_BLAZEGRAPH_HEAP", "1g")  # Not by the memory: several share it here.

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == session:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)  # A forked child: as if we had not been here.
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for a service, so that `-m 'not services'` leaves it out."""
    for item in items:
        if SERVICES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def artefacts() -> Artefacts:
    """The jars of both services; without Java or Maven the test is skipped, and fails where CI=true."""
    from headstream.services.artefacts import fetch
    from headstream.services.errors import ServicesError
    from headstream.services.settings import Settings

    try:
        return fetch(Settings.from_env(os.environ))
    except ServicesError as missing:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"CI must run the real services: {missing}")
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaService]:
    """A running broker; `.bootstrap` is its host and port. Shared: name topics with `topic_prefix`."""
    from headstream.services.kafka import KafkaService
    from headstream.services.ports import free_ports

    data = tmp_path_factory.mktemp("kafka")
    service = KafkaService(data, *free_ports(2))
    service.start()
    yield service
    service.stop()
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def blazegraph(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlazegraphService]:
    """A running store; `.url` is where its REST interface begins. Shared: write into a `namespace`."""
    from headstream.services.blazegraph import BlazegraphService
    from headstream.services.ports import free_ports

    data = tmp_path_factory.mktemp("blazegraph")
    service = BlazegraphService(data, *free_ports(1))
    service.start()
    yield service
    service.stop()
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def namespace(blazegraph: BlazegraphService) -> Iterator[Namespace]:
    """An empty namespace with the full property set, dropped after the test."""
    from headstream.services.blazegraph import (
        create_namespace,
        drop_namespace,
        namespace_properties,
        sparql_url,
    )

    name = f"t{uuid.uuid4().hex[:12]}"
    create_namespace(blazegraph.url, name, namespace_properties(name))
    yield Namespace(name, sparql_url(blazegraph.url, name), blazegraph.url)
    drop_namespace(blazegraph.url, name)


@pytest.fixture
def topic_prefix() -> str:
    """What the topics (and groups) of one test begin with, so that tests cannot meet."""
    return f"t{uuid.uuid4().hex[:12]}."
