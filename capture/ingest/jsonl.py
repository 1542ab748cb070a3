"""Files of JSON lines, read one record at a time, with the place of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from headstream.capture.ingest.errors import SourceUnreadable
from headstream.capture.ingest.told import Record, Refused

_SUFFIXES: Final = frozenset({".jsonl", ".ndjson", ".json", ".log"})
_SHOWN: Final = 120

# Bytes read and bytes in all.
Progress = Callable[[int, int], None]


def found_in(paths: Sequence[Path], suffixes: frozenset[str] = _SUFFIXES) -> list[Path]:
    """The files that are meant: each as given, or those in a folder and its folders that are called so.

    Raises SourceUnreadable for what is not there, and for a folder without any.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise SourceUnreadable(f"{path} is not there; give files, or a folder of them")
        inside = sorted(
            each for each in path.rglob("*") if each.suffix.lower() in suffixes and each.is_file()
        )
        if not inside:
            raise SourceUnreadable(f"{path} has no file that ends in {', '.join(sorted(suffixes))}")
        found.extend(inside)
    return found


def records(files: Sequence[Path], progress: Progress = lambda done, total: None) -> Iterator[Record]:
    """Every record with its `FILE:LINE`; a line may also be an array of records.

    What is no JSON, such as the last line of a process that was killed, is refused, and reading goes on.
    """
    total = sum(path.stat().st_size for path in files)
    done = 0
    for path in files:
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    done += len(line)
                    progress(done, total)
                    if line.strip():
                        yield from _parsed(line, f"{path}:{number}")
        except OSError as error:
            raise SourceUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


def _parsed(line: bytes, where: str) -> Iterator[Record]:
    try:
        read = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        begin = line[:_SHOWN].decode("utf-8", "replace").rstrip()
        yield Refused(reason="not-json", message=f"{error}; the line begins {begin!r}", where=where)
        return
    if isinstance(read, list):
        yield from ((each, where) for each in read)
    else:
        yield read, where
