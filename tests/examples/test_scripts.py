"""What the three scripts of the example promise when they are run as a scientist runs them."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segyio
import yaml

from headstream.capture.reading import DirectoryLog, Reader
from headstream.schemas.definition import parse_definition
from headstream.schemas.events import (
    Bag,
    Event,
    IterationBlock,
    RunEnded,
    StepEnded,
    StepStarted,
    ValuesAdded,
)

from ..environment import without_settings

SEISMIC = Path(__file__).parents[2] / "examples" / "seismic"
LESS = ("--epochs", "2", "--batch-size", "40", "--learning-rates", "0.01,0.001")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to work in, with a spool of its own."""

    folder: Path

    def run(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SEISMIC / f"{script}.py"), "--out", str(self.folder / "out"), *options]
        env = without_settings()
        env |= {"HEADSTREAM_SPOOL": str(self.folder / "spool"), "HEADSTREAM_TRANSPORT": "offline"}
        return subprocess.run(
            command, env=env, capture_output=True, text=True, check=False, timeout=200, cwd=self.folder
        )

    def chain(self, segy: Path) -> dict[str, str]:
        """Run all three with fixed identifiers; gives what each printed."""
        curated = self._path("curation", "--execution", "c1", "--segy", str(segy))
        data = self._path("preparation", "--execution", "p1", "--curated", curated)
        model = self._path("learning", "--execution", "l1", "--data", data, *LESS)
        return {"curation": curated, "preparation": data, "learning": model}

    def _path(self, script: str, *options: str) -> str:
        done = self.run(script, "--quiet", *options)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def events(self, workflow: str) -> list[Event]:
        """Everything that the runs of a workflow left in the spool."""
        found: list[Event] = []
        for directory in sorted((self.folder / "spool").glob(f"{workflow}~*")):
            log = DirectoryLog(directory)
            for item in Reader(log).poll():
                if isinstance(item.content, Bag):
                    found += item.content.events
            log.close()
        return found


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict[str, str]]:
    """The chain on a real survey."""
    place = Place(tmp_path_factory.mktemp("worked"))
    return place, place.chain(Path(__file__).parents[1] / "data" / "f3.sgy")


def without_times(events: list[Event], folder: Path) -> list[str]:
    """Attribute values, with the folder of the test taken out of the paths."""
    said = []
    for event in events:
        if isinstance(event, StepStarted | StepEnded | ValuesAdded):
            said.append(repr((event.step, event.values)))
        elif isinstance(event, IterationBlock):
            said.append(
                repr((event.transformation, event.prefix, event.ordinals, event.index, event.columns))
            )
    # When files were written differs, and in which order a thread has looked at them.
    return sorted(re.sub(r"modified=\d+", "", text.replace(str(folder), "")) for text in said)


def test_the_scripts_know_each_other_by_paths_only(worked: tuple[Place, dict[str, str]]) -> None:
    place, printed = worked
    assert printed["curation"] == str(place.folder / "out/curated/c1/f3.h5")
    assert printed["preparation"] == str(place.folder / "out/datasets/p1")
    assert Path(printed["learning"]).parent == place.folder / "out/models/l1"
    assert len(list((place.folder / "out/models/l1").iterdir())) == 4


@pytest.mark.parametrize("script", ["curation", "preparation", "learning"])
def test_every_step_ends_finished_and_every_value_is_planned(
    worked: tuple[Place, dict[str, str]], script: str
) -> None:
    definition = parse_definition(yaml.safe_load((SEISMIC / f"{script}.yaml").read_text("utf-8")))
    events = worked[0].events(definition.workflow)
    ended = {event.step for event in events if isinstance(event, StepEnded)}
    assert {event.step for event in events if isinstance(event, StepStarted)} <= ended
    assert all(event.outcome == "FINISHED" for event in events if isinstance(event, StepEnded | RunEnded))
    for event in events:
        if isinstance(event, StepStarted | StepEnded | ValuesAdded):
            side = "in" if isinstance(event, StepStarted) else "out"
            if isinstance(event, ValuesAdded):
                side = event.direction
            plan = definition.transformation(event.step.transformation)
            assert plan is not None
            assert all(plan.attribute(side, value.name) is not None for value in event.values)


