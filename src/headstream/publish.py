"""Files to documents: definitions, stores, persons and domain data that a user publishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import yaml

from headstream.errors import Unreadable
from headstream.schemas.definition import parse_definition, parse_store
from headstream.schemas.documents import Document, DomainData, document, parse_person
from headstream.schemas.errors import InvalidDefinition, SchemaError
from headstream.schemas.facts import Origin
from headstream.stream_processors.tracker import describe

_RDF = {".nt": ox.RdfFormat.N_TRIPLES, ".ttl": ox.RdfFormat.TURTLE}
# A document is one message, and a broker takes 1 MB of them: long domain data become several.
_CHUNK = 400_000
_MOST = 900_000


def read_documents(path: Path) -> tuple[Document, ...]:
    """The documents in a file: YAML or JSON (a definition, stores, persons), N-Triples or Turtle.

    Each is one that the tracker takes: it has been described here once. Raises Unreadable, with the file
    and what is wrong in it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    try:
        found = _documents(path, text)
        for number, each in enumerate(found):
            describe(each, Origin(topic="file", partition=0, offset=number))
    except SchemaError as error:
        raise Unreadable(f"{path}: {error}") from error
    for each in found:
        if len(each.body.encode()) > _MOST:
            raise Unreadable(
                f"{path}: {each.kind} {each.name!r} has more than {_MOST} bytes; make it smaller"
            )
    return found


def _documents(path: Path, text: str) -> tuple[Document, ...]:
    kind = path.suffix.lower()
    if kind in _RDF:
        chunks = _chunks(_triples(text, _RDF[kind]))
        return tuple(document(DomainData(name=path.stem, ntriples=chunk)) for chunk in chunks)
    loaded = _loaded(path, text)
    try:
        return _structured(loaded)
    except (TypeError, ValueError, AttributeError) as error:
        # A mapping where a list belongs, keys of several types: YAML allows what no document is.
        raise InvalidDefinition(f"this is no definition, stores or persons: {error}") from error


def _loaded(path: Path, text: str) -> Any:
    if path.suffix.lower() == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unreadable(f"{path} is not JSON: {error}") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none.
        raise Unreadable(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _structured(body: Any) -> tuple[Document, ...]:
    if isinstance(body, list):
        return tuple(document(parse_store(each)) for each in body)
    if isinstance(body, dict) and body.keys() & {"stores", "persons"}:
        unknown = sorted(str(key) for key in body.keys() - {"stores", "persons"})
        if unknown:
            raise InvalidDefinition(
                f"{', '.join(unknown)} cannot stand beside `stores` and `persons`; give the definition a "
                "file of its own (its own stores belong under `storages`)"
            )
        stores = [document(parse_store(each)) for each in _list(body, "stores")]
        return (*stores, *(document(parse_person(each)) for each in _list(body, "persons")))
    return (document(parse_definition(body)),)


def _list(body: dict[str, Any], key: str) -> list[Any]:
    found = body.get(key) or []
    if not isinstance(found, list):
        raise InvalidDefinition(f"`{key}` must be a list, each entry with an `id`")
    return found


def _triples(text: str, form: ox.RdfFormat) -> list[str]:
    """Sorted lines, so that the same facts are the same document however they were written."""
    try:
        return sorted({f"{quad.triple} .\n" for quad in ox.parse(text, format=form)})
    except SyntaxError as error:
        raise InvalidDefinition(f"not {form.name}: {error}") from error


def _chunks(lines: list[str]) -> list[str]:
    chunks: list[list[str]] = [[]]
    size = 0
    for line in lines:
        length = len(line.encode())
        if chunks[-1] and size + length > _CHUNK:
            chunks.append([])
            size = 0
        chunks[-1].append(line)
        size += length
    return ["".join(chunk) for chunk in chunks]
