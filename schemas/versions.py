"""What differs between two versions of a definition, attribute by attribute. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headstream.schemas.definition import Definition, to_document

_DATASETS = {"input_datasets": "in", "output_datasets": "out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One place that differs; None on the side that does not have it."""

    place: str
    old: Any
    new: Any

    @property
    def kind(self) -> str:
        return "added" if self.old is None else "removed" if self.new is None else "changed"


def changes(old: Definition, new: Definition) -> list[Change]:
    """Every place that differs, in order; none for equal definitions.

    A transformation or attribute that only one version has is one change, however much it says.
    """
    return list(_differing("", _by_name(to_document(old)), _by_name(to_document(new))))


def _by_name(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with attributes by direction and name, so that their order says nothing."""
    plan = {
        name: {
            **{key: value for key, value in body.items() if key not in _DATASETS},
            **{side: _attributes(body[key][0]["attributes"]) for key, side in _DATASETS.items()},
        }
        for name, body in document["data_transformations"].items()
    }
    return {**document, "data_transformations": plan}


def _attributes(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for each in attributes:
        body = {key: value for key, value in each.items() if key != "name"}
        if "attributes" in body:
            body["attributes"] = _attributes(body["attributes"])
        found[each["name"]] = body
    return found


def _differing(place: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differing(f"{place}.{key}" if place else key, old.get(key), new.get(key))
    elif old != new:
        yield Change(place=place, old=old, new=new)
