"""`headstream config`: every setting that is in force here, and where it comes from.

The table is that of docs/reference/settings.md (tests/cli/test_config.py holds one against the
other). A value is shown as it was given: whether it can be used is told by whoever reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import typer
from platformdirs import user_cache_path

from headstream.cli.telling import Json, answers, tell
from headstream.places import Places

ENVIRONMENT: Final = "environment"
DEFAULT: Final = "default"
SET: Final = "set"
_PREFIX: Final = "HEADSTREAM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable as documented. A default in brackets is said in words; a star stands for a prefix."""

    name: str
    default: str
    readers: str
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A setting as it stands; `value` None is absent, and "set" a secret."""

    name: str
    value: str | None
    source: str
    readers: str


SETTINGS: Final = (
    Setting(
        name="HEADSTREAM_DATA",
        default="(the platform's folder for user data)",
        readers="capture, cli, services",
    ),
    Setting(name="HEADSTREAM_CACHE", default="(the platform's folder for caches)", readers="services"),
    Setting(name="HEADSTREAM_BOOTSTRAP", default="(see below)", readers="capture, cli, sink, tracker"),
    Setting(name="HEADSTREAM_TOPIC_PREFIX", default="headstream", readers="capture, sink, tracker"),
    Setting(name="HEADSTREAM_STORE_URL", default="(none)", readers="api, cli, sink"),
    Setting(name="HEADSTREAM_STORE_PATH", default="(none)", readers="api"),
    Setting(name="HEADSTREAM_BASE_IRI", default="https://provml.example.org/id/", readers="api, cli, sink"),
    Setting(name="HEADSTREAM_READY_FILE", default="(none)", readers="cli, sink, tracker"),
    Setting(name="HEADSTREAM_KAFKA_*", default="(none)", readers="capture, sink, tracker", secret=True),
    Setting(name="HEADSTREAM_REGISTRY_URL", default="(none)", readers="capture, cli, sink, tracker"),
    Setting(name="HEADSTREAM_REGISTRY_USER", default="(none)", readers="capture, cli, sink, tracker"),
    Setting(
        name="HEADSTREAM_REGISTRY_PASSWORD",
        default="(none)",
        readers="capture, cli, sink, tracker",
        secret=True,
    ),
    Setting(
        name="HEADSTREAM_REGISTRY_TOKEN", default="(none)", readers="capture, cli, sink, tracker", secret=True
    ),
    Setting(name="HEADSTREAM_REGISTRY_CA", default="(the system's)", readers="capture, cli, sink, tracker"),
    Setting(name="HEADSTREAM_TRACE", default="(none)", readers="cli"),
    Setting(name="HEADSTREAM_SPOOL", default="(spool in HEADSTREAM_DATA)", readers="capture"),
    Setting(name="HEADSTREAM_SPOOL_BYTES", default="8589934592", readers="capture"),
    Setting(name="HEADSTREAM_SPOOL_FREE_BYTES", default="268435456", readers="capture"),
    Setting(name="HEADSTREAM_SPOOL_FULL", default="drop_newest", readers="capture"),
    Setting(name="HEADSTREAM_BLOCK_SECONDS", default="1", readers="capture"),
    Setting(name="HEADSTREAM_MEMORY_BYTES", default="2097152", readers="capture"),
    Setting(name="HEADSTREAM_SEGMENT_BYTES", default="2097152", readers="capture"),
    Setting(name="HEADSTREAM_SILENT_SECONDS", default="86400", readers="capture"),
    Setting(name="HEADSTREAM_VALUE_BYTES", default="262144", readers="capture"),
    Setting(name="HEADSTREAM_BAG_SIZE", default="50", readers="capture"),
    Setting(name="HEADSTREAM_SHIPPER", default="process", readers="capture"),
    Setting(name="HEADSTREAM_TRANSPORT", default="online", readers="capture"),
    Setting(name="HEADSTREAM_EXIT_SECONDS", default="5", readers="capture"),
    Setting(name="HEADSTREAM_EXECUTION", default="(a new id)", readers="capture, cli"),
    Setting(name="HEADSTREAM_WORKFLOW", default="(none)", readers="capture"),
    Setting(name="HEADSTREAM_DEFINITION", default="(none)", readers="capture"),
    Setting(name="HEADSTREAM_PARENT", default="(none)", readers="capture"),
    Setting(name="HEADSTREAM_RANKS", default="all", readers="capture"),
    Setting(name="HEADSTREAM_RANK_PROCESS", default="(none)", readers="capture"),
    Setting(name="HEADSTREAM_RANK", default="auto", readers="capture"),
    Setting(name="HEADSTREAM_CLUSTER", default="(SLURM_CLUSTER_NAME)", readers="capture"),
    Setting(name="HEADSTREAM_GIT", default="on", readers="capture"),
    Setting(name="HEADSTREAM_FILE_FACTS", default="on", readers="capture"),
    Setting(name="HEADSTREAM_CHECKSUM", default="off", readers="capture"),
    Setting(name="HEADSTREAM_KEEP_SHIPPED", default="off", readers="capture"),
    Setting(name="HEADSTREAM_CREATE_TOPICS", default="true", readers="tracker"),
    Setting(name="HEADSTREAM_PARTITIONS", default="4", readers="tracker"),
    Setting(name="HEADSTREAM_REPLICATION", default="1", readers="tracker"),
    Setting(name="HEADSTREAM_EVENTS_RETENTION_MS", default="-1", readers="tracker"),
    Setting(name="HEADSTREAM_IDENTIFIED_RETENTION_MS", default="604800000", readers="tracker"),
    Setting(name="HEADSTREAM_DEAD_LETTERS_RETENTION_MS", default="31536000000", readers="tracker"),
    Setting(name="HEADSTREAM_TRACKER_TAKE", default="200", readers="tracker"),
    Setting(name="HEADSTREAM_DEFINITION_WAIT", default="2.0", readers="tracker"),
    Setting(name="HEADSTREAM_SESSION_SECONDS", default="10.0", readers="tracker"),
    Setting(name="HEADSTREAM_DRAIN_SECONDS", default="8.0", readers="tracker"),
    Setting(name="HEADSTREAM_TRACKER_METRICS_PORT", default="(none)", readers="tracker"),
    Setting(name="HEADSTREAM_LOG_LEVEL", default="INFO", readers="tracker"),
    Setting(name="HEADSTREAM_SINK_GROUP", default="headstream-sink", readers="sink"),
    Setting(name="HEADSTREAM_SINK_INSTANCE", default="(none)", readers="sink"),
    Setting(name="HEADSTREAM_SINK_SESSION_SECONDS", default="10", readers="sink"),
    Setting(name="HEADSTREAM_SINK_POLL_SECONDS", default="300", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_TRIPLES", default="20000", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_BYTES", default="16777216", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_SECONDS", default="0.5", readers="sink"),
    Setting(name="HEADSTREAM_SINK_LINGER_SECONDS", default="0.1", readers="sink"),
    Setting(name="HEADSTREAM_SINK_RETRY_SECONDS", default="60", readers="sink"),
    Setting(name="HEADSTREAM_SINK_DRAIN_SECONDS", default="8", readers="sink"),
    Setting(name="HEADSTREAM_METRICS_HOST", default="127.0.0.1", readers="sink, tracker"),
    Setting(name="HEADSTREAM_METRICS_PORT", default="(none)", readers="sink"),
    Setting(name="HEADSTREAM_FRESHNESS_LOG", default="(none)", readers="cli, sink"),
    Setting(name="HEADSTREAM_API_HOST", default="127.0.0.1", readers="api"),
    Setting(name="HEADSTREAM_API_PORT", default="8080", readers="api, cli"),
    Setting(name="HEADSTREAM_API_TOKEN", default="(none)", readers="api, cli", secret=True),
    Setting(name="HEADSTREAM_API_MAX_ROWS", default="20000", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_BYTES", default="16777216", readers="api"),
    Setting(name="HEADSTREAM_API_TIMEOUT_SECONDS", default="60", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_QUERY_BYTES", default="65536", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_CONCURRENT", default="8", readers="api"),
    Setting(name="HEADSTREAM_SERVICES", default="embedded", readers="cli"),
    Setting(name="HEADSTREAM_KAFKA_PORT", default="19092", readers="cli, services"),
    Setting(name="HEADSTREAM_KAFKA_CONTROLLER_PORT", default="19093", readers="services"),
    Setting(name="HEADSTREAM_KAFKA_HEAP", default="512m", readers="services"),
    Setting(name="HEADSTREAM_BLAZEGRAPH_PORT", default="9999", readers="cli, services"),
    Setting(name="HEADSTREAM_BLAZEGRAPH_HEAP", default="2g", readers="services"),
    Setting(name="HEADSTREAM_START_SECONDS", default="60", readers="services"),
)


def register(app: typer.Typer) -> None:
    app.command("config")(config)


def config(as_json: Json = False) -> None:
    """List every HEADSTREAM_* setting: value, where it comes from, who reads it; no secret is shown."""
    found, unknown = list(in_force(os.environ)), strangers(os.environ)
    if as_json:
        typer.echo(json.dumps({"settings": [asdict(each) for each in found], "unknown": unknown}))
        return
    from rich.table import Column, Table  # Only this answer is a table.
    from rich.text import Text

    table = Table("setting", Column("value", overflow="fold"), "from", "read by", box=None)
    for each in found:
        value = "(none)" if each.value is None else each.value
        table.add_row(*map(Text, (each.name, value, each.source, each.readers)))
    answers().print(table)
    for name in unknown:
        tell(f"{name} is set, and nothing reads it: see docs/reference/settings.md for what there is")


def in_force(environ: Mapping[str, str]) -> Iterator[InForce]:
    """Every setting with the value that it has in this environment; an empty variable counts as unset."""
    for setting in SETTINGS:
        given = sorted(name for name in environ if environ[name] and _stands_for(setting, name))
        for name in given:
            value = SET if setting.secret else without_password(environ[name])
            yield InForce(name=name, value=value, source=ENVIRONMENT, readers=setting.readers)
        if not given:
            default = _default(setting, environ)
            yield InForce(name=setting.name, value=default, source=DEFAULT, readers=setting.readers)


def strangers(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most often a name with a typing error."""
    return sorted(
        name
        for name in environ
        if name.startswith(_PREFIX) and not any(_stands_for(each, name) for each in SETTINGS)
    )


def without_password(value: str) -> str:
    """A location without what may be a password: user information and the query of a URL."""
    if "://" not in value:
        return value
    return re.sub(r"\?.*", "?...", re.sub(r"(?<=://)[^/?#]*@", "...@", value))


def _stands_for(setting: Setting, name: str) -> bool:
    if not setting.name.endswith("*"):
        return name == setting.name
    return name.startswith(setting.name[:-1]) and all(name != other.name for other in SETTINGS)


def _default(setting: Setting, environ: Mapping[str, str]) -> str | None:
    """What an unset variable means here; None if it means nothing."""
    if not setting.default.startswith("("):
        return setting.default
    found = _FOUND_HERE.get(setting.name)
    return None if found is None else found(environ)


_FOUND_HERE: Final[Mapping[str, Callable[[Mapping[str, str]], str | None]]] = {
    "HEADSTREAM_DATA": lambda environ: str(Places.from_env(environ).data),
    "HEADSTREAM_CACHE": lambda environ: str(user_cache_path("headstream").absolute()),
    "HEADSTREAM_SPOOL": lambda environ: str(Places.from_env(environ).spool),
    "HEADSTREAM_CLUSTER": lambda environ: environ.get("SLURM_CLUSTER_NAME") or None,
}
