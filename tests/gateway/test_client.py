"""IBM's own client, unchanged, and its recorded messages, through a gateway that is killed in the middle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyoxigraph as ox
import pytest

from ..environment import without_settings

HERE = Path(__file__).parent / "data"
RECORDED = HERE / "recorded.log"
# What no two runs have in common: clocks, and what our own library finds out about where it runs.
OF_THE_RUN = re.compile(
    r"(#startedAtTime|#endedAtTime|#registeredAt|#durationSeconds|#cpuSeconds|#peakMemoryBytes|#hostName"
    r"|#customMetadata)>"
)
# Our library numbers turns by the path of counters, the client by what it is told.
OUR_TURN = re.compile(r"/epoch/0\.(\d+)")


def shown(graph: set[ox.Quad]) -> set[str]:
    lines = {OUR_TURN.sub(r"/epoch/\1", str(quad)) for quad in graph}
    return {line for line in lines if not OF_THE_RUN.search(line)}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, graph_of) -> set[str]:
    """The graph of the same workflow, captured with our own library."""
    folder = tmp_path_factory.mktemp("ours")
    kept = without_settings()
    env = {**kept, "HEADSTREAM_CONFIG": "off", "HEADSTREAM_DATA": str(folder), "HEADSTREAM_FILE_FACTS": "off"}
    subprocess.run([sys.executable, str(HERE / "our_workflow.py")], env=env, check=True, timeout=120)
    return shown(graph_of(folder / "spool", folder))


def test_the_comparison_is_about_something(ours) -> None:
    assert len(ours) > 150
    assert any("wasDerivedFrom> <https://provml.example.org/id/ref/gpfs1/input/train.h5>" in o for o in ours)
    assert any("#hasEvaluation>" in line for line in ours)
    assert any("#hasLearningHyperParameterSetting>" in line for line in ours)


class Client:
    """The client's script under way."""

    def __init__(self, source: Path, url: str, logs: Path, bag_size: int, pause: str = "none") -> None:
        self.logs = logs
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "client_workflow.py"), url, str(logs), str(bag_size), pause],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until_paused(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "paused\n", self.process.communicate()

    def to_its_end(self) -> str:
        _, said = self.process.communicate("go on\n", timeout=120)
        assert self.process.returncode == 0, said
        return said


def test_the_client_tells_the_graph_of_our_own_library_though_the_gateway_is_killed_in_the_middle(
    client_source, gateway, ours, graph_of, tmp_path
) -> None:
    gateway.env["HEADSTREAM_GATEWAY_TOKEN"] = "secret"
    gateway.start()
    client = Client(client_source, f"{gateway.url}/api/", tmp_path / "logs", 1, pause="1.1")
    client.until_paused()
    gateway.kill()
    gateway.start()
    said = client.to_its_end()
    assert "Error" not in said and "[Prov]" not in said, said
    gateway.stop()
    assert shown(graph_of(gateway.data / "spool", tmp_path)) == ours


def test_the_client_creates_and_reads_data_stores(client_source, gateway) -> None:
    gateway.start()
    done = subprocess.run(
        [sys.executable, str(HERE / "client_stores.py"), gateway.url],
        env={**os.environ, "PYTHONPATH": str(client_source)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["made"]["data_store_hkg_id"].endswith("/store/gpfs%201")
    assert {each["id"]: each["super_type"] for each in found["all"]} == {
        "gpfs 1": "FileSystem",
        "s3": "ObjectStore",
    }
    assert found["one"] == found["made"]


def test_what_the_client_said_while_nobody_listened_is_in_its_log_and_comes_by_ingest(
    client_source, gateway, ours, graph_of, tmp_path
) -> None:
    gateway.start()
    client = Client(client_source, gateway.url, tmp_path / "logs", 3, pause="0.1")
    client.until_paused()
    gateway.kill()
    client.to_its_end()
    lacking = shown(graph_of(gateway.data / "spool", tmp_path / "before"))
    assert lacking < ours
    gateway.ingest(tmp_path / "logs")
    whole = graph_of(gateway.data / "spool", tmp_path / "after")
    assert shown(whole) == ours
    gateway.ingest(tmp_path / "logs")
    assert graph_of(gateway.data / "spool", tmp_path / "again") == whole


def test_recorded_messages_of_the_client_tell_the_same_though_the_gateway_is_killed_in_the_middle(
    gateway, ours, graph_of, tmp_path
) -> None:
    said = [m for line in RECORDED.read_text("utf-8").splitlines() for m in json.loads(line)]
    bags = [said[n : n + 5] for n in range(0, len(said), 5)]
    gateway.start()
    sent = gateway.ask("POST", "/prospective-provenance", (HERE / "learning.json").read_bytes())
    assert sent.status == 201
    for number, bag in enumerate(bags):
        if number == len(bags) // 2:
            gateway.kill()
            gateway.start()
        assert gateway.post(bag) == []
    gateway.stop()
    assert shown(graph_of(gateway.data / "spool", tmp_path)) == ours


def test_a_gateway_that_forgot_the_open_steps_would_lack_edges(gateway, ours, graph_of, tmp_path) -> None:
    """Holds the comparison itself: without the notes on disk the same messages give less."""
    said = [m for line in RECORDED.read_text("utf-8").splitlines() for m in json.loads(line)]
    gateway.start()
    gateway.ask("POST", "/prospective-provenance", (HERE / "learning.json").read_bytes())
    gateway.post(said[: len(said) // 2])
    gateway.kill()
    for notes in (gateway.data / "gateway" / "runs").iterdir():
        notes.unlink()
    gateway.start()
    gateway.post(said[len(said) // 2 :])
    gateway.stop()
    found = shown(graph_of(gateway.data / "spool", tmp_path))
    assert found < ours
    assert any("#wasPartOf>" in line or "#wasDerivedFrom>" in line for line in ours - found)
