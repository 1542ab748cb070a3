"""Settings of the tracker and of replay, read once by the entry point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from headstream.schemas.clients import RegistryOptions, client_options, registry_options
from headstream.schemas.confluent import Frame, use
from headstream.schemas.errors import RegistryUnusable
from headstream.schemas.topics import Topics
from headstream.stream_processors.errors import InvalidSetting

_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a worker reaches Kafka and how it works through it."""

    bootstrap: str = "127.0.0.1:19092"
    topics: Topics = field(default_factory=Topics)
    instance: str | None = None  # Static membership: one name a worker.
    create_topics: bool = True
    partitions: int = 4
    replication: int = 1
    events_retention_ms: int = -1
    identified_retention_ms: int = 7 * _DAY_MS
    dead_letters_retention_ms: int = 365 * _DAY_MS
    # Bags taken at once, and how long to wait for more.
    take: int = 200
    within: float = 0.05
    # How long a bag waits for a definition that nobody has seen, once for each hash.
    definition_wait: float = 2.0
    # A worker that was killed keeps its partitions this long; Kafka allows 6 s at the least.
    session_seconds: float = 10.0
    # A worker told to stop is gone after this, drained or not: what it drops comes again.
    drain_seconds: float = 8.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    # Written once partitions are assigned: readiness for those who wait for it.
    ready_file: Path | None = None
    registry: RegistryOptions | None = None
    # Options of librdkafka from the environment; never shown, they hold passwords.
    security: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @property
    def group(self) -> str:
        """Consumer group of the workers: one for each prefix."""
        return f"{self.topics.prefix}.tracker"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read HEADSTREAM_* variables; raise InvalidSetting that names the one that is wrong."""
        default = cls()
        return cls(
            bootstrap=environ.get("HEADSTREAM_BOOTSTRAP", default.bootstrap),
            topics=Topics(environ.get("HEADSTREAM_TOPIC_PREFIX", default.topics.prefix)),
            instance=environ.get("HEADSTREAM_TRACKER_INSTANCE") or None,
            create_topics=_truth(environ, "HEADSTREAM_CREATE_TOPICS", default.create_topics),
            partitions=_whole(environ, "HEADSTREAM_PARTITIONS", default.partitions, 1),
            replication=_whole(environ, "HEADSTREAM_REPLICATION", default.replication, 1),
            events_retention_ms=_whole(
                environ, "HEADSTREAM_EVENTS_RETENTION_MS", default.events_retention_ms, -1
            ),
            identified_retention_ms=_whole(
                environ, "HEADSTREAM_IDENTIFIED_RETENTION_MS", default.identified_retention_ms, -1
            ),
            dead_letters_retention_ms=_whole(
                environ, "HEADSTREAM_DEAD_LETTERS_RETENTION_MS", default.dead_letters_retention_ms, -1
            ),
            take=_whole(environ, "HEADSTREAM_TRACKER_TAKE", default.take, 1),
            definition_wait=_seconds(environ, "HEADSTREAM_DEFINITION_WAIT", default.definition_wait),
            session_seconds=_seconds(environ, "HEADSTREAM_SESSION_SECONDS", default.session_seconds),
            drain_seconds=_seconds(environ, "HEADSTREAM_DRAIN_SECONDS", default.drain_seconds),
            metrics_host=environ.get("HEADSTREAM_METRICS_HOST") or default.metrics_host,
            metrics_port=_whole(environ, "HEADSTREAM_TRACKER_METRICS_PORT", 0, 0) or None,
            ready_file=Path(environ["HEADSTREAM_READY_FILE"])
            if environ.get("HEADSTREAM_READY_FILE")
            else None,
            registry=registry_options(environ),
            security=MappingProxyType(client_options(environ)),
        )

    def kafka(self, **options: str | int | float | bool) -> dict[str, str | int | float | bool]:
        """Configuration of a librdkafka client."""
        return {"bootstrap.servers": self.bootstrap, **self.security, **options}


def framing(settings: Settings) -> Frame:
    """How messages go out and, from now on, come in; raises InvalidSetting."""
    try:
        return use(settings.registry)
    except RegistryUnusable as error:
        raise InvalidSetting(str(error)) from error


def _whole(environ: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise InvalidSetting(f"{name} is {text!r}; it must be a whole number, {least} or more")
    return value


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise InvalidSetting(f"{name} is {text!r}; it must be a number of seconds, 0 or more")
    return value


def _truth(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if not text:
        return default
    if text not in {"true", "false", "1", "0", "yes", "no"}:
        raise InvalidSetting(f"{name} is {text!r}; it must be true or false")
    return text in {"true", "1", "yes"}
