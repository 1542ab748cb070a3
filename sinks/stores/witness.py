"""One triple of what was written that tells, when a store is asked for it, whether it was written."""

from __future__ import annotations


def witness(ntriples: bytes) -> str | None:
    """A triple that a store gives back as it was written: one between two IRIs, the last there is."""
    end = len(ntriples)
    while end > 0:
        start = ntriples.rfind(b"\n", 0, end - 1) + 1
        line = ntriples[start:end]
        if line.endswith(b"> .\n") and b'"' not in line:
            return line.decode().removesuffix("\n")
        end = start
    return None
