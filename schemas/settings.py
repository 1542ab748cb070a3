"""Every setting of every part of headstream: the table of docs/reference/settings.md.

tests/cli/test_config.py holds one against the other, tests/docs/test_settings.py both against the
code that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "HEADSTREAM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable as documented. A default in brackets is said in words; a star stands for a prefix."""

    name: str
    default: str
    readers: str
    secret: bool = False
    path: bool = False


SETTINGS: Final = (
    Setting(
        name="HEADSTREAM_DATA",
        default="(the platform's folder for user data)",
        readers="capture, cli, services",
        path=True,
    ),
    Setting(
        name="HEADSTREAM_CACHE", default="(the platform's folder for caches)", readers="services", path=True
    ),
    Setting(name="HEADSTREAM_BOOTSTRAP", default="(see below)", readers="capture, cli, sink, tracker"),
    Setting(name="HEADSTREAM_TOPIC_PREFIX", default="headstream", readers="capture, sink, tracker"),
    Setting(name="HEADSTREAM_STORE_URL", default="(none)", readers="api, cli, sink"),
    Setting(name="HEADSTREAM_STORE_DISK", default="(none)", readers="sink", path=True),
    Setting(name="HEADSTREAM_STORE_FREE_BYTES", default="268435456", readers="cli, sink"),
    Setting(name="HEADSTREAM_STORE_PATH", default="(none)", readers="api", path=True),
    Setting(name="HEADSTREAM_BASE_IRI", default="https://provml.example.org/id/", readers="api, cli, sink"),
    Setting(name="HEADSTREAM_READY_FILE", default="(none)", readers="cli, sink, tracker", path=True),
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
    Setting(
        name="HEADSTREAM_REGISTRY_CA",
        default="(the system's)",
        readers="capture, cli, sink, tracker",
        path=True,
    ),
    Setting(
        name="HEADSTREAM_CONFIG",
        default="(found, see below)",
        readers="api, capture, cli, sink, tracker",
        path=True,
    ),
    Setting(name="HEADSTREAM_LOG_FORMAT", default="text", readers="api, cli, sink, tracker"),
    Setting(name="HEADSTREAM_LOG_LEVEL", default="INFO", readers="api, cli, sink, tracker"),
    Setting(name="HEADSTREAM_METRICS_HOST", default="127.0.0.1", readers="cli, sink, tracker"),
    Setting(name="HEADSTREAM_RELAY_METRICS_PORT", default="(none)", readers="cli"),
    Setting(name="HEADSTREAM_TRACE", default="(none)", readers="cli"),
    Setting(name="HEADSTREAM_SPOOL", default="(spool in HEADSTREAM_DATA)", readers="capture", path=True),
    Setting(name="HEADSTREAM_SPOOL_BYTES", default="8589934592", readers="capture"),
    Setting(name="HEADSTREAM_SPOOL_FREE_BYTES", default="268435456", readers="capture"),
    Setting(name="HEADSTREAM_SPOOL_FULL", default="drop_newest", readers="capture"),
    Setting(name="HEADSTREAM_BLOCK_SECONDS", default="1", readers="capture"),
    Setting(name="HEADSTREAM_MEMORY_BYTES", default="2097152", readers="capture"),
    Setting(name="HEADSTREAM_SEGMENT_BYTES", default="2097152", readers="capture"),
    Setting(name="HEADSTREAM_SILENT_SECONDS", default="86400", readers="capture"),
    Setting(name="HEADSTREAM_VALUE_BYTES", default="262144", readers="capture"),
    Setting(name="HEADSTREAM_DIGEST_BYTES", default="67108864", readers="capture"),
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
    Setting(name="HEADSTREAM_BUDGET", default="(none)", readers="capture"),
    Setting(name="HEADSTREAM_GIT", default="on", readers="capture"),
    Setting(name="HEADSTREAM_FILE_FACTS", default="on", readers="capture"),
    Setting(name="HEADSTREAM_CHECKSUM", default="off", readers="capture"),
    Setting(name="HEADSTREAM_PACKAGES", default="on", readers="capture"),
    Setting(name="HEADSTREAM_ENV", default="default", readers="capture"),
    Setting(name="HEADSTREAM_TELEMETRY_SECONDS", default="0", readers="capture"),
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
    Setting(name="HEADSTREAM_TRACKER_INSTANCE", default="(none)", readers="tracker"),
    Setting(name="HEADSTREAM_TRACKER_METRICS_PORT", default="(none)", readers="tracker"),
    Setting(name="HEADSTREAM_SINK_GROUP", default="headstream-sink", readers="sink"),
    Setting(name="HEADSTREAM_SINK_INSTANCE", default="(none)", readers="sink"),
    Setting(name="HEADSTREAM_SINK_SESSION_SECONDS", default="10", readers="sink"),
    Setting(name="HEADSTREAM_SINK_POLL_SECONDS", default="300", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_TRIPLES", default="40000", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_BYTES", default="16777216", readers="sink"),
    Setting(name="HEADSTREAM_SINK_BATCH_SECONDS", default="0.5", readers="sink"),
    Setting(name="HEADSTREAM_SINK_LINGER_SECONDS", default="0.1", readers="sink"),
    Setting(name="HEADSTREAM_SINK_RETRY_SECONDS", default="60", readers="sink"),
    Setting(name="HEADSTREAM_SINK_DRAIN_SECONDS", default="8", readers="sink"),
    Setting(name="HEADSTREAM_METRICS_PORT", default="(none)", readers="sink"),
    Setting(name="HEADSTREAM_FRESHNESS_LOG", default="(none)", readers="cli, sink", path=True),
    Setting(name="HEADSTREAM_API_HOST", default="127.0.0.1", readers="api"),
    Setting(name="HEADSTREAM_API_PORT", default="8080", readers="api, cli"),
    Setting(name="HEADSTREAM_API_TOKEN", default="(none)", readers="api, cli", secret=True),
    Setting(name="HEADSTREAM_API_MAX_ROWS", default="20000", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_BYTES", default="16777216", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_EXPORT_TRIPLES", default="1000000", readers="api"),
    Setting(name="HEADSTREAM_API_TIMEOUT_SECONDS", default="60", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_QUERY_BYTES", default="65536", readers="api"),
    Setting(name="HEADSTREAM_API_MAX_CONCURRENT", default="8", readers="api"),
    Setting(name="HEADSTREAM_GATEWAY_HOST", default="127.0.0.1", readers="cli, gateway"),
    Setting(name="HEADSTREAM_GATEWAY_PORT", default="5000", readers="cli, gateway"),
    Setting(name="HEADSTREAM_GATEWAY_TOKEN", default="(none)", readers="gateway", secret=True),
    Setting(name="HEADSTREAM_GATEWAY_MAX_BYTES", default="16777216", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_MAX_MESSAGES", default="10000", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_MAX_MESSAGE_BYTES", default="524288", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_MAX_CONCURRENT", default="64", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_RATE", default="0", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_ACK_SECONDS", default="5", readers="gateway"),
    Setting(name="HEADSTREAM_GATEWAY_REMEMBER_SECONDS", default="604800", readers="gateway"),
    Setting(name="HEADSTREAM_SERVICES", default="embedded", readers="cli"),
    Setting(name="HEADSTREAM_WITH_GATEWAY", default="false", readers="cli"),
    Setting(name="HEADSTREAM_KAFKA_PORT", default="19092", readers="cli, services"),
    Setting(name="HEADSTREAM_KAFKA_CONTROLLER_PORT", default="19093", readers="services"),
    Setting(name="HEADSTREAM_KAFKA_HEAP", default="512m", readers="services"),
    Setting(name="HEADSTREAM_BLAZEGRAPH_PORT", default="9999", readers="cli, services"),
    Setting(
        name="HEADSTREAM_BLAZEGRAPH_HEAP",
        default="(a quarter of the memory, 512m to 4096m)",
        readers="services",
    ),
    Setting(name="HEADSTREAM_NAMESPACE", default="headstream", readers="cli"),
    Setting(name="HEADSTREAM_START_SECONDS", default="60", readers="services"),
)


def stands_for(setting: Setting, name: str) -> bool:
    """Tell whether a variable is this setting; of two settings the one without a star has it."""
    if not setting.name.endswith("*"):
        return name == setting.name
    return name.startswith(setting.name[:-1]) and all(name != other.name for other in SETTINGS)
