"""A stream of identified facts as the tracker makes them, and the same facts as request bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from load_tests.tracker_core import KINDS, ORIGIN, TURNS, definition

from headstream.schemas.codec import encode_identified
from headstream.schemas.facts import Identified
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import run_key
from headstream.sinks.batch import Limits
from headstream.sinks.binary_statements import BinaryRenderer
from headstream.sinks.statements import NTriplesRenderer, Renderer
from headstream.stream_processors.tracker import track

# What a request says that it holds, and what makes it of facts.
Form = tuple[str, Callable[[str], Renderer]]
N_TRIPLES: Final[Form] = ("text/plain", NTriplesRenderer)
BINARY: Final[Form] = ("application/x-binary-rdf", BinaryRenderer)

BAGS_A_RUN: Final = 420  # 300 epochs of 35 batches, 25 turns a bag.


@dataclass(frozen=True, slots=True)
class Made:
    """One message of the identified topic, before and after encoding."""

    key: bytes
    value: bytes
    identified: Identified

    @property
    def triples(self) -> int:
        return len(self.identified.facts)


def messages(kind: str, first: int = 0) -> Iterator[Made]:
    """Messages without an end, from bag number `first` on; no two say the same of a step."""
    plan = definition()
    number = first
    while True:
        run, bag = divmod(number, BAGS_A_RUN)
        made = replace(KINDS[kind](plan.content_hash, bag * TURNS), execution=f"run-{run:05d}")
        identified = track(made, plan, ORIGIN).identified
        yield Made(run_key(made.workflow, made.execution), encode_identified(identified), identified)
        number += 1


def upto(triples: int, made: Iterable[Made]) -> list[Made]:
    """So many messages that they hold at least `triples` triples."""
    found: list[Made] = []
    for one in made:
        found.append(one)
        triples -= one.triples
        if triples <= 0:
            break
    return found


@dataclass(frozen=True, slots=True)
class Body:
    """What one request holds."""

    content: bytes
    triples: int
    media_type: str


def bodies(made: Iterable[Made], triples: int | None = None, form: Form = N_TRIPLES) -> list[Body]:
    """Bodies prepared for a bare client, as large as the batches of the sink under load."""
    most = triples or Limits().triples
    media_type, renderer = form[0], form[1](DEFAULT_BASE)
    found, parts, count = list[Body](), list[bytes](), 0
    for one in made:
        parts.append(renderer.render(one.identified.facts))
        count += one.triples
        if count >= most:
            found.append(Body(renderer.document(parts, count), count, media_type))
            parts, count = [], 0
    if parts:
        found.append(Body(renderer.document(parts, count), count, media_type))
    return found
