"""What the pure tracker costs: the whole chain beside a bare decode of the same bytes, in one run.

    python load_tests/tracker_core.py [--rounds 20] [--json]

Prints CPU microseconds an event and the ratio to a bare decode by fastavro, for bags of 50 events:

    steps    StepStarted, ValuesAdded and StepEnded of steps with 3 inputs and 2 outputs, all numbers
    files    the same steps; one input and one output is a file of its own
    batches  StepStarted and StepEnded of loop turns inside two other steps
    block    25 loop turns as one block; a row counts as two events, a start and an end

Rounds are interleaved; the smallest figure is shown, since others share the machine, and beside it
what the machine needed for one turn of an empty loop.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from multiprocessing.synchronize import Barrier

from fastavro import schemaless_reader

from headstream.schemas import identifiers, registry
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
    ValuesAdded,
)
from headstream.schemas.facts import Origin
from headstream.schemas.values import AttributeValue, Reference
from headstream.sinks.binary_statements import BinaryRenderer
from headstream.sinks.statements import NTriplesRenderer
from headstream.stream_processors.tracker import track

TURNS = 25
REPEAT = 5
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
    """A training with epochs and batches, as in Algorithm 1 of the paper, and the curation before it."""

    def attributes(*names: str, **more: str) -> list[dict[str, object]]:
        return [{"attributes": [{"name": name, **more} for name in names]}]

    return parse_definition(
        {
            "dataflow_name": "load",
            "workflow_type": "Experiment",
            "data_transformations": {
                "curation": {
                    "input_datasets": attributes("shot", "low", "tile"),
                    "output_datasets": attributes("tiles", "snr"),
                },
                "conversion": {
                    "input_datasets": attributes("segy", semantics="FILE_REFERENCE"),
                    "output_datasets": attributes("hdf5", semantics="FILE_REFERENCE"),
                },
                "training": {
                    "type": "LearningStage",
                    "stage_type": "Training",
                    "input_datasets": attributes("learning_rate", ml_semantics="hyper_parameter"),
                },
                "epoch": {"type": "LearningStageSection", "cycle": True, "parent": "training"},
                "batch": {
                    "type": "LearningStageSection",
                    "cycle": True,
                    "parent": "epoch",
                    "output_datasets": attributes("loss", ml_semantics="evaluation_measure"),
                },
            },
        }
    )


def steps(version: str, first: int, *, files: bool = False) -> Bag:
    """A bag of 50 events of steps with 3 inputs, of which one is told later, and 2 outputs."""
    events: list[Event] = []
    for number in range(first, first + 17):
        step = StepRef("conversion" if files else "curation", f"0.{number}")
        started = 10**15 + number * 1000
        given = Reference(text=f"/input/f3/{number}.sgy", store="gpfs1")
        result = Reference(text=f"/tiles/f3/{number}.h5", store="gpfs1")
        inputs = (
            AttributeValue("segy", given) if files else AttributeValue("shot", number),
            AttributeValue("low", 1.5),
            AttributeValue("tile", 64),
        )
        outputs = (
            AttributeValue("hdf5", result) if files else AttributeValue("snr", 0.1 * number),
            AttributeValue("tiles", 100 + number),
        )
        held = (Holding("segy", given) if files else Holding("shot"), Holding("low"), Holding("tile"))
        events += (
            StepStarted(step=step, started=started, values=inputs[:2]),
            ValuesAdded(
                step=step, direction="in", values=inputs[2:], at=started + 1, scope=Scope(used=held[:2])
            ),
            StepEnded(
                step=step,
                started=started,
                ended=started + 700,
                outcome="FINISHED",
                values=outputs,
                scope=Scope(used=held),
            ),
        )
    return Bag(workflow="load", execution="run", definition=version, events=tuple(events[: 2 * TURNS]))


def batches(version: str, first: int) -> Bag:
    """A bag of 50 general events: starts and ends of batches, each with its scope."""
    events: list[Event] = []
    for turn in range(first, first + TURNS):
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


def block(version: str, first: int) -> Bag:
    """The same 50 events as one block."""
    turns = range(first, first + TURNS)
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


# Each makes a bag of 50 events under a version of the definition; the first step or turn has this number.
KINDS: dict[str, Callable[[str, int], Bag]] = {
    "steps": steps,
    "files": partial(steps, files=True),
    "batches": batches,
    "block": block,
}


def cost(work: Callable[[int], object]) -> float:
    """CPU microseconds an event of one measurement; every name is new to the caches, as in a stream."""
    for cache in (identifiers._enc_text, identifiers.reference, identifiers.canonical_reference):
        cache.cache_clear()
    started = time.process_time()
    for number in range(REPEAT):
        work(number)
    return (time.process_time() - started) / REPEAT / (2 * TURNS) * 1e6


def yardstick() -> float:
    """CPU nanoseconds that the machine needs now for one turn of an empty loop."""
    started = time.process_time()
    for _ in range(100_000):
        pass
    return (time.process_time() - started) * 1e4


def stages(kind: str, plan: Definition) -> dict[str, Callable[[int], object]]:
    """What is measured, by name; each does its work on the bag of a number."""
    bags = [KINDS[kind](plan.content_hash, 100 * number) for number in range(REPEAT)]
    data = [encode_bag(bag) for bag in bags]
    facts = [track(bag, plan, ORIGIN).identified for bag in bags]
    schema = registry.current("bag").parsed
    ntriples, binary = NTriplesRenderer(identifiers.DEFAULT_BASE), BinaryRenderer(identifiers.DEFAULT_BASE)

    def bare(number: int) -> object:
        stream = BytesIO(data[number])
        stream.seek(10)
        return schemaless_reader(stream, schema, None)

    return {
        "bare decode (fastavro)": bare,
        "decode": lambda n: decode_bag(data[n]),
        "track": lambda n: track(bags[n], plan, ORIGIN),
        "encode": lambda n: encode_identified(facts[n]),
        "decode, track, encode": lambda n: encode_identified(
            track(decode_bag(data[n]), plan, ORIGIN).identified
        ),
        "render, N-Triples (sink)": lambda n: ntriples.render(facts[n].facts),
        "render, binary (sink)": lambda n: binary.render(facts[n].facts),
    }


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """The smallest cost of every stage for every kind of bag."""
    plan = definition()
    work = {kind: stages(kind, plan) for kind in KINDS}
    best: dict[str, dict[str, float]] = {kind: {} for kind in work}
    for _ in range(rounds):
        for kind, each in work.items():
            for stage, run in each.items():
                best[kind][stage] = min(cost(run), best[kind].get(stage, 1e9))
    return best


def scaling(rounds: int) -> float:
    """How much two processes that share nothing get done of what one does alone, for the same CPU time.

    Less than 2 is what two cores of one machine cost each other: caches, memory, perhaps one core in truth.
    """
    alone = min(_beside(1) for _ in range(rounds))
    return 2 * alone / min(_beside(2) for _ in range(rounds))


def _beside(processes: int) -> float:
    """CPU seconds that the quickest of so many processes needs for the same work, all at once."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(processes), context.SimpleQueue()
    workers = [context.Process(target=_work, args=(start, results)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return min(found)


def _work(start: Barrier, results: multiprocessing.SimpleQueue[float]) -> None:
    run = stages("steps", definition())["decode, track, encode"]
    start.wait(60)
    began = time.process_time()
    for number in range(60 * REPEAT):
        run(number % REPEAT)
    results.put(time.process_time() - began)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=20)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    table = measure(chosen.rounds)
    if chosen.json:
        print(json.dumps(table))
        return
    print("| bag of 50 events | stage | CPU us/event | events/CPU s | x bare |")
    print("|---|---|---|---|---|")
    for kind, row in table.items():
        bare = row["bare decode (fastavro)"]
        for stage, best in row.items():
            print(f"| {kind} | {stage} | {best:.2f} | {1e6 / best:,.0f} | {best / bare:.2f} |")
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"\nload average {load}; an empty turn takes {min(yardstick() for _ in range(9)):.1f} ns")


if __name__ == "__main__":
    main()
