"""What the clients of Kafka and of a schema registry take from the environment: the same for all of ours."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

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


class _Said(Protocol):
    def name(self) -> str: ...
    def str(self) -> str: ...


class Trouble:
    """What a client of librdkafka says of its way to the broker (its `error_cb`).

    A password or certificate that is refused looks like a broker that is silent to whoever calls, for
    librdkafka tries on for ever. Its own lines on standard error are left out where this is used.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: str | None = None
        self.refused: str | None = None
        self._clock = clock
        self._unheard: str | None = None  # Said since `news` was asked.
        self._told: dict[str, float] = {}  # Text and when `news` gave it.

    def __call__(self, error: _Said) -> None:
        if error.name() == "_ALL_BROKERS_DOWN":  # It says less than what came before it.
            return
        # So that what is said again is equal.
        self.last = self._unheard = _HOW_LONG.sub("", error.str())
        if error.name() in _REFUSALS:
            self.refused = self.last

    def news(self) -> str | None:
        """What is worth a line in a log: said since this was asked last, and not given within a minute.

        One cause may be told in several texts by turns (OpenSSL's own and librdkafka's), an attempt each.
        """
        said, self._unheard = self._unheard, None
        if said is None:
            return None
        now = self._clock()
        self._told = {text: at for text, at in self._told.items() if now - at < _AGAIN_SECONDS}
        if said in self._told:
            return None
        self._told[said] = now
        return said

    def options(self) -> dict[str, Any]:
        """What the client is made with."""
        return {"error_cb": self, "log_level": 0}

    def remedy(self) -> str:
        """What to do about it, and where to look."""
        if self.refused is None:
            return "start one, or set HEADSTREAM_BOOTSTRAP"
        return "see HEADSTREAM_KAFKA_SASL_* and HEADSTREAM_KAFKA_SSL_*"


# Such as "(after 28ms in state SSL_HANDSHAKE, 3 identical error(s) suppressed)".
_HOW_LONG: Final = re.compile(r" \(after \d+ms in state .*\)$")
_AGAIN_SECONDS: Final = 60.0
_REFUSALS: Final = ("_AUTHENTICATION", "_SSL")


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
