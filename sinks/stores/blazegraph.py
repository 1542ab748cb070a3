"""Blazegraph 2.1.5 over its own REST interface (INSERT DATA takes five times as long)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from headstream.sinks.binary_statements import MAGIC, BinaryRenderer, statements_in
from headstream.sinks.errors import StoreIncomplete, StoreUnknown
from headstream.sinks.stores.http import Http, first_line
from headstream.sinks.stores.query import QueryEndpoint
from headstream.sinks.stores.store import Written

_MODIFIED: Final = re.compile(r'<data modified="(\d+)" milliseconds="\d+"/>\s*\Z')
_PAIR: Final = re.compile(rb"\\u[Dd]([89ABab][0-9A-Fa-f]{2})\\u[Dd]([C-Fc-f][0-9A-Fa-f]{2})")
# Its N-Triples reader takes bytes beyond ASCII for U+FFFD, whatever charset the request names, and
# cuts \UXXXXXXXX to four digits. Its Turtle reader reads UTF-8, and N-Triples are Turtle.
_ASCII: Final = "text/plain"
_UTF_8: Final = "text/turtle; charset=utf-8"
_BINARY: Final = "application/x-binary-rdf"


class BlazegraphStore:
    """One namespace; `url` is its SPARQL endpoint. One sink writes to it, any number may read."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = Http(url)
        self.queries = QueryEndpoint(self._http)

    def renderer(self, base: str) -> BinaryRenderer:
        return BinaryRenderer(base)

    def write(self, statements: bytes) -> Written:
        """Add triples in one atomic request; an answer that does not say `modified` confirms nothing.

        Takes what `renderer` makes, and N-Triples, a line each.
        """
        form, sent = _form(statements)
        answer = self._http.post(statements, {"Content-Type": form})
        refusal = answer.refusal()
        if refusal is not None:
            raise refusal
        if not 200 <= answer.status < 300:
            raise answer.unavailable()
        modified = _MODIFIED.search(answer.text)
        if modified is None:
            raise StoreUnknown(
                f"{self.url} answered {answer.status}, but not as Blazegraph does: {first_line(answer.text)}"
            )
        # It counts the statements it read, repeats and all (measured), so fewer means a cut request.
        count = int(modified[1])
        if count < sent:
            raise StoreUnknown(f"{self.url} took only {count} of {sent} statements")
        return Written(modified=count, seconds=answer.seconds)

    def size(self) -> int:
        return self.queries.count()

    def dump(self) -> Iterator[bytes]:
        """Yield the graph; StoreIncomplete if fewer triples came than there were at the start."""
        expected, seen = self.size(), 0
        everything = {"GETSTMTS": "", "includeInferred": "false"}
        for block in self._http.stream({"Accept": "text/plain"}, everything):
            # It ends with an empty line, and writes characters beyond the BMP as two surrogates.
            lines = _PAIR.sub(_join, block.lstrip(b"\r\n"))
            seen += lines.count(b" .\n")
            yield lines
        if seen < expected:
            raise StoreIncomplete(f"the dump of {self.url} has {seen} of {expected} triples")

    def close(self) -> None:
        self._http.close()


def _form(statements: bytes) -> tuple[str, int]:
    """The media type of statements, and how many they are."""
    if statements.startswith(MAGIC):
        return _BINARY, statements_in(statements)
    return _ASCII if statements.isascii() else _UTF_8, statements.count(b"\n")


def _join(pair: re.Match[bytes]) -> bytes:
    high, low = int(b"D" + pair[1], 16), int(b"D" + pair[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).encode()
