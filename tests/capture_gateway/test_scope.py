"""The scope that the gateway keeps gives the edges that the updates of the ontology define.

Holds under the conditions of spec sections 5.5 and 6.3, which the runs made here keep: messages in
order, no two starts of one transformation at the same instant, an enclosing block takes its inputs
before the blocks inside it end, and a slot does not share files with slots of another class.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest

from headstream.capture.gateway.provlake import Rejected, translate_all
from headstream.capture.gateway.scope import RunScope
from headstream.schemas.definition import Definition, parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import StepRef
from headstream.schemas.facts import Origin
from headstream.schemas.values import AttributeValue, Reference
from headstream.schemas.vocabulary import expand
from headstream.sinks.statements import render
from headstream.stream_processors.tracker import describe, track

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
BASE = "https://x.example/id/"
ORIGIN = Origin(topic="t", partition=0, offset=0)
UPDATES = sorted(
    (path.name, path.read_text("utf-8"))
    for path in (files("headstream.schemas") / "ontology" / "updates").iterdir()
    if path.name.endswith(".ru")
)
DERIVED = {
    expand(name)
    for name in (
        "prov:wasDerivedFrom",
        "provml:hasCharacteristic",
        "provml:hasModelHyperParameter",
        "provml:hasLearningHyperParameterSetting",
        "provml:hasEvaluation",
    )
}
PART_OF = expand("provml:wasPartOf")

Values = Callable[[], dict[str, Any]]


def definition() -> Definition:
    lines = (EXAMPLE / "definitions.jsonl").read_text("utf-8").splitlines()
    return parse_definition(next(json.loads(line) for line in lines if '"seismic_train"' in line))


class Script:
    """A training script that runs with the ProvLake client, and surprises: missing values and ends."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._now = 1000.0
        self.messages: list[dict[str, Any]] = []
        self.named: set[tuple[str, str]] = set()  # batches whose messages name their parent

    def run(self) -> None:
        self._say("workflow", wf_execution="r", startTime=self._time())
        for number in range(2):
            self._training(number)
        self._task(
            "validation",
            "0",
            lambda: self._some(model_path=self._model(), valid_path=self._file()),
            lambda: self._some(loss=0.2),
        )

    def _training(self, number: int) -> None:
        rates = {"prov_attr_type": "list", "values": [0.1]}
        used = self._some(train_path=self._file(), batch_size=6, learning_rates=rates, more=self._files())
        self._task("training", str(number), lambda: used, dict, lambda: self._epochs(10 * number))

    def _epochs(self, first: int) -> None:
        for turn in range(first, first + self._random.randint(0, 3)):
            cycle: dict[str, Any] = {"iteration_id": turn, "wf_execution": "r", "startTime": self._time()}
            self._say("cycle", cycle=cycle, cycle_name="epoch", type="Input", values=self._some(epoch=turn))
            for batch in range(self._random.randint(0, 2)):
                self._batch(turn, batch)
            if self._random.random() < 0.9:
                ended = cycle | {"endTime": self._time()}
                made = self._some(
                    loss=0.1, epoch=turn, learning_rate=0.1, model_path=self._model(), more=self._files()
                )
                self._say("cycle", cycle=ended, cycle_name="epoch", type="Output", values=made)

    def _batch(self, turn: int, batch: int) -> None:
        parent: dict[str, Any] = {}
        if self._random.random() < 0.5:
            self.named.add(("batch", f"{turn}.{batch}"))
            parent = {"parent_cycle_name": "epoch"}
            if turn:  # the client drops turn 0
                parent["parent_cycle_iteration"] = turn
        used = self._some(batch_id=batch, shard=self._file())
        self._task(
            "batch",
            f"{turn}.{batch}",
            lambda: used,
            lambda: self._some(loss=0.1, activations=self._file()),
            **parent,
        )

    def _task(
        self,
        name: str,
        number: str,
        used: Values,
        made: Values,
        inside: Callable[[], None] = lambda: None,
        **details: Any,
    ) -> None:
        task = {"id": number, "wf_execution": "r", "generatedTime": self._time(), **details}
        self._say("task", task=task, dt=name, type="Generate", values=used())
        task = task | {"startTime": self._time()}
        self._say("task", task=task, dt=name, type="Input")
        inside()
        if self._random.random() < 0.2:
            extension = {**task, "is_extension": True}
            self._say("task", task=extension, dt=name, type="Output", values=made())
        if self._random.random() < 0.85:
            self._say("task", task=task | {"endTime": self._time()}, dt=name, type="Output", values=made())

    def _say(self, act: str, **body: Any) -> None:
        self.messages.append({"prov_obj": body, "dataflow_name": "seismic_train", "act_type": act})

    def _time(self) -> float:
        self._now += self._random.choice([0.25, 0.5, 1.0])
        return self._now

    def _some(self, **values: Any) -> dict[str, Any]:
        return {name: value for name, value in values.items() if self._random.random() < 0.7}

    def _file(self) -> dict[str, Any]:
        return {"values": self._random.choice(["/a", "/b", "/c"]), "prov_attr_type": "data_reference"}

    def _files(self) -> dict[str, Any]:
        return {"values": [self._file(), 1], "prov_attr_type": "list"}

    def _model(self) -> dict[str, Any]:
        return {"values": self._random.choice(["/m0", "/m1"]), "prov_attr_type": "data_reference"}


def refuse(rejected: Rejected) -> None:
    raise AssertionError(rejected)


def streamed(messages: list[dict[str, Any]]) -> set[ox.Quad]:
    plan = definition()
    facts = [describe(document(plan), ORIGIN).facts]
    for bag in translate_all(messages, [plan], bag_size=3, on_rejected=refuse):
        tracked = track(bag, plan, ORIGIN)
        assert tracked.rejected == ()
        facts.append(tracked.identified.facts)
    store = ox.Store()
    for some in facts:
        store.load(render(some, BASE), format=ox.RdfFormat.N_TRIPLES)
    return set(store)


def consolidated(graph: set[ox.Quad], named: set[tuple[str, str]]) -> set[ox.Quad]:
    """The graph without derived edges and planned nesting, to which the updates add them."""
    store = ox.Store()
    for quad in graph:
        assert isinstance(quad.subject, ox.NamedNode)
        step = tuple(quad.subject.value.removeprefix(BASE).split("/")[-2:])
        planned = quad.predicate.value == PART_OF and step not in named
        if quad.predicate.value not in DERIVED and not planned:
            store.add(quad)
    for _, update in UPDATES:
        store.update(update)
    return set(store)


@pytest.mark.parametrize("seed", range(40))
def test_streamed_edges_are_those_that_the_updates_define(seed: int) -> None:
    script = Script(seed)
    script.run()
    found = streamed(script.messages)
    expected = consolidated(found, script.named)
    assert sorted(map(str, expected - found)) == []
    assert sorted(map(str, found - expected)) == []
    assert {quad.predicate.value for quad in found} & DERIVED


def test_of_a_run_with_too_many_steps_those_that_are_over_and_enclose_nothing_open_are_forgotten() -> None:
    scope = RunScope(most=50)
    outer = StepRef("training", "0")
    scope.place(outer, 1, None, None)
    scope.around(outer, "in", (AttributeValue("data", Reference(text="/d", store="s")),), None)
    for number in range(1000):
        ref = StepRef("batch", str(number))
        scope.place(ref, number + 2, outer, None)
        ended = scope.around(ref, "out", (), None)
        assert ended.enclosing[0].used, "what encloses an open step is never forgotten"
        scope.over(ref)
    assert len(scope) <= 50
