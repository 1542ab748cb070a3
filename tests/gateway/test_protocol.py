"""What a ProvLake client sends, in every spelling, and what it is told (spec section 9)."""

from __future__ import annotations

import json

import pytest

from headstream.gateway.paths import plain
from headstream.schemas.documents import content
from headstream.schemas.events import RunStarted, StepEnded, StepStarted, ValuesAdded
from headstream.schemas.values import Json, Reference

BEGIN = {
    "prov_obj": {"wf_execution": "r", "startTime": 1795344632.5},
    "dataflow_name": "W",
    "act_type": "workflow",
}


def task(kind: str = "Output", values: object = None, **more: object) -> dict[str, object]:
    told = {"id": "t", "wf_execution": "r", "startTime": 1.0, "endTime": 2.0, "status": "FINISHED", **more}
    body = {"task": told, "dt": "train", "type": kind, "values": values or {}, "person": "lga"}
    return {"prov_obj": body, "dataflow_name": "W", "act_type": "task"}


def test_a_bag_becomes_events_of_its_run_and_the_client_reads_an_empty_list_of_errors(within) -> None:
    gateway = within()
    assert gateway.post([BEGIN, task("Generate", {"x": 1}), task(values={"loss": 0.5})]) == []
    (bag,) = gateway.transport.bags
    assert (bag.workflow, bag.execution) == ("W", "r")
    assert [type(event) for event in bag.events] == [RunStarted, StepStarted, StepEnded]
    assert gateway.letters.letters == []


def test_a_message_that_breaks_a_rule_goes_to_the_dead_letters_and_the_rest_is_kept(within) -> None:
    gateway = within()
    broken = {**task(), "act_type": "party"}
    found = gateway.post([BEGIN, broken, task()])
    # The client looks at the first letter of `code`, and prints `type` and `explanation`.
    ((error,),) = found
    assert error["code"][0] != "W" and error["type"] == "unknown-act"
    assert error["explanation"].startswith("message 2 of the bag: act_type must be")
    assert len(gateway.events) == 2
    (letter,) = gateway.letters.letters
    assert (letter.stage, letter.reason, letter.key) == ("gateway", "unknown-act", b"W/r")
    assert json.loads(letter.value) == broken