def test_the_facts_of_the_survey_are_captured(worked: tuple[Place, dict[str, str]]) -> None:
    values: dict[str, Any] = {}
    for event in worked[0].events("seismic_curation"):
        if isinstance(event, ValuesAdded) and event.step.transformation == "extract_raw_data":
            values |= {value.name: value.value for value in event.values}
    assert (values["geox1"], values["geoy1"], values["sample_interval"]) == (620197.2, 6074232.9, 4000)
    assert values["inline_range"].text == "[111,133]"


def test_every_training_has_its_epochs_and_batches(worked: tuple[Place, dict[str, str]]) -> None:
    events = worked[0].events("seismic_train")
    ended = [event.step for event in events if isinstance(event, StepEnded)]
    names = [step.transformation for step in ended]
    assert (names.count("training"), names.count("validation"), names.count("test")) == (2, 2, 1)
    assert [step.task for step in ended if step.transformation == "epoch"] == ["0.0", "0.1", "1.0", "1.1"]
    batches = [row for event in events if isinstance(event, IterationBlock) for row in event.ordinals]
    batches += [0 for name in names if name == "batch"]
    assert len(batches) == 2 * 2 * 4  # 130 tiles in batches of 40


def test_two_chains_with_the_same_seed_write_and_capture_the_same(
    worked: tuple[Place, dict[str, str]], tmp_path: Path, f3: Path
) -> None:
    first, again = worked[0], Place(tmp_path)
    again.chain(f3)
    files = sorted(p.relative_to(first.folder) for p in (first.folder / "out").rglob("*") if p.is_file())
    assert files
    for name in files:
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes(), name
    for workflow in ("seismic_curation", "seismic_create_data", "seismic_train"):
        assert without_times(first.events(workflow), first.folder) == without_times(
            again.events(workflow), again.folder
        )


def line(path: Path) -> Path:
    """A SEG-Y file with one inline."""
    spec = segyio.spec()
    spec.format, spec.tracecount, spec.samples = 5, 9, range(40)
    with segyio.create(str(path), spec) as segy:
        for number in range(9):
            segy.header[number] = {segyio.TraceField.INLINE_3D: 1, segyio.TraceField.CROSSLINE_3D: number}
            segy.trace[number] = np.zeros(40, dtype=np.float32)
    return path


@pytest.mark.parametrize(
    ("script", "option", "made", "workflow", "step", "sentence"),
    [
        ("curation", "--segy", "text", "seismic_curation", "extract_raw_data", "is not a SEG-Y file"),
        ("curation", "--segy", "line", "seismic_curation", "extract_raw_data", "is a 2-D line"),
        ("curation", "--segy", "none", "seismic_curation", "extract_raw_data", "does not exist"),
        ("preparation", "--curated", "text", "seismic_create_data", "select_slices", "is not an HDF5 file"),
        ("learning", "--data", "none", "seismic_train", "training", "run the previous script first"),
    ],
)
def test_bad_input_is_one_line_a_failing_exit_and_a_step_captured_as_errored(
    tmp_path: Path, script: str, option: str, made: str, workflow: str, step: str, sentence: str
) -> None:
    place, path = Place(tmp_path), tmp_path / f"{made}.sgy"
    if made == "text":
        path.write_text("not seismic")
    elif made == "line":
        line(path)
    done = place.run(script, "--quiet", option, str(path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and sentence in done.stderr
    events = place.events(workflow)
    (failed,) = [event for event in events if isinstance(event, StepEnded)]
    assert (failed.step.transformation, failed.outcome) == (step, "ERRORED")
    assert failed.error is not None and sentence in failed.error
    (ended,) = [event for event in events if isinstance(event, RunEnded)]
    assert ended.outcome == "ERRORED"
