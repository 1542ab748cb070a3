"""What lies in spools, read without taking anything: for people who look, and for tests of a disk.

Nothing here takes the lock of a shipper, writes, or deletes; a spool may be written, shipped or
taken away while it is read. What is read begins with the first segment that is still there: those
before it have been shipped and deleted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from headstream.capture.checkpoint import START, Checkpoint, load_checkpoint
from headstream.capture.errors import CaptureError
from headstream.capture.header import Header
from headstream.capture.logs import DirectoryLog
from headstream.capture.owner import OWNER
from headstream.capture.reading import Reader, Torn, spools
from headstream.capture.shipper import TORN
from headstream.errors import Unreadable
from headstream.schemas.documents import Document
from headstream.schemas.errors import SchemaError
from headstream.schemas.events import Bag, Event, IterationBlock, event_count
from headstream.schemas.values import DictValue, Instant, Json, ListValue, Reference, plain

# What bytes that are no spool of this version can make a reader raise.
_BROKEN: Final = (OSError, CaptureError, SchemaError, ValueError, TypeError, LookupError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a spool that could not be read. `segment` None: the spool as a whole."""

    spool: Path
    reason: str
    segment: int | None = None
    offset: int = 0

    @property
    def sentence(self) -> str:
        where = "" if self.segment is None else f" segment {self.segment:06d} at byte {self.offset}"
        return f"{self.spool}{where}: {self.reason}"


@dataclass(slots=True, kw_only=True)
class Contents:
    """What one pass over a spool found; complete once its iterator is exhausted."""

    path: Path
    alive: bool = False
    header: Header | None = None
    segments: tuple[int, ...] = ()
    size: int = 0
    read: Counter[str] = field(default_factory=Counter)
    torn: list[Finding] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)
    shipped: Checkpoint = START
    gone: bool = False

    @property
    def sound(self) -> bool:
        return not self.torn and not self.unreadable

    @property
    def missing(self) -> list[int]:
        """Segments between those that are there: they lay in memory of the script, or were deleted."""
        if not self.segments:
            return []
        return sorted(set(range(self.segments[0], self.segments[-1])) - set(self.segments))


def under(*roots: Path) -> list[Path]:
    """The spool directories under these folders; a folder may also be one spool directory itself."""
    found: list[Path] = []
    for root in roots:
        found.extend([root] if (root / OWNER).exists() else spools(root) if root.is_dir() else [])
    return found


