"""Read request bodies: bounded, strict, and never two values for one name (faults row 39)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from headstream.query_api.errors import BodyTooLarge, RequestRefused, UnsupportedBody

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
QUERY = "application/sparql-query"


async def read(request: Request, *, at_most: int) -> bytes:
    """Return the body; raises BodyTooLarge as soon as more than `at_most` bytes have come."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedBody(f"the body is encoded as {encoding[:40]!r}", remedy="send it as it is")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            raise BodyTooLarge(f"the body has more than {at_most} bytes", remedy="send a shorter one")
    return bytes(body)


def content_type(request: Request) -> str:
    """Return the media type; raises UnsupportedBody for two of them or a charset other than UTF-8."""
    given = request.headers.getlist("content-type")
    if len(given) > 1:
        raise UnsupportedBody("the request has two content types", remedy="send one")
    media_type, *arguments = (part.strip().lower() for part in (given[0] if given else "").split(";"))
    charsets = [part.removeprefix("charset=").strip('"') for part in arguments if part.startswith("charset=")]
    if any(charset not in ("utf-8", "utf8", "us-ascii") for charset in charsets):
        raise UnsupportedBody(f"the charset {charsets[0][:40]!r} is not read", remedy="send UTF-8")
    return media_type


def query_of(media_type: str, body: bytes) -> str:
    """Return the SPARQL text in a body of POST /api/v1/sparql; raises RequestRefused."""
    if media_type == QUERY:
        return text_of(body)
    if media_type == FORM:
        return _only_query(_form(body))
    if media_type == JSON:
        return _only_query(json_object(body))
    raise UnsupportedBody(
        f"a query cannot come as {media_type[:60] or 'a body without content type'!r}",
        remedy=f"send it as {QUERY}, as {FORM} with query=..., or as {JSON} with {{'query': ...}}",
    )


def text_of(body: bytes) -> str:
    """Decode strict UTF-8."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise RequestRefused(f"the body is not UTF-8: {wrong.reason} at byte {wrong.start}") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object in which no name stands twice; raises RequestRefused."""
    try:
        found = json.loads(text_of(body), object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as wrong:
        raise RequestRefused(f"the body is not JSON: {str(wrong)[:200]}") from None
    if not isinstance(found, dict):
        raise RequestRefused(
            "the body is not a JSON object", remedy='send an object such as {"name": "value"}'
        )
    return found


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(text_of(body), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as wrong:
        raise RequestRefused(f"the form is malformed: {str(wrong)[:200]}") from None
    return _without_doubles([(name, value) for name, value in pairs])


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestRefused("a name stands twice in the body", remedy="give each name once")
    return found


def _only_query(fields: dict[str, Any]) -> str:
    others = [name for name in fields if name != "query"]
    if others:
        raise RequestRefused(
            f"the field {others[0][:60]!r} is not known here", remedy="send the field query and no other"
        )
    query = fields.get("query")
    if not isinstance(query, str):
        raise RequestRefused("there is no field query with a text", remedy="send the field query")
    return query
