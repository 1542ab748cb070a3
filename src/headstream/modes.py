"""What `headstream up` starts in each mode, in order (architecture section 5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import httpx

from headstream.capture.settings import spool_root
from headstream.errors import CommandError
from headstream.live import GATEWAY
from headstream.places import DEFAULT_API_PORT, Places
from headstream.query_api.settings import Settings as ApiSettings
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
from headstream.sinks.settings import Settings as SinkSettings
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings as TrackerSettings

Mode = Literal["embedded", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may choose beside the mode. `env` goes to every process of ours.

    `gateway_port` None starts no gateway.
    """

    api_port: int = DEFAULT_API_PORT
    gateway_port: int | None = None
    workers: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


def parts(mode: Mode, places: Places, settings: Settings, options: Options) -> Sequence[Startable]:
    """The processes of a mode, in the order in which they start."""
    chosen = _Mode(places, settings, options)
    return chosen.full() if mode == "full" else chosen.embedded()


def check(mode: Mode, settings: Settings, options: Options, environ: Mapping[str, str]) -> None:
    """Raise an error of ours for a setting that a process would refuse, before anything is started."""
    if spool_root(environ) is None:
        raise CommandError("HEADSTREAM_SPOOL is off, so nothing could be taken in; set it to a folder")
    ApiSettings.from_env(environ).check_exposure()
    wanted = {"--api-port": options.api_port}
    if options.gateway_port is not None:
        wanted["--gateway-port"] = options.gateway_port
    if mode == "full":
        TrackerSettings.from_env(environ)
        SinkSettings.from_env({**environ, "HEADSTREAM_STORE_URL": "http://unused"})
        wanted |= {
            "--kafka-port": settings.kafka_port,
            "HEADSTREAM_KAFKA_CONTROLLER_PORT (by default --kafka-port + 1)": settings.kafka_controller_port,
            "--blazegraph-port": settings.blazegraph_port,
        }
    for name, port in wanted.items():
        same = [other for other, number in wanted.items() if number == port]
        if len(same) > 1:
            raise CommandError(f"{' and '.join(same)} are both {port}; give each a port of its own")
        ports.demand(port, f"headstream's {mode} services", name)


def store_location(mode: Mode, places: Places, settings: Settings) -> str:
    """The store of a mode, as `sinks.open_store` and `--store` name it."""
    if mode == "embedded":
        return places.store_location
    return sparql_url(f"http://{HOST}:{settings.blazegraph_port}/blazegraph", places.namespace)


@dataclass(frozen=True, slots=True)
class _Before:
    """A process that needs something done when everything before it is ready."""

    child: Child
    effect: Callable[[], None]

    def prepare(self) -> Child:
        self.effect()
        return self.child


def _prepare_store_and_topics(bootstrap: str, blazegraph: str, namespace: str) -> None:
    tracker = replace(TrackerSettings.from_env(os.environ), bootstrap=bootstrap)
    topics.create(tracker)
    if not _has_namespace(blazegraph, namespace):
        create_namespace(blazegraph, namespace, namespace_properties(namespace))


def _has_namespace(blazegraph: str, namespace: str) -> bool:
    url = sparql_url(blazegraph, namespace)
    try:
        return httpx.get(url, params={"query": "ASK {}"}, timeout=10.0, trust_env=False).is_success
    except httpx.HTTPError as error:
        raise CommandError(f"Blazegraph does not answer at {url}: {error or type(error).__name__}") from error


def _reachable(host: str) -> str:
    """The address under which this machine reaches a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return HOST
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class _Mode:
    places: Places
    settings: Settings
    options: Options

    def embedded(self) -> Sequence[Startable]:
        # Whatever broker others use: what the gateway takes belongs into the graph beside it.
        return [self._api("embedded", {}), *self._gateway({"HEADSTREAM_BOOTSTRAP": ""})]

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
            "HEADSTREAM_STORE_URL": sparql_url(blazegraph.url, self.places.namespace),
        }
        on_disk = {**env, "HEADSTREAM_STORE_DISK": str(blazegraph.data)}
        return [
            kafka,
            blazegraph,
            _Before(
                self._worker("sink", on_disk),
                lambda: _prepare_store_and_topics(kafka.bootstrap, blazegraph.url, self.places.namespace),
            ),
            *(self._worker("tracker", env, number) for number in range(self.options.workers)),
            self._worker("relay", env, command=("ship", "--watch")),
            self._api("api", env),
            *self._gateway(env),
        ]

    def _worker(
        self, name: str, env: Mapping[str, str], number: int = 0, command: Sequence[str] = ()
    ) -> Child:
        label = name if number == 0 else f"{name}-{number + 1}"
        ready = self.places.run / f"{label}.ready"
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

    def _api(self, name: str, env: Mapping[str, str]) -> Startable:
        port = self.options.api_port
        host = os.environ.get("HEADSTREAM_API_HOST")
        child = self._answering(name, host, port, {**env, "HEADSTREAM_API_PORT": str(port)})
        return _Before(child, lambda: ports.demand(port, "the query API", "--api-port"))

    def _gateway(self, env: Mapping[str, str]) -> Sequence[Startable]:
        port = self.options.gateway_port
        if port is None:
            return ()
        host = os.environ.get("HEADSTREAM_GATEWAY_HOST")
        child = self._answering(GATEWAY, host, port, {**env, "HEADSTREAM_GATEWAY_PORT": str(port)})
        return (_Before(child, lambda: ports.demand(port, "the gateway", "--gateway-port")),)

    def _answering(self, name: str, host: str | None, port: int, env: Mapping[str, str]) -> Child:
        """A process that says over HTTP that it is ready."""
        url = f"http://{_reachable(host or HOST)}:{port}"
        return Child(
            name=name,
            argv=headstream(name),
            env=self._env(env),
            ready=answers(f"{url}/readyz"),
            log=self.places.logs / f"{name}.log",
            url=url,
            ports={name: port},
            start_seconds=self.settings.start_seconds,
        )

    def _env(self, env: Mapping[str, str]) -> dict[str, str]:
        return {"HEADSTREAM_DATA": str(self.places.data), **env, **self.options.env}
