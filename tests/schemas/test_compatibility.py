"""Every version reads what every other one wrote (FULL_TRANSITIVE), and golden bytes are read for ever."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import fastavro
import pytest

from headstream.schemas import codec, registry
from headstream.schemas.compatibility import incompatible, unreadable
from headstream.schemas.errors import UnknownSchema

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
shown = runpy.run_path(str(GOLDEN / "make_golden.py"))["shown"]


def parsed(name: str) -> Any:
    return json.loads(registry.current(name).text)


def versions(name: str) -> dict[str, Any]:
    """Every released version and the one that is being worked on."""
    found = {version: json.loads(schema.text) for version, schema in registry.released(name).items()}
    return {**found, "current": parsed(name)}


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_version_is_compatible_with_every_other_in_both_directions(name: str) -> None:
    assert "0.1.0" in versions(name)
    for (old, one), (new, other) in combinations(versions(name).items(), 2):
        assert not incompatible(one, other), f"{name}: {old} and {new}"


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_reader_takes_what_every_version_may_write(name: str) -> None:
    for one in versions(name).values():
        for other in versions(name).values():
            assert_readable(name, one, other)


def golden() -> list[Path]:
    return sorted(GOLDEN.glob("*/*.avro"))


@pytest.mark.parametrize("path", golden(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_bytes_of_each_release_mean_what_they_meant(path: Path) -> None:
    decode = getattr(codec, f"decode_{path.stem}")
    assert_holds(json.loads(path.with_suffix(".json").read_text()), shown(decode(path.read_bytes())))
    released = registry.released(path.stem)[path.parent.name]
    assert path.read_bytes()[2:10] == released.fingerprint, "the bytes are those of the release"


def test_every_release_has_golden_bytes_of_every_record() -> None:
    kept = {(path.parent.name, path.stem) for path in golden()}
    assert kept == {(version, name) for name in registry.NAMES for version in registry.released(name)}


def assert_holds(wanted: Any, found: Any, place: str = "") -> None:
    """What a release said is still there; a field that came later is absent."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict) and wanted.keys() <= found.keys(), place
        for key, value in found.items():
            if key in wanted:
                assert_holds(wanted[key], value, f"{place}.{key}")
            else:
                assert value in (None, [], "", {"bool": "False"}), f"{place}.{key} came from nowhere"
    elif isinstance(wanted, list):
        assert isinstance(found, list) and len(wanted) == len(found), place
        for number, pair in enumerate(zip(wanted, found, strict=True)):
            assert_holds(*pair, f"{place}[{number}]")
    else:
        assert wanted == found, place


Change = Callable[[Any], None]


def fields(bag: Any) -> dict[str, Any]:
    return {each["name"]: each for each in bag["fields"]}


def events(bag: Any) -> list[Any]:
    found: list[Any] = fields(bag)["events"]["type"]["items"]
    return found


def add_required(bag: Any) -> None:
    bag["fields"].append({"name": "colour", "type": "string"})


def remove_required(bag: Any) -> None:
    bag["fields"] = [each for each in bag["fields"] if each["name"] != "workflow"]


def change_type(bag: Any) -> None:
    fields(bag)["workflow"]["type"] = "long"


def narrow(bag: Any) -> None:
    fields(bag)["sequence"]["type"] = "int"


def widen(bag: Any) -> None:
    fields(bag)["sequence"]["type"] = "double"


def rename(bag: Any) -> None:
    fields(bag)["workflow"]["name"] = "flow"


def add_event(bag: Any) -> None:
    events(bag).append({"type": "record", "name": "StepPaused", "fields": []})


def remove_event(bag: Any) -> None:
    events(bag).pop()


def change_deep(bag: Any) -> None:
    (ended,) = (each for each in events(bag) if each["name"] == "StepEnded")
    fields(ended)["outcome"]["type"] = {"type": "enum", "name": "Outcome", "symbols": ["FINISHED"]}


def not_nullable(bag: Any) -> None:
    fields(bag)["definition"]["type"] = "string"


