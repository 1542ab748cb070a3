"""What ProvLake messages say, in our own events."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstream.capture.gateway.provlake import (
    Rejected,
    Translated,
    Translator,
    read_log,
    translate_all,
)
from headstream.schemas.codec import decode_bag, encode_bag
from headstream.schemas.definition import Definition, Store, parse_definition, parse_store
from headstream.schemas.events import (
    Bag,
    Context,
    Enclosing,
    Event,
    Holding,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue, DictValue, Json, ListValue, Reference

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
MESSAGES: list[Any] = list(read_log((EXAMPLE / "events.jsonl").read_text("utf-8").splitlines()))
DEFINITIONS: list[Definition] = [
    parse_definition(json.loads(line))
    for line in (EXAMPLE / "definitions.jsonl").read_text("utf-8").splitlines()
]
STORES: list[Store] = [parse_store(s) for s in json.loads((EXAMPLE / "stores.json").read_text("utf-8"))]

TRAIN = Reference(text="/input/train.hdf5", store="gpfs1")
TRAINING = Enclosing(
    StepRef("training", "0"),
    (
        Holding("train_path", TRAIN),
        Holding("batch_size"),
        Holding("max_epochs"),
        Holding("learning_rates"),
        Holding("learning_task"),
        Holding("algorithm"),
    ),
)


def example_bags(**options: Any) -> list[Bag]:
    def refuse(rejected: Rejected) -> None:
        raise AssertionError(rejected)

    return list(translate_all(MESSAGES, DEFINITIONS, STORES, on_rejected=refuse, **options))


def example_events(execution: str, step: StepRef) -> list[Event]:
    return [
        event
        for bag in example_bags()
        if bag.execution == execution
        for event in bag.events
        if isinstance(event, StepStarted | StepEnded) and event.step == step
    ]


def task(
    kind: str, values: Any = None, *, workflow: Any = "w", run: Any = "r", **fields: Any
) -> dict[str, Any]:
    details: dict[str, Any] = {"id": "0", "wf_execution": run, "startTime": 10.0, "generatedTime": 9.5}
    if kind == "Output":
        details |= {"endTime": 12.0, "status": "FINISHED"}
    details |= fields
    body: dict[str, Any] = {"task": details, "dt": "load", "type": kind}
    if values is not None:
        body["values"] = values
    return {"prov_obj": body, "dataflow_name": workflow, "act_type": "task"}


def turn(number: Any, kind: str = "Input", at: float = 10.0, name: str = "epoch") -> dict[str, Any]:
    details = {"iteration_id": number, "wf_execution": "r", "startTime": at, "status": "RUNNING"}
    if kind == "Output":
        details |= {"endTime": at + 1}
    body = {"cycle": details, "cycle_name": name, "type": kind, "values": {}}
    return {"prov_obj": body, "dataflow_name": "w", "act_type": "cycle"}


def translated(message: object, translator: Translator | None = None) -> Translated:
    found = (translator or Translator()).translate(message)
    assert isinstance(found, Translated), found
    return found


def rejected(message: object) -> Rejected:
    found = Translator().translate(message)
    assert isinstance(found, Rejected), found
    return found


def only(message: object, translator: Translator | None = None) -> Any:
    (event,) = translated(message, translator).events
    return event


def coerced(wire: Any, *, declared: dict[str, Any] | None = None, stores: list[Store] | None = None) -> Any:
    """The single input value `x` of a task whose attribute is declared so."""
    definition = parse_definition(
        {
            "dataflow_name": "w",
            "data_transformations": {
                "load": {"input_datasets": [{"attributes": [{"name": "x", **(declared or {})}]}]}
            },
        }
    )
    (value,) = only(task("Generate", {"x": wire}), Translator([definition], stores or [])).values
    assert value.name == "x"
    return value


# ---- the worked example


def test_each_of_the_63_messages_is_one_event() -> None:
    bags = example_bags()
    assert [(bag.workflow, bag.execution, len(bag.events)) for bag in bags] == [
        ("seismic_curation", "cur-1", 11),
        ("seismic_create_data", "prep-1", 8),
        ("seismic_train", "run-1", 24),
        ("seismic_train", "run-2", 20),
    ]
    kinds = Counter(type(event).__name__ for bag in bags for event in bag.events)
    assert kinds == {"RunStarted": 4, "RunEnded": 3, "StepStarted": 38, "StepEnded": 18}


def test_a_bag_names_the_definition_of_its_workflow() -> None:
    hashes = {definition.workflow: definition.content_hash for definition in DEFINITIONS}
    assert all(bag.definition == hashes[bag.workflow] for bag in example_bags())


@pytest.mark.parametrize("bag_size", [1, 5, 50])
def test_every_bag_survives_the_wire(bag_size: int) -> None:
    bags = example_bags(bag_size=bag_size)
    assert [decode_bag(encode_bag(bag)) for bag in bags] == bags
    assert [bag.sequence for bag in bags] == list(range(len(bags)))
    assert max(len(bag.events) for bag in bags) <= bag_size


def test_the_end_of_an_epoch_carries_what_it_and_its_training_hold() -> None:
    (_, end) = example_events("run-1", StepRef("epoch", "188"))
    assert end == StepEnded(
        step=StepRef("epoch", "188"),
        parent=StepRef("training", "0"),
        cycle=True,
        iteration=188,
        started=1_560_165_406_000_000,
        ended=1_560_165_410_500_000,
        outcome="FINISHED",
        values=(
            AttributeValue("loss", 0.0022),
            AttributeValue("mean_iou", 0.722),
            AttributeValue("confusion_matrix", Json("[[93,7],[10,90]]")),
            AttributeValue("learning_rate", 0.01),
            AttributeValue("epoch", 188),
            AttributeValue("model_path", Reference(text="/models/model188.hdf5", store="gpfs1")),
        ),
        scope=Scope(used=(Holding("epoch"),), enclosing=(TRAINING,)),
    )


def test_a_failed_batch_says_why() -> None:
    (_, _, end) = example_events("run-2", StepRef("batch", "1.1"))
    assert end == StepEnded(
        step=StepRef("batch", "1.1"),
        parent=StepRef("epoch", "1"),
        registered=1_560_177_218_699_000,
        started=1_560_177_218_700_000,
        ended=1_560_177_219_000_000,
        outcome="ERRORED",
        error="CUDA out of memory",
        scope=Scope(
            used=(Holding("batch_id"),),
            enclosing=(Enclosing(StepRef("epoch", "1"), (Holding("epoch"),)), TRAINING),
        ),
    )


def test_turn_0_that_never_reaches_the_wire_is_the_parent() -> None:
    events = example_events("run-2", StepRef("batch", "0.0"))
    assert [event.parent for event in events if isinstance(event, StepStarted | StepEnded)] == [
        StepRef("epoch", "0")
    ] * 3


def test_generate_input_and_output_of_a_task_are_registered_started_and_ended() -> None:
    context = Context(peak_memory_bytes=12_000_000_000, cpu_seconds=480.0)
    selected = Reference(text="/work/netherlands_sel1.h5", store="gpfs1")
    used = (Holding("selected_path", selected), Holding("noise_threshold"), Holding("tile_size"))
    registered = 1_560_160_989_999_000
    assert example_events("prep-1", StepRef("make_tiles", "1")) == [
        StepStarted(
            step=StepRef("make_tiles", "1"),
            registered=registered,
            values=(
                AttributeValue("selected_path", selected),
                AttributeValue("noise_threshold", 0.3),
                AttributeValue("tile_size", 40),
            ),
            context=context,
        ),
        StepStarted(
            step=StepRef("make_tiles", "1"),
            registered=registered,
            started=1_560_160_990_000_000,
            scope=Scope(used=used),
            context=context,
        ),
        StepEnded(
            step=StepRef("make_tiles", "1"),
            registered=registered,
            started=1_560_160_990_000_000,
            ended=1_560_161_490_000_000,
            outcome="FINISHED",
            values=(
                AttributeValue("train_path", TRAIN),
                AttributeValue("valid_path", Reference(text="/input/valid.hdf5", store="gpfs1")),
                AttributeValue("test_path", Reference(text="/input/test.hdf5", store="gpfs1")),
                AttributeValue("n_tiles", 12000),
            ),
            scope=Scope(used=used),
            context=context,
        ),
    ]


def test_a_run_begins_with_its_execution_data() -> None:
    (begin,) = [e for b in example_bags() for e in b.events if isinstance(e, RunStarted)][2:3]
    assert begin == RunStarted(
        started=1_560_164_400_000_000,
        context=Context(cluster="learning", job="884213", hosts=("n01", "n02")),
    )


# ---- runs


def test_values_of_the_end_message_are_outputs_of_the_run() -> None:
    message = {
        "prov_obj": {
            "wf_execution": 1795344632.5624118,
            "startTime": 1795344632.5624118,
            "endTime": 1795344640.1,
            "status": "ERRORED",
            "values": {"best": 0.5},
            "stdout": "done",
            "stderr": "oh",
        },
        "dataflow_name": "w",
        "act_type": "workflow",
    }
    found = translated(message)
    assert found.execution == "1795344632.5624118"
    assert found.events == (
        RunEnded(
            started=1_795_344_632_562_412,
            ended=1_795_344_640_100_000,
            outcome="ERRORED",
            error="oh",
            output="done",
            values=(AttributeValue("best", 0.5),),
        ),
    )


def test_metadata_that_has_no_field_stays_metadata() -> None:
    message = task("Input")
    message["custom_metadata"] = {
        "host_names": "n01",
        "job_id": 7,
        "telemetry": {"cpu_seconds": 2, "gpu_seconds": math.nan, "power": 3},
        "team": "é",
    }
    assert only(message).context == Context(
        job="7",
        hosts=("n01",),
        cpu_seconds=2.0,
        metadata='{"team":"é","telemetry":{"gpu_seconds":"NaN","power":3}}',
    )


def test_a_task_without_a_workflow_belongs_to_a_global_run_that_begins_with_it() -> None:
    translator = Translator()
    first = translated(task("Generate", workflow=None, run=None), translator)
    assert (first.workflow, first.execution) == ("global_workflow", "global")
    assert [type(event) for event in first.events] == [RunStarted, StepStarted]
    assert first.events[0] == RunStarted(started=None)
    again = translated(task("Input", workflow=None, run=None), translator)
    assert [type(event) for event in again.events] == [StepStarted]


def test_stores_that_an_old_client_declares_resolve_its_references() -> None:
    translator = Translator()
    begin = {
        "prov_obj": {
            "wf_execution": "r",
            "startTime": 1.0,
            "configuration": {
                "storages": {"lustre7": {"type": "Lustre", "mounts": ["/scratch"]}, "bad": {"type": "?"}}
            },
        },
        "dataflow_name": "w",
        "act_type": "workflow",
    }
    found = translated(begin, translator)
    assert [store.id for store in found.stores] == ["lustre7"]
    path = {"values": "/scratch/x", "prov_attr_type": "data_reference"}
    assert only(task("Input", {"p": path}), translator).values[0].value.store == "lustre7"


# ---- steps, nesting and scope


def test_ids_are_written_as_identifiers_are() -> None:
    assert only(task("Input", id=1795344632.5624394)).step.task == "1795344632.5624394"
    assert only(task("Input", id=7)).step.task == "7"
    assert only(turn("lr0.01/3")).iteration is None
    assert only(turn(3)).iteration == 3
    assert only(turn(2**70)).iteration is None
    assert only(turn(3.0)) == StepStarted(step=StepRef("epoch", "3.0"), cycle=True, started=10_000_000)


NESTED = parse_definition(
    {
        "dataflow_name": "w",
        "data_transformations": {
            "load": {},
            "epoch": {"cycle": True, "parent": "load"},
            "batch": {"cycle": True, "parent": "epoch"},
        },
    }
)


def test_a_cycle_lies_in_the_latest_planned_block_that_started_before_it() -> None:
    translator = Translator([NESTED])
    for name, at in (("0", 10.0), ("1", 20.0), ("2", 30.0)):
        translator.translate(task("Input", {"x": 1}, id=name, startTime=at))
    assert only(turn(0, at=9.0), translator).parent is None
    assert only(turn(1, at=20.0), translator).parent == StepRef("load", "1")
    batch = only(turn(5, at=29.9, name="batch"), translator)
    assert batch.parent == StepRef("epoch", "1")
    assert batch.scope.enclosing == (
        Enclosing(StepRef("epoch", "1"), ()),
        Enclosing(StepRef("load", "1"), (Holding("x"),)),
    )
    # A block that is heard of later does not move a step whose place is known.
    translator.translate(task("Input", id="3", startTime=19.0))
    assert only(turn(1, "Output", at=20.0), translator).parent == StepRef("load", "1")


def test_a_parent_that_is_no_step_yet_is_still_named() -> None:
    event = only(task("Input", parent_cycle_name="epoch", parent_cycle_iteration=4))
    assert event.parent == StepRef("epoch", "4")
    assert event.scope.enclosing == (Enclosing(StepRef("epoch", "4"), ()),)


def test_blocks_that_claim_to_enclose_each_other_do_no_harm() -> None:
    translator = Translator()
    one = task("Input", parent_cycle_name="load", parent_cycle_iteration="b", id="a")
    two = task("Input", parent_cycle_name="load", parent_cycle_iteration="a", id="b")
    translator.translate(one)
    translator.translate(two)
    assert len(only(one, translator).scope.enclosing) == 1
    assert only(task("Input", parent_cycle_name="load")).parent is None  # itself


def test_runs_share_no_scope() -> None:
    translator = Translator([NESTED])
    translator.translate(task("Input", {"x": 1}, run="other", startTime=5.0))
    assert only(turn(0), translator).parent is None


def test_an_extension_adds_values_to_an_open_task() -> None:
    translator = Translator()
    translator.translate(task("Input", {"a": 1}))
    assert only(task("Input", {"b": 2}, is_extension=True), translator) == ValuesAdded(
        step=StepRef("load", "0"),
        direction="in",
        values=(AttributeValue("b", 2),),
        scope=Scope(used=(Holding("a"),)),
    )
    more = task("Output", {"c": 3}, endTime=None)
    more["prov_obj"]["is_extension"] = True
    assert only(more, translator) == ValuesAdded(
        step=StepRef("load", "0"),
        direction="out",
        values=(AttributeValue("c", 3),),
        scope=Scope(used=(Holding("a"), Holding("b"))),
    )


def test_a_message_that_comes_twice_says_the_same_twice() -> None:
    once, twice = Translator(DEFINITIONS, STORES), Translator(DEFINITIONS, STORES)
    for message in MESSAGES:
        first = twice.translate(message)
        assert first == once.translate(message)
        assert twice.translate(message) == first


def test_nested_references_are_held_by_the_step_itself() -> None:
    shards = {"prov_attr_type": "list", "values": [{"prov_attr_type": "data_reference", "values": "/a"}, 1]}
    translator = Translator()
    translator.translate(task("Generate", {"shards": shards}))
    assert only(task("Output"), translator).scope == Scope(
        used=(Holding("shards"), Holding(None, Reference(text="/a")))
    )


def test_a_forgotten_run_starts_anew() -> None:
    translator = Translator()
    translator.translate(task("Generate", {"x": 1}))
    assert list(translator.runs) == [("w", "r")]
    translator.forget("w", "r")
    assert list(translator.runs) == []
    assert only(task("Output"), translator).scope == Scope()


# ---- values


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (None, Json("null")),
        (True, True),
        (60, 60),
        (2**80, 2**80),
        (0.01, 0.01),
        (math.inf, math.inf),
        ("text", "text"),
        ([], Json("[]")),
        ([1, {"b": 2, "a": None}], Json('[1,{"a":null,"b":2}]')),
        ({"type": "adam"}, Json('{"type":"adam"}')),
        ({"type": "dataset", "values": [1]}, Json('{"type":"dataset","values":[1]}')),
        ({"type": ["list"], "values": [1]}, Json('{"type":["list"],"values":[1]}')),
        ({"type": "list", "values": [1, [2]]}, ListValue((1, Json("[2]")))),
        ({"prov_attr_type": "list", "values": []}, Json("[]")),
        (
            {"prov_attr_type": "dict", "values": {"beta": {"type": "list", "values": [0.9]}, "eps": None}},
            DictValue((("beta", ListValue((0.9,))), ("eps", Json("null")))),
        ),
        (
            {"prov_attr_type": "data_reference", "values": "/x", "data_store_id": "s", "version": 3},
            Reference(text="/x", store="s", version="3"),
        ),
        (
            {"prov_attr_type": "data_reference_as_is", "values": "/x", "datastore_id": "s"},
            Reference(text="/x", store="s"),
        ),
        (
            {"prov_attr_type": "kg_reference", "values": "http://x.org/y"},
            Reference(text="http://x.org/y", kind="kg"),
        ),
        (
            {"prov_attr_type": "data_reference", "values": ["/x", "/y"]},
            ListValue((Reference(text="/x"), Reference(text="/y"))),
        ),
        ({"prov_attr_type": "data_reference", "values": None}, Json("null")),
        ({"prov_attr_type": "data_reference", "values": ""}, ""),
        ({"prov_attr_type": "attribute_value_with_custom_metadata", "values": 3}, 3),
    ],
)
def test_a_value_on_the_wire_is_read_by_its_marker(wire: Any, value: object) -> None:
    found = coerced(wire).value
    assert found == value
    assert type(found) is type(value)


def test_metadata_of_a_value_and_of_its_elements_is_kept() -> None:
    item = {"prov_attr_type": "dataset_item", "values": "a", "order": 0, "dataset_id": "d"}
    found = coerced(
        {
            "prov_attr_type": "attribute_value",
            "custom_metadata": {"unit": "m"},
            "values": {"prov_attr_type": "dataset", "values": [item], "dataset_schema_id": "s"},
        }
    )
    assert found.value == ListValue(("a",))
    assert found.metadata == (
        '{"dataset_schema_id":"s","elements":{"0":{"dataset_id":"d","order":0}},"unit":"m"}'
    )


def test_what_coercion_changed_is_noted() -> None:
    found = coerced([math.nan, -math.inf])
    assert (found.value, found.note) == (
        Json('["NaN","-Infinity"]'),
        "JSON has no NaN or infinity: written as text",
    )
    found = coerced({"prov_attr_type": "complex", "values": 1})
    assert found.value == Json('{"prov_attr_type":"complex","values":1}')
    assert "complex" in found.note


@pytest.mark.parametrize(
    ("semantics", "kind"), [("FILE_REFERENCE", "data"), ("DATA_REFERENCE", "data"), ("KG_REFERENCE", "kg")]
)
def test_plain_text_in_a_reference_slot_is_a_reference(semantics: str, kind: Any) -> None:
    assert coerced("/x", declared={"semantics": semantics}).value == Reference(text="/x", kind=kind)
    assert coerced(5, declared={"semantics": semantics}).value == 5
    assert coerced(["/x"], declared={"semantics": semantics}).value == Json('["/x"]')


def test_the_store_of_a_reference_is_given_or_declared_or_mounted_or_unknown() -> None:
    def store(key: str, *mounts: str) -> Store:
        return parse_store({"id": key, "type": "GPFS", "mounts": list(mounts)})

    stores = [store("outer", "/gpfs"), store("inner", "/gpfs/fast/"), store("cos", "s3://bucket")]

    def found(path: str, declared: dict[str, Any] | None = None, **keys: str) -> str | None:
        wire = {"prov_attr_type": "data_reference", "values": path, **keys}
        value = coerced(wire, declared=declared, stores=stores).value
        return str(value.store) if value.store is not None else None

    assert found("/gpfs/fast/x", {"data_store_id": "default"}, data_store_id="given") == "given"
    assert found("/gpfs/fast/x", {"data_store_id": "default"}) == "default"
    assert found("/gpfs/fast/x") == "inner"
    assert found("/gpfs/slow/../fast//x") == "inner"
    assert found("/gpfs/faster/x") == "outer"
    assert found("s3://bucket/key") == "cos"
    assert found("/tmp/x") is None


# ---- bad messages, logs


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (3, "bad-message"),
        ({}, "bad-message"),
        ({"prov_obj": {}, "act_type": "dance"}, "unknown-act"),
        (task("Sideways"), "unknown-type"),
        (task("Input", [1]), "bad-message"),
        (task("Input", id=None), "bad-identifier"),
        (task("Input", id=[1]), "bad-identifier"),
        (task("Input", startTime=math.nan), "bad-time"),
        (task("Input", startTime=1e300), "bad-time"),
        (task("Input", startTime=10**400), "bad-time"),
        (task("Input", startTime="noon"), "bad-time"),
        (task("Output", endTime=None), "no-end-time"),
        (task("Input", {"x": object()}), "not-json"),
        (task("Input", {"x": 10**4000}), "number-too-long"),
    ],
)
def test_a_bad_message_is_rejected_with_a_reason(message: object, reason: str) -> None:
    assert rejected(message).reason == reason


def test_a_message_that_contains_itself_is_rejected() -> None:
    loop: dict[str, Any] = {}
    loop["x"] = loop
    assert rejected(task("Input", loop)).reason == "too-deep"


def test_a_rejected_message_leaves_no_trace() -> None:
    translator = Translator()
    translator.translate(task("Output", {"x": 1}, endTime="late"))
    assert translator.runs == ()


def test_lines_are_bags_or_messages_and_a_broken_line_is_data() -> None:
    one, two = task("Generate"), task("Input", {"x": math.nan})
    lines = [json.dumps([one, two]) + "\n", "[]\n", "\n", json.dumps(one) + "\n", '[{"prov_obj": {"ta']
    read = list(read_log(lines))
    assert [type(item) for item in read] == [dict, dict, dict, Rejected]
    refused: list[Rejected] = []
    (bag,) = translate_all(read, on_rejected=refused.append)
    assert len(bag.events) == 3
    assert bag.definition is None
    assert [item.reason for item in refused] == ["not-json"]


def test_a_rejected_message_is_logged_if_nobody_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    assert list(translate_all([{}])) == []
    assert [record.message for record in caplog.records] == ["message rejected"]


# ---- anything at all

SURPRISES = st.sampled_from(
    ["", "\ud800", "NaN", ".", "..", "~", "w", "r", "0", "list", "dict", "data_reference", "kg_reference"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | SURPRISES
)
KEYS = st.text(max_size=4) | st.sampled_from(
    [
        "values",
        "prov_attr_type",
        "type",
        "data_store_id",
        "version",
        "custom_metadata",
        "host_names",
        "telemetry",
        "cpu_seconds",
        "peak_memory_bytes",
        "storages",
        "mounts",
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MARKED = JSON | st.fixed_dictionaries(
    {
        "values": JSON,
        "prov_attr_type": st.sampled_from(
            ["list", "dict", "data_reference", "kg_reference", "dataset", "attribute_value"]
        ),
    },
    optional={"data_store_id": JSON, "custom_metadata": JSON, "version": JSON},
)


def mostly(likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Nine times in ten the likely thing, so that the rest of the message is read at all."""
    return st.integers(0, 9).flatmap(lambda n: likely if n else JSON)


