"""How much memory the JVM of a store gets: a share of what this machine, or its container, may use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

_MEGABYTE: Final = 1 << 20
_CGROUP: Final = Path("/sys/fs/cgroup")
_LIMITS: Final = ("memory.max", "memory/memory.limit_in_bytes")  # Of version 2 and of version 1.
# Measured: 30 million triples are loaded with 3 GB at full speed; the page cache wants the rest.
_LEAST, _MOST, _SHARE = 512 * _MEGABYTE, 4096 * _MEGABYTE, 4
_SIZE: Final = re.compile(r"(\d+)([kmgt]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": _MEGABYTE, "g": 1 << 30, "t": 1 << 40}


def usable(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory that the processes here may use together."""
    found = int(psutil.virtual_memory().total)
    for name in _LIMITS:
        try:
            found = min(found, int((cgroup / name).read_text()))
        except (OSError, ValueError):  # Not there, or "max".
            continue
    return found


def heap(memory: int) -> str:
    """The heap of Blazegraph, as Java says it: a quarter of the memory, from 512 MB to 4 GB."""
    return f"{min(max(memory // _SHARE, _LEAST), _MOST) // _MEGABYTE}m"


def collector(heap: str) -> tuple[str, ...]:
    """The collector for a heap, as options of Java: the parallel one up to 4 GB, else Java's own choice.

    Writing costs a fifth less time with it than with G1, whose barriers every change of a node of an
    index pays. It stops everything for a full collection, too long where the heap is large.
    (docs/decisions/0011-how-blazegraph-is-set-up.md)
    """
    size = _SIZE.fullmatch(heap)
    small = size is not None and int(size[1]) * _UNITS[size[2].lower()] <= _MOST
    return ("-XX:+UseParallelGC",) if small else ()


def direct(memory: int) -> str:
    """What it may take outside the heap, for its write cache: an eighth, from 256 MB to 1 GB."""
    return f"{min(max(memory // (2 * _SHARE), _LEAST // 2), 1024 * _MEGABYTE) // _MEGABYTE}m"
