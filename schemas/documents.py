"""What lies on the definitions topic: prospective documents, stores, persons and domain data.

A document never changes: its key holds its content hash, so the compacted topic keeps every
version and a run keeps the one it named (docs/decisions/0002).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from headstream.schemas import vocabulary
from headstream.schemas.definition import (
    Definition,
    Store,
    parse_definition,
    parse_store,
    store_document,
)
from headstream.schemas.errors import InvalidDefinition
from headstream.schemas.values import canonical_json

DEFINITION: Final = "definition"
STORE: Final = "store"
PERSON: Final = "person"
DOMAIN: Final = "domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A human user (`persona`: one of the four expertise profiles of the paper, section II-A)."""

    id: str
    name: str
    persona: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainData:
    """Domain facts as N-Triples without blank nodes, under a name of the user's choice."""

    name: str
    ntriples: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One message of the definitions topic. `body` is canonical JSON, or N-Triples for domain data."""

    kind: str
    name: str
    body: str

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the body."""
        return hashlib.sha256(self.body.encode()).hexdigest()

    @property
    def key(self) -> str:
        """Kafka key: one key for each content, so that compaction drops repeats and nothing else."""
        return f"{self.kind}/{self.name}/{self.content_hash}"


def document(content: Definition | Store | Person | DomainData) -> Document:
    """The document that says this."""
    match content:
        case Definition():
            return Document(kind=DEFINITION, name=content.workflow, body=content.canonical)
        case Store():
            return Document(kind=STORE, name=content.id, body=canonical_json(store_document(content)))
        case Person():
            fields = {"id": content.id, "name": content.name, "persona": content.persona}
            return Document(
                kind=PERSON,
                name=content.id,
                body=canonical_json({key: value for key, value in fields.items() if value is not None}),
            )
        case DomainData():
            return Document(kind=DOMAIN, name=content.name, body=content.ntriples)


def content(document: Document) -> Definition | Store | Person | DomainData:
    """What a document says; InvalidDefinition if it cannot be read."""
    if document.kind == DOMAIN:
        return DomainData(name=document.name, ntriples=document.body)
    try:
        body: Any = json.loads(document.body)
        return _content(document, body)
    except ValueError as error:
        raise InvalidDefinition(f"{document.kind} {document.name!r} is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidDefinition(f"{document.kind} {document.name!r} is nested too deeply") from error


def _content(document: Document, body: Any) -> Definition | Store | Person:
    match document.kind:
        case "definition":
            return parse_definition(body)
        case "store":
            return parse_store(body)
        case "person":
            return parse_person(body)
    raise InvalidDefinition(f"{document.name!r} is of the unknown kind {document.kind!r}")


def parse_person(body: object) -> Person:
    """Read a person: `{id, name?, persona?}`."""
    if not isinstance(body, dict) or not isinstance(body.get("id"), str) or not body["id"]:
        raise InvalidDefinition("a person needs an `id` that is text")
    persona = body.get("persona")
    if persona is not None and persona not in vocabulary.PERSONAS:
        raise InvalidDefinition(
            f"person {body['id']!r}: persona {persona!r} must be one of "
            f"{', '.join(sorted(vocabulary.PERSONAS))}",
            ("persona",),
        )
    return Person(id=body["id"], name=str(body.get("name") or body["id"]), persona=persona)
