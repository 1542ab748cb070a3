"""Parsed JSON or YAML read strictly: what is wrong is told with the key and the rule that it breaks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from headstream.schemas.errors import InvalidDefinition, Key


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a document: how people call it, and the keys and numbers that lead there."""

    text: str
    path: tuple[Key, ...] = ()

    def __str__(self) -> str:
        return self.text

    def at(self, *keys: Key, text: str | None = None) -> Where:
        """A place further in; without `text` it is called as the last key is."""
        called = text if text is not None else f"{self.text}.{keys[-1]}"
        return Where(called, (*self.path, *keys))

    def refuse(self, message: str, *keys: Key) -> NoReturn:
        """Raise InvalidDefinition for this place, or for what lies under `keys` in it."""
        raise InvalidDefinition(message, (*self.path, *keys))


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def known(doc: Mapping[str, Any], keys: set[str], where: Where) -> None:
    """Refuse a key that is none: a misspelt one would be a silent loss."""
    unknown = sorted(set(map(str, doc)) - keys)
    if unknown:
        where.refuse(f"{where}: unknown key {unknown[0]!r}; known are {listed(keys)}", unknown[0])


def mapping(value: object, where: Where) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        where.refuse(f"{where} must be a mapping of keys to values, found {type(value).__name__}")
    return value


def sequence(value: object, where: Where) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        where.refuse(f"{where} must be a list, found {type(value).__name__}")
    return value


def text(doc: Mapping[str, Any], key: str, where: Where) -> str | None:
    value = doc.get(key)
    if value is not None and not isinstance(value, str):
        where.refuse(f"{where}: `{key}` must be text, found {value!r}", key)
    return value


def required(doc: Mapping[str, Any], key: str, where: Where) -> str:
    value = text(doc, key, where)
    if not value:
        where.refuse(f"{where}: `{key}` is missing", *((key,) if key in doc else ()))
    return value


def one_of(doc: Mapping[str, Any], key: str, allowed: Iterable[str], where: Where) -> str | None:
    value = text(doc, key, where)
    if value is not None and value not in allowed:
        where.refuse(f"{where}: `{key}` is {value!r}, but must be one of {listed(allowed)}", key)
    return value
