"""Processes that join a run, runs inside runs, and what ranks of one launch tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings, parents, ranks
from headstream.capture.reading import read, spools
from headstream.schemas.definition import Definition, parse_definition
from headstream.schemas.documents import DEFINITION, Document, content
from headstream.schemas.events import (
    Bag,
    Enclosing,
    Event,
    Holding,
    ParentRun,
    RunEnded,
    RunStarted,
    StepEnded,
    StepRef,
    StepStarted,
)
from headstream.schemas.facts import Fact, Origin
from headstream.schemas.values import Reference
from headstream.stream_processors.tracker import track

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]
Contents = Callable[[], list[Document | Bag]]
PLAN = {
    "dataflow_name": "w",
    "workflow_type": "Experiment",
    "data_transformations": {
        "training": {
            "input_datasets": [{"attributes": [{"name": "data", "semantics": "FILE_REFERENCE"}]}],
        },
        "export": {
            "output_datasets": [
                {"attributes": [{"name": "model", "semantics": "FILE_REFERENCE", "ml_semantics": "model"}]}
            ],
        },
    },
}
STORES = [{"id": "gpfs", "name": "GPFS", "super_type": "FileSystem", "mounts": ["/data"]}]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests are started by is not their business, and neither is what they leave."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "HEADSTREAM_", "OMPI_", "PMI"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(ranks.MARK, str(os.getpid()))
    monkeypatch.setattr(ranks, "_taken", {})


def python(body: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own; any internal error ends it with status 77."""
    preamble = """
        import os, sys, json, subprocess
        from headstream import capture
        from headstream.capture import errors
        def fail(error):
            import traceback
            traceback.print_exception(error)
            os._exit(77)
        errors.on_internal_error = fail
    """
    text = textwrap.dedent(preamble) + textwrap.dedent(body)
    env = {**os.environ, "HEADSTREAM_GIT": "off", "HEADSTREAM_PACKAGES": "off", **environ}
    env.pop(ranks.MARK)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def graph(contents: Iterable[Document | Bag]) -> set[Fact]:
    """All facts that the pure tracker makes of what was told."""
    told = list(contents)
    known: dict[str, Definition] = {}
    for document in told:
        if isinstance(document, Document) and document.kind == DEFINITION:
            found = content(document)
            assert isinstance(found, Definition)
            known[found.content_hash] = found
    facts: set[Fact] = set()
    for bag in told:
        if isinstance(bag, Bag):
            tracked = track(bag, known.get(bag.definition or ""), Origin(topic="t", partition=0, offset=0))
            assert tracked.rejected == ()
            facts.update(tracked.identified.facts)
    return facts


def test_a_program_that_a_step_starts_joins_the_run_and_tells_its_steps_inside_that_step(
    settings: Settings, told: Told, contents: Contents, facts: Facts
) -> None:
    child = """
    with capture.attach() as run:
        assert (run.workflow, run.execution) == ("w", "e") and run.step.name == "training"
        with run.task("export") as step:
            step.generated(model="/data/model.pt")
        for turn in run.loop("turn", range(3)):
            turn.generated(loss=0.5)
    """
    with (
        capture.workflow("w", execution="e", definition=PLAN, stores=STORES, settings=settings) as run,
        run.task("search", used={"seed": 7}) as search,
        search.task("training", used={"data": "/data/train.h5"}) as training,
    ):
        done = python(child, **training.environ())
        assert (done.returncode, done.stderr) == (0, "")
    around = (
        Enclosing(
            StepRef("training", "0.0"), (Holding("data", Reference(text="/data/train.h5", store="gpfs")),)
        ),
        Enclosing(StepRef("search", "0"), (Holding("seed"),)),
    )
    exported = next(e for e in told() if isinstance(e, StepEnded) and e.step.transformation == "export")
    assert exported.parent == StepRef("training", "0.0") and exported.scope.enclosing == around
    found = facts(told())
    assert all(f["parent"] == around[0].step for s, f in found.items() if s.transformation == "turn")
    assert [e.started is None for e in told() if isinstance(e, RunStarted)] == [False, True]
    assert sum(isinstance(e, RunEnded) for e in told()) == 1
    version = parse_definition(PLAN).content_hash
    assert {c.definition for c in contents() if isinstance(c, Bag)} == {version}
    model, data = "ref/gpfs/data/model.pt", "ref/gpfs/data/train.h5"
    made = graph(contents())
    assert (model, "prov:wasDerivedFrom", "id", data) in made
    assert (model, "rdf:type", "term", "provml:ModelReferenceValue") in made


