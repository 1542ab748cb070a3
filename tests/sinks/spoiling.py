"""A renderer with a fault: of one fact it makes what the store cannot read, however it is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstream.schemas.facts import Fact, Identified
from headstream.sinks.batch import Entry
from headstream.sinks.binary_statements import BinaryRenderer
from headstream.sinks.statements import Renderer


@dataclass(frozen=True)
class Spoiling:
    """Renders as another one does, but for one fact."""

    renderer: Renderer
    bad: Fact

    def render(self, facts: Sequence[Fact]) -> bytes:
        if self.bad not in facts:
            return self.renderer.render(facts)
        place = facts.index(self.bad)
        around = [self.renderer.render(part) for part in (facts[:place], facts[place + 1 :])]
        return self._rubbish.join(around)

    def document(self, parts: Iterable[bytes], statements: int) -> bytes:
        return self.renderer.document(parts, statements)

    @property
    def _rubbish(self) -> bytes:
        return b"\x63" if isinstance(self.renderer, BinaryRenderer) else b"<urn:a> <urn:b> @@@ .\n"

    def entries(self, messages: Iterable[Identified]) -> list[Entry]:
        return [
            Entry(origin=one.origin, key=b"", identified=one, statements=self.render(one.facts))
            for one in messages
        ]
