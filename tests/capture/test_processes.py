"""Forks, spawns, threads, tasks: ids unique, nesting right, every event once, and no exit that hangs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Settings
from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, Event, RunEnded, RunStarted, StepRef
from headstream.schemas.facts import Origin
from headstream.stream_processors.tracker import track

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]
SECONDS = 90  # Two busy cores; what hangs, hangs for longer.


@pytest.fixture
def script(spool: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of its own file, as spawned children need; any internal error ends it with status 77."""

    def run(body: str, **environ: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "script.py"
        preamble = """
            import os, sys, time
            from headstream import capture
            from headstream.capture import errors
            def fail(error):
                import traceback
                traceback.print_exception(error)
                os._exit(77)
            errors.on_internal_error = fail
        """
        path.write_text(textwrap.dedent(preamble) + textwrap.dedent(body))
        env = {
            **os.environ,
            "HEADSTREAM_SPOOL": str(spool),
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_PACKAGES": "off",
            **environ,
        }
        return subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            env=env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


def each_told_once(spool: Path) -> None:
    """Every event of every spool is one of a kind, and each spool has one process that wrote it."""
    producers: Counter[str] = Counter()
    events: Counter[Event] = Counter()
    for directory in spools(spool):
        found = {bag.producer for bag in read(directory) if isinstance(bag, Bag)}
        assert len(found) <= 1
        producers.update(found)
        events.update(e for bag in read(directory) if isinstance(bag, Bag) for e in bag.events)
    assert not [name for name, count in producers.items() if count > 1]
    assert not [event for event, count in events.items() if count > 1]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_tell_their_steps_inside_that_of_their_parent(
    method: str, script: Any, spool: Path, told: Told, facts: Facts
) -> None:
    body = f"""
    import multiprocessing

    def work(number, given):
        with capture.attach(environ=given) as run:
            for turn in run.loop("turn", range(1000), index_as="i"):
                turn.generated(worker=number)
            with run.task("report", used={{"worker": number}}) as step, step.task("inner"):
                pass

    if __name__ == "__main__":
        context = multiprocessing.get_context({method!r})
        with capture.workflow("w", execution="e") as run, run.task("outer", used={{"lr": 1}}) as outer:
            workers = [context.Process(target=work, args=(n, outer.environ())) for n in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join({SECONDS})
                assert worker.exitcode == 0, worker.exitcode
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(spools(spool)) == 5
    each_told_once(spool)
    found, outer = facts(told()), StepRef("outer", "0")
    turns = {step: fact for step, fact in found.items() if step.transformation == "turn"}
    assert len(turns) == 4000 and all(f["ends"] == 1 and f["parent"] == outer for f in turns.values())
    assert Counter(f["out"]["worker"] for f in turns.values()) == {str(n): 1000 for n in range(4)}
    assert all("Holding(attribute='lr'" in repr(f["scope"][2]) for f in turns.values())
    inner = [fact for step, fact in found.items() if step.transformation == "inner"]
    assert len({fact["parent"] for fact in inner}) == 4
    assert all(found[fact["parent"]]["parent"] == outer for fact in inner)
    assert sum(isinstance(e, RunEnded) for e in told()) == 1
    assert sum(isinstance(e, RunStarted) and e.started is not None for e in told()) == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes_tells_every_call_once(
    method: str, script: Any, spool: Path, told: Told, facts: Facts
) -> None:
    body = f"""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    joined = None

    def join(given):
        global joined
        joined = capture.attach(environ=given).begin()

    def work(number):
        with joined.task("work", used={{"n": number}}) as step:
            step.generated(square=number * number)
        return os.getpid()

    if __name__ == "__main__":
        context = multiprocessing.get_context({method!r})
        with (
            capture.workflow("w") as run,
            run.task("outer") as outer,
            ProcessPoolExecutor(3, context, initializer=join, initargs=(outer.environ(),)) as pool,
        ):
            assert os.getpid() not in pool.map(work, range(200))
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    each_told_once(spool)
    work = {s: f for s, f in facts(told()).items() if s.transformation == "work"}
    assert sorted(int(f["in"]["n"]) for f in work.values()) == list(range(200))
    assert all(f["ends"] == 1 and f["parent"] == StepRef("outer", "0") for f in work.values())
    assert all(int(f["out"]["square"]) == int(f["in"]["n"]) ** 2 for f in work.values())


def test_workers_of_a_data_loader_tell_what_they_load(
    script: Any, spool: Path, told: Told, facts: Facts
) -> None:
    body = """
    import warnings
    import torch
    warnings.filterwarnings("ignore", "This DataLoader will create 4 worker")  # Of machines with two cores.
    from torch.utils.data import DataLoader, Dataset

    class Tiles(Dataset):
        def __len__(self):
            return 64
        def __getitem__(self, index):
            with training.task("load", used={"index": index}):
                return torch.tensor(float(index))

    with capture.workflow("w") as run, run.task("training") as training:
        loader = DataLoader(Tiles(), batch_size=8, num_workers=4)
        for epoch in training.loop("epoch", range(2)):
            for batch in epoch.loop("batch", loader):
                batch.generated(loss=batch.item.sum())
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    each_told_once(spool)
    found = facts(told())
    loads = {s: f for s, f in found.items() if s.transformation == "load"}
    assert len(loads) == 128 and all(f["ends"] == 1 for f in loads.values())
    assert all(f["parent"] == StepRef("training", "0") for f in loads.values())
    batches = [f for s, f in found.items() if s.transformation == "batch"]
    assert sum(float(f["out"]["loss"]) for f in batches) == 2 * sum(range(64)) and len(batches) == 16
    assert len(spools(spool)) == 9  # Each epoch has four workers of its own.


def test_sixteen_threads_of_ten_thousand_turns_have_ids_of_their_own(
    settings: Settings, spool: Path, told: Told
) -> None:
    with capture.workflow("w", settings=settings) as run, run.task("outer") as outer:

        def work(number: int) -> None:
            for turn in outer.loop("t", range(10_000)):
                turn.generated(thread=number)
                if turn.index % 100 == 0:
                    with outer.task("s", used={"thread": number}):
                        pass

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    starts, ends = Counter[str](), Counter[str]()
    for event in told():
        match type(event).__name__:
            case "IterationBlock":
                ids = [f"t {event.prefix}{o}{event.suffix}" for o in event.ordinals]  # type: ignore[union-attr]
                starts.update(ids)
                ends.update(ids)
            case "StepStarted":
                starts[f"{event.step.transformation} {event.step.task}"] += 1  # type: ignore[union-attr]
            case "StepEnded":
                ends[f"{event.step.transformation} {event.step.task}"] += 1  # type: ignore[union-attr]
    assert len(starts) == 160_000 + 1_600 + 1
    assert starts == ends and set(starts.values()) == {1}
    assert len(spools(spool)) == 1


def test_tasks_of_asyncio_and_their_threads_nest_each_in_its_own(
    settings: Settings, told: Told, facts: Facts
) -> None:
    @capture.task
    def read(tile: int) -> int:
        return tile

    @capture.task
    async def clean(tile: int) -> int:
        await asyncio.sleep(0)
        return await asyncio.to_thread(read, tile) + await asyncio.to_thread(read, tile)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for tile in range(50):
                group.create_task(clean(tile))

    with capture.workflow("w", settings=settings) as run, run.task("outer") as outer, capture.current(outer):
        asyncio.run(main())
    found = facts(told())
    reads = [fact for step, fact in found.items() if step.transformation == "read"]
    assert len(reads) == 100 and set(Counter(fact["parent"] for fact in reads).values()) == {2}
    for fact in reads:
        around = found[fact["parent"]]
        assert around["in"] == fact["in"] and around["parent"] == StepRef("outer", "0")


def test_a_fork_in_the_middle_of_another_threads_call_blocks_nobody(
    script: Any, spool: Path, told: Told, facts: Facts
) -> None:
    body = """
    import threading
    with capture.workflow("w") as run:
        over = False
        def work(number):
            while not over:
                for turn in run.loop("t", range(20)):
                    turn.generated(loss=1.0, **{f"c{turn.index % 7}": 2.0})
                run.task("s", used={"n": number, "list": capture.as_list([1, 2])}).begin().end()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for number in range(40):
            pid = os.fork()
            if pid == 0:
                with run.task("child", used={"number": number}) as step:
                    for turn in step.loop("c", range(3)):
                        turn.generated(loss=2.0)
                capture.losses(), capture.warnings()
                os._exit(0 if not capture.losses() else 5)
            deadline = time.monotonic() + 30
            while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(pid, 9)
                    os._exit(6)
                time.sleep(0.001)
            assert ended[1] == 0, ended
        over = True
        for thread in threads:
            thread.join()
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    each_told_once(spool)
    found = facts(told())
    children = {s: f for s, f in found.items() if s.transformation == "child"}
    assert sorted(int(f["in"]["number"]) for f in children.values()) == list(range(40))
    turns = [f for s, f in found.items() if s.transformation == "c"]
    assert Counter(f["parent"] for f in turns) == dict.fromkeys(children, 3)
    assert all(fact["ends"] == 1 for fact in found.values())


def test_a_child_that_leaves_the_blocks_of_its_parent_ends_none_of_them(
    script: Any, spool: Path, told: Told, facts: Facts
) -> None:
    body = """
    with capture.workflow("w") as run:
        with run.task("outer", used={"a": 1}) as outer:
            pid = os.fork()
            who = "child" if pid == 0 else "parent"
            with outer.task(who) as step:
                step.generated(pid=os.getpid())
        run.generated(**{who: 1})
        if pid == 0:
            raise SystemExit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    each_told_once(spool)
    found = facts(told())
    ends = {s.transformation: f["ends"] for s, f in found.items() if s is not None}
    assert ends == {"outer": 1, "child": 1, "parent": 1}
    assert found[StepRef("outer", "0")]["outcome"] == "FINISHED"
    assert [e.outcome for e in told() if isinstance(e, RunEnded)] == ["FINISHED"]


def test_threads_that_outlive_the_script_are_waited_for_and_told(
    script: Any, told: Told, facts: Facts
) -> None:
    body = """
    import threading
    run = capture.workflow("w").begin()
    main = threading.current_thread()
    def work():
        main.join()  # All that the script itself does is done by then.
        for turn in run.loop("late", range(100)):
            turn.generated(x=1)
        run.end()
    threading.Thread(target=work).start()
    """
    began = time.monotonic()
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - began < SECONDS / 2
    assert len(facts(told())) == 100 and any(isinstance(e, RunEnded) for e in told())


def test_a_worker_without_a_disk_counts_what_goes_with_it(script: Any) -> None:
    body = """
    import multiprocessing
    def work(run):
        run.task("t").begin().end()
    if __name__ == "__main__":
        run = capture.workflow("w").begin()
        worker = multiprocessing.get_context("fork").Process(target=work, args=(run,))
        worker.start()
        worker.join()
        run.end()
    """
    result = script(body, HEADSTREAM_SPOOL="off")
    assert result.returncode == 0
    lost = "headstream: provenance was lost: 2 memory-not-shipped\n"
    assert result.stderr == lost * 2  # The worker's step, and the run itself.


def test_the_graph_of_forks_inside_forks_has_every_step_once_in_one_place(
    script: Any, spool: Path, told: Told
) -> None:
    body = """
    def fork(around, depth):
        for number in range(3):
            with around.task("step", used={"depth": depth}) as step:
                pid = os.fork()
                if pid == 0:
                    for turn in step.loop("turn", range(5)):
                        turn.generated(x=depth)
                    if depth < 2:
                        fork(step, depth + 1)
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
    with capture.workflow("w", execution="e") as run:
        fork(run, 0)
    """
    result = script(body)
    assert (result.returncode, result.stderr) == (0, "")
    each_told_once(spool)
    graph = set()
    for directory in spools(spool):
        for bag in read(directory):
            assert isinstance(bag, Bag)
            tracked = track(bag, None, Origin(topic="t", partition=0, offset=0))
            assert tracked.rejected == ()
            graph.update(tracked.identified.facts)
    single = Counter(
        (s, p) for s, p, _, _ in graph if p in ("prov:startedAtTime", "prov:endedAtTime", "provml:wasPartOf")
    )
    assert set(single.values()) == {1}
    steps = {s for s, p, _, o in graph if p == "rdf:type" and o == "provml:DataTransformationExecution"}
    assert len(steps) == (3 + 9 + 27) * 6
    assert {s for s, p, _, _ in graph if p == "prov:endedAtTime"} == steps | {"wfe/w/e"}
    parts = {s: o for s, p, _, o in graph if p == "provml:wasPartOf"}
    assert len(parts) == len(steps) - 3  # Those of the run itself lie in no step.
    depth = {}
    for step in steps:
        at, depth[step] = step, 0
        while at in parts:
            at, depth[step] = parts[at], depth[step] + 1
    assert Counter(depth.values()) == {0: 3, 1: 15 + 9, 2: 45 + 27, 3: 135}


def test_no_thread_of_ours_imports_anything_that_a_forked_child_would_wait_for(script: Any) -> None:
    body = """
    import threading
    seen = []
    class Watch:
        def find_spec(self, name, path=None, target=None):
            if threading.current_thread() is not threading.main_thread():
                seen.append(name)
    sys.meta_path.insert(0, Watch())
    run = capture.workflow("w").begin()
    for turn in run.loop("t", range(100)):
        turn.generated(loss=1.0)
    run.task("t", used={"a": capture.file("/a")}).begin().end()
    time.sleep(1)  # For threads to do what they do.
    assert {thread.name for thread in threading.enumerate()} >= {"headstream-shipper"}
    assert seen == [], seen
    os._exit(0)
    """
    here = {"HEADSTREAM_BOOTSTRAP": "127.0.0.1:9", "HEADSTREAM_SHIPPER": "thread", "HEADSTREAM_GIT": "on"}
    result = script(body, **here)
    assert (result.returncode, result.stderr) == (0, "")
