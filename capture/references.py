"""References to data in stores, as a script gives them, and how their store is found.

The store is part of a reference's identity. It is resolved in this order (spec section 5.3):
given with the value; the attribute's default in the definition; the longest mount prefix of the
store catalogue; else none, which draws a counted warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headstream.capture.errors import WARNINGS
from headstream.capture.files import ALGORITHMS, OFF
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import Reference

if TYPE_CHECKING:
    from headstream.schemas.definition import Store

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A reference as the script gave it; it becomes a `Reference` when it is spooled."""

    text: str
    store: str | None = None
    kind: Literal["data", "kg"] = "data"
    version: str | None = None
    checksum: str | None = None
    path: str | None = None  # A local file, whose facts are found out aside (files.py).
    algorithm: str | None = None  # By which its checksum is computed; None: as the settings say.


class Described:
    """A value with metadata of the user's about it."""

    __slots__ = ("metadata", "value")

    def __init__(self, value: Any, metadata: dict[str, Any]) -> None:
        self.value = value
        self.metadata = metadata


class AsList:
    """A list whose elements become values of their own."""

    __slots__ = ("values",)

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values


class AsDict:
    """A dictionary whose elements become values of their own."""

    __slots__ = ("values",)

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values = values


def file(
    path: str | os.PathLike[str],
    *,
    store: str | None = None,
    version: str | None = None,
    checksum: str | None = None,
) -> Given:
    """A file, by its absolute path.

    Its size and time of change follow by themselves, soon after `used` or `generated` has said it:
    they are found out by a thread of ours, never in the script's. So is the checksum that
    `checksum="sha256"` or `"blake3"` asks for, "off" prevents, and HEADSTREAM_CHECKSUM asks for
    everywhere; any other text is taken as the checksum itself. A file that cannot be read, or that
    changes while it is read, has none, which is counted.
    """
    text = absolute(os.fspath(path))
    local = text if os.path.isabs(text) else None
    if checksum in (*ALGORITHMS, OFF):
        return Given(text=text, store=store, version=version, path=local, algorithm=checksum)
    return Given(text=text, store=store, version=version, checksum=checksum, path=local)


def reference(text: str, *, store: str | None = None, version: str | None = None) -> Given:
    """Data in a store by what identifies it there: a row key, a document id, an object name, a URL."""
    return Given(text=str(text), store=store, version=version)


def resource(iri: str, *, store: str | None = None) -> Given:
    """A resource of a knowledge graph, by its IRI."""
    return Given(text=str(iri), store=store, kind="kg")


def metadata(value: Any, **facts: Any) -> Described:
    """A value together with facts about it, kept as its custom metadata."""
    return Described(value, facts)


def as_list(values: Iterable[Any]) -> AsList:
    """Make every element of a list a value of its own, with its position."""
    return AsList(tuple(values))


def as_dict(values: dict[Any, Any]) -> AsDict:
    """Make every element of a dictionary a value of its own, under its key."""
    return AsDict(dict(values))


def absolute(path: str) -> str:
    """An absolute form of a relative path; anything with a scheme stays as it is."""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if _URL.match(path) or os.path.isabs(path):
        return path
    return os.path.abspath(path)


class Catalogue:
    """The stores that are known to a run, and where they are mounted."""

    def __init__(self, stores: Iterable[Store] = ()) -> None:
        self.stores = tuple(stores)
        self.mounts = Mounts.of(self.stores)

    def resolve(self, given: Given, default: str | None) -> Reference:
        """The reference that is spooled."""
        store = given.store or default or self.mounts.store_of(given.text)
        if store is None:
            WARNINGS.add("reference-without-store", message=given.text)
        return Reference(
            text=given.text, store=store, kind=given.kind, version=given.version, checksum=given.checksum
        )
