"""What `headstream up` starts in each mode, in order (architecture section 5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import httpx

from headstream.places import NAMESPACE, Places
from headstream.services import ports
from headstream.services.blazegraph import (
    BlazegraphService,
    create_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.kafka import KafkaService
from headstream.services.ports import HOST
from headstream.services.processes import Child, headstream
from headstream.services.settings import Settings
from headstream.services.stack import Startable, answers
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings as TrackerSettings

Mode = Literal["embedded", "full"]
DEFAULT_API_PORT = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may choose beside the mode. `env` goes to every process of ours."""

    api_port: int = DEFAULT_API_PORT
    workers: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


def parts(mode: Mode, places: Places, settings: Settings, options: Options) -> Sequence[Startable]:
    """The processes of a mode, in the order in which they start."""
    chosen = _Mode(places, settings, options)
    return chosen.full() if mode == "full" else chosen.embedded()


def store_location(mode: Mode, places: Places, settings: Settings) -> str:
    """The store of a mode, as `sinks.open_store` and `--store` name it."""
    if mode == "embedded":
        return places.store_location
    return sparql_url(f"http://{HOST}:{settings.blazegraph_port}/blazegraph", NAMESPACE)


@dataclass(frozen=True, slots=True)
class _Before:
    """A process that needs something done when everything before it is ready."""

    child: Child
    effect: Callable[[], None]

    def prepare(self) -> Child:
        self.effect()
        return self.child


def _prepare_store_and_topics(bootstrap: str, blazegraph: str) -> None:
    tracker = replace(TrackerSettings.from_env(os.environ), bootstrap=bootstrap)
    topics.create(tracker)
    if not _has_namespace(blazegraph):
        create_namespace(blazegraph, NAMESPACE, namespace_properties(NAMESPACE))


def _has_namespace(blazegraph: str) -> bool:
    answer = httpx.get(
        sparql_url(blazegraph, NAMESPACE), params={"query": "ASK {}"}, timeout=10.0, trust_env=False
    )
    return answer.is_success


@dataclass(frozen=True, slots=True)
class _Mode:
    places: Places
    settings: Settings
    options: Options

    def embedded(self) -> Sequence[Startable]:
        return [self._api_like("embedded", {})]

    def full(self) -> Sequence[Startable]:
        kafka = KafkaService(
            self.places.data / "kafka",
            self.settings.kafka_port,
            self.settings.kafka_controller_port,
            settings=self.settings,
        )
        blazegraph = BlazegraphService(
            self.places.data / "blazegraph", self.settings.blazegraph_port, settings=self.settings
        )
        env = {
            "HEADSTREAM_BOOTSTRAP": kafka.bootstrap,
            "HEADSTREAM_STORE_URL": sparql_url(blazegraph.url, NAMESPACE),
        }
        return [
            kafka,
            blazegraph,
            _Before(
                self._worker("sink", env), lambda: _prepare_store_and_topics(kafka.bootstrap, blazegraph.url)
            ),
            *(self._worker("tracker", env, number) for number in range(self.options.workers)),
            self._worker("relay", env, command=("ship", "--watch")),
            self._api_like("api", env),
        ]

    def _worker(
        self, name: str, env: Mapping[str, str], number: int = 0, command: Sequence[str] = ()
    ) -> Child:
        label = name if number == 0 else f"{name}-{number + 1}"
        ready = self.places.data / "run" / f"{label}.ready"
        ready.parent.mkdir(parents=True, exist_ok=True)
        ready.unlink(missing_ok=True)
        return Child(
            name=label,
            argv=headstream(*(command or (name,))),
            env={**self._env(env), "HEADSTREAM_READY_FILE": str(ready)},
            ready=ready.exists,
            log=self.places.logs / f"{label}.log",
            start_seconds=self.settings.start_seconds,
        )

    def _api_like(self, name: str, env: Mapping[str, str]) -> Startable:
        url = f"http://{HOST}:{self.options.api_port}"
        child = Child(
            name=name,
            argv=headstream(name),
            env={**self._env(env), "HEADSTREAM_API_PORT": str(self.options.api_port)},
            ready=answers(f"{url}/readyz"),
            log=self.places.logs / f"{name}.log",
            url=url,
            ports={name: self.options.api_port},
            start_seconds=self.settings.start_seconds,
        )
        return _Before(child, lambda: ports.demand(self.options.api_port, "the query API", "--api-port"))

    def _env(self, env: Mapping[str, str]) -> dict[str, str]:
        return {"HEADSTREAM_DATA": str(self.places.data), **env, **self.options.env}
