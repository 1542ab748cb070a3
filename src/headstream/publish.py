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
from headstream.schemas.errors import InvalidDefinition

_RDF = {".nt": ox.RdfFormat.N_TRIPLES, ".ttl": ox.RdfFormat.TURTLE}


def read_documents(path: Path) -> tuple[Document, ...]:
    """The documents in a file: YAML or JSON (a definition, stores, persons), N-Triples or Turtle.

    Raises Unreadable, with the file and what is wrong in it.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{path} cannot be read: {error}") from error
    try:
        if path.suffix in _RDF:
            return (document(DomainData(name=path.stem, ntriples=_ntriples(text, _RDF[path.suffix]))),)
        return _structured(_loaded(path, text))
    except InvalidDefinition as error:
        raise Unreadable(f"{path}: {error}") from error


def _loaded(path: Path, text: str) -> Any:
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise Unreadable(f"{path} is not JSON: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Unreadable(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _structured(body: Any) -> tuple[Document, ...]:
    if isinstance(body, list):
        return tuple(document(parse_store(each)) for each in body)
    if isinstance(body, dict) and body.keys() & {"stores", "persons"}:
        stores = [document(parse_store(each)) for each in body.get("stores") or []]
        return (*stores, *(document(parse_person(each)) for each in body.get("persons") or []))
    return (document(parse_definition(body)),)


def _ntriples(text: str, form: ox.RdfFormat) -> str:
    """Sorted lines, so that the same facts are the same document however they were written."""
    try:
        triples = {f"{quad.triple} .\n" for quad in ox.parse(text, format=form)}
    except SyntaxError as error:
        raise InvalidDefinition(f"not {form.name}: {error}") from error
    return "".join(sorted(triples))
