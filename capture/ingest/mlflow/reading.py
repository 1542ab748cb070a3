"""MLflow, whichever way it keeps its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from headstream.capture.ingest.errors import SourceUnreadable
from headstream.capture.ingest.mlflow.database import Database
from headstream.capture.ingest.mlflow.files import Directory
from headstream.capture.ingest.mlflow.mapping import map_run
from headstream.capture.ingest.mlflow.records import Run
from headstream.capture.ingest.mlflow.sources import Selection, Source
from headstream.capture.ingest.told import Item
from headstream.schemas.mounts import Mounts


def open_mlflow(path: Path, selection: Selection) -> Source:
    """Open a tracking directory, a SQLite file, or a folder with one `mlruns` or `mlflow.db` in it.

    Raises SourceUnreadable for anything else, and for a selection that no run meets; but that nothing has
    changed since a time is nobody's mistake.
    """
    found = _opened(path, selection)
    there = not selection.experiments or not selection.experiments.isdisjoint(found.experiments)
    if found.total == 0 and selection != Selection() and not (there and selection.since is not None):
        known = ", ".join(sorted(found.experiments)) or "no experiment"
        raise SourceUnreadable(f"{path} has no run that was asked for; its experiments are: {known}")
    return found


def _opened(path: Path, selection: Selection) -> Source:
    if path.is_file():
        if Database.is_one(path):
            return Database(path, selection)
        raise SourceUnreadable(
            f"{path} is no SQLite file; give the tracking directory or the database file of MLflow"
        )
    for folder in (path, path / "mlruns"):
        if Directory.is_one(folder):
            return Directory(folder, selection)
    if (path / "mlflow.db").is_file():
        return Database(path / "mlflow.db", selection)
    missing = "is not there" if not path.exists() else "has no experiments of MLflow in it"
    raise SourceUnreadable(
        f"{path} {missing}; give a tracking directory (often `mlruns`) or a SQLite file (often `mlflow.db`)"
    )


def read_mlflow(
    source: Source, mounts: Mounts, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Item]:
    """Every run of a source as events, and what of it is not in them."""
    done = 0
    for found in source.runs():
        if isinstance(found, Run):
            yield from map_run(found, mounts)
            done += 1
            progress(done, source.total)
        else:
            yield found
