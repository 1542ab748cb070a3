"""The command as users run it: a process of its own for each, on a data directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from headstream.services.ports import free_ports

from ..awaiting import until
from ..environment import without_settings

DEFINITION = """\
dataflow_name: tiny
workflow_type: Experiment
data_transformations:
  training:
    type: LearningStage
    stage_type: Training
    input_datasets:
      - attributes:
          - {name: data, semantics: FILE_REFERENCE, ml_semantics: dataset}
    output_datasets:
      - attributes:
          - {name: loss, ml_semantics: evaluation_measure}
          - {name: model, semantics: FILE_REFERENCE, ml_semantics: model}
"""
# What a scientist writes: not one setting, beside the HEADSTREAM_DATA of this test.
SCRIPT = """\
import sys
from headstream import capture

with capture.workflow("tiny", execution=sys.argv[1], definition="tiny.yaml") as run:
    data = capture.file("/data/x.h5", store="gpfs1")
    with run.task("training", used={"rate": 0.5, "data": data}) as training:
        training.generated(loss=0.25, model=capture.file(f"/models/{sys.argv[1]}.pt", store="gpfs1"))
"""
COUNT_RUNS = """\
PREFIX prov: <http://www.w3.org/ns/prov#>
PREFIX provml: <https://w3id.org/provml/ns#>
SELECT (COUNT(DISTINCT ?run) AS ?runs) WHERE { ?run a provml:WorkflowExecution ; prov:endedAtTime ?end }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has come to its end; `said` is everything it said, on one line for comparing."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join((self.out + self.err).split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs `headstream` commands on one data directory."""

    home: Path
    port: int

    @property
    def data(self) -> Path:
        return self.home / "data"

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = without_settings()
        cache = os.environ.get("HEADSTREAM_CACHE")
        return {
            **kept,
            **({"HEADSTREAM_CACHE": cache} if cache else {}),
            "HEADSTREAM_DATA": str(self.data),
            "HEADSTREAM_API_PORT": str(self.port),
            **(more or {}),
        }

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", seconds: float = 60.0
    ) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "headstream", *arguments],
            cwd=self.home,
            env=self.env(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return Ended(status=done.returncode, out=done.stdout, err=done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "headstream", *arguments],
            cwd=self.home,
            env=self.env(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def capture(self, execution: str) -> None:
        """Run the tiny script to its end."""
        (self.home / "tiny.yaml").write_text(DEFINITION)
        (self.home / "script.py").write_text(SCRIPT)
        command = [sys.executable, "script.py", execution]
        subprocess.run(command, cwd=self.home, env=self.env(), check=True, timeout=60)

    def runs(self) -> int:
        """How many runs have ended in the graph."""
        answer = self("sparql", "-", "--format", "json", stdin=COUNT_RUNS)
        assert answer.status == 0, answer.err
        return int(json.loads(answer.out)["results"]["bindings"][0]["runs"]["value"])

    def services(self) -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in self("status", "--json").json["services"]}

    @staticmethod
    def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Await a condition; fail with what was awaited when its time is over."""
        until(condition, what, seconds)

    def processes(self) -> list[psutil.Process]:
        """Processes of this data directory that are not this test's own children."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("HEADSTREAM_DATA") == str(self.data)
                    and process.status() != "zombie"
                ):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@contextmanager
def stopped_after(home: Path) -> Iterator[Cli]:
    made = Cli(home, *free_ports(1))
    yield made
    if (made.data / "services.json").exists():
        made("down")


def filled_with_one_run(cli: Cli) -> None:
    started = cli("up", "--detach")
    assert started.status == 0, started.err
    cli.capture("r1")
    cli.until(lambda: cli.runs() == 1, "the run in the graph")


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """A data directory with nothing in it; whatever a test leaves up is stopped."""
    with stopped_after(tmp_path) as made:
        yield made


@pytest.fixture
def up(cli: Cli) -> Cli:
    """Embedded services that are up, detached."""
    started = cli("up", "--detach")
    assert started.status == 0, started.err
    return cli


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Embedded services with the tiny run in the graph."""
    filled_with_one_run(cli)
    return cli


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """As `filled`, for tests that only ask: what they find stays up for the next."""
    with stopped_after(tmp_path_factory.mktemp("shared")) as made:
        filled_with_one_run(made)
        yield made
