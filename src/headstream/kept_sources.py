"""What a replay reads without a broker: spools, as scripts left them, or the files of an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from headstream.capture.owner import writer_lives
from headstream.capture.reading import read, spools
from headstream.errors import Unreadable
from headstream.places import Places
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag
from headstream.stream_processors.archive_files import SUFFIX, root_of
from headstream.stream_processors.errors import InvalidSelection
from headstream.stream_processors.replay import taken_records
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.sources import ArchiveSource, Source, Taken

SPOOL: Final = "spool"
_OWNER: Final = "owner"


def open_kept(places: Places, source: str, selection: Selection, *, allow_missing: bool = False) -> Source:
    """Open what lies in files: "spool" for what this data directory keeps, or a path.

    The path is a folder of spools, one spool, an archive, or a folder or file of one. Raises
    Unreadable if nothing of the kind lies there.
    """
    path = Path(source).absolute()
    if source != SPOOL:
        if (path / _OWNER).exists():
            return _spools([path.parent], selection, only=path.name)
        if not spools(path) and _is_archive(path):
            return ArchiveSource(path, selection, allow_missing)
    # The spool first: what moves on between the two listings is then seen twice and not missed.
    folders = [places.spool, places.archive] if source == SPOOL else [path]
    if not any(spools(folder) for folder in folders if folder.is_dir()):
        raise Unreadable(f"there is nothing to replay in {' or '.join(map(str, folders))}; {_REMEDY}")
    return _spools(folders, selection)


_REMEDY: Final = "give --from topics, a folder of spools, or an archive that `headstream archive` made"


def _is_archive(path: Path) -> bool:
    if path.is_file():
        return path.suffix == SUFFIX
    if not path.exists():
        return False
    return root_of(path) is not None or next(path.rglob(f"*{SUFFIX}"), None) is not None


def _spools(folders: list[Path], selection: Selection, only: str | None = None) -> SpoolSource:
    if selection.has_offsets:
        raise InvalidSelection(
            "--from-offset and --to-offset are offsets of a topic, and a spool has none; give --since and "
            "--until, or --from topics"
        )
    return SpoolSource(folders, only)


@dataclass(slots=True)
class SpoolSource:
    """Spools of one or more folders; one that is taken away meanwhile is read again from where it went.

    Repeats change nothing in the graph. A mark is a spool whose writer is gone and that was read
    to its end: it cannot grow any more.
    """

    folders: list[Path]
    only: str | None = None
    documents_first = False
    total: int | None = None
    first_kept: Mapping[int, int] = field(default_factory=dict)

    def behind(self, marks: Mapping[str, int]) -> int | None:
        return 0  # Their messages are not counted.

    def read(self, marks: Mapping[str, int]) -> Iterator[Taken]:
        """Documents of a spool that is behind a mark are read all the same: bags of others name them."""
        found = {path.name: path for folder in self.folders for path in spools(folder)}
        for name, path in found.items():
            if self.only not in (None, name):
                continue
            done = name in marks
            final = not writer_lives(path)  # Asked first: what is read then is all that there will be.
            last: Taken | None = None
            for taken in taken_records(self._records(name, path), SPOOL):
                if last is not None:
                    yield last
                last = taken if taken.document or not done else None
            if last is not None:
                yield Taken(
                    message=last.message,
                    document=last.document,
                    bag=last.bag,
                    mark=(name, 1) if final else None,
                )

    def close(self) -> None:
        """Files are closed as they are read."""

    def _records(self, name: str, path: Path) -> Iterator[Document | Bag]:
        yield from read(path)
        if not path.is_dir():
            for folder in self.folders:
                if (folder / name).is_dir():
                    yield from read(folder / name)
