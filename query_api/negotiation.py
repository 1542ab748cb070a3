"""Choose the format of an answer by `?format=` or by the Accept header (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headstream.query_api.errors import NotAcceptable, RequestRefused


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its short name, and its media type, as sent."""

    name: str
    media_type: str
    also: tuple[str, ...] = ()


JSON = Format("json", "application/json")
SPARQL_JSON = Format("json", "application/sparql-results+json", ("application/json",))
CSV = Format("csv", "text/csv")
TABLE = Format("table", "text/plain")
N_TRIPLES = Format("nt", "application/n-triples", ("text/plain",))
TURTLE = Format("ttl", "text/turtle", ("application/x-turtle",))

ROWS = (JSON, CSV, TABLE)
SPARQL_ROWS = (SPARQL_JSON, CSV, TABLE)
SPARQL_TRUTH = (SPARQL_JSON,)
TRIPLES = (TURTLE, N_TRIPLES)


def choose(offers: tuple[Format, ...], *, name: str | None, accept: str | None) -> Format:
    """Return the offer that is asked for, the first where all are welcome; raises NotAcceptable."""
    remedy = "ask for one of " + ", ".join(f"{offer.name} ({offer.media_type})" for offer in offers)
    if name is not None:
        for offer in offers:
            if offer.name == name.lower():
                return offer
        raise NotAcceptable(f"this answer has no format {name[:40]!r}", remedy=remedy)
    if not accept or not accept.strip():
        return offers[0]
    best = max(offers, key=lambda offer: _quality(offer, accept))
    if _quality(best, accept) <= 0:
        raise NotAcceptable(f"this answer has no format for Accept: {accept[:100]!r}", remedy=remedy)
    return best


def asked(offers: tuple[Format, ...], *, names: Sequence[str], accept: str | None) -> Format:
    """As `choose`, of what a request gives as `format`; raises RequestRefused where it does so twice."""
    if len(names) > 1:
        raise RequestRefused("format is given twice", remedy="give it once")
    return choose(offers, name=names[0] if names else None, accept=accept)


def parameter(offers: tuple[Format, ...]) -> dict[str, Any]:
    """`?format=` as OpenAPI describes it."""
    return {
        "name": "format",
        "in": "query",
        "required": False,
        "description": "instead of the Accept header",
        "schema": {"type": "string", "enum": [offer.name for offer in offers], "default": offers[0].name},
    }


def _quality(offer: Format, accept: str) -> float:
    """The weight that the header gives to an offer: the most specific range that matches decides."""
    matches: list[tuple[int, float]] = []
    for part in accept.lower().split(","):
        media_range, *arguments = (piece.strip() for piece in part.split(";"))
        rank = max(_specificity(media_range, media_type) for media_type in (offer.media_type, *offer.also))
        if rank:
            matches.append((rank, _weight(arguments)))
    return max(matches)[1] if matches else 0.0


def _specificity(media_range: str, media_type: str) -> int:
    if media_range == media_type:
        return 3
    if media_range == media_type.partition("/")[0] + "/*":
        return 2
    return 1 if media_range == "*/*" else 0


def _weight(arguments: list[str]) -> float:
    for argument in arguments:
        if argument.startswith("q="):
            try:
                return min(1.0, max(0.0, float(argument[2:])))
            except ValueError:
                return 0.0
    return 1.0
