"""Files to documents: definitions, stores, persons and domain data that a user publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import yaml

from headstream.errors import Unreadable
from headstream.schemas.definition import Store, parse_definition, parse_store
from headstream.schemas.documents import Document, DomainData, Person, document, parse_person
from headstream.schemas.errors import InvalidDefinition, Key, SchemaError
from headstream.schemas.facts import Origin
from headstream.schemas.lines import line_of, repeated
from headstream.schemas.strict import Where
from headstream.stream_processors.tracker import describe

_RDF = {".nt": ox.RdfFormat.N_TRIPLES, ".ttl": ox.RdfFormat.TURTLE}
# A document is one message, and a broker takes 1 MB of them: long domain data become several.
_CHUNK = 400_000
_MOST = 900_000


def read_documents(path: Path) -> tuple[Document, ...]:
    """The documents in a file: YAML or JSON (a definition, stores, persons), N-Triples or Turtle.

    Each is one that the tracker takes: it has been described here once. Raises Unreadable, with the file,
    the line and the key, and what is wrong there.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    try:
        found = _documents(path, text)
        for number, each in enumerate(found):
            describe(each, Origin(topic="file", partition=0, offset=number))
    except InvalidDefinition as error:
        line = line_of(text, error.path) if path.suffix.lower() not in _RDF and error.path else None
        raise Unreadable(f"{path}{'' if line is None else f':{line}'}: {error}") from error
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
    twice = repeated(text)
    if twice is not None:
        keys, first, second = twice
        raise Unreadable(
            f"{path}:{second}: {'.'.join(map(str, keys))} stands twice, first on line {first}; "
            "only one of them would count"
        )
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
            line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise Unreadable(f"{path}{line}: not JSON: {error}") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none.
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        line = "" if mark is None else f":{mark.line + 1}"
        raise Unreadable(f"{path}{line}: not YAML: {' '.join(str(error).split())}") from error


def _structured(body: Any) -> tuple[Document, ...]:
    if isinstance(body, list):
        return tuple(document(each) for each in _stores(body, ()))
    if isinstance(body, dict) and body.keys() & {"stores", "persons"}:
        unknown = sorted(str(key) for key in body.keys() - {"stores", "persons"})
        if unknown:
            raise InvalidDefinition(
                f"{', '.join(unknown)} cannot stand beside `stores` and `persons`; give the definition a "
                "file of its own (its own stores belong under `storages`)",
                (unknown[0],),
            )
        stores = _stores(_list(body, "stores"), ("stores",))
        contents: list[Store | Person] = [*stores, *_persons(_list(body, "persons"))]
        return tuple(document(each) for each in contents)
    return (document(parse_definition(body)),)


def _stores(items: list[Any], path: tuple[Key, ...]) -> list[Store]:
    return [parse_store(each, Where("a store", (*path, number))) for number, each in enumerate(items)]


def _persons(items: list[Any]) -> Iterator[Person]:
    for number, each in enumerate(items):
        try:
            yield parse_person(each)
        except InvalidDefinition as error:
            raise InvalidDefinition(str(error), ("persons", number, *error.path)) from error


def _list(body: dict[str, Any], key: str) -> list[Any]:
    found = body.get(key) or []
    if not isinstance(found, list):
        raise InvalidDefinition(f"`{key}` must be a list, each entry with an `id`", (key,))
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
