"""What a script says arrives as exactly these events."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings
from headstream.schemas.definition import Store
from headstream.schemas.documents import Document
from headstream.schemas.events import (
    Enclosing,
    Event,
    Holding,
    IterationBlock,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.values import AttributeValue, Reference

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]
Contents = Callable[[], list[Any]]
GPFS = Store(id="gpfs1", name="GPFS", type="FileSystem", mounts=("/data",))
SCRATCH = Store(id="scratch", name="Scratch", type="FileSystem", mounts=("/data/scratch", "/datasets"))
PLAN = {
    "dataflow_name": "wf",
    "data_transformations": {
        "clean": {
            "input_datasets": [{"attributes": [{"name": "src", "semantics": "FILE_REFERENCE"}]}],
            "output_datasets": [
                {
                    "attributes": [
                        {"name": "iri", "semantics": "KG_REFERENCE", "data_store_id": "agraph"},
                        {"name": "out", "semantics": "FILE_REFERENCE", "data_store_id": "gpfs9"},
                    ]
                }
            ],
        }
    },
}


def test_a_task_tells_its_start_what_it_generated_at_once_and_its_end(settings: Settings, told: Told) -> None:
    with (
        capture.workflow("wf", settings=settings, stores=[GPFS]) as run,
        run.task("train", used={"lr": 0.1, "data": capture.file("/data/x.h5")}, person="ana") as task,
    ):
        task.generated(loss=0.5)
        before_the_end = told()
    step, data = StepRef("train", "0"), Reference(text="/data/x.h5", store="gpfs1")
    started, ended = next(e for e in told() if isinstance(e, StepStarted)), told()[-2]
    assert isinstance(ended, StepEnded)
    used = (Holding("lr"), Holding("data", data))
    assert started == StepStarted(
        step=step,
        started=started.started,
        person="ana",
        values=(AttributeValue("lr", 0.1), AttributeValue("data", data)),
    )
    added = before_the_end[-1]
    assert isinstance(added, ValuesAdded)
    assert added == ValuesAdded(
        step=step, direction="out", values=(AttributeValue("loss", 0.5),), at=added.at, scope=Scope(used=used)
    )
    assert ended == StepEnded(
        step=step,
        started=started.started,
        ended=ended.ended,
        person="ana",
        outcome="FINISHED",
        scope=Scope(used=used, generated=(Holding("loss"),)),
        context=ended.context,
    )
    assert ended.context is not None and ended.context.cpu_seconds is not None
    assert ended.context.peak_memory_bytes is not None and ended.context.peak_memory_bytes > 1_000_000


def test_a_run_tells_its_start_its_end_and_its_outputs(settings: Settings, told: Told) -> None:
    with capture.workflow("wf", execution="e1", person="ana", settings=settings) as run:
        run.generated(best=3)
        # What is said is kept at once, not when the run ends: the script may not live that long.
        assert [type(event) for event in told()] == [RunStarted, ValuesAdded]
        run.generated(worst=4)
    started, first, second, ended = told()
    assert isinstance(started, RunStarted) and isinstance(ended, RunEnded)
    assert started.person == "ana" and started.context is not None and started.context.hosts
    assert isinstance(first, ValuesAdded) and isinstance(second, ValuesAdded)
    assert (first.step, first.values, first.scope) == (None, (AttributeValue("best", 3),), Scope())
    assert second.scope == Scope(generated=(Holding("best"),))
    assert ended == RunEnded(started=started.started, ended=ended.ended, outcome="FINISHED")


@pytest.mark.parametrize(("code", "outcome"), [(0, "FINISHED"), (None, "FINISHED"), (3, "ERRORED")])
def test_a_script_that_leaves_with_success_has_not_failed(
    settings: Settings, told: Told, code: int | None, outcome: str
) -> None:
    with (
        pytest.raises(SystemExit),
        capture.workflow("wf", settings=settings) as run,
        run.task("training"),
    ):
        sys.exit(code)
    ends = [event.outcome for event in told() if isinstance(event, StepEnded | RunEnded)]
    assert ends == [outcome, outcome]


def test_steps_name_all_that_enclose_them_and_what_those_had_used(settings: Settings, told: Told) -> None:
    with (
        capture.workflow("wf", settings=settings) as run,
        run.task("training", used={"lr": 0.1}) as training,
    ):
        for epoch in training.loop("epoch", [10, 20], index_as="epoch"):
            with epoch.task("validate"):
                pass
            training.used(late=epoch.index)
    by_step = {e.step: e for e in told() if isinstance(e, StepEnded)}
    assert by_step[StepRef("validate", "0.1.0")].scope.enclosing == (
        Enclosing(StepRef("epoch", "0.1"), (Holding("epoch"),)),
        Enclosing(StepRef("training", "0"), (Holding("lr"), Holding("late"))),
    )
    assert by_step[StepRef("validate", "0.0.0")].scope.enclosing[1].used == (Holding("lr"),)


def test_plain_turns_of_a_loop_become_one_block(settings: Settings, told: Told) -> None:
    with capture.workflow("wf", settings=settings) as run, run.task("t", used={"lr": 1}) as task:
        items = [(turn.item, turn.index) for turn in _said(task.loop("batch", "abc", index_as="i", start=5))]
    assert items == [("a", 5), ("b", 6), ("c", 7)]
    blocks = [e for e in told() if isinstance(e, IterationBlock)]
    assert [b.ordinals for b in blocks] == [(0, 1, 2)]
    (block,) = blocks
    assert (block.transformation, block.parent, block.prefix) == ("batch", StepRef("t", "0"), "0.")
    assert block.index == (5, 6, 7) and block.index_attribute == "i"
    assert {c.name: c.values for c in block.columns} == {"loss": (0.5, 1.5, 2.5), "ok": (True, False, True)}
    assert block.enclosing == (Enclosing(StepRef("t", "0"), (Holding("lr"),)),)
    assert all(s <= e for s, e in zip(block.started, block.ended, strict=True))


def _said(loop: capture.Loop[str]) -> list[capture.Iteration[str]]:
    turns = []
    for number, turn in enumerate(loop):
        turn.generated(loss=number + 0.5, ok=number % 2 == 0)
        turns.append(turn)
    return turns


def test_a_second_loop_of_the_same_name_goes_on_counting(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("wf", settings=settings) as run:
        for _ in range(2):
            for turn in run.loop("batch", range(3)):
                turn.generated(loss=1.0)
            with run.task("check"):
                pass
    steps = sorted(facts(told()), key=lambda s: (s.transformation, s.task))
    assert [s.task for s in steps if s.transformation == "batch"] == ["0", "1", "2", "3", "4", "5"]
    assert [s.task for s in steps if s.transformation == "check"] == ["0", "1"]


def test_a_turn_that_uses_refers_or_opens_steps_is_told_in_full(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("wf", settings=settings) as run:
        for turn in run.loop("epoch", range(5), index_as="epoch"):
            turn.generated(loss=0.5)
            if turn.index == 1:
                turn.used(seed=7)
            if turn.index == 2:
                turn.generated(model=capture.file("/m/2.pt"))
            if turn.index == 3:
                with turn.task("validate") as step:
                    step.generated(acc=0.9)
    found = facts(told())
    assert [found[StepRef("epoch", str(i))]["in"].get("epoch") for i in range(5)] == [*"01234"]
    assert all(found[StepRef("epoch", str(i))]["out"]["loss"] == "0.5" for i in range(5))
    assert all(found[StepRef("epoch", str(i))]["ends"] == 1 for i in range(5))
    assert found[StepRef("epoch", "1")]["in"]["seed"] == "7"
    assert "/m/2.pt" in found[StepRef("epoch", "2")]["out"]["model"]
    assert found[StepRef("validate", "3.0")]["parent"] == StepRef("epoch", "3")
    general = [e.step.task for e in told() if isinstance(e, StepEnded) and e.cycle]
    assert general == ["1", "2", "3"]


def test_an_exception_ends_everything_around_it_and_passes_through(
    settings: Settings, told: Told, facts: Facts
) -> None:
    problem = ValueError("bad batch")
    with pytest.raises(ValueError) as caught, capture.workflow("wf", settings=settings) as run:  # noqa: SIM117
        with run.task("training") as training:
            for epoch in training.loop("epoch", range(3)):
                for batch in epoch.loop("batch", range(9)):
                    batch.generated(loss=1.0)
                    if batch.index == 2 and epoch.index == 1:
                        raise problem
    assert caught.value is problem
    found = facts(told())
    assert found[StepRef("training", "0")]["error"] == "ValueError: bad batch"
    assert found[StepRef("epoch", "0.1")]["outcome"] == "ERRORED"
    assert found[StepRef("epoch", "0.1")]["error"] == "ValueError: bad batch"
    assert found[StepRef("batch", "0.1.2")]["error"] == "ValueError: bad batch"
    assert found[StepRef("batch", "0.1.2")]["out"] == {"loss": "1.0"}
    assert found[StepRef("batch", "0.1.1")]["outcome"] == "FINISHED"
    last = told()[-1]
    assert isinstance(last, RunEnded) and (last.outcome, last.error) == ("ERRORED", "ValueError: bad batch")


def test_break_and_continue_finish_the_turn_that_they_leave(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("wf", settings=settings) as run:
        for turn in run.loop("a", range(9)):
            if turn.index == 1:
                continue
            if turn.index == 3:
                break
        for turn in run.loop("b", range(9)):
            turn.used(x=1)
            break
    found = facts(told())
    assert {s.task: f["outcome"] for s, f in found.items() if s.transformation == "a"} == dict.fromkeys(
        ["0", "1", "2", "3"], "FINISHED"
    )
    assert found[StepRef("b", "0")]["outcome"] == "FINISHED"


def test_an_error_that_the_script_handles_inside_leaves_the_outer_step_finished(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("wf", settings=settings) as run, run.task("outer") as outer:
        try:
            for _ in outer.loop("turn", range(3)):
                raise KeyError("k")
        except KeyError:
            pass
    found = facts(told())
    assert found[StepRef("turn", "0.0")]["outcome"] == "ERRORED"
    assert found[StepRef("outer", "0")]["outcome"] == "FINISHED"


def test_a_step_that_ends_takes_turns_with_it_that_somebody_still_holds(
    settings: Settings, told: Told, facts: Facts
) -> None:
    with capture.workflow("wf", settings=settings) as run:
        step = run.task("outer").begin()
        turns = iter(step.loop("turn", range(3)))
        next(turns)
        step.end()
        del turns
    assert facts(told())[StepRef("turn", "0.0")]["outcome"] == "FINISHED"


def test_explicit_begin_and_end_say_the_outcome_given(settings: Settings, told: Told, facts: Facts) -> None:
    run = capture.workflow("wf", settings=settings).begin()
    run.task("a").begin().end("ERRORED", "disk on fire")
    run.task("b").begin().end(error=OSError("gone"))
    step = run.task("c")
    step.end()
    step.end()
    step.begin()
    run.end()
    run.end()
    found = facts(told())
    assert (found[StepRef("a", "0")]["outcome"], found[StepRef("a", "0")]["error"]) == (
        "ERRORED",
        "disk on fire",
    )
    assert found[StepRef("b", "0")]["error"] == "OSError: gone"
    assert found[StepRef("c", "0")]["ends"] == 1
    assert sum(isinstance(e, RunEnded) for e in told()) == 1


def test_the_store_of_a_reference_is_given_or_planned_or_mounted_or_none(
    settings: Settings, told: Told
) -> None:
    with capture.workflow("wf", settings=settings, stores=[GPFS, SCRATCH], definition=PLAN) as run:
        with run.task("clean", used={"src": "/data/scratch/a", "n": 3}) as step:
            step.generated(iri="http://x.org/1", out="rel/b", more=[capture.file("/data/c"), 1])
        run.task("other", used={
            "given": capture.file("/data/d", store="s3", version="v1"),
            "row": capture.reference("row-7"),
            "near": capture.file("/database/e"),
            "kg": capture.resource("http://x.org/2", store="agraph"),
        }).begin().end()  # fmt: skip
    refs = {r.text: r for e in told() for r in _references(e)}
    assert refs["/data/scratch/a"].store == "scratch"
    assert (refs["http://x.org/1"].store, refs["http://x.org/1"].kind) == ("agraph", "kg")
    assert refs[str(Path("rel/b").absolute())].store == "gpfs9"
    assert refs["/data/c"].store == "gpfs1"
    assert (refs["/data/d"].store, refs["/data/d"].version) == ("s3", "v1")
    assert refs["row-7"].store is None and refs["/database/e"].store is None
    assert (refs["http://x.org/2"].store, refs["http://x.org/2"].kind) == ("agraph", "kg")
    assert capture.warnings() == {"reference-without-store": 2}


def _references(event: Event) -> list[Reference]:
    from headstream.schemas.values import references

    values = getattr(event, "values", ())
    return [r for v in values for r in references(v.value)]


def test_documents_come_first_and_bags_name_the_definition(settings: Settings, contents: Contents) -> None:
    person = {"id": "ana", "name": "Ana", "persona": "DomainScientist"}
    with capture.workflow("wf", settings=settings, definition=PLAN, stores=[GPFS], person=person):
        pass
    *documents, bag = contents()
    assert [d.kind for d in documents if isinstance(d, Document)] == ["definition", "store", "person"]
    assert not isinstance(bag, Document) and isinstance(documents[0], Document)
    assert bag.definition == documents[0].content_hash


def test_a_definition_that_cannot_be_read_costs_a_line_and_not_the_run(
    settings: Settings, told: Told, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "plan.yaml").write_text("dataflow_name: [")
    with capture.workflow(
        "wf", definition=tmp_path / "plan.yaml", stores=tmp_path / "no.json", settings=settings
    ):
        pass
    assert len(told()) == 2
    assert capsys.readouterr().err.count("\n") <= 12
    assert capture.warnings() == {"definition-unusable": 1, "stores-unusable": 1}


def test_execution_ids_are_unique_and_sort_by_time(settings: Settings) -> None:
    ids = {capture.workflow("wf", settings=settings).execution for _ in range(100)}
    assert len(ids) == 100 and all(len(i) == len("20260101T000000Z-00000000") for i in ids)


def test_ranks_of_one_run_never_collide_and_one_tells_the_run(
    spool: Path, told: Told, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in "01":
        monkeypatch.setenv("SLURM_PROCID", rank)
        monkeypatch.setenv("SLURM_NTASKS", "2")
        with capture.workflow(
            "wf", execution="e", settings=Settings(spool=spool, git=False, packages=False)
        ) as run:
            for turn in run.loop("b", range(2)):
                turn.generated(loss=1.0)
            with run.task("t") as step, step.task("u"):
                pass
    assert sorted(s.task for s in facts(told())) == sorted(
        f"{task}-r{rank}" for rank in "01" for task in ("0", "1", "0", "1x0.0")
    )
    assert [e.started is None for e in told() if isinstance(e, RunStarted)] == [False, True]
    assert sum(isinstance(e, RunEnded) for e in told()) == 1


def test_values_after_the_end_are_counted(settings: Settings) -> None:
    with capture.workflow("wf", settings=settings) as run:
        step = run.task("t").begin()
        step.end()
        step.generated(late=1)
    step.used(later=2)
    run.task("u").begin()
    assert capture.losses() == {"values-after-end": 2, "after-end": 1}


def test_the_wall_clock_may_jump_without_bending_a_duration(
    settings: Settings, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    with capture.workflow("wf", settings=settings) as run, run.task("t"):
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        monkeypatch.setattr(time, "time", lambda: 0.0)
    ended = next(e for e in told() if isinstance(e, StepEnded))
    assert ended.started is not None and 0 <= ended.ended - ended.started < 10_000_000


def test_steps_of_one_name_inside_steps_of_other_names_are_others(settings: Settings, told: Told) -> None:
    with capture.workflow("w", settings=settings) as run:
        for outer in "abca":
            with run.task(outer) as step, step.task("inner") as inner:
                for turn in inner.loop("turn", range(2)):
                    turn.generated(x=1)
                for turn in step.loop("other", range(2)):
                    turn.task("inner").begin().end()
    starts = [e.step for e in told() if isinstance(e, StepStarted)]
    inner_steps = [step for step in starts if step.transformation == "inner"]
    assert len(inner_steps) == len(set(inner_steps)) == 4 * 3
    assert len(starts) == len(set(starts))
    blocks = [
        (e.transformation, f"{e.prefix}{n}")
        for e in told()
        if isinstance(e, IterationBlock)
        for n in e.ordinals
    ]
    assert len(blocks) == len(set(blocks)) == 4 * 2