@pytest.mark.parametrize(
    "change",
    [add_required, remove_required, change_type, narrow, widen, rename, add_event, remove_event, change_deep,
     not_nullable],
)  # fmt: skip
def test_a_change_that_some_version_could_not_read_is_found(change: Change) -> None:
    released = json.loads(registry.released("bag")["0.1.0"].text)
    changed = deepcopy(released)
    change(changed)
    assert incompatible(released, changed)


def add_nullable(bag: Any) -> None:
    bag["fields"].append({"name": "colour", "type": ["null", "string"], "default": None})


def add_deep(bag: Any) -> None:
    (started,) = (each for each in events(bag) if each["name"] == "RunStarted")
    started["fields"].insert(0, {"name": "parent_run", "type": ["null", "string"], "default": None})


def remove_optional(bag: Any) -> None:
    fields(bag)["definition"].setdefault("default", None)
    (ended,) = (each for each in events(bag) if each["name"] == "StepEnded")
    ended["fields"] = [each for each in ended["fields"] if each["name"] != "output"]


def document_it(bag: Any) -> None:
    bag["doc"] = "words"


@pytest.mark.parametrize("change", [add_nullable, add_deep, remove_optional, document_it])
def test_a_field_with_a_default_may_come_and_go(change: Change) -> None:
    released = json.loads(registry.released("bag")["0.1.0"].text)
    changed = deepcopy(released)
    change(changed)
    assert incompatible(released, changed) == []
    assert_readable("bag", released, changed)
    assert_readable("bag", changed, released)


def assert_readable(name: str, writer: Any, reader: Any) -> None:
    """fastavro, which reads them in truth, is of the same opinion as the checker."""
    release = fastavro.parse_schema(json.loads(registry.released(name)["0.1.0"].text))
    made, wanted = fastavro.parse_schema(deepcopy(writer)), fastavro.parse_schema(deepcopy(reader))
    kept = BytesIO((GOLDEN / "0.1.0" / f"{name}.avro").read_bytes()[10:])
    out = BytesIO()
    record = fastavro.schemaless_reader(kept, release, made, return_record_name=True)
    fastavro.schemaless_writer(out, made, record)
    size = out.tell()
    out.seek(0)
    fastavro.schemaless_reader(out, made, wanted)
    assert out.tell() == size


def record(name: str, *made: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(made), **more}


def enum(*symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols)}


FIELD = {"name": "a", "type": "int"}
ITSELF = {"name": "next", "type": ["null", "R"]}


@pytest.mark.parametrize(
    ("writer", "reader", "readable"),
    [
        ("int", "long", True),
        ("long", "int", False),
        ("string", "bytes", True),
        ("null", ["null", "string"], True),
        (["null", "string"], "string", False),
        (["null", "int"], ["long", "null"], True),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "string"}, False),
        ({"type": "map", "values": "int"}, {"type": "map", "values": "double"}, True),
        ({"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 8}, False),
        (enum("A", "B"), enum("A"), False),
        (enum("A", "B"), {**enum("A"), "default": "A"}, True),
        (record("R"), record("S"), False),
        (record("R"), record("S", aliases=["R"]), True),
        (record("R", FIELD), record("R", {**FIELD, "name": "b", "aliases": ["a"]}), True),
        (record("R", ITSELF), record("R", ITSELF), True),
    ],
)  # fmt: skip
def test_the_checker_follows_the_rules_of_avro(writer: Any, reader: Any, readable: bool) -> None:
    assert (not unreadable(writer, reader)) == readable


def test_a_problem_is_told_with_its_place() -> None:
    changed = parsed("bag")
    change_deep(changed)
    (old, *_) = incompatible(parsed("bag"), changed)
    assert "Bag.events[].outcome" in old or "StepEnded.outcome" in old, old


def test_what_this_version_could_not_read_is_not_learnt() -> None:
    changed = parsed("bag")
    add_event(changed)
    with pytest.raises(UnknownSchema, match="cannot read"):
        registry.learn(json.dumps(changed))
    for nonsense in ("{}", "x", "[]", '"string"', json.dumps(record("Bag", namespace="com.elsewhere"))):
        with pytest.raises(UnknownSchema, match="none of ours"):
            registry.learn(nonsense)
