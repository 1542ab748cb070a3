"""Settings of the sink, read once by the entry point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headstream.schemas.clients import RegistryOptions, client_options, registry_options
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import Topics
from headstream.sinks.batch import OXIGRAPH_LIMITS, Limits
from headstream.sinks.errors import ConfigurationError
from headstream.sinks.retry import Schedule
from headstream.sinks.stores.room import FREE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where identified facts come from, which store they go to, and how."""

    bootstrap: str = "127.0.0.1:19092"
    topics: Topics = field(default_factory=Topics)
    store_url: str
    store_disk: Path | None = None  # Where a store behind a URL has its files, if on this machine.
    free_bytes: int = FREE_BYTES
    base_iri: str = DEFAULT_BASE
    group: str = "headstream-sink"
    instance: str | None = None  # Static membership: a restarted worker gets its partitions back at once.
    session_seconds: float = 10.0
    poll_seconds: float = 300.0
    limits: Limits = field(default_factory=Limits)
    schedule: Schedule = field(default_factory=Schedule)
    drain_seconds: float = 8.0  # Within the 10 s that a pod gets after SIGTERM.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    freshness_log: Path | None = None
    ready_file: Path | None = None
    registry: RegistryOptions | None = None
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)  # May hold passwords.

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the HEADSTREAM_* variables; raises ConfigurationError for what cannot be used."""
        store = environ.get("HEADSTREAM_STORE_URL")
        if not store:
            raise ConfigurationError(
                "HEADSTREAM_STORE_URL is not set: give the SPARQL endpoint of the namespace, or oxigraph:PATH"
            )
        read = _Reader(environ)
        suited = OXIGRAPH_LIMITS if store.startswith("oxigraph:") else Limits()
        return cls(
            bootstrap=environ.get("HEADSTREAM_BOOTSTRAP") or "127.0.0.1:19092",
            topics=Topics(environ.get("HEADSTREAM_TOPIC_PREFIX") or "headstream"),
            store_url=store,
            store_disk=read.path("HEADSTREAM_STORE_DISK"),
            free_bytes=int(read.number("HEADSTREAM_STORE_FREE_BYTES", FREE_BYTES)),
            base_iri=environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE,
            group=environ.get("HEADSTREAM_SINK_GROUP") or "headstream-sink",
            instance=environ.get("HEADSTREAM_SINK_INSTANCE") or None,
            session_seconds=read.number("HEADSTREAM_SINK_SESSION_SECONDS", 10.0, least=6.0),
            poll_seconds=read.number("HEADSTREAM_SINK_POLL_SECONDS", 300.0, least=10.0),
            limits=Limits(
                triples=int(read.number("HEADSTREAM_SINK_BATCH_TRIPLES", suited.triples, least=1)),
                size=int(read.number("HEADSTREAM_SINK_BATCH_BYTES", suited.size, least=1)),
                age=read.number("HEADSTREAM_SINK_BATCH_SECONDS", 0.5),
                linger=read.number("HEADSTREAM_SINK_LINGER_SECONDS", 0.1),
            ),
            schedule=Schedule(most=read.number("HEADSTREAM_SINK_RETRY_SECONDS", 60.0)),
            drain_seconds=read.number("HEADSTREAM_SINK_DRAIN_SECONDS", 8.0),
            metrics_host=environ.get("HEADSTREAM_METRICS_HOST") or "127.0.0.1",
            metrics_port=read.port("HEADSTREAM_METRICS_PORT"),
            freshness_log=read.path("HEADSTREAM_FRESHNESS_LOG"),
            ready_file=read.path("HEADSTREAM_READY_FILE"),
            registry=registry_options(environ),
            kafka=client_options(environ),
        )

    def client(self) -> dict[str, str]:
        """Return what every Kafka client of this process is made with."""
        return {"bootstrap.servers": self.bootstrap, **self.kafka}


@dataclass(frozen=True, slots=True)
class _Reader:
    environ: Mapping[str, str]

    def number(self, name: str, default: float, *, least: float = 0.0) -> float:
        text = self.environ.get(name)
        if not text:
            return default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number < float("inf"):
            raise ConfigurationError(f"{name}={text!r} cannot be used: give a number from {least:g}")
        return number

    def port(self, name: str) -> int | None:
        text = self.environ.get(name)
        if not text:
            return None
        if not text.isdecimal() or int(text) > 65535:
            raise ConfigurationError(f"{name}={text!r} cannot be used: give a port, 0 to 65535")
        return int(text)

    def path(self, name: str) -> Path | None:
        text = self.environ.get(name)
        return Path(text) if text else None
