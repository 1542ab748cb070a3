"""Settings of the query API, read once by the entry point."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from headstream.query_api.errors import ConfigurationError
from headstream.schemas.identifiers import DEFAULT_BASE

TOKEN = "HEADSTREAM_API_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where to listen, which store to ask, and how much one question may cost."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    store_url: str | None = None
    store_path: str | None = None
    base_iri: str = DEFAULT_BASE
    max_rows: int = 20_000
    max_bytes: int = 16 * 1024 * 1024
    max_export_triples: int = 1_000_000
    timeout_seconds: float = 60.0
    max_query_bytes: int = 64 * 1024
    max_concurrent: int = 8

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the HEADSTREAM_* variables; raises ConfigurationError for a value that cannot be used."""
        url = environ.get("HEADSTREAM_STORE_URL", "")
        # What the sink is told (`oxigraph:PATH`, `blazegraph:URL`, `graph-store:URL`) serves here too.
        path = url.removeprefix("oxigraph:") if url.startswith("oxigraph:") else ""
        return cls(
            host=environ.get("HEADSTREAM_API_HOST") or "127.0.0.1",
            port=whole_number(environ, "HEADSTREAM_API_PORT", 8080, least=0),
            token=environ.get(TOKEN) or None,
            store_url=None if path else url or None,
            store_path=path or environ.get("HEADSTREAM_STORE_PATH") or None,
            base_iri=environ.get("HEADSTREAM_BASE_IRI") or DEFAULT_BASE,
            max_rows=whole_number(environ, "HEADSTREAM_API_MAX_ROWS", 20_000),
            max_bytes=whole_number(environ, "HEADSTREAM_API_MAX_BYTES", 16 * 1024 * 1024),
            max_export_triples=whole_number(environ, "HEADSTREAM_API_MAX_EXPORT_TRIPLES", 1_000_000),
            timeout_seconds=seconds(environ, "HEADSTREAM_API_TIMEOUT_SECONDS", 60.0),
            max_query_bytes=whole_number(environ, "HEADSTREAM_API_MAX_QUERY_BYTES", 64 * 1024),
            max_concurrent=whole_number(environ, "HEADSTREAM_API_MAX_CONCURRENT", 8),
        )

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the address."""
        return is_loopback(self.host)

    def check_exposure(self) -> None:
        """Raise ConfigurationError if others could ask without a token (faults row 42)."""
        demand_token(
            self.host,
            self.token,
            what="the API",
            token_variable=TOKEN,
            host_variable="HEADSTREAM_API_HOST",
        )


def demand_token(host: str, token: str | None, *, what: str, token_variable: str, host_variable: str) -> None:
    """Raise ConfigurationError for a service that strangers could reach without a token."""
    if token is None and not is_loopback(host):
        raise ConfigurationError(
            f"{what} would listen on {host!r}, beyond loopback, without a token",
            remedy=f"set {token_variable}, or {host_variable}=127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def whole_number(environ: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    """A whole number from the environment, the default if there is none; raises ConfigurationError."""
    text = environ.get(name)
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        raise _unusable(name, text, f"a whole number from {least}") from None
    if number < least:
        raise _unusable(name, text, f"a whole number from {least}")
    return number


def seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Seconds from the environment, the default if there are none; raises ConfigurationError."""
    text = environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise _unusable(name, text, "a number of seconds above 0") from None
    if not 0 < number < float("inf"):
        raise _unusable(name, text, "a number of seconds above 0")
    return number


def _unusable(name: str, text: str, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name}={text!r} cannot be used", remedy=f"give {wanted}")
