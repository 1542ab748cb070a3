"""Settings of the gateway, read once by the entry point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headstream.places import DEFAULT_GATEWAY_PORT
from headstream.query_api.settings import demand_token, seconds, whole_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where to listen, who may speak, how much at once, and how long runs are remembered.

    `rate` is the messages that one address may send a second, 0 for as many as it likes.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_GATEWAY_PORT
    token: str | None = field(default=None, repr=False)
    max_bytes: int = 16 * 1024 * 1024
    max_messages: int = 10_000
    max_message_bytes: int = 512 * 1024
    max_concurrent: int = 64
    rate: int = 0
    ack_seconds: float = 5.0
    remember_seconds: float = 604_800.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the HEADSTREAM_GATEWAY_* variables; raises ConfigurationError for what cannot be used."""
        default = cls()
        return cls(
            host=environ.get("HEADSTREAM_GATEWAY_HOST") or default.host,
            port=whole_number(environ, "HEADSTREAM_GATEWAY_PORT", default.port, least=0),
            token=environ.get("HEADSTREAM_GATEWAY_TOKEN") or None,
            max_bytes=whole_number(environ, "HEADSTREAM_GATEWAY_MAX_BYTES", default.max_bytes),
            max_messages=whole_number(environ, "HEADSTREAM_GATEWAY_MAX_MESSAGES", default.max_messages),
            max_message_bytes=whole_number(
                environ, "HEADSTREAM_GATEWAY_MAX_MESSAGE_BYTES", default.max_message_bytes
            ),
            max_concurrent=whole_number(environ, "HEADSTREAM_GATEWAY_MAX_CONCURRENT", default.max_concurrent),
            rate=whole_number(environ, "HEADSTREAM_GATEWAY_RATE", default.rate, least=0),
            ack_seconds=seconds(environ, "HEADSTREAM_GATEWAY_ACK_SECONDS", default.ack_seconds),
            remember_seconds=seconds(
                environ, "HEADSTREAM_GATEWAY_REMEMBER_SECONDS", default.remember_seconds
            ),
        )

    def check_exposure(self) -> None:
        """Raise ConfigurationError if others could speak without a token (faults row 42)."""
        demand_token(
            self.host,
            self.token,
            what="the gateway",
            token_variable="HEADSTREAM_GATEWAY_TOKEN",
            host_variable="HEADSTREAM_GATEWAY_HOST",
        )
