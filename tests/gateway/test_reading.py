"""The read routes that the client's constants name, over the worked example of spec section 8."""

from __future__ import annotations

from pathlib import Path

import pyoxigraph as ox
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.gateway.errors import NoSuchThing, TooMuch
from headstream.gateway.reading import Reading
from headstream.gateway.run_names import candidates, client_ids
from headstream.query_api.store import Limits, OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example" / "example.ttl"
ROOT = "/provenance/api"


@pytest.fixture(scope="module")
def store() -> OxigraphStore:
    graph = ox.Store()
    graph.load(path=str(EXAMPLE), format=ox.RdfFormat.TURTLE)
    return OxigraphStore(graph)


@pytest.fixture
def ask(within, store: OxigraphStore):
    gateway = within(store)

    def answer(path: str, status: int = 200):
        found = gateway.http.get(path)
        assert found.status_code == status, found.text
        return found.json()

    return answer


def test_projects_workflows_and_transformations(ask) -> None:
    (project,) = ask(f"{ROOT}/projects")
    assert project["project_name"] == "seismic_stratigraphy"
    assert project["workflows"] == ["seismic_create_data", "seismic_curation", "seismic_train"]
    workflows = {each["workflow_name"]: each["data_transformations"] for each in ask("/workflows")}
    assert workflows["seismic_train"] == ["batch", "epoch", "training", "validation"]
    found = ask("/data-transformations?workflow_name=seismic_train")
    epoch = next(each for each in found if each["data_transformation_name"] == "epoch")
    assert epoch["input"] == [{"attribute_name": "epoch"}]
    assert {"attribute_name": "model_path"} in epoch["output"]
    assert len(ask("/data-transformations")) > len(found)


def test_runs_and_their_status(ask) -> None:
    found = {each["execution_id"]: each for each in ask("/workflow-executions")}
    assert found["run-1"]["status"] == "FINISHED"
    assert found["run-2"]["status"] == "RUNNING" and "end_time" not in found["run-2"]
    only = ask("/workflow-executions?workflow_name=seismic_curation")
    assert [each["execution_id"] for each in only] == ["cur-1"]


@pytest.mark.parametrize(
    "name",
    [
        "seismic_train/run-1",
        "run-1",
        "seismic_train_exec_run-1",
        "https://provml.example.org/id/wfe/seismic_train/run-1",
    ],
)
def test_a_run_is_known_by_all_of_its_names(ask, name: str) -> None:
    if name.startswith("https"):
        name = name.replace("/", "%2F")
    run = ask(f"/workflow-executions/{name}")
    assert run["workflow_execution_id"] == "seismic_train_exec_run-1"
    steps = run["data_transformation_executions"]
    epoch = next(each for each in steps if each["data_transformation_execution_id"].endswith("epoch/188"))
    assert (epoch["iteration_id"], epoch["status"]) == (188, "FINISHED")
    loss = next(each for each in epoch["output"] if each.get("attribute_name") == "loss")
    assert loss["attribute_value"] == 0.0022
    model = next(each for each in epoch["output"] if each.get("attribute_name") == "model_path")
    assert (model["attribute_value_type"], model["data_store_id"]) == ("data_reference", "gpfs1")


def test_the_id_of_a_run_that_the_client_makes_of_a_start_time() -> None:
    found = client_ids("Seismic_Train", "1795344632.5624118")
    assert found[0] == "seismic_train_exec_20261122T10h50m32s562"
    assert client_ids("Seismic_Train", "run-1") == ("seismic_train_exec_run-1",)


names = st.text(st.sampled_from("aB/_ é") | st.characters(exclude_categories=["Cs"]), max_size=8)
executions = names | st.floats(allow_nan=False, allow_infinity=False).map(repr)


@given(names, executions, st.lists(names, max_size=3))
def test_no_run_that_a_name_means_is_missing_among_its_candidates(
    workflow: str, execution: str, others: list[str]
) -> None:
    for name in (execution, f"{workflow}/{execution}", *client_ids(workflow, execution)):
        found = candidates(name, [*others, workflow])
        assert (workflow, execution) in found.runs or workflow in found.workflows


def test_one_run_is_found_among_more_than_an_answer_may_list() -> None:
    times = [f"{1_795_344_632 + number}.25" for number in range(60)]
    graph = graph_of([("Fit", each) for each in times])
    reading = Reading(lambda: OxigraphStore(graph), DEFAULT_BASE, Limits(rows=50))
    with pytest.raises(TooMuch):
        reading.runs()
    for name in (times[7], f"Fit/{times[7]}", f"fit_exec_{times[7]}", f"{DEFAULT_BASE}wfe/Fit/{times[7]}"):
        assert reading.run(name)["execution_id"] == times[7]
    with pytest.raises(NoSuchThing):
        reading.run("https://elsewhere.example/wfe/Fit/1")


