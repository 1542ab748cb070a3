"""The mapping of spec section 6.3: what an event says, whatever came before or comes again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pyoxigraph as ox
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.schemas.codec import decode_bag, encode_bag
from headstream.schemas.definition import Definition, parse_definition
from headstream.schemas.documents import DomainData, Person, document
from headstream.schemas.errors import InvalidDefinition
from headstream.schemas.events import (
    Bag,
    Column,
    Context,
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    ParentRun,
    PartTotals,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.facts import Fact, Origin
from headstream.schemas.values import AttributeValue, DictValue, Json, ListValue, Reference, Value
from headstream.schemas.vocabulary import PREFIXES
from headstream.sinks.statements import render
from headstream.stream_processors.blocks import rows
from headstream.stream_processors.tracker import describe, track

HERE = Origin(topic="t", partition=0, offset=0)
EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
DEFINITION = next(
    parse_definition(document)
    for document in map(json.loads, (EXAMPLE / "definitions.jsonl").read_text().splitlines())
    if document["dataflow_name"] == "seismic_train"
)
TRAINING, EPOCH = StepRef("training", "0"), StepRef("epoch", "0.7")
TRAIN = Reference(text="/input/train.hdf5", store="gpfs1")
MODEL = Reference(text="/models/m.pt", store="gpfs1")
AROUND = (Enclosing(TRAINING, (Holding("train_path", TRAIN), Holding("batch_size"))),)
STEP = "dte/seismic_train/r/epoch/0.7"
DERIVED = {
    "prov:wasDerivedFrom",
    "provml:hasCharacteristic",
    "provml:hasModelHyperParameter",
    "provml:hasLearningHyperParameterSetting",
    "provml:hasEvaluation",
}


def facts(events: Sequence[Event], definition: Definition | None = DEFINITION) -> set[Fact]:
    bag = Bag(workflow="seismic_train", execution="r", events=tuple(events))
    tracked = track(decode_bag(encode_bag(bag)), definition, HERE)
    assert tracked.rejected == ()
    return set(tracked.identified.facts)


def epoch_end(*values: AttributeValue, scope: Scope | None = None) -> StepEnded:
    return StepEnded(
        step=EPOCH,
        parent=TRAINING,
        cycle=True,
        iteration=7,
        started=1_000_000,
        ended=3_500_000,
        outcome="FINISHED",
        values=values,
        scope=scope or Scope(enclosing=AROUND),
    )


def test_the_end_of_an_epoch_ties_its_model_to_data_settings_and_evaluations() -> None:
    got = facts(
        [
            epoch_end(
                AttributeValue("loss", 0.5),
                AttributeValue("learning_rate", 0.01),
                AttributeValue("model_path", MODEL),
            )
        ]
    )
    model = "ref/gpfs1/models/m.pt"
    value = "val/seismic_train/r/epoch/0.7/out/"
    assert {
        (model, "prov:wasDerivedFrom", "id", "ref/gpfs1/input/train.hdf5"),
        (model, "provml:hasEvaluation", "id", value + "loss"),
        (model, "provml:hasModelHyperParameter", "id", value + "learning_rate"),
        (
            model,
            "provml:hasLearningHyperParameterSetting",
            "id",
            "val/seismic_train/r/training/0/in/batch_size",
        ),
        (model, "rdf:type", "term", "provml:ModelReferenceValue"),
        (model, "provml:wasInStore", "id", "store/gpfs1"),
        (STEP, "provml:durationSeconds", "double", "2.5"),
        (STEP, "provml:iteration", "integer", "7"),
        (STEP, "provml:wasPartOf", "id", "dte/seismic_train/r/training/0"),
        (STEP, "rdf:type", "term", "provml:LearningStageSectionExecution"),
        (STEP, "rdf:type", "term", "provml:CycleIteration"),
        (STEP, "prov:endedAtTime", "dateTime", "1970-01-01T00:00:03.5Z"),
        (value + "loss", "rdf:type", "term", "provml:ModelEvaluation"),
    } <= got


def test_outputs_of_a_run_are_generated_by_the_run() -> None:
    said = ValuesAdded(step=None, direction="out", values=(AttributeValue("summary", MODEL),))
    got = facts([RunStarted(started=1), said])
    assert ("ref/gpfs1/models/m.pt", "prov:wasGeneratedBy", "id", "wfe/seismic_train/r") in got
    attribute = "attr/seismic_train/~/out/summary"
    assert ("ref/gpfs1/models/m.pt", "provml:wasDerivedFromAttribute", "id", attribute) in got
    assert (attribute, "provml:name", "string", "summary") in got


def test_a_validation_evaluates_the_model_it_used_once_it_has_ended() -> None:
    step = StepRef("validation", "1")
    scope = Scope(used=(Holding("model_path", MODEL),))
    loss = (AttributeValue("loss", 0.4),)
    edge = (
        "ref/gpfs1/models/m.pt",
        "provml:hasEvaluation",
        "id",
        "val/seismic_train/r/validation/1/out/loss",
    )
    assert edge in facts([StepEnded(step=step, ended=2, outcome="FINISHED", values=loss, scope=scope)])
    assert edge not in facts([ValuesAdded(step=step, direction="out", values=loss, scope=scope)])


def test_a_versioned_output_makes_two_nodes_and_a_versioned_input_one() -> None:
    versioned = AttributeValue("model_path", Reference(text="/m", store="s", version="v1"))
    out = facts([epoch_end(versioned)])
    assert ("ref/s/m;v=v1", "prov:specializationOf", "id", "ref/s/m") in out
    assert {
        ("ref/s/m;v=v1", "prov:wasGeneratedBy", "id", STEP),
        ("ref/s/m", "prov:wasGeneratedBy", "id", STEP),
    } <= out
    step = StepStarted(step=StepRef("validation", "1"), started=1, values=(versioned,))
    used = {fact[3] for fact in facts([step]) if fact[1] == "prov:used"}
    assert used == {"ref/s/m;v=v1"}


def test_without_a_definition_the_plan_is_made_from_the_events_with_base_classes() -> None:
    got = facts([RunStarted(started=1), epoch_end(AttributeValue("loss", 0.5))], None)
    assert {
        ("wf/seismic_train", "rdf:type", "term", "provml:Workflow"),
        ("wf/seismic_train", "prov:hadMember", "id", "dt/seismic_train/epoch"),
        ("dt/seismic_train/epoch", "provml:name", "string", "epoch"),
        ("dt/seismic_train/epoch", "provml:hasOutputAttribute", "id", "attr/seismic_train/epoch/out/loss"),
        ("attr/seismic_train/epoch/out/loss", "rdf:type", "term", "provml:Attribute"),
    } <= got
    classes = {fact[3] for fact in got if fact[1] == "rdf:type"}
    assert not classes & {"provml:ModelEvaluation", "provml:LearningStageSectionExecution"}


def test_an_attribute_that_the_definition_lacks_is_planned_on_the_fly() -> None:
    got = facts([epoch_end(AttributeValue("surprise", 1))])
    assert ("attr/seismic_train/epoch/out/surprise", "provml:name", "string", "surprise") in got


def test_elements_of_marked_lists_and_dictionaries_are_values_of_their_own() -> None:
    nested = ListValue((1.5, DictValue((("path", MODEL), ("k/1", True)))))
    got = facts([epoch_end(AttributeValue("parts", nested))])
    whole = "val/seismic_train/r/epoch/0.7/out/parts"
    assert {
        (whole, "prov:value", "JSON", '[1.5,{"k/1":true,"path":"/models/m.pt"}]'),
        (f"{whole}/0", "provml:position", "integer", "0"),
        (f"{whole}/1/k%2F1", "provml:memberKey", "string", "k/1"),
        (f"{whole}/1", "rdf:type", "term", "provml:ComplexAttributeValue"),
        (f"{whole}/1", "prov:hadMember", "id", "ref/gpfs1/models/m.pt"),
        ("ref/gpfs1/models/m.pt", "prov:wasGeneratedBy", "id", STEP),
        ("ref/gpfs1/models/m.pt", "prov:wasDerivedFrom", "id", "ref/gpfs1/input/train.hdf5"),
    } <= got


@pytest.mark.parametrize("value", [Json("[3,9]"), Json('{"end":9,"start":3}')])
def test_a_range_attribute_says_its_bounds(value: Value) -> None:
    definition = parse_definition(
        {
            "dataflow_name": "seismic_train",
            "data_transformations": {
                "cut": {"input_datasets": [{"attributes": [{"name": "lines", "dtype": "range"}]}]}
            },
        }
    )
    got = facts(
        [StepStarted(step=StepRef("cut", "0"), started=1, values=(AttributeValue("lines", value),))],
        definition,
    )
    iri = "val/seismic_train/r/cut/0/in/lines"
    assert {(iri, "provml:rangeStart", "integer", "3"), (iri, "provml:rangeEnd", "integer", "9")} <= got


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (float("nan"), "double", "NaN"),
        (float("-inf"), "double", "-INF"),
        (1e-05, "double", "1e-05"),
        (2**80, "integer", str(2**80)),
        (True, "boolean", "true"),
        (Json("null"), "JSON", "null"),
        (ListValue((float("inf"),)), "JSON", '["INF"]'),
    ],
)
def test_a_literal_has_the_lexical_form_of_the_specification(value: Value, kind: str, text: str) -> None:
    got = facts([epoch_end(AttributeValue("x", value))])
    assert ("val/seismic_train/r/epoch/0.7/out/x", "prov:value", kind, text) in got


def test_an_event_that_cannot_be_is_rejected_with_its_reason_and_its_neighbours_are_kept() -> None:
    bad = StepStarted(step=EPOCH, values=(AttributeValue("seen", Reference(text="not an iri", kind="kg")),))
    odd = StepEnded(step=EPOCH, ended=1, outcome="DONE")
    short = IterationBlock(
        transformation="batch",
        parent=None,
        prefix="",
        ordinals=(1,),
        index=(1, 2),
        started=(1, 2),
        ended=(1, 2),
    )
    bag = Bag(
        workflow="seismic_train",
        execution="r",
        events=(RunStarted(started=1), bad, odd, short, RunStarted(started=2)),
    )
    tracked = track(bag, DEFINITION, HERE)
    assert [rejected.index for rejected in tracked.rejected] == [1, 2, 3]
    assert tracked.rejected[0].error == "InvalidIdentifier"
    assert "DONE" in tracked.rejected[1].message and "ordinals" in tracked.rejected[2].message
    assert len(tracked.identified.counts) == 2


def test_the_facts_of_an_event_are_counted_so_that_a_store_can_refuse_one_event() -> None:
    bag = Bag(
        workflow="seismic_train",
        execution="r",
        events=(RunStarted(started=5, person="lee"), epoch_end(AttributeValue("loss", 1.0))),
    )
    identified = track(bag, DEFINITION, HERE).identified
    assert sum(identified.counts) == len(identified.facts)
    shared, run, step = identified.counts
    assert {fact[0] for fact in identified.facts[:shared]} == {"person/lee"}
    assert identified.event_times == (0, 5, 3_500_000)
    assert run and step


scalar = (
    st.floats(allow_nan=False)
    | st.integers()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]))
)


@given(
    st.lists(st.tuples(scalar, scalar), max_size=4),
    st.sampled_from([None, "batch_id", "other"]),
    st.sampled_from(["", "0.7.", ".", "~"]),
    st.sampled_from(["batch", "unplanned"]),
    st.booleans(),
    st.booleans(),
)
def test_a_block_means_the_events_of_its_rows(
    values: list[tuple[Value, Value]], index: str | None, prefix: str, loop: str, planned: bool, apart: bool
) -> None:
    count = len(values)
    block = IterationBlock(
        transformation=loop,
        parent=EPOCH,
        prefix=prefix,
        suffix="~r1",
        index_attribute=index,
        ordinals=tuple(range(3, 3 + count)),
        index=tuple(range(count)),
        started=tuple(range(10, 10 + count)),
        ended=tuple(range(1_000_020, 1_000_020 + count)),
        columns=(Column("loss", tuple(v[0] for v in values)), Column("é/x", tuple(v[1] for v in values))),
        enclosing=AROUND,
        apart=apart,
    )
    definition = DEFINITION if planned else None
    quick, slow = facts([block], definition), facts(list(rows(block)), definition)
    if count == 0:
        return
    assert quick == slow


def test_a_block_with_models_derives_them_as_single_events_do() -> None:
    block = IterationBlock(
        transformation="epoch",
        parent=TRAINING,
        prefix="0.",
        index_attribute="epoch",
        ordinals=(0, 1),
        index=(0, 1),
        started=(1, 2),
        ended=(3, 4),
        columns=(Column("loss", (0.5, 0.4)), Column("model_path", (MODEL, Reference(text="/m2")))),
        enclosing=AROUND,
    )
    got = facts([block])
    assert got == facts(list(rows(block)))
    assert ("ref/~/m2", "prov:wasDerivedFrom", "id", "ref/gpfs1/input/train.hdf5") in got


# ---- the .ru definitions as oracle: on a run that is told in order, both give the same edges


def expand(document_facts: Iterable[Fact], base: str = "https://provml.example.org/id/") -> ox.Store:
    store = ox.Store()
    store.load(render(list(document_facts), base), format=ox.RdfFormat.N_TRIPLES)
    return store


names = {
    "training": (["train_path", "batch_size", "learning_rates"], []),
    "epoch": (["epoch"], ["loss", "learning_rate", "model_path"]),
    "validation": (["model_path", "valid_path"], ["loss", "mean_iou"]),
    "unplanned": (["data", "note"], ["result", "more"]),
}


def values_of(name: str) -> st.SearchStrategy[Value]:
    """A reference plays one role wherever it occurs: the class of a shared node is known only by its slots
    (docs/decisions/0003)."""
    pool = {"model_path": "/models/", "train_path": "/input/", "valid_path": "/input/"}.get(name)
    if pool is None and name not in ("data", "note", "result", "more"):
        return st.integers(0, 9)
    texts = st.sampled_from([(pool or "/free/") + letter for letter in "abc"])
    references = st.builds(Reference, text=texts, store=st.just("s"))
    return references if pool else references | st.builds(lambda v: ListValue((v, 1)), references)


@st.composite
def told_in_order(draw: st.DrawFn) -> list[Event]:
    """A run of nested steps, each event with the scope that our own client would give it."""
    events: list[Event] = []

    def holdings(values: Sequence[AttributeValue]) -> tuple[Holding, ...]:
        found: list[Holding] = []
        for given_value in values:
            match given_value.value:
                case Reference() as reference:
                    found.append(Holding(given_value.name, reference))
                case ListValue(items):
                    found.append(Holding(given_value.name))
                    found += [Holding(None, item) for item in items if isinstance(item, Reference)]
                case _:
                    found.append(Holding(given_value.name))
        return tuple(found)

    def some(allowed: list[str]) -> tuple[AttributeValue, ...]:
        chosen = draw(st.lists(st.sampled_from(allowed), unique=True, max_size=3)) if allowed else []
        return tuple(AttributeValue(name, draw(values_of(name))) for name in chosen)

    def tell(depth: int, path: str, around: tuple[Enclosing, ...], parent: StepRef | None) -> None:
        for number in range(draw(st.integers(1 if depth == 0 else 0, 2))):
            name = draw(st.sampled_from(sorted(names)))
            ref, time = StepRef(name, f"{path}{number}"), len(events)
            used = some(names[name][0])
            events.append(
                StepStarted(step=ref, parent=parent, started=time, values=used, scope=Scope(enclosing=around))
            )
            if depth < 2:
                inner = (Enclosing(ref, holdings(used)), *around)
                tell(depth + 1, f"{path}{number}.", inner, ref)
            early, late = some(names[name][1][:1]), some(names[name][1][1:])
            if early:
                scope = Scope(used=holdings(used), enclosing=around)
                events.append(ValuesAdded(step=ref, direction="out", values=early, scope=scope))
            scope = Scope(used=holdings(used), generated=holdings(early), enclosing=around)
            events.append(
                StepEnded(
                    step=ref,
                    parent=parent,
                    started=time,
                    ended=len(events),
                    outcome="FINISHED",
                    values=late,
                    scope=scope,
                )
            )

    tell(0, "", (), None)
    return events


@settings(max_examples=60, deadline=None)
@given(told_in_order())
def test_streamed_edges_are_those_of_the_update_definitions(events: list[Event]) -> None:
    everything = facts(events)
    prospective = set(describe(document(DEFINITION), HERE).facts)
    streamed = expand(everything | prospective)
    oracle = expand({fact for fact in everything if fact[1] not in DERIVED} | prospective)
    for update in sorted(
        (files("headstream.schemas") / "ontology" / "updates").iterdir(), key=lambda p: p.name
    ):
        if not update.name.startswith("01"):
            oracle.update(update.read_text())
    assert set(streamed) == set(oracle)


@settings(max_examples=40, deadline=None)
@given(told_in_order(), st.randoms(use_true_random=False))
def test_order_repetition_and_the_cut_into_bags_change_nothing(events: list[Event], random: object) -> None:
    once = facts(events)
    shuffled = [*events, *events[: len(events) // 2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cut = len(shuffled) // 3
    assert facts(shuffled[:cut]) | facts(shuffled[cut:]) == once


# ---- documents


def test_domain_data_becomes_facts_and_a_blank_node_is_refused() -> None:
    body = '<http://x/s> <http://x/p> "v"@en .\n<http://x/s> <http://x/q> "1"^^<http://x/t> .\n'
    got = describe(document(DomainData(name="d", ntriples=body)), HERE).facts
    assert got == (
        ("http://x/s", "http://x/p", "@en", "v"),
        ("http://x/s", "http://x/q", "^^http://x/t", "1"),
    )
    with pytest.raises(InvalidDefinition, match="blank node"):
        describe(document(DomainData(name="d", ntriples="_:b <http://x/p> <http://x/o> .\n")), HERE)
    with pytest.raises(InvalidDefinition, match="not N-Triples"):
        describe(document(DomainData(name="d", ntriples="nonsense")), HERE)


def test_a_person_has_a_persona() -> None:
    got = describe(document(Person(id="lee", name="Lee", persona="MLScientistOrEngineer")), HERE).facts
    assert ("person/lee", "provml:persona", "term", "provml:MLScientistOrEngineer") in got


def test_execution_data_of_a_run_becomes_its_properties() -> None:
    context = Context(
        cluster="c", job="1", hosts=("a", "b"), peak_memory_bytes=5, cpu_seconds=0.5, metadata="{}"
    )
    got = facts([RunEnded(started=0, ended=1, outcome="ERRORED", error="boom", context=context)])
    run = "wfe/seismic_train/r"
    assert {
        (run, "provml:hostName", "string", "a"),
        (run, "provml:hostName", "string", "b"),
        (run, "provml:jobId", "string", "1"),
        (run, "provml:customMetadata", "JSON", "{}"),
        (run, "provml:errorMessage", "string", "boom"),
        (run, "rdf:type", "term", "provml:LearningProcessExecution"),
    } <= got


@pytest.mark.parametrize(
    ("parent", "around"),
    [
        (ParentRun("a campaign", "1"), "wfe/a%20campaign/1"),
        (ParentRun("outer", "e", StepRef("search", "0.1")), "dte/outer/e/search/0.1"),
    ],
)
def test_a_run_is_nested_in_the_run_or_step_that_it_was_started_in(parent: ParentRun, around: str) -> None:
    plain, nested = facts([RunStarted(started=1)]), facts([RunStarted(started=1, parent=parent)])
    # What the parent is, its own events say: one edge is all that is added.
    assert nested - plain == {("wfe/seismic_train/r", "provml:wasNestedIn", "id", around)}
    assert plain < nested


def test_the_end_of_a_step_says_what_its_parts_came_to_and_a_part_that_it_may_lack() -> None:
    plain = epoch_end(AttributeValue("loss", 1.0))
    parts = (PartTotals("batch", 35, 70_000_001, 1_500_000, 3_000_000),)
    totals = "tot/seismic_train/r/epoch/0.7/batch"
    assert facts([replace(plain, parts=parts)]) - facts([plain]) == {
        ("dte/seismic_train/r/epoch/0.7", "provml:hasPartTotals", "id", totals),
        (totals, "rdf:type", "term", "provml:PartTotals"),
        (totals, "provml:totalsOver", "id", "dt/seismic_train/batch"),
        (totals, "provml:partCount", "integer", "35"),
        (totals, "provml:partSeconds", "double", "70.000001"),
        (totals, "provml:minPartSeconds", "double", "1.5"),
        (totals, "provml:maxPartSeconds", "double", "3.0"),
    }
    assert facts([replace(plain, apart=True)]) - facts([plain]) == {
        ("dte/seismic_train/r/training/0", "provml:hasPartBeyondTotals", "id", "dt/seismic_train/epoch")
    }


def test_every_predicate_and_class_that_is_written_is_in_the_ontology() -> None:
    text = (files("headstream.schemas") / "ontology" / "provml.ttl").read_text()
    defined = {
        triple.subject.value
        for triple in ox.parse(text, format=ox.RdfFormat.TURTLE)
        if isinstance(triple.subject, ox.NamedNode)
    }
    parent = ParentRun("outer", "e")
    got = facts(
        [RunStarted(started=1, person="p", parent=parent), epoch_end(AttributeValue("model_path", MODEL))]
    )
    said = Reference(text="/m", checksum="sha256:00", size_bytes=7)
    parts = (PartTotals("batch", 8, 8, 1, 1),)
    got |= facts([replace(epoch_end(AttributeValue("model_path", said)), parts=parts, apart=True)])
    got |= set(describe(document(DEFINITION), HERE).facts)
    for _, predicate, kind, value in got:
        for name in (predicate, value if kind == "term" else ""):
            if name.startswith("provml:"):
                assert PREFIXES["provml"] + name.removeprefix("provml:") in defined, name


def test_what_a_file_was_is_said_of_the_versioned_node_and_repeats_nothing_but_itself() -> None:
    known = Reference(
        text="/m", store="s", version="v1", checksum="sha256:00", size_bytes=7, modified=1_500_000
    )
    step = StepRef("epoch", "0.1")
    bare = AttributeValue("model_path", Reference(text="/m", store="s", version="v1"))
    before = facts([ValuesAdded(step=step, direction="out", values=(bare,))])
    again = facts([ValuesAdded(step=step, direction="out", values=(AttributeValue("model_path", known),))])
    assert again - before == {
        ("ref/s/m;v=v1", "provml:checksum", "string", "sha256:00"),
        ("ref/s/m;v=v1", "provml:sizeBytes", "integer", "7"),
        ("ref/s/m;v=v1", "dcterms:modified", "dateTime", "1970-01-01T00:00:01.5Z"),
    }
    assert before < again
