"""Where the services keep things, on which ports, with how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from platformdirs import user_cache_path, user_data_path

from headstream.services.errors import ServicesError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `headstream up` needs to know; built once from the environment by the entry point."""

    data: Path
    cache: Path
    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    blazegraph_port: int = 9999
    kafka_heap: str = "512m"
    blazegraph_heap: str | None = None  # What fits the memory.
    start_seconds: float = 60.0
    java_home: str | None = None
    path: str = ""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read HEADSTREAM_* (and PATH, JAVA_HOME); an unset variable leaves the default."""
        return cls(
            data=Path(environ.get("HEADSTREAM_DATA") or user_data_path("headstream")).absolute(),
            cache=Path(environ.get("HEADSTREAM_CACHE") or user_cache_path("headstream")).absolute(),
            kafka_port=_port(environ, "HEADSTREAM_KAFKA_PORT", 19092),
            kafka_controller_port=_port(environ, "HEADSTREAM_KAFKA_CONTROLLER_PORT", 19093),
            blazegraph_port=_port(environ, "HEADSTREAM_BLAZEGRAPH_PORT", 9999),
            kafka_heap=environ.get("HEADSTREAM_KAFKA_HEAP") or "512m",
            blazegraph_heap=environ.get("HEADSTREAM_BLAZEGRAPH_HEAP") or None,
            start_seconds=_seconds(environ, "HEADSTREAM_START_SECONDS", 60.0),
            java_home=environ.get("JAVA_HOME") or None,
            path=environ.get("PATH", ""),
        )


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ServicesError(f"{name}={text!r} is not a port; give a number from 1 to 65535")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ServicesError(f"{name}={text!r} is not a number of seconds; give one above 0")
    return seconds
