"""What lies under the training runs: the worked example, and a second survey that no run has used.

The worked example (984 triples) has the raw seismic, its curation and the dataset behind every model,
and two small trainings of its own, one of them still running. The second survey is there to be left
out by the questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from headstream.capture.gateway.provlake import Rejected, read_log, translate_all
from headstream.schemas.definition import Definition, parse_definition, parse_store
from headstream.schemas.documents import DomainData, document
from headstream.schemas.events import Bag, Context, Holding, RunEnded, Scope, StepEnded, StepRef, StepStarted
from headstream.schemas.facts import Identified, Origin
from headstream.schemas.values import AttributeValue, Json, Reference
from headstream.schemas.vocabulary import FINISHED
from headstream.stream_processors.tracker import describe, track

ORIGIN: Final = Origin(topic="load", partition=0, offset=0)
EXAMPLE: Final = Path(__file__).parents[2] / "tests" / "data" / "worked_example"
TRIPLES: Final = 984 + 61
RAW: Final = Reference(
    text="/data/parihaka.sgy",
    store="gpfs1",
    checksum="crc32:5a1e0003",
    size_bytes=4_100_000_000,
    modified=1_560_000_000_000_000,
)
STEP: Final = StepRef("extract_raw_data", "0")


def definitions() -> dict[str, Definition]:
    """The plans of the three workflows of the worked example, by workflow."""
    lines = (EXAMPLE / "definitions.jsonl").read_text("utf-8").splitlines()
    return {plan.workflow: plan for plan in (parse_definition(json.loads(line)) for line in lines)}


def identified() -> Iterator[Identified]:
    """All of it, as the tracker describes and tracks it."""
    known = definitions()
    stores = [parse_store(store) for store in json.loads((EXAMPLE / "stores.json").read_text("utf-8"))]
    for content in (*known.values(), *stores, _domain()):
        yield describe(document(content), ORIGIN)
    messages = read_log((EXAMPLE / "events.jsonl").read_text("utf-8").splitlines())
    translated = translate_all(messages, known.values(), stores, on_rejected=_refuse)
    for bag in (*translated, _second_survey(known)):
        yield track(bag, known[bag.workflow], ORIGIN).identified


def _refuse(rejected: Rejected) -> None:
    raise ValueError(f"a message of the worked example was refused: {rejected}")


def _domain() -> DomainData:
    """Domain facts of the survey, as a copy of the domain knowledge graph."""
    return DomainData(name="survey", ntriples=(EXAMPLE / "domain.nt").read_text("utf-8"))


def _second_survey(known: dict[str, Definition]) -> Bag:
    """A file that was catalogued and not used: 61 triples."""
    begun = 1_560_100_000_000_000
    facts = {
        "filesize_bytes": 4_100_000_000,
        "inline_range": Json("[1735,2657]"),
        "crossline_range": Json("[2050,2922]"),
        "geox1": 2546167.0,
        "geoy1": 6165564.0,
    }
    started = StepStarted(
        step=STEP,
        registered=begun,
        started=begun + 1_000_000,
        person="geologist_kim",
        values=(AttributeValue("segy_path", RAW),),
    )
    ended = StepEnded(
        step=STEP,
        started=begun + 1_000_000,
        ended=begun + 91_000_000,
        outcome=FINISHED,
        values=tuple(AttributeValue(name, value) for name, value in facts.items()),
        scope=Scope(used=(Holding("segy_path", RAW),)),
        context=Context(peak_memory_bytes=900_000_000, cpu_seconds=85.0),
    )
    run = RunEnded(
        started=begun,
        ended=begun + 92_000_000,
        outcome=FINISHED,
        context=Context(cluster="curation", job="771002", hosts=("c01", "c02")),
    )
    plan = known["seismic_curation"]
    return Bag(
        workflow=plan.workflow,
        execution="cur-2",
        definition=plan.content_hash,
        events=(started, ended, run),
    )
