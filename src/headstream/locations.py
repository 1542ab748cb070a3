"""Stores as the commands open them: to fill, or only to read, and never one that was not meant."""

from __future__ import annotations

from pathlib import Path

import pyoxigraph

from headstream import live
from headstream.errors import Unreadable
from headstream.sinks.errors import StoreBusy
from headstream.sinks.stores import OxigraphStore, Store, open_store


def open_to_fill(location: str) -> Store:
    """Open a store that may be new; raises Unreadable for a folder that holds something else."""
    folder = live.folder_of(location)
    if folder is not None and folder.exists():
        _demand_store_folder(folder, or_empty=True)
    elif folder is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
    return open_store(location)


def open_to_read(location: str) -> Store:
    """Open a store that must be there; one that another process has open can be read all the same."""
    folder = live.folder_of(location)
    if folder is None:
        return open_store(location)
    _demand_store_folder(folder, or_empty=False)
    try:
        return _ReadOnly(pyoxigraph.Store.read_only(str(folder)))
    except (OSError, ValueError) as error:
        raise StoreBusy(f"the store in {folder} cannot be read: {error}") from error


class _ReadOnly(OxigraphStore):
    """A store on disk that is only read."""

    def __init__(self, graph: pyoxigraph.Store) -> None:
        super().__init__(graph=graph)

    def close(self) -> None:
        """Nothing was written, so there is nothing to flush."""


def _demand_store_folder(folder: Path, *, or_empty: bool) -> None:
    """Raise Unreadable unless a store lies there: a typing error must not fill a home directory with one."""
    if (folder / "CURRENT").is_file() or (or_empty and folder.is_dir() and not any(folder.iterdir())):
        return
    wrong = "holds other things than a store" if folder.exists() else "is not there"
    raise Unreadable(f"{folder} {wrong}; give oxigraph:PATH with the folder of an Oxigraph store")