def test_what_a_joined_process_says_of_the_step_around_it_is_added_and_its_end_is_not(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("w", settings=settings) as run, run.task("outer", used={"a": 1}) as outer:
        with capture.attach(environ=outer.environ(), settings=settings) as joined:
            assert joined.step is not None  # type: ignore[attr-defined]
            joined.step.used(late=2).generated(out=3)  # type: ignore[attr-defined]
            joined.task("inner").begin().end()
            joined.step.end(error="not ours to say")  # type: ignore[attr-defined]
        assert capture.losses() == {}
    found = facts(told())
    outer_facts = found[StepRef("outer", "0")]
    assert (outer_facts["in"], outer_facts["out"]) == ({"a": "1", "late": "2"}, {"out": "3"})
    assert (outer_facts["ends"], outer_facts["outcome"]) == (1, "FINISHED")
    inner = next(f for s, f in found.items() if s.transformation == "inner")
    assert inner["scope"][2] == ((StepRef("outer", "0"), frozenset({Holding("a"), Holding("late")})),)


def test_a_run_can_be_named_by_hand_and_its_definition_by_a_file(
    spool: Path, tmp_path: Path, told: Told, contents: Contents
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    body = 'with capture.attach() as run: run.task("export").begin().generated(model="/m").end()'
    environ = {
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_WORKFLOW": "w",
        "HEADSTREAM_EXECUTION": "job-7",
        "HEADSTREAM_DEFINITION": str(plan),
    }
    for _ in range(3):
        done = python(body, **environ)
        assert (done.returncode, done.stderr) == (0, "")
    steps = [e.step for e in told() if isinstance(e, StepEnded)]
    assert len(set(steps)) == len(steps) == 3
    assert {spooled.name.partition("~job-7~")[0] for spooled in spools(spool)} == {"w"}
    assert {c.definition for c in contents() if isinstance(c, Bag)} == {parse_definition(PLAN).content_hash}
    assert not [e for e in told() if isinstance(e, RunEnded)]


def test_without_a_run_to_join_a_name_begins_one_and_no_name_captures_nothing(
    settings: Settings, told: Told, spool: Path
) -> None:
    with capture.attach(settings=settings) as run, run.task("t", used={"a": 1}) as step:
        assert [turn.item for turn in step.loop("l", "ab")] == ["a", "b"]
    assert not spool.exists()
    assert (capture.warnings(), capture.losses()) == ({"nothing-to-join": 1}, {})
    with capture.attach("alone", settings=settings) as run, run.task("t"):
        pass
    assert run.workflow == "alone" and [type(e) for e in told()] == [
        RunStarted,
        StepStarted,
        StepEnded,
        RunEnded,
    ]


@pytest.mark.parametrize(
    "given", ["{", "@/nowhere/x.json", "w", "w//t/0", '{"workflow": 1}', '{"enclosing": 3}']
)
def test_a_parent_that_cannot_be_read_costs_a_warning_and_not_the_run(
    given: str, settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTREAM_PARENT", given)
    with capture.workflow("w", settings=settings):
        pass
    assert capture.warnings() == {"parent-unusable": 1}
    started = told()[0]
    assert isinstance(started, RunStarted) and started.parent is None and started.started is not None


def test_a_parent_too_long_for_a_variable_lies_in_a_file_until_nobody_needs_it(
    settings: Settings, spool: Path, told: Told
) -> None:
    tiles = [f"/tiles/{number:06d}.h5" for number in range(3000)]
    used = {"tiles": capture.as_list([capture.file(tile) for tile in tiles])}
    with capture.workflow("w", settings=settings) as run, run.task("outer", used=used) as outer:
        first, again = outer.environ(), outer.environ()
        assert first == again and all(len(value) < 40_000 for value in first.values())
        (file,) = (spool / ".parents").iterdir()
        assert file.stat().st_mode & 0o077 == 0
        done = python("with capture.attach() as run, run.task('inner'): pass", **first)
        assert (done.returncode, done.stderr) == (0, "")
        old = file.stat().st_mtime - 31 * 86_400
        os.utime(file, (old, old))
        last = outer.used(more=1).environ()
        assert not file.exists() and len(list((spool / ".parents").iterdir())) == 1
    inner = next(e for e in told() if isinstance(e, StepEnded) and e.step.transformation == "inner")
    assert len(inner.scope.enclosing[0].used) == 3001
    parent = parents.of(last)
    assert parent is not None and len(parent.enclosing[0][1]) == 3002
    cut = parents.parse(parents.variables(parent, Settings(spool=None))[parents.VARIABLE])
    assert cut == parents.Parent(workflow="w", execution=run.execution, enclosing=([["outer", "0"], []],))
    assert capture.warnings().pop("parent-cut") == 1


def test_a_workflow_inside_a_step_is_a_run_that_names_it(
    settings: Settings, told: Told, contents: Contents, spool: Path
) -> None:
    with capture.workflow("outer", execution="e", stores=STORES, settings=settings) as run:
        with run.task("search", used={"seed": 1}) as search:
            with capture.workflow("inner", parent=search) as inner, inner.task("train") as step:
                step.generated(model=capture.file("/data/m.pt"))
            assert inner.execution != "e" and inner.recorder.settings is run.recorder.settings
        for turn in run.loop("try", range(2)):
            with capture.workflow("inner", execution=f"e-{turn.index}", parent=turn):
                pass
        with capture.workflow("last", parent=run):
            pass
    assert capture.losses() == {} and capture.warnings() == {}
    made = graph(contents())
    nested = {(s, o) for s, p, _, o in made if p == "provml:wasNestedIn"}
    last = next(s for s, p, _, o in made if p == "provml:wasNestedIn" and s.startswith("wfe/last/"))
    assert nested == {
        (f"wfe/inner/{inner.execution}", "dte/outer/e/search/0"),
        ("wfe/inner/e-0", "dte/outer/e/try/0"),
        ("wfe/inner/e-1", "dte/outer/e/try/1"),
        (last, "wfe/outer/e"),
    }
    assert ("ref/gpfs/data/m.pt", "provml:wasInStore", "id", "store/gpfs") in made
    # Every run is a run of its own: with an end, and with steps that are no one else's.
    assert sum(isinstance(e, RunEnded) for e in told()) == 5
    assert not [o for s, p, _, o in made if p == "provml:wasPartOf" and s.startswith("dte/inner")]


def test_a_workflow_that_a_step_starts_as_a_program_is_a_run_inside_it(
    settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture.workflow("outer", execution="e", settings=settings) as run, run.task("search") as search:
        environ = {**search.environ(), "HEADSTREAM_GIT": "off", "HEADSTREAM_PACKAGES": "off"}
        for _ in range(2):
            done = python("with capture.workflow('inner'): pass", **{"HEADSTREAM_EXECUTION": "e"} | environ)
            assert (done.returncode, done.stderr) == (0, "")
    monkeypatch.setenv("HEADSTREAM_PARENT", "a%2Fb/2026/a%20step/0.1")
    with capture.workflow("by hand", settings=settings):
        pass
    with capture.workflow("by argument", parent="c/1", settings=settings):
        pass
    said = [e.parent for e in told() if isinstance(e, RunStarted)]
    assert Counter(said) == {
        None: 1,
        ParentRun("outer", "e", StepRef("search", "0")): 2,
        ParentRun("a/b", "2026", StepRef("a step", "0.1")): 1,
        ParentRun("c", "1"): 1,
    }


def test_with_the_policy_zero_other_ranks_leave_no_trace_and_behave_alike(
    spool: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    settings = Settings(spool=spool, git=False, packages=False, ranks="zero")

    @capture.task
    def evaluate(n: int) -> int:
        return n + 1

    def script() -> tuple[list[Any], dict[str, str]]:
        seen: list[Any] = []
        with capture.workflow("w", execution="e", settings=settings) as run, capture.current(run):
            with run.task("outer", used={"a": 1}) as outer, outer.task("inner", person="ana") as inner:
                inner.used(b=1).generated(c=capture.file("/x"))
                seen += [inner.name, inner.parent is outer, evaluate(1)]
                for turn in outer.loop("turn", ["x", "y"], index_as="i", start=5):
                    turn.used(a=1).generated(loss=0.5)
                    with turn.task("deep") as deep:
                        seen += [turn.item, turn.index, deep.parent is turn]
                    turn.end()
                with capture.workflow("nested", parent=outer) as nested, nested.task("t"):
                    pass
                environ = outer.environ()
            run.generated(x=1)
        return seen, environ

    monkeypatch.setenv("RANK", "3")
    silent, environ = script()
    assert not spool.exists() and (capture.losses(), capture.warnings()) == ({}, {})
    done = python(
        "with capture.attach() as run, run.task('t'): pass\nwith capture.workflow('x'): pass",
        HEADSTREAM_SPOOL=str(spool),
        **environ,
    )
    assert (done.returncode, done.stderr) == (0, "") and not spool.exists()
    monkeypatch.setenv("RANK", "0")
    assert script()[0] == silent
    assert len(spools(spool)) == 2 and sum(isinstance(e, RunEnded) for e in told()) == 2


def test_a_silent_turn_costs_less_than_a_told_one(settings: Settings) -> None:
    def spent(run: capture.Run) -> float:
        began = time.thread_time()
        for _ in range(3000):
            with run.task("t", used={"a": 1}) as step:
                step.generated(b=2)
        return time.thread_time() - began

    with capture.workflow("w", settings=settings) as told, capture.attach(settings=settings) as silent:
        ratio = min(spent(silent) / spent(told) for _ in range(5))
    assert ratio < 0.5


def test_with_the_policy_per_rank_each_rank_is_a_run_inside_the_one_that_rank_zero_tells(
    spool: Path, told: Told, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    settings = Settings(spool=spool, git=False, packages=False, ranks="per-rank")
    for rank in "012":
        monkeypatch.setenv("RANK", rank)
        with (
            pytest.raises(ValueError),
            capture.workflow("w", execution="e", definition=PLAN, settings=settings) as run,
            run.task("t"),
        ):
            raise ValueError(rank)
        assert run.execution == f"e-r{rank}"
    made = graph(contents())
    nested = {(s, o) for s, p, _, o in made if p == "provml:wasNestedIn"}
    assert nested == {(f"wfe/w/e-r{rank}", "wfe/w/e") for rank in range(3)}
    runs = {"wfe/w/e", *(s for s, _ in nested)}
    for fact in ("prov:startedAtTime", "prov:endedAtTime"):
        assert Counter(s for s, p, _, _ in made if p == fact and s in runs) == dict.fromkeys(runs, 1)
    assert {s for s, p, _, _ in made if p == "provml:wasMemberOfWorkflowExecution"} == {
        f"dte/w/e-r{rank}/t/0" for rank in range(3)
    }
    assert [e.outcome for e in told() if isinstance(e, RunEnded)] == ["ERRORED"] * 4


SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "88", "SLURM_STEP_ID": "0"}
TORCH = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none"}
WIDE = {**TORCH, "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("variable", "environ", "agreed"),
    [
        ("SLURM_PROCID", SLURM, True),
        ("SLURM_PROCID", {**SLURM, "SLURM_STEP_ID": ""}, False),
        ("RANK", TORCH, True),
        ("RANK", {**WIDE, "TORCHELASTIC_RUN_ID": "b41c"}, True),
        ("RANK", WIDE, False),  # The port of every launch that says nothing else.
        ("RANK", {**WIDE, **SLURM}, True),
        ("OMPI_COMM_WORLD_RANK", {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, True),
        ("OMPI_COMM_WORLD_RANK", {"OMPI_COMM_WORLD_SIZE": "4", "PMIX_NAMESPACE": "n1-77@1"}, True),
        ("PMI_RANK", {"PMI_SIZE": "4", "MPI_LOCALNRANKS": "2", "PBS_JOBID": "5"}, False),
    ],
)
def test_ranks_agree_by_what_their_launcher_says_or_not_at_all(
    variable: str, environ: dict[str, str], agreed: bool
) -> None:
    one = ranks.launch(environ, variable, lambda: "n1 1 4711 99")
    assert (one is not None) is agreed
    if agreed:
        for name in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "SLURM_LOCALID", "LOCAL_RANK"):
            assert ranks.launch({**environ, name: "1"}, variable, lambda: "n1 1 4711 99") == one
        again = {**environ, "SLURM_RESTART_COUNT": "1"}
        assert ranks.launch(again, variable, lambda: "n1 1 4711 99") != one


def test_launches_of_one_machine_are_told_apart_by_their_launcher() -> None:
    one, other = (ranks.launch(TORCH, "RANK", lambda who=who: f"n1 1 {who} 99") for who in "12")
    assert one is not None and other is not None and one != other
    assert ranks.launch(TORCH, "RANK", lambda: None) is None


def test_ranks_of_a_slurm_step_share_an_execution_for_each_run_they_begin(
    settings: Settings, told: Told, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    executions = []
    for rank in "01":
        monkeypatch.setenv("SLURM_PROCID", rank)
        monkeypatch.setattr(ranks, "_taken", {})  # As in a process of its own.
        for _ in range(2):
            with capture.workflow("w", settings=settings) as run, run.task("t"):
                executions.append(run.execution)
    assert executions == ["slurm-88.0", "slurm-88.0-2"] * 2
    assert Counter(s.task for s in facts(told())) == {"0-r0": 1, "0-r1": 1}
    assert sum(isinstance(e, RunEnded) for e in told()) == 2


def test_ranks_that_cannot_agree_are_runs_of_their_own_and_say_so(
    settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "4")
    with capture.workflow("w", settings=settings) as run, run.task("t") as step:
        assert step.task_id == "0"
    assert capture.warnings() == {"execution-not-shared": 1}
    assert [type(e) for e in (told()[0], told()[-1])] == [RunStarted, RunEnded]
    started = told()[0]
    assert isinstance(started, RunStarted) and started.started is not None


def test_processes_of_torchrun_tell_one_run_and_what_they_start_is_no_rank(
    spool: Path, tmp_path: Path, told: Told, facts: Facts
) -> None:
    inner = "from headstream import capture\nwith capture.workflow('inner') as run, run.task('u'): pass"
    body = f"""
    with capture.workflow("w") as run, run.task("t") as step:
        step.generated(rank=int(os.environ["RANK"]))
        subprocess.run([sys.executable, "-c", {inner!r}], check=True)
    """
    path = tmp_path / "train.py"
    path.write_text("import os, sys, subprocess\nfrom headstream import capture\n" + textwrap.dedent(body))
    env = {
        **os.environ,
        "HEADSTREAM_SPOOL": str(spool),
        "HEADSTREAM_GIT": "off",
        "HEADSTREAM_PACKAGES": "off",
        "OMP_NUM_THREADS": "1",
    }
    env.pop(ranks.MARK)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "3",
            "--master-port",
            "0",
            str(path),
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs: dict[str, set[str]] = {}
    for directory in spools(spool):
        for bag in read(directory):
            if isinstance(bag, Bag):
                runs.setdefault(bag.workflow, set()).add(bag.execution)
    assert len(runs["w"]) == 1 and len(runs["inner"]) == 3
    found = facts(told())
    ranked = {s.task: f["out"]["rank"] for s, f in found.items() if s.transformation == "t"}
    assert ranked == {f"0-r{rank}": str(rank) for rank in range(3)}
    assert sum(isinstance(e, RunEnded) for e in told()) == 4
    assert sum(isinstance(e, RunStarted) and e.started is not None for e in told()) == 4


def test_what_is_kept_for_a_child_comes_back_as_it_was() -> None:
    parent = parents.Parent(
        workflow="é/w",
        execution="e",
        enclosing=([["t", "0.1"], [["a", None], [None, ["/x", "s", "data", None, None]]]],),
        definition=PLAN,
        stores=tuple(STORES),
    )
    value = parents.variables(parent, Settings())[parents.VARIABLE]
    assert parents.parse(value) == parent
