"""Identified facts: triples whose identifiers are assigned, before they are any store's RDF text.

A fact is a plain tuple because millions of them pass; `kind` says how to read the object:

    "id"        relative IRI, resolved against the instance base
    "iri"       absolute IRI
    "term"      prefixed name of a known vocabulary, such as provml:Training
    "string" "integer" "double" "boolean" "dateTime" "JSON"   lexical forms of spec section 5.4
    "^^IRI"     a literal of any other datatype (domain data)
    "@lang"     a language-tagged text (domain data)

A subject with a colon is an absolute IRI, any other a relative one. A predicate is a prefixed
name or an absolute IRI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Fact = tuple[str, str, str, str]

ID: Final = "id"
IRI: Final = "iri"
TERM: Final = "term"
STRING: Final = "string"
INTEGER: Final = "integer"
DOUBLE: Final = "double"
BOOLEAN: Final = "boolean"
DATE_TIME: Final = "dateTime"
JSON: Final = "JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the message that led to something lies: a Kafka position, or a spool file and frame."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """The facts of one bag or document, with the boundaries between its events kept.

    `counts[i]` facts belong to event i, so that a store that refuses one fact costs one event.
    `event_times` are microseconds since the epoch (0 where unknown), for freshness.
    """

    workflow: str
    execution: str
    origin: Origin
    facts: tuple[Fact, ...]
    counts: tuple[int, ...]
    event_times: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Something that was refused on its way, kept with the reason so that it can be sent again."""

    origin: Origin
    key: bytes
    value: bytes
    stage: str
    reason: str
    error: str
    message: str
    at: int
    attempt: int = 1