def test_without_validation_a_bag_of_which_nothing_can_be_read_is_an_error_of_http(within) -> None:
    gateway = within()
    assert len(gateway.post([{}], validate=False, status=400)) == 1
    assert len(gateway.post([{}, BEGIN], validate=False)) == 1
    assert len(gateway.post([{}], validate=True)) == 1  # Of 400 and more the client reads nothing.


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe[", b"[" * 5000, b"nonsense"])
def test_a_body_that_is_no_json_is_told_and_kept_as_it_came(within, body: bytes) -> None:
    gateway = within()
    ((error,),) = gateway.post(body)
    assert error["type"] == "not-json"
    (letter,) = gateway.letters.letters
    assert letter.value.decode().startswith(body.decode("utf-8", "replace")[:4])
    assert gateway.events == []


def test_a_message_that_is_nested_too_deeply_is_refused_alone(within) -> None:
    deep: object = 1
    for _ in range(150):
        deep = [deep]
    gateway = within()
    ((error,),) = gateway.post([task(values={"x": deep}), BEGIN])
    assert error["type"] == "too-deep"
    assert len(gateway.events) == 1


def test_empty_bags_and_single_messages_and_repeated_ones_are_taken(within) -> None:
    gateway = within()
    assert gateway.post([]) == []
    assert gateway.transport.bags == []
    assert gateway.post(BEGIN) == []
    assert gateway.post([BEGIN, BEGIN]) == []
    first, *others = gateway.events
    assert others == [first, first]


def test_nan_and_infinity_are_taken_as_python_clients_spell_them(within) -> None:
    gateway = within()
    text = json.dumps([task(values={"loss": float("nan"), "list": [float("inf")]})])
    assert "NaN" in text
    found = gateway.post(text.encode())
    (event,) = gateway.events
    values = {value.name: value.value for value in event.values}
    assert repr(values["loss"]) == "nan"
    assert values["list"] == Json('["Infinity"]')
    ((warning,),) = found
    assert warning["code"] == "W001"


def test_older_spellings_say_the_same_as_newer_ones(within) -> None:
    new = {"values": "/m", "prov_attr_type": "data_reference", "data_store_id": "g"}
    old = {"values": "/m", "type": "data_reference_as_is", "datastore_id": "g"}
    gateway = within()
    gateway.post([task(values={"model": new}), task(values={"model": old})])
    first, second = gateway.events
    assert first == StepEnded(**{**{n: getattr(second, n) for n in second.__slots__}, "scope": first.scope})
    assert first.values[0].value == Reference(text="/m", store="g")
    gateway.post([task("Output", {"more": 1}, is_extension=True, endTime=None)])
    assert isinstance(gateway.events[-1], ValuesAdded)


def test_metadata_and_associations_and_the_context_of_a_client_are_kept(within) -> None:
    gateway = within()
    begun = {**BEGIN, "custom_metadata": {"job_id": 5, "mine": 1}, "context": "<http://e.org/c>"}
    gateway.post([begun, task(attribute_associations={"loss": ["x"]})])
    run, step = gateway.events
    assert run.context.job == "5"
    assert json.loads(run.context.metadata) == {"context": "<http://e.org/c>", "mine": 1}
    assert json.loads(step.context.metadata) == {"attribute_associations": {"loss": ["x"]}}
    assert step.person == "lga"


def test_a_task_of_no_workflow_belongs_to_the_global_run(within) -> None:
    message = {**task(wf_execution=None), "dataflow_name": None}
    gateway = within()
    gateway.post([message])
    (bag,) = gateway.transport.bags
    assert (bag.workflow, bag.execution) == ("global_workflow", "global")


def test_messages_of_two_runs_in_one_bag_are_told_apart(within) -> None:
    other = json.loads(json.dumps(BEGIN).replace('"r"', '"s"'))
    gateway = within()
    gateway.post([BEGIN, other, task()])
    assert [bag.execution for bag in gateway.transport.bags] == ["r", "s", "r"]


def test_stores_that_an_old_client_declares_are_published_once(within) -> None:
    begun = json.loads(json.dumps(BEGIN))
    begun["prov_obj"]["configuration"] = {"storages": {"g": {"type": "GPFS"}}}
    gateway = within()
    gateway.post([begun, begun])
    assert [document.name for document in gateway.transport.documents] == ["g"]


# Prospective documents.


def test_a_prospective_document_is_published_and_counts_from_then_on(within) -> None:
    gateway = within()
    plan = {"dataflow_name": "W", "data_transformations": {"train": {}, "other": {}}}
    answer = gateway.http.post("/prospective-provenance?overwrite=True", json=plan)
    assert 200 <= answer.status_code <= 209
    (published,) = gateway.transport.documents
    assert content(published).workflow == "W"
    gateway.post([BEGIN])
    assert gateway.transport.bags[0].definition == published.content_hash == answer.json()["hash"]


def test_names_that_the_definition_lacks_are_warnings_of_a_client_that_validates(within) -> None:
    gateway = within()
    plan = {"dataflow_name": "W", "data_transformations": {"train": {}}}
    gateway.http.put("/prospective-provenance", json=plan)
    stray = task(values={"loss": 1})
    unknown = json.loads(json.dumps(task()).replace('"train"', '"test"'))
    found = gateway.post([stray, unknown])
    assert [[each["code"] for each in one] for one in found] == [["W003"], ["W002"]]
    assert gateway.post([stray, unknown], validate=False) == []
    assert len(gateway.events) == 4


@pytest.mark.parametrize("body", ["[1]", "{}", '{"dataflow_name": "W", "surprise": 1}', "{", "[" * 3000])
def test_a_document_that_breaks_a_rule_is_406_with_a_text_that_the_client_can_print(
    within, body: str
) -> None:
    gateway = within()
    answer = gateway.http.post("/prospective-provenance?overwrite=True", content=body)
    assert answer.status_code == 406
    assert answer.json()["error"].replace("'", '"')
    assert gateway.transport.documents == []


def test_another_definition_takes_the_place_of_the_first_unless_it_may_not(within) -> None:
    gateway = within()
    first, second = ({"dataflow_name": "W", "description": text} for text in "ab")
    assert gateway.http.post("/prospective-provenance", json=first).status_code == 201
    assert gateway.http.post("/prospective-provenance?overwrite=False", json=first).status_code == 201
    assert gateway.http.post("/prospective-provenance?overwrite=False", json=second).status_code == 406
    assert gateway.http.post("/prospective-provenance?overwrite=True", json=second).status_code == 201


# Data stores and paths.


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"id": "p", "name": "P", "type": "PostgreSQL", "host_address": "h"}, "RDBMS"),
        ({"id": "c", "name": "C", "type": "AWSS3", "url": "u", "bucket": "b"}, "ObjectStore"),
        ({"id": "ds_1 2/ü", "name": "G", "type": "GPFS", "custom_metadata": {"a": 1}}, "FileSystem"),
    ],
)
def test_a_data_store_is_created_and_read_one_and_all(within, sent: dict[str, object], kind: str) -> None:
    gateway = within()
    answer = gateway.http.post("/provenance/api/data-stores", json=sent)
    assert answer.status_code == 201
    assert answer.json()["data_store_hkg_id"].startswith("https://provml.example.org/id/store/")
    assert answer.json()["super_type"] == kind
    assert {**answer.json(), **sent} == answer.json()
    everything = gateway.http.get("/provenance/api/data-stores")
    assert everything.status_code == 200 and [each["id"] for each in everything.json()] == [sent["id"]]
    assert everything.json()[0]["hkg_id"]
    assert gateway.http.get(f"/provenance/api/data-stores/{sent['id']}").json() == answer.json()
    assert gateway.http.get("/provenance/api/data-stores/none").status_code == 404
    assert [document.kind for document in gateway.transport.documents] == ["store"]


