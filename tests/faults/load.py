"""A load of real bags, the same for the same size, and the graph that it must become."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headstream.schemas.codec import encode_bag, encode_document
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import (
    Bag,
    Column,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    event_count,
)
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.schemas.topics import run_key
from headstream.schemas.values import AttributeValue, Reference
from headstream.sinks.core import write_identified
from headstream.sinks.dead_letters import MemoryDeadLetters
from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import MemoryStore
from headstream.stream_processors.replay import replay_records

WORKFLOW = "faults"
ROWS = 24  # An epoch: its start, a block of so many batches, its end. 50 events, one bag.
EVENTS_A_BAG = 2 + 2 * ROWS
_SECOND = 1_000_000
_BEGIN = 1_700_000_000 * _SECOND
DEFINITION = parse_definition(
    {
        "dataflow_name": WORKFLOW,
        "workflow_type": "Experiment",
        "data_transformations": {
            "training": {"type": "LearningStage", "stage_type": "Training"},
            "epoch": {
                "type": "LearningStageSection",
                "cycle": True,
                "parent": "training",
                "output_datasets": [
                    {
                        "attributes": [
                            {"name": "loss", "ml_semantics": "evaluation_measure"},
                            {"name": "model", "ml_semantics": "model", "semantics": "FILE_REFERENCE"},
                        ]
                    }
                ],
            },
            "batch": {
                "type": "LearningStageSection",
                "cycle": True,
                "parent": "epoch",
                "output_datasets": [{"attributes": [{"name": "loss", "ml_semantics": "evaluation_measure"}]}],
            },
        },
    }
)
DOCUMENT = document(DEFINITION)


@dataclass(frozen=True, slots=True)
class Graph:
    """What the load becomes when nothing disturbs it."""

    hash: str
    triples: int


@dataclass(frozen=True, slots=True)
class Load:
    """Bags in the order of sending: the runs take turns, each is in the order of its events."""

    bags: tuple[Bag, ...]

    @property
    def events(self) -> int:
        return sum(event_count(event) for bag in self.bags for event in bag.events)

    @property
    def definition(self) -> tuple[bytes, bytes]:
        """Key and value of the message with the definition of all runs."""
        return DOCUMENT.key.encode(), encode_document(DOCUMENT)

    def messages(self) -> list[tuple[bytes, bytes]]:
        return [(run_key(bag.workflow, bag.execution), encode_bag(bag)) for bag in self.bags]

    def undisturbed(self) -> Graph:
        """The graph of a run of the pure functions, which no process can disturb."""
        store, letters = MemoryStore(), MemoryDeadLetters()
        replay_records(
            [DOCUMENT, *self.bags],
            lambda facts: write_identified(store, facts, letters, DEFAULT_BASE) and None,
        )
        assert letters.letters == []
        return Graph(graph_hash(store.dump()), store.size())


def make(events: int, runs: int) -> Load:
    """At least so many events, spread over so many runs."""
    epochs = -(-events // (EVENTS_A_BAG * runs))
    told = [_run(number, epochs) for number in range(runs)]
    return Load(tuple(bag for turn in zip(*told, strict=True) for bag in turn))


def _run(number: int, epochs: int) -> Sequence[Bag]:
    execution = f"run-{number}"
    return [
        Bag(
            workflow=WORKFLOW,
            execution=execution,
            definition=DEFINITION.content_hash,
            events=tuple(_events(epoch, epochs)),
            producer=execution,
            sequence=epoch,
        )
        for epoch in range(epochs)
    ]


def _events(epoch: int, epochs: int) -> Iterator[Event]:
    training, began = StepRef("training", "0"), _BEGIN
    rate = Holding("rate")
    if epoch == 0:
        yield RunStarted(started=began)
        yield StepStarted(step=training, started=began, values=(AttributeValue("rate", 0.5),))
    yield from _epoch(epoch, Enclosing(training, (rate,)))
    if epoch == epochs - 1:
        ended = began + epochs * _SECOND
        yield StepEnded(
            step=training, started=began, ended=ended, outcome="FINISHED", scope=Scope(used=(rate,))
        )
        yield RunEnded(started=began, ended=ended, outcome="FINISHED")


def _epoch(number: int, around: Enclosing) -> Iterator[Event]:
    step, began = StepRef("epoch", f"0.{number}"), _BEGIN + number * _SECOND
    rows = range(ROWS)
    starts = tuple(began + 1000 * (row + 1) for row in rows)
    used = (Holding("epoch"),)
    yield StepStarted(
        step=step,
        parent=around.step,
        cycle=True,
        iteration=number,
        started=began,
        values=(AttributeValue("epoch", number),),
        scope=Scope(enclosing=(around,)),
    )
    yield IterationBlock(
        transformation="batch",
        parent=step,
        prefix=f"0.{number}.",
        index_attribute="batch",
        ordinals=tuple(rows),
        index=tuple(rows),
        started=starts,
        ended=tuple(start + 700 for start in starts),
        columns=(Column("loss", tuple(1.0 / (number * ROWS + row + 1) for row in rows)),),
        enclosing=(Enclosing(step, used), around),
    )
    yield StepEnded(
        step=step,
        parent=around.step,
        cycle=True,
        iteration=number,
        started=began,
        ended=began + 900_000,
        outcome="FINISHED",
        values=(
            AttributeValue("loss", 1.0 / (number + 1)),
            AttributeValue("model", Reference(text=f"/models/{number}.pt", store="gpfs1")),
        ),
        scope=Scope(used=used, enclosing=(around,)),
    )
