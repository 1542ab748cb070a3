"""What the clients of Kafka and of a schema registry take from the environment: the same for all of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """Where a Confluent-compatible schema registry is, and how we are known to it."""

    # Somebody may have put a password into the URL, although it is refused when it is used.
    url: str = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca: str | None = None


def registry_options(environ: Mapping[str, str]) -> RegistryOptions | None:
    """HEADSTREAM_REGISTRY_URL, _USER, _PASSWORD, _TOKEN and _CA as they are given; None without a URL."""
    url = environ.get("HEADSTREAM_REGISTRY_URL")
    if not url:
        return None
    return RegistryOptions(
        url=url,
        user=environ.get("HEADSTREAM_REGISTRY_USER") or None,
        password=environ.get("HEADSTREAM_REGISTRY_PASSWORD") or None,
        token=environ.get("HEADSTREAM_REGISTRY_TOKEN") or None,
        ca=environ.get("HEADSTREAM_REGISTRY_CA") or None,
    )