def find(name: str, *roots: Path) -> Path:
    """The spool directory of this path, or of this name (or the beginning of one) under these folders."""
    if (Path(name) / OWNER).exists():
        return Path(name)
    known = under(*roots)
    matches = [path for path in known if path.name == name] or [
        path for path in known if path.name.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    where = " or ".join(map(str, roots))
    if not matches:
        raise Unreadable(
            f"{name} is no spool, nor the name of one in {where}; `headstream spool ls` names them"
        )
    raise Unreadable(f"{len(matches)} spools in {where} begin with {name!r}; give more of the name")


def set_aside(root: Path) -> list[Path]:
    """Torn bytes that a shipper kept beside the spools under this root."""
    folder = root / TORN
    return sorted(folder.glob("*.bin")) if folder.is_dir() else []


def survey(path: Path) -> Contents:
    """Read all of a spool and tell what is in it."""
    contents = Contents(path=path)
    for _ in walk(contents):
        pass
    return contents


def walk(contents: Contents) -> Iterator[Document | Event]:
    """Every document and event of a spool in order, while `contents` is filled in.

    A segment that cannot be understood is noted, and reading goes on with the next.
    """
    path = contents.path
    contents.shipped = load_checkpoint(path)
    log = DirectoryLog(path)
    try:
        contents.alive = log.alive()
        contents.segments = tuple(log.numbers())
        contents.size = sum(_size(segment) for segment in path.glob("*.seg"))
        start: Checkpoint | None = START
        while start is not None:
            start = yield from _from(log, start, contents)
    except _BROKEN as error:
        contents.unreadable.append(Finding(spool=path, reason=_reason(error)))
    finally:
        log.close()
    contents.gone = not path.is_dir()
    if contents.gone:  # Shipped and taken away meanwhile: what was not there any more is no fault.
        contents.torn.clear()
        contents.unreadable.clear()
    elif contents.header is None and contents.sound:
        reason = "no segment has a header, so nothing here can be read as a spool"
        contents.unreadable.append(Finding(spool=path, reason=reason))


def _from(
    log: DirectoryLog, start: Checkpoint, contents: Contents
) -> Generator[Document | Event, None, Checkpoint | None]:
    """Read on from a checkpoint; returns where to go on if it had to stop."""
    reader = Reader(log, start)
    broken: Exception | None = None
    try:
        for item in reader.poll():
            yield from _counted(item.content, contents.read)
    except _BROKEN as error:
        broken = error
    finally:
        contents.header = contents.header or reader.header
        contents.torn.extend(_torn(contents.path, piece) for piece in reader.torn)
    at = reader.checkpoint
    numbers = log.numbers()
    if at.segment in numbers or at.segment < 0:
        if broken is None:
            return None
        reason = _reason(broken)
        segment = at.segment if at.segment >= 0 else None
        contents.unreadable.append(
            Finding(spool=contents.path, segment=segment, offset=at.offset, reason=reason)
        )
    # Else a shipper has deleted the segment just now: all of it was read by somebody, and is no fault.
    later = [number for number in numbers if number > at.segment]
    return Checkpoint(segment=later[0]) if later else None


def _counted(content: Document | Bag, read: Counter[str]) -> Iterator[Document | Event]:
    if isinstance(content, Document):
        read["documents"] += 1
        yield content
        return
    read["bags"] += 1
    read["events"] += sum(map(event_count, content.events))
    yield from content.events


def _torn(path: Path, piece: Torn) -> Finding:
    return Finding(
        spool=path,
        segment=piece.segment,
        offset=piece.offset,
        reason=f"a frame is torn, {len(piece.data)} bytes that cannot be read",
    )


def _reason(error: Exception) -> str:
    return f"cannot be read: {type(error).__name__}: {error}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# What is read, as JSON and as text.


def as_json(entry: Document | Event) -> dict[str, Any]:
    """One document or event as JSON data: what is absent is left out; a block also says its rows."""
    if isinstance(entry, Document):
        facts = {"kind": entry.kind, "name": entry.name, "hash": entry.content_hash, "body": entry.body}
        return {"document": facts}
    rows = {"rows": len(entry.index)} if isinstance(entry, IterationBlock) else {}
    return {"event": type(entry).__name__, **rows, **_json(entry)}


def _json(thing: Any) -> Any:
    match thing:
        case Json():
            return {"json": plain(thing)}
        case Instant(microseconds):
            return {"instant": microseconds}
        case Reference():
            return {"reference": thing.text, **_json_fields(thing, without="text")}
        case ListValue(items):
            return {"list": [_json(item) for item in items]}
        case DictValue(items):
            return {"dict": {key: _json(item) for key, item in items}}
        case tuple():
            return [_json(item) for item in thing]
        case float():
            return plain(thing)
    return _json_fields(thing) if is_dataclass(thing) else thing


def _json_fields(thing: Any, without: str = "") -> dict[str, Any]:
    named = ((each.name, getattr(thing, each.name)) for each in fields(thing) if each.name != without)
    return {name: _json(value) for name, value in named if value is not None and value != ()}


def as_line(entry: Document | Event, instant: Callable[[int], str], width: int = 200) -> str:
    """One document or event as a line for people; a long value is cut to `width` characters."""
    if isinstance(entry, Document):
        return f"document {entry.kind} {entry.name} {entry.content_hash[:12]}, {len(entry.body)} characters"
    if isinstance(entry, IterationBlock):
        return _block_line(entry, instant)
    words = [type(entry).__name__]
    at = getattr(entry, "ended", None) or getattr(entry, "started", None) or getattr(entry, "at", None)
    words.append(instant(at) if at is not None else "-")
    step = getattr(entry, "step", None)
    if step is not None:
        words.append(f"{step.transformation}/{step.task}")
    for name in ("iteration", "person", "direction", "outcome", "error"):
        said = getattr(entry, name, None)
        if said is not None:
            words.append(str(said) if name == "outcome" else f"{name}={_cut(str(said), width)}")
    words.extend(f"{each.name}={_cut(_text(each.value), width)}" for each in getattr(entry, "values", ()))
    return _one_line(" ".join(words))


def _block_line(block: IterationBlock, instant: Callable[[int], str]) -> str:
    words = ["IterationBlock", instant(max(block.ended)) if block.ended else "-", block.transformation]
    words.append(f"{len(block.index)} rows")
    if block.index:
        words.append(f"{block.index_attribute or 'index'}={block.index[0]}..{block.index[-1]}")
    words.extend(f"{c.name}={_text(c.values[0])}..{_text(c.values[-1])}" for c in block.columns if c.values)
    return _one_line(" ".join(words))


def _text(value: Any) -> str:
    shown = plain(value)
    return shown if isinstance(shown, str) else repr(shown)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width]}... ({len(text)} characters)"


def _one_line(text: str) -> str:
    """Control characters made visible: captured text must not drive somebody's terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