def test_a_store_of_no_kind_is_refused_with_the_kinds_that_there_are(within) -> None:
    answer = within().http.post("/provenance/api/data-stores", json={"id": "x", "type": "Floppy"})
    assert answer.status_code == 400
    assert "PostgreSQL" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/retrospective-provenance", "/retrospective-provenance"),
        ("/api/retrospective-provenance", "/retrospective-provenance"),
        ("/api//provenance/api/data-stores", "/data-stores"),
        ("//provenance/api/data-stores/a", "/data-stores/a"),
        ("/provenance/api/projects", "/projects"),
        ("/api/v1/lineage", "/api/v1/lineage"),
        ("/workflow-executions/a/api/b", "/workflow-executions/a/api/b"),
        ("/data-stores/http://a//b", "/data-stores/http://a//b"),
    ],
)
def test_the_protocol_is_met_under_every_way_to_write_a_service_url(path: str, expected: str) -> None:
    assert plain(path) == expected


def test_a_name_that_utf8_cannot_spell_costs_its_own_message_only(within) -> None:
    gateway = within()
    refused = {"act_type": "party", "dataflow_name": "\ud800", "prov_obj": {"wf_execution": "\udfff"}}
    findings = gateway.post(json.dumps([BEGIN, refused]).encode())
    assert [found[0]["type"] for found in findings] == ["unknown-act"]
    assert len(gateway.events) == 1 and len(gateway.letters.letters) == 1


def test_a_document_that_utf8_cannot_spell_fails_nobody_elses_request(within) -> None:
    gateway = within()
    answer = gateway.http.post("/data-stores", content=b'{"id": "\\ud800", "type": "GPFS"}')
    assert answer.status_code == 201
    gateway.post([BEGIN])
    assert gateway.http.get("/data-stores").status_code == 200
    deep = b'{"id": "s", "type": "GPFS", "more": ' + b"[" * 900 + b"]" * 900 + b"}"
    assert gateway.http.post("/data-stores", content=deep).status_code == 400
