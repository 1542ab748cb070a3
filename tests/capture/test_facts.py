"""Facts about a run: all of them are told, none of them is a secret, and none holds up the script."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings, errors, packages, threads
from headstream.capture.gathering import Gathering
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, Context, Event, RunStarted

from ..environment import without_settings

Told = Callable[[], list[Event]]


def script(spool: Path, body: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own, without variables of ours from around the test."""
    clean = without_settings()
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body), *arguments],
        env={**clean, "HEADSTREAM_SPOOL": str(spool), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def contexts(spool: Path) -> list[Context]:
    events = [e for d in spools(spool) for bag in read(d) if isinstance(bag, Bag) for e in bag.events]
    return [e.context for e in events if isinstance(e, RunStarted) and e.context is not None]


def facts(spool: Path) -> dict[str, Any]:
    """All metadata of the run, whichever event said it."""
    return {name: value for c in contexts(spool) for name, value in json.loads(c.metadata or "{}").items()}


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


SHORT = "from headstream import capture\nwith capture.workflow('w'): pass"


def test_host_user_command_and_interpreter_are_told(spool: Path) -> None:
    assert script(spool, SHORT, "--epochs", "3", USER="ana", LOGNAME="ana").returncode == 0
    told = facts(spool)
    assert told["command"] == ["-c", "--epochs", "3"] and told["user"] == "ana"
    assert told["host"]["name"] == os.uname().nodename and told["host"]["cpus"] == os.cpu_count()
    assert told["host"]["memory_bytes"] > 1 << 28
    assert told["folder"] == os.getcwd() and told["interpreter"] == sys.executable
    assert contexts(spool)[0].hosts == (os.uname().nodename,)


def test_job_array_step_and_nodes_of_the_scheduler_are_told(spool: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2", "SLURM_STEP_ID": "0"}
    script(spool, SHORT, SLURM_CLUSTER_NAME="big", SLURM_JOB_NODELIST="n[1-2]", **job)
    first = contexts(spool)[0]
    assert (first.cluster, first.job, first.hosts) == ("big", "7", ("n1", "n2"))
    assert facts(spool)["job"] == {
        "scheduler": "slurm", "id": "7", "array_job": "5", "array_index": "2", "step": "0"
    }  # fmt: skip
    assert facts(spool)["environment"]["SLURM_ARRAY_TASK_ID"] == "2"


@pytest.mark.parametrize("changed", [False, True])
def test_commit_branch_and_changes_are_told_of_the_shortest_run(
    spool: Path, tmp_path: Path, changed: bool
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    git(code, "init", "-b", "main")
    (code / "train.py").write_text(SHORT)
    git(code, "add", ".")
    git(code, "commit", "-m", "one")
    if changed:
        (code / "train.py").write_text(SHORT + "\n")
    clean = without_settings()
    command = [sys.executable, str(code / "train.py")]
    subprocess.run(command, env={**clean, "HEADSTREAM_SPOOL": str(spool)}, check=True, timeout=60)
    told = facts(spool)
    assert told["git"] == {"commit": git(code, "rev-parse", "HEAD"), "branch": "main"}
    assert told["git_dirty"] is changed


def test_the_installed_packages_are_those_that_importlib_finds() -> None:
    found = packages.installed(sys.path)
    expected: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        expected.setdefault(re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(), each.version)
    assert found == dict(sorted(expected.items())) and "pytest" in found


def test_packages_are_told_unless_they_are_not_wanted(spool: Path, tmp_path: Path) -> None:
    script(spool, SHORT)
    assert facts(spool)["packages"] == packages.installed(sys.path[1:])
    script(tmp_path / "other", SHORT, HEADSTREAM_PACKAGES="off")
    assert "packages" not in facts(tmp_path / "other")


def test_an_odd_path_hides_no_package(tmp_path: Path) -> None:
    for name in (
        "One_Two-1.0.dist-info",
        "old-2.0-py3.11.egg-info",
        "three.four-3.0+local.dist-info",
        "noise-info",
    ):
        (tmp_path / "site" / name).mkdir(parents=True)
    (tmp_path / "later" / "one_two-9.dist-info").mkdir(parents=True)
    (tmp_path / "a.zip").write_text("")
    path = [str(tmp_path / name) for name in ("gone", "a.zip", "site", "later")]
    assert packages.installed(path) == {"old": "2.0", "one-two": "1.0", "three-four": "3.0+local"}


def test_variables_are_told_as_they_are_chosen(spool: Path, tmp_path: Path) -> None:
    script(spool, SHORT, OMP_NUM_THREADS="4", MINE="x")
    assert facts(spool)["environment"]["OMP_NUM_THREADS"] == "4" and "MINE" not in facts(spool)["environment"]
    script(tmp_path / "b", SHORT, HEADSTREAM_ENV="default, MI*", OMP_NUM_THREADS="4", MINE="x")
    told = facts(tmp_path / "b")["environment"]
    assert (told["OMP_NUM_THREADS"], told["MINE"]) == ("4", "x")
    script(tmp_path / "c", SHORT, HEADSTREAM_ENV="off", OMP_NUM_THREADS="4")
    assert "environment" not in facts(tmp_path / "c")


def test_no_planted_secret_is_anywhere_in_the_spool(spool: Path) -> None:
    canary = "cAnArY7"
    random_key = "9f8A" + "x7Qe2" * 8 + canary
    planted = {
        "MY_PASSWORD": canary,
        "SLURM_JWT": canary,
        "PBS_O_API_KEY": canary,
        "HF_TOKEN": canary,
        "SLURM_SUBMIT_URL": f"https://ana:{canary}@host/x",
        "SLURM_COMMENT": f"curl -H 'Authorization: Bearer {canary}{canary}'",
        "OMP_DSN": f"Server=h;Pwd={canary};x=1",
        "NCCL_THING": random_key,
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": f"token={canary}",
        "HEADSTREAM_KAFKA_SASL_PASSWORD": canary,
        "HEADSTREAM_ENV": "*",
        "HEADSTREAM_TELEMETRY_SECONDS": "1",
    }
    arguments = [
        "--password",
        canary,
        f"--api-key={canary}",
        f"postgres://a:{canary}@h/db",
        f"s3?sig={canary}",
    ]
    done = script(spool, SHORT, *arguments, **planted)
    assert (done.returncode, done.stderr) == (0, "")
    files = [path for path in spool.rglob("*") if path.is_file()]
    assert files and facts(spool)["environment"]["SLURM_JOB_ID"] == "1"
    for path in files:
        assert canary.encode() not in path.read_bytes(), path.name


def test_bytes_that_are_no_text_hide_no_fact(spool: Path) -> None:
    body = f"import os\nos.environb[b'OMP_X'] = bytes([255])\n{SHORT}"
    assert script(spool, body).returncode == 0
    assert facts(spool)["environment"]["OMP_X"] == "\ufffd"


def test_a_script_that_is_killed_has_told_its_packages_by_then(spool: Path) -> None:
    body = """
    import os, signal, threading
    from headstream import capture
    run = capture.workflow("w").begin()
    for thread in threading.enumerate():
        if thread.name == "headstream-facts":
            thread.join()
    os.kill(os.getpid(), signal.SIGKILL)
    """
    assert script(spool, body).returncode == -signal.SIGKILL
    assert "pytest" in facts(spool)["packages"]


def test_a_script_that_never_ends_its_run_waits_for_the_answers_at_exit(spool: Path) -> None:
    done = script(spool, "from headstream import capture\nrun = capture.workflow('w').begin()")
    assert (done.returncode, done.stderr) == (0, "") and "pytest" in facts(spool)["packages"]


def test_an_answer_that_comes_too_late_is_a_warning_and_not_told() -> None:
    told: list[Any] = []
    asked, let_go = threading.Event(), threading.Event()

    def slow() -> dict[str, Any]:
        asked.set()
        let_go.wait(30)
        return {"late": True}

    gathering = Gathering([lambda: {"early": True}, slow], told.append, patience=0.01)
    assert asked.wait(30)
    gathering.leave()
    let_go.set()
    gathering._thread.join(30)
    assert told == [{"early": True}]
    assert errors.WARNINGS.counts() == {"facts-too-late": 1}
    assert gathering not in threads._LIVE


def test_an_answer_that_finds_no_room_to_be_told_holds_up_no_end() -> None:
    telling, room = threading.Event(), threading.Event()

    def full(answer: Any) -> None:
        telling.set()
        room.wait(30)

    gathering = Gathering([lambda: {"a": 1}], full, patience=0.05)
    assert telling.wait(30)
    begun = time.monotonic()
    gathering.leave()
    assert time.monotonic() - begun < 5
    assert errors.WARNINGS.counts() == {"facts-too-late": 1}
    room.set()
    gathering._thread.join(30)


def test_a_question_that_fails_does_not_silence_the_next(internal_errors: list[BaseException]) -> None:
    told: list[Any] = []

    def broken() -> dict[str, Any]:
        raise RuntimeError("no")

    Gathering([broken, lambda: {"next": 1}], told.append, patience=30).leave()
    assert told == [{"next": 1}] and errors.LOSSES.counts() == {"internal-facts": 1}
    internal_errors.clear()


def test_a_run_that_ended_holds_no_thread(settings: Settings) -> None:
    with capture.workflow("w", settings=Settings(spool=settings.spool)):
        pass
    assert not [t for t in threading.enumerate() if t.name == "headstream-facts"] and not threads._LIVE
