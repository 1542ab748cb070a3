"""Which options of a Kafka client come from the environment: the same for every client of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_PREFIX: Final = "HEADSTREAM_KAFKA_"
# What concerns the way to the broker. Other HEADSTREAM_KAFKA_* variables configure the local one, and
# durability and order (acks, idempotence, partitioner) are not for the environment to weaken.
_GROUPS: Final = ("SECURITY_", "SASL_", "SSL_", "CLIENT_", "BROKER_", "SOCKET_")


def client_options(environ: Mapping[str, str]) -> dict[str, str]:
    """HEADSTREAM_KAFKA_SASL_USERNAME as `sasl.username` of librdkafka, and so on. May hold passwords."""
    found = {name.removeprefix(_PREFIX): environ[name] for name in environ if name.startswith(_PREFIX)}
    return {
        name.lower().replace("_", "."): value for name, value in found.items() if name.startswith(_GROUPS)
    }
