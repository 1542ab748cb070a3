"""What the pure tracker costs: the whole chain beside a bare decode of the same bytes, in one run.

    python load_tests/tracker_core.py [--rounds 20] [--json]

Prints microseconds an event (a row of a block is two events) and the ratio to the bare decode,
for bags of 50 general events and for a block of 25 loop turns. Rounds are interleaved, medians shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from headstream.schemas.codec import decode_bag, encode_bag, encode_identified
from headstream.schemas.definition import Definition, parse_definition
from headstream.schemas.events import (
    Bag,
    Column,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
)
from headstream.schemas.facts import Origin
from headstream.schemas.values import AttributeValue, Reference
from headstream.sinks.statements import Renderer
from headstream.stream_processors.tracker import track

TURNS = 25
REPEAT = 20
ORIGIN = Origin(topic="load", partition=0, offset=0)
TRAINING, EPOCH = StepRef("training", "0"), StepRef("epoch", "0.1")
AROUND = (
    Enclosing(EPOCH, (Holding("epoch"),)),
    Enclosing(
        TRAINING,
        (Holding("train_path", Reference(text="/input/train.h5", store="gpfs1")), Holding("learning_rate")),
    ),
)


def definition() -> Definition:
    """A training with epochs and batches, as in Algorithm 1 of the paper."""

    def attributes(*names: str, semantics: str) -> list[dict[str, object]]:
        return [{"attributes": [{"name": name, "ml_semantics": semantics} for name in names]}]

    return parse_definition(
        {
            "dataflow_name": "load",
            "workflow_type": "Experiment",
            "data_transformations": {
                "training": {
                    "type": "LearningStage",
                    "stage_type": "Training",
                    "input_datasets": attributes("learning_rate", semantics="hyper_parameter"),
                },
                "epoch": {"type": "LearningStageSection", "cycle": True, "parent": "training"},
                "batch": {
                    "type": "LearningStageSection",
                    "cycle": True,
                    "parent": "epoch",
                    "output_datasets": attributes("loss", semantics="evaluation_measure"),
                },
            },
        }
    )


def general(version: str) -> Bag:
    """A bag of 50 general events: starts and ends of batches, each with its scope."""
    events: list[Event] = []
    for turn in range(TURNS):
        step, started = StepRef("batch", f"0.1.{turn}"), 10**15 + turn * 1000
        events.append(
            StepStarted(
                step=step,
                parent=EPOCH,
                cycle=True,
                iteration=turn,
                started=started,
                values=(AttributeValue("batch_id", turn),),
                scope=Scope(enclosing=AROUND),
            )
        )
        events.append(
            StepEnded(
                step=step,
                parent=EPOCH,
                cycle=True,
                iteration=turn,
                started=started,
                ended=started + 700,
                outcome="FINISHED",
                values=(AttributeValue("loss", 0.1 * turn),),
                scope=Scope(used=(Holding("batch_id"),), enclosing=AROUND),
            )
        )
    return Bag(workflow="load", execution="run", definition=version, events=tuple(events))


def block(version: str) -> Bag:
    """The same 50 events as one block."""
    turns = range(TURNS)
    rows = IterationBlock(
        transformation="batch",
        parent=EPOCH,
        prefix="0.1.",
        index_attribute="batch_id",
        ordinals=tuple(turns),
        index=tuple(turns),
        started=tuple(10**15 + turn * 1000 for turn in turns),
        ended=tuple(10**15 + turn * 1000 + 700 for turn in turns),
        columns=(Column("loss", tuple(0.1 * turn for turn in turns)),),
        enclosing=AROUND,
    )
    return Bag(workflow="load", execution="run", definition=version, events=(rows,))


def cost(work: Callable[[], object]) -> float:
    """Microseconds an event of one measurement."""
    started = time.perf_counter()
    for _ in range(REPEAT):
        work()
    return (time.perf_counter() - started) / REPEAT / (2 * TURNS) * 1e6


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    plan = definition()
    renderer = Renderer("https://provml.example.org/id/")
    kinds = {"general": general(plan.content_hash), "block": block(plan.content_hash)}
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    for _ in range(chosen.rounds):
        for kind, bag in kinds.items():
            data = encode_bag(bag)
            facts = track(bag, plan, ORIGIN).identified
            stages: dict[str, Callable[[], object]] = {
                "bare decode": lambda data=data: decode_bag(data),  # type: ignore[misc]
                "track": lambda bag=bag: track(bag, plan, ORIGIN),  # type: ignore[misc]
                "decode, track, encode": lambda data=data: encode_identified(  # type: ignore[misc]
                    track(decode_bag(data), plan, ORIGIN).identified
                ),
                "render": lambda facts=facts: renderer.render(facts.facts),  # type: ignore[misc]
            }
            for stage, work in stages.items():
                found[kind].setdefault(stage, []).append(cost(work))
    table = {
        kind: {stage: statistics.median(costs) for stage, costs in stages.items()}
        for kind, stages in found.items()
    }
    if chosen.json:
        print(json.dumps(table))
        return
    print(f"{'bag of 50 events':18} {'stage':24} {'us/event':>9} {'events/s':>10} {'x bare':>7}")
    for kind, row in table.items():
        for stage, median in row.items():
            print(
                f"{kind:18} {stage:24} {median:9.2f} {1e6 / median:10,.0f} {median / row['bare decode']:7.2f}"
            )


if __name__ == "__main__":
    main()
