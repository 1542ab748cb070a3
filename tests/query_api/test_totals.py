"""Q4 and Q5 in Blazegraph, which reads what parts came to, and elsewhere, where parts are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from load_tests.questions import measuring, runs, survey
from load_tests.questions.cases import cases, now
from load_tests.questions.graph import base

from headstream.query_api.endpoint import SparqlEndpoint
from headstream.query_api.guard import Form
from headstream.query_api.store import Limits, OxigraphStore, Table
from headstream.schemas.events import Bag, IterationBlock, StepEnded
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.sinks.stores import open_store
from headstream.stream_processors.tracker import track

SHAPE = runs.Shape(epochs=6, batches=9)


def told(number: int, wrong: int) -> Iterator[Bag]:
    """A run in whose epochs some batches are told apart, and of which some ends say no totals.

    Those that say totals count `wrong` batches too many.
    """
    plan = survey.definitions()[runs.WORKFLOW]
    for at, bag in enumerate(runs.bags(number, plan, SHAPE)):
        events = []
        for event in bag.events:
            if isinstance(event, IterationBlock) and at % 3 == 1:
                # Two more, of another process, that the end of the epoch does not count.
                events.append(
                    replace(
                        event,
                        suffix="-other",
                        apart=True,
                        ordinals=(0, 1),
                        index=(0, 1),
                        started=event.started[:2],
                        ended=tuple(end + 5_000_000 for end in event.ended[:2]),
                        columns=(),
                    )
                )
            if isinstance(event, StepEnded):
                parts = () if at % 3 == 2 else event.parts
                event = replace(event, parts=tuple(replace(e, count=e.count + wrong) for e in parts))
            events.append(event)
        yield replace(bag, events=tuple(events))


def fill(location: str, wrong: int) -> None:
    store = open_store(location)
    renderer = store.renderer(DEFAULT_BASE)
    for chunk in base(renderer):
        store.write(chunk.document)
    plan = survey.definitions()[runs.WORKFLOW]
    for number in range(2):
        for bag in told(number, wrong):
            found = track(bag, plan, survey.ORIGIN).identified.facts
            store.write(renderer.document([renderer.render(found)], len(found)))
    store.close()


@pytest.mark.parametrize("wrong", [0, 1])
def test_totals_and_parts_give_the_same_rows_where_parts_are_elsewhere_or_totals_missing(
    namespace: Any, tmp_path: Path, wrong: int
) -> None:
    """With totals that are wrong on purpose, the answers of Blazegraph differ: so it does read them."""
    fill(f"oxigraph:{tmp_path / 'graph'}", wrong)
    fill(namespace.url, wrong)
    stores = OxigraphStore.open(tmp_path / "graph"), SparqlEndpoint(namespace.url)
    for case in (case for case in cases(SHAPE) if case.id in ("Q4", "Q5")):
        asked = now(case)
        bags = []
        for store in stores:
            table = store.query(
                asked.text, form=Form.SELECT, limits=Limits(), best_as_written=asked.best_as_written
            )
            assert isinstance(table, Table) and table.rows
            bags.append(measuring.bag(table))
        assert (bags[0] == bags[1]) is not bool(wrong), case.name
    stores[1].close()
