"""Make the golden bytes of a release: `python tests/data/golden/make_golden.py 0.2.0`, once, when it is made.

What lies in a folder of a release is never made again: it is what that release wrote, and is read for ever.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from headstream.schemas.codec import encode_bag, encode_dead_letter, encode_document, encode_identified
from headstream.schemas.documents import Document
from headstream.schemas.events import (
    Bag,
    Column,
    Context,
    Enclosing,
    Holding,
    IterationBlock,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)  # fmt: skip
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.values import AttributeValue, DictValue, Instant, Json, ListValue, Reference

FILE = Reference(text="/data/x.h5", store="gpfs1", version="3", checksum="sha256:00")
VALUES = (
    AttributeValue("file", FILE, metadata='{"a":1}', note="cut"),
    AttributeValue("class", Reference(text="http://x/é", kind="kg")),
    AttributeValue("flag", True),
    AttributeValue("whole", -(2**63)),
    AttributeValue("huge", 2**200),
    AttributeValue("inf", -math.inf),
    AttributeValue("text", "Época 😀 \x01"),
    AttributeValue("json", Json('{"a":[1,null]}')),
    AttributeValue("when", Instant(1_764_000_000_000_000)),
    AttributeValue("list", ListValue((1, DictValue((("k", 0.1),))))),
)
STEP, OUTER = StepRef("train", "1"), StepRef("process", "0")
SCOPE = Scope(used=(Holding("rate", None),), generated=(Holding("model", FILE),),
              enclosing=(Enclosing(OUTER, (Holding("data", FILE),)),))  # fmt: skip
CONTEXT = Context(cluster="c", job="7", hosts=("n1", "n2"), cpu_seconds=1.5, metadata="{}")
EVENTS = (
    RunStarted(started=1, registered=2, person="lee", context=CONTEXT),
    StepStarted(step=STEP, parent=OUTER, cycle=True, iteration=3, started=1, values=VALUES, scope=SCOPE),
    StepEnded(step=STEP, parent=OUTER, started=1, ended=9, outcome="FAILED", error="e", output="o",
              values=VALUES, scope=SCOPE, context=CONTEXT),
    ValuesAdded(step=STEP, direction="in", values=VALUES, at=4, scope=SCOPE),
    IterationBlock(transformation="epoch", parent=STEP, prefix="1.", index_attribute="number",
                   ordinals=(0, 1), index=(0, 1), started=(1, 2), ended=(2, 3),
                   columns=(Column("loss", (0.5, math.inf)), Column("n", (1, 2)), Column("m", ("x", FILE))),
                   enclosing=(Enclosing(OUTER, (Holding("data", FILE),)),)),
    RunEnded(started=1, ended=9, outcome="FINISHED", values=VALUES, context=CONTEXT),
)  # fmt: skip
ORIGIN = Origin(topic="t", partition=1, offset=2**40)
RECORDS = {
    "bag": (encode_bag, Bag(workflow="w", execution="e", definition="0" * 64, producer="p", sequence=3,
                            events=EVENTS)),
    "document": (encode_document, Document(kind="store", name="gpfs1", body='{"id":"gpfs1"}')),
    "identified": (encode_identified, Identified(
        workflow="w", execution="e", origin=ORIGIN, counts=(1, 1), event_times=(0, 7),
        facts=(("wf/w", "rdf:type", "term", "provml:Workflow"), ("wf/w", "rdfs:label", "@en", "é")))),
    "dead_letter": (encode_dead_letter, DeadLetter(
        origin=ORIGIN, key=b"\x00k", value=b"\xff", stage="sink", reason="illegal-fact", error="E",
        message="m", at=5, attempt=2)),
}  # fmt: skip


def shown(thing: Any) -> Any:
    """A record as JSON that names its types, so that 1, 1.0 and True differ as they do on the wire."""
    if is_dataclass(thing):
        return {type(thing).__name__: {each.name: shown(getattr(thing, each.name)) for each in fields(thing)}}
    if isinstance(thing, (tuple, list)):
        return [shown(each) for each in thing]
    if isinstance(thing, float | int | bytes):
        return {type(thing).__name__: thing.hex() if isinstance(thing, float | bytes) else str(thing)}
    return thing


if __name__ == "__main__":
    folder = Path(__file__).parent / sys.argv[1]
    folder.mkdir()
    for name, (encode, record) in RECORDS.items():
        (folder / f"{name}.avro").write_bytes(encode(record))
        (folder / f"{name}.json").write_text(json.dumps(shown(record), indent=1, sort_keys=True) + "\n")