TIMES = mostly(st.floats(0, 2e9))
IDS = mostly(st.sampled_from(["0", 1, 2.5]) | st.integers(-(2**70), 2**70))
DETAILS = st.fixed_dictionaries(
    {"id": IDS, "iteration_id": IDS, "endTime": TIMES},
    optional={
        "wf_execution": IDS,
        "startTime": TIMES,
        "generatedTime": TIMES,
        "status": SCALARS,
        "parent_cycle_name": mostly(st.sampled_from(["load", "epoch"])),
        "parent_cycle_iteration": IDS,
        "stderr": JSON,
        "attribute_associations": JSON,
        "is_extension": st.booleans(),
    },
)
NAMES = mostly(st.sampled_from(["load", "epoch", "batch", "training"]))
BODIES = st.fixed_dictionaries(
    {
        "task": mostly(DETAILS),
        "cycle": mostly(DETAILS),
        "dt": NAMES,
        "cycle_name": NAMES,
        "type": mostly(st.sampled_from(["Generate", "Input", "Output"])),
    },
    optional={
        "values": mostly(
            st.dictionaries(st.sampled_from(["train_path", "model_path", "loss"]) | KEYS, MARKED, max_size=4)
        ),
        "person": SCALARS,
        "wf_execution": IDS,
        "startTime": TIMES,
        "endTime": TIMES,
        "configuration": JSON,
    },
)
ENVELOPES = st.fixed_dictionaries(
    {
        "prov_obj": mostly(BODIES),
        "act_type": mostly(st.sampled_from(["task", "cycle", "workflow"])),
        "dataflow_name": mostly(st.sampled_from(["w", "seismic_train", None])),
    },
    optional={"custom_metadata": JSON},
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ENVELOPES | JSON, max_size=6))
def test_whatever_comes_is_translated_or_rejected_and_what_is_translated_can_be_sent(
    messages: list[object],
) -> None:
    refused: list[Rejected] = []
    bags = list(translate_all(messages, [*DEFINITIONS, NESTED], STORES, on_rejected=refused.append))
    assert len(refused) <= len(messages)
    for bag in bags:
        received = decode_bag(encode_bag(bag))
        assert repr(received) == repr(bag)  # NaN is not equal to itself
