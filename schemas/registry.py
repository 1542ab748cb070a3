"""Avro schemas by name and by fingerprint: those in use and every released one.

Fingerprints are those of Avro 1.12, section "Schema Fingerprints" (CRC-64-AVRO).

Schemas ship with the package; nothing here reads the network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

from headstream.schemas.errors import UnknownSchema

NAMES = ("bag", "document", "identified", "dead_letter")


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed schema and the eight little-endian bytes that name it on the wire (CRC-64-AVRO)."""

    name: str
    fingerprint: bytes
    parsed: dict[str, Any]


@cache
def current(name: str) -> Schema:
    """The schema that this version writes; `name` is one of NAMES."""
    return _load(name, files("headstream.schemas") / "avro" / f"{name}.avsc")


def writer(name: str, mark: bytes) -> Schema:
    """The schema with this fingerprint, current or released; UnknownSchema if there is none."""
    found = _known(name).get(mark)
    if found is None:
        raise UnknownSchema(
            f"no {name} schema has the fingerprint {mark.hex()}: the message comes from a newer "
            "headstream, or is none of ours; upgrade this reader, then redrive the message"
        )
    return found


@cache
def _known(name: str) -> dict[bytes, Schema]:
    schemas = [current(name)]
    released = files("headstream.schemas") / "avro" / "released"
    if released.is_dir():
        for version in released.iterdir():
            path = version / f"{name}.avsc"
            if path.is_file():
                schemas.append(_load(name, path))
    return {schema.fingerprint: schema for schema in schemas}


def _load(name: str, path: Traversable) -> Schema:
    raw = json.loads(path.read_text("utf-8"))
    mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))
    parsed = parse_schema(raw)
    assert isinstance(parsed, dict)
    return Schema(name, mark, parsed)
