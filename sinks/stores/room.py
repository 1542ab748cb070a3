"""Whether the disk of a store has room for more.

Both stores that we know have to be started again once a write has found no room, even when there is
room again (measured: Blazegraph 2.1.5, Oxigraph 0.5.13). So nothing is written into the last of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Final

from headstream.sinks.errors import StoreBusy, StoreUnavailable
from headstream.sinks.statements import Renderer
from headstream.sinks.stores.store import Store, Written

FREE_BYTES: Final = 256 << 20  # Some fifty requests of the largest size.
_TENTH: Final = 10


@dataclass(frozen=True, slots=True)
class Room:
    """The disk that the files of a store lie on; `free_bytes`, on a small disk a tenth, stay free."""

    folder: Path
    free_bytes: int = FREE_BYTES

    def demand(self) -> None:
        """Raise StoreBusy while there is no room, so that a write waits until there is."""
        try:
            found = os.statvfs(self.folder)
        except OSError as error:
            raise StoreBusy(f"the folder of the store cannot be looked at: {error}") from error
        left, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        if left < min(self.free_bytes, whole // _TENTH):
            raise StoreBusy(
                f"the disk of {self.folder} has only {left / 1e6:,.0f} MB left, which stay free "
                "(HEADSTREAM_STORE_FREE_BYTES): make room, and writing goes on by itself"
            )

    def short(self) -> str | None:
        """Say why nothing can be written just now, None if it can."""
        try:
            self.demand()
        except StoreUnavailable as error:
            return str(error)
        return None

    def left(self) -> float:
        """Bytes that the disk has free, NaN while it cannot be looked at: a scrape shows the rest."""
        try:
            found = os.statvfs(self.folder)
        except OSError:
            return nan
        return float(found.f_bavail * found.f_frsize)

    def taken(self) -> int:
        """Bytes that the files in the folder take on the disk."""
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.stat(Path(folder, name)).st_blocks * 512
                except OSError:  # Gone since: stores replace their files.
                    continue
        return total


@dataclass(frozen=True, slots=True)
class StoreOnDisk:
    """A store behind a URL whose files lie on a disk of this machine: a write waits while that is short."""

    store: Store
    room: Room

    def renderer(self, base: str) -> Renderer:
        return self.store.renderer(base)

    def write(self, statements: bytes) -> Written:
        self.room.demand()
        return self.store.write(statements)

    def size(self) -> int:
        return self.store.size()

    def dump(self) -> Iterator[bytes]:
        return self.store.dump()

    def close(self) -> None:
        self.store.close()
