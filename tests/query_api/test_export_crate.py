"""The Workflow Run RO-Crate of a run: accepted by the validator of its profile, read by the library."""

from __future__ import annotations

import importlib.util
import io
import json
import mimetypes
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyoxigraph
import pytest
import requests
from pyoxigraph import RdfFormat
from rocrate.rocrate import ROCrate

from headstream.query_api.export.crate import METADATA, PLAN, PROFILES, README, RUN, UNLICENSED
from headstream.query_api.store import OxigraphStore
from headstream.schemas.identifiers import DEFAULT_BASE

LICENSE = "https://spdx.org/licenses/CC-BY-4.0"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
# What the context of RO-Crate 1.1 says of the terms that a crate of ours uses: schema.org's, save for these.
# It is on the web only, and a test asks no web.
TERMS = """
    about actionStatus additionalProperty additionalType agent author contentSize dateModified datePublished
    description encodingFormat endTime error exampleOfWork hasPart instrument license mainEntity mentions name
    object programmingLanguage result sameAs sha256 startTime url value version workExample
    ComputerLanguage CreateAction CreativeWork Dataset Person PropertyValue SoftwareApplication
    SoftwareSourceCode
""".split()  # noqa: SIM905 - as a text it can be read
OTHERS = {
    "File": "http://schema.org/MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}


class OfflineSession:
    """The web as far as a test has it: the context, and nothing else."""

    def get(self, url: str, **rest: Any) -> requests.Response:
        answer = requests.Response()
        answer.url, answer.status_code = url, 504
        if url == CONTEXT:
            terms = {**{term: f"http://schema.org/{term}" for term in TERMS}, **OTHERS}
            answer.status_code = 200
            answer.headers["Content-Type"] = "application/ld+json"
            answer._content = json.dumps({"@context": terms}).encode()
        return answer

    head = get


@pytest.fixture
def validator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The validator of RO-Crate profiles; `make setup` installs it apart, without its own pins."""
    if importlib.util.find_spec("rocrate_validator") is None:
        missing = "roc-validator is not installed; `make setup` installs it"
        pytest.fail(missing) if os.environ.get("CI", "").lower() == "true" else pytest.skip(missing)
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    def issues(crate: Path, severity: str) -> dict[str, str]:
        settings = services.ValidationSettings(
            rocrate_uri=str(crate),
            profile_identifier="workflow-run-crate-0.5",
            requirement_severity=models.Severity[severity],
            skip_availability_check=True,
            no_cache=True,
        )
        monkeypatch.setattr(HttpRequester(), "session", OfflineSession())
        found = services.validate(settings).get_issues()
        return {each.check.identifier: f"{each.message} ({each.violatingEntity})" for each in found}

    yield issues


@pytest.mark.filterwarnings("ignore")  # Of the validator and of what it calls: none of it is ours.
@pytest.mark.parametrize(("run", "license"), [("run-1", None), ("run-2", None), ("run-2", LICENSE)])
def test_the_validator_accepts_the_crate(
    run: str, license: str | None, validator: Any, tmp_path: Path, example_store: OxigraphStore, exported: Any
) -> None:
    crate = tmp_path / "crate.zip"
    crate.write_bytes(exported(example_store, run, "ro-crate", license=license))
    assert validator(crate, "REQUIRED") == {}


@pytest.mark.filterwarnings("ignore")
def test_the_validator_refuses_a_crate_without_its_workflow(
    validator: Any, tmp_path: Path, example_store: OxigraphStore, exported: Any
) -> None:
    with zipfile.ZipFile(io.BytesIO(exported(example_store, "run-1", "ro-crate"))) as archive:
        archive.extractall(tmp_path)
    metadata = json.loads((tmp_path / METADATA).read_text())
    root = next(each for each in metadata["@graph"] if each["@id"] == "./")
    del root["mainEntity"]
    (tmp_path / METADATA).write_text(json.dumps(metadata))
    assert any("mainEntity" in message for message in validator(tmp_path, "REQUIRED").values())


def test_the_library_reads_the_crate(tmp_path: Path, example_store: OxigraphStore, exported: Any) -> None:
    with zipfile.ZipFile(io.BytesIO(exported(example_store, "run-1", "ro-crate"))) as archive:
        assert archive.namelist() == [METADATA, README, PLAN, RUN]
        archive.extractall(tmp_path)
    crate = ROCrate(tmp_path)
    assert crate.mainEntity.id == PLAN and "ComputationalWorkflow" in crate.mainEntity.type
    assert {each.id for each in crate.root_dataset["conformsTo"]} == set(PROFILES)
    run = crate.get(DEFAULT_BASE + "wfe/seismic_train/run-1")
    assert run["instrument"] is crate.mainEntity
    assert run["startTime"] == "2019-06-10T11:00:00+00:00" and run["endTime"] == "2019-06-10T11:21:40+00:00"
    assert run["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert run["agent"].id == DEFAULT_BASE + "person/ml_scientist_lee"
    inputs = {each["name"]: each for each in run["object"]}
    assert inputs["/input/train.hdf5"].type == "File" and inputs["batch_size"]["value"] == 60
    model = next(each for each in run["result"] if each["name"] == "/models/model188.hdf5")
    loss = {each["name"]: each["value"] for each in model["additionalProperty"]}
    assert loss["learning_rate"] == 0.01 and loss["mean_iou"] in (0.709, 0.722)
    assert {each["name"] for each in model["exampleOfWork"]} == {"model_path"}


def test_the_licence_of_a_crate_is_the_one_that_was_given_and_else_said_to_be_unknown(
    tmp_path: Path, example_store: OxigraphStore, exported: Any
) -> None:
    found = {}
    for license in (None, LICENSE):
        folder = tmp_path / str(license is None)
        data = exported(example_store, "run-1", "ro-crate", license=license)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)
        found[license] = ROCrate(folder).root_dataset["license"]
    assert found[None] == UNLICENSED
    assert (found[LICENSE].id, found[LICENSE].type) == (LICENSE, "CreativeWork")


def test_the_run_in_the_crate_is_the_export_as_turtle(example_store: OxigraphStore, exported: Any) -> None:
    with zipfile.ZipFile(io.BytesIO(exported(example_store, "run-1", "ro-crate"))) as archive:
        assert archive.read(RUN) == exported(example_store, "run-1", "turtle")
        plan = list(pyoxigraph.parse(archive.read(PLAN), format=RdfFormat.TURTLE))
    kinds = {quad.subject.value.removeprefix(DEFAULT_BASE).partition("/")[0] for quad in plan}
    assert kinds == {"wf", "dt", "attr", "prj"}


def test_a_failed_step_is_a_failed_action(example_graph: pyoxigraph.Store, exported: Any) -> None:
    step = f"{DEFAULT_BASE}dte/seismic_curation/cur-1/annotate/1"
    example_graph.update(
        f"""PREFIX provml: <https://w3id.org/provml/ns#>
        DELETE DATA {{ <{step}> provml:outcome "FINISHED" }} ;
        INSERT DATA {{ <{step}> provml:outcome "ERRORED" ; provml:errorMessage "no such survey" }}"""
    )
    data = exported(OxigraphStore(example_graph), "cur-1", "ro-crate")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        graph = {each["@id"]: each for each in json.loads(archive.read(METADATA))["@graph"]}
    assert graph[step]["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert graph[step]["error"] == "no such survey"
    for each in graph.values():
        for value in each.values():
            for target in value if isinstance(value, list) else [value]:
                if isinstance(target, dict) and "@id" in target:
                    iri = target["@id"]
                    foreign = iri.startswith("https://") and not iri.startswith(DEFAULT_BASE)
                    assert iri in graph or foreign, target


def test_what_a_machine_says_of_file_endings_changes_no_crate(
    example_store: OxigraphStore, exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported(example_store, "run-1", "ro-crate")
    mimetypes.init()
    for ending in (".hdf5", ".pt", ".model", ".sgy", ".segy", ".h5"):
        monkeypatch.setitem(mimetypes.types_map, ending, "application/vnd.game")
    assert mimetypes.guess_type("train.hdf5")[0] == "application/vnd.game"
    assert exported(example_store, "run-1", "ro-crate") == before
