"""Avro schemas by name and by fingerprint: those in use, every released one, and what was learnt.

Fingerprints are those of Avro 1.12, section "Schema Fingerprints" (CRC-64-AVRO).

Schemas ship with the package; nothing here reads the network. A schema registry that does hands
over what it finds to `learn`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form

from headstream.schemas.compatibility import unreadable
from headstream.schemas.errors import UnknownSchema

NAMES = ("bag", "document", "identified", "dead_letter")


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed schema, the eight little-endian bytes that name it on the wire (CRC-64-AVRO), its source."""

    name: str
    fingerprint: bytes
    parsed: dict[str, Any]
    text: str


@cache
def current(name: str) -> Schema:
    """The schema that this version writes; `name` is one of NAMES."""
    return _load(name, files("headstream.schemas") / "avro" / f"{name}.avsc")


def writer(name: str, mark: bytes) -> Schema:
    """The schema with this fingerprint, current, released or learnt; UnknownSchema if there is none."""
    found = known(name).get(mark)
    if found is None:
        raise UnknownSchema(
            f"no {name} schema has the fingerprint {mark.hex()}: the message comes from a newer "
            "headstream, or is none of ours; upgrade this reader, then redrive the message"
        )
    return found


def find(mark: bytes) -> Schema | None:
    """The schema with this fingerprint, whatever its record."""
    return next((known(name)[mark] for name in NAMES if mark in known(name)), None)


# Asks a schema registry for the text of an id; None if it has none. Installed by the entry point.
Resolve = Callable[[int], str | None]


def resolve_with(resolve: Resolve | None) -> None:
    """Let readers of this process ask a schema registry for the ids of the Confluent wire format."""
    _RESOLVE[:] = [] if resolve is None else [resolve]
    _BY_ID.clear()


def by_id(name: str, number: int) -> Schema:
    """The schema that a schema registry knows by this id; UnknownSchema if there is none to be read.

    What `resolve` raises when the registry is away is raised here: nothing is known to be wrong.
    """
    found = _BY_ID.get(number)
    if found is None:
        if not _RESOLVE:
            raise UnknownSchema(
                f"the message names schema {number} of a schema registry, and none is configured: set "
                "HEADSTREAM_REGISTRY_URL, then redrive the message"
            )
        text = _RESOLVE[0](number)
        if text is None:
            raise UnknownSchema(
                f"the schema registry has no schema {number}; redrive the message when it has"
            )
        found = _BY_ID[number] = learn(text)
    if found.name != name:
        raise UnknownSchema(f"schema {number} of the registry is that of a {found.name}, not of a {name}")
    return found


_RESOLVE: list[Resolve] = []
_BY_ID: dict[int, Schema] = {}


@cache
def known(name: str) -> dict[bytes, Schema]:
    """Every schema of this name that messages may have been written with, by fingerprint."""
    schemas = [*released(name).values(), current(name)]  # The current one counts: it is read unresolved.
    return {schema.fingerprint: schema for schema in schemas}


@cache
def released(name: str) -> dict[str, Schema]:
    """The schema that each release wrote, by version: kept and readable for ever."""
    folder = files("headstream.schemas") / "avro" / "released"
    versions = sorted(folder.iterdir(), key=lambda each: each.name) if folder.is_dir() else ()
    paths = ((version.name, version / f"{name}.avsc") for version in versions)
    return {version: _load(name, path) for version, path in paths if path.is_file()}


def learn(text: str) -> Schema:
    """Know a schema that somebody else keeps, so that what was written with it can be read.

    Raises UnknownSchema if it is no version of a record of ours: what has another name, or what the
    present reader could never resolve, says nothing that we understand.
    """
    try:
        raw = json.loads(text)
        full = f"{raw.get('namespace', '')}.{raw['name']}"
        name = next(each for each in NAMES if _full_name(current(each)) == full)
        schema = _schema(name, text)
        problems = unreadable(raw, json.loads(current(name).text))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, SchemaParseException) as error:
        raise UnknownSchema(f"a schema that is none of ours: {text[:80]!r}") from error
    if problems:
        raise UnknownSchema(
            f"a {name} of a version that this one cannot read ({problems[0]}); upgrade this reader"
        )
    return known(name).setdefault(schema.fingerprint, schema)


def _full_name(schema: Schema) -> str:
    return str(schema.parsed["name"])


def _load(name: str, path: Traversable) -> Schema:
    return _schema(name, path.read_text("utf-8"))


def _schema(name: str, text: str) -> Schema:
    raw = json.loads(text)
    mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))
    parsed = parse_schema(raw)
    assert isinstance(parsed, dict)
    return Schema(name, mark, parsed, text)
