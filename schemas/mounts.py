"""Which store a path belongs to, by the prefixes under which stores are mounted (spec section 5.3).

Producers, the gateway and consumers must all resolve alike, or the chain of references breaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from headstream.schemas.identifiers import canonical_reference

if TYPE_CHECKING:
    from headstream.schemas.definition import Store


@dataclass(frozen=True, slots=True)
class Mounts:
    """Mount prefixes with the store behind each, the longest first."""

    prefixes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, stores: Iterable[Store]) -> Self:
        """The mounts of a catalogue; a store given later replaces one with the same id."""
        by_id = {store.id: store for store in stores}
        found = [(_prefix(mount), store.id) for store in by_id.values() for mount in store.mounts]
        return cls(tuple(sorted(found, key=lambda pair: (-len(pair[0]), pair))))

    def store_of(self, text: str) -> str | None:
        """The store mounted deepest above this path; prefixes match whole path components."""
        if not self.prefixes:
            return None
        path = _prefix(text)
        return next((store for mount, store in self.prefixes if path.startswith(mount)), None)


def _prefix(text: str) -> str:
    return canonical_reference(text).rstrip("/") + "/"