def test_a_run_is_known_by_the_time_that_the_client_makes_of_its_id_and_by_no_name_that_two_have() -> None:
    graph = graph_of([("Fit", "1795344632.5624118"), ("fit", "r"), ("Other", "r")])
    reading = Reading(lambda: OxigraphStore(graph), DEFAULT_BASE, Limits())
    assert reading.run("fit_exec_20261122T10h50m32s562")["execution_id"] == "1795344632.5624118"
    assert reading.run("fit_exec_r")["workflow_name"] == "fit"
    with pytest.raises(NoSuchThing, match="or several"):
        reading.run("r")


def graph_of(runs: list[tuple[str, str]]) -> ox.Store:
    """Runs of workflows, and nothing of them but their names."""
    text = "@prefix p: <https://w3id.org/provml/ns#> ."
    for workflow, execution in runs:
        plan, run = f"<{DEFAULT_BASE}wf/{workflow}>", f"<{DEFAULT_BASE}wfe/{workflow}/{execution}>"
        text += f'{plan} a p:Workflow ; p:name "{workflow}" . '
        text += f"{run} a p:WorkflowExecution ; p:wasDerivedFromWorkflow {plan} . "
    graph = ox.Store()
    graph.load(text.encode(), format=ox.RdfFormat.TURTLE)
    return graph


def test_a_summary_counts_the_steps(ask) -> None:
    found = ask("/workflow-execution-summaries/seismic_train/run-2")
    counted = {
        each["data_transformation_name"]: each["number_of_data_transformation_executions"]
        for each in found["data_transformations"]
    }
    assert counted == {"training": 1, "epoch": 2, "batch": 5}
    assert found["number_of_data_transformation_executions"] == 8


def test_turns_of_loops_and_steps_of_transformations_and_persons(ask) -> None:
    cycles = ask(f"{ROOT}/workflow-executions/seismic_train/run-2/cycle-executions")
    assert {each["data_transformation_name"] for each in cycles} == {"epoch", "batch"}
    steps = ask("/data-transformation-executions?data_transformation_name=epoch")
    assert len(steps) == 4
    one = ask("/data-transformation-executions?workflow_execution_id=run-2&data_transformation_name=epoch")
    assert len(one) == 2 and any(each["output"] for each in one)
    person = ask("/persons/ml_scientist_lee/data-transformation-executions")
    assert person and {each["person_id"] for each in person} == {"ml_scientist_lee"}
    assert ask("/persons/nobody/data-transformation-executions") == []


def test_stores_of_the_graph_beside_those_that_were_just_sent(within, store: OxigraphStore) -> None:
    gateway = within(store)
    before = {each["id"] for each in gateway.http.get(f"{ROOT}/data-stores").json()}
    assert "gpfs1" in before
    gateway.http.post(f"{ROOT}/data-stores", json={"id": "new", "type": "Lustre"})
    assert {each["id"] for each in gateway.http.get(f"{ROOT}/data-stores").json()} == before | {"new"}
    gpfs = gateway.http.get(f"{ROOT}/data-stores/gpfs1").json()
    assert (gpfs["type"], gpfs["super_type"], gpfs["name"]) == ("GPFS", "FileSystem", "Shared GPFS")


def test_stored_queries_are_the_catalogue(ask) -> None:
    found = {each["id"]: each for each in ask(f"{ROOT}/stored-queries")}
    assert len(found) == 19
    assert "?p_dataset" in found["Q3"]["query_text"] and "dataset" in found["Q3"]["parameters"]


def test_what_is_not_there_is_404_and_without_a_graph_503(ask, within) -> None:
    assert ask("/workflow-executions/none/such", 404)["code"] == "NoSuchThing"
    assert ask("/global-workflow-execution", 404)
    assert ask("/metamodel/load")["loaded"] is True
    nothing = within().http.get("/workflows")
    assert nothing.status_code == 503 and "headstream up" in nothing.json()["what_to_do"]


def test_no_id_can_make_a_query_say_something_else(ask) -> None:
    for text in ('x"} . ?s ?p ?o #', "a> . ?s ?p ?o #", "%22%7D"):
        assert ask(f"/data-transformations?workflow_name={text.replace('#', '%23')}") == []
        found = ask(f"/persons/{text.replace('#', '%23').replace('?', '%3F')}/data-transformation-executions")
        assert found == []
