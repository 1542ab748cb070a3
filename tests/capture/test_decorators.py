"""Calls of decorated functions are steps, and the functions do not notice."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import re
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream import capture
from headstream.capture import Run, Settings
from headstream.schemas.events import Event, StepRef, StepStarted

Told = Callable[[], list[Event]]
Facts = Callable[[Iterable[Event]], dict[StepRef, dict[str, Any]]]
Steps = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture
def run(settings: Settings) -> Iterator[Run]:
    with capture.workflow("wf", settings=settings) as run, capture.current(run):
        yield run


def shown(step: StepRef) -> str:
    """A step by name and counters, without the marks that keep apart what lies in steps of other names."""
    return f"{step.transformation} {re.sub(r'[0-9]+x', '', step.task)}"


@pytest.fixture
def steps(told: Told, facts: Facts) -> Steps:
    """What is said of each step, by `name task-id`, and the parent in the same way."""

    def found() -> dict[str, dict[str, Any]]:
        said = {shown(step): fact for step, fact in facts(told()).items()}
        for fact in said.values():
            parent = fact["parent"]
            fact["parent"] = None if parent is None else shown(parent)
        return said

    return found


def outcome(fact: dict[str, Any]) -> tuple[dict[str, str], dict[str, str], str]:
    assert fact["ends"] == 1
    return fact["in"], fact["out"], fact["outcome"]


def test_a_call_is_a_step_named_after_the_function_with_its_plain_arguments(run: Run, steps: Steps) -> None:
    @capture.task
    def train(lr: float, data: list[int], path: Path, *more: int, seed: int = 7, **other: object) -> float:
        return lr * len(data) + sum(more)

    assert train(0.5, [1, 2], Path("a"), 3, extra="x", gone=None) == 4.0
    used = {"lr": "0.5", "path": "'a'", "seed": "7", "extra": "'x'"}
    assert outcome(steps()["train 0"]) == (used, {"result": "4.0"}, "FINISHED")


def test_only_the_arguments_that_used_names_are_kept(run: Run, steps: Steps, told: Told) -> None:
    @capture.task("fit", used=("lr", "data", "extra"), generated="model", person="ana")
    def train(lr: float, data: list[int], seed: int = 7, **other: int) -> dict[str, int]:
        return {"a": 1}

    train(0.5, data=[1, 2], extra=3, more=4)
    used, generated, _ = outcome(steps()["fit 0"])
    assert sorted(used) == ["data", "extra", "lr"] and list(generated) == ["model"]
    assert next(e for e in told() if isinstance(e, StepStarted)).person == "ana"


def test_a_text_that_is_called_like_a_secret_is_kept_only_if_named(run: Run, steps: Steps) -> None:
    def call(api_key: str, token: str, tokenizer: str, max_tokens: int) -> None: ...

    capture.task("all")(call)("k", "t", "bpe", 9)
    capture.task("one", used="token")(call)("k", "t", "bpe", 9)
    assert steps()["all 0"]["in"] == {"tokenizer": "'bpe'", "max_tokens": "9"}
    assert steps()["one 0"]["in"] == {"token": "'t'"}


@pytest.mark.parametrize(
    ("generated", "result", "said"),
    [
        (None, {"a": 1, 2: 3}, {"a": "1", "2": "3"}),
        (None, None, {}),
        (None, {}, {}),
        ("x", 5, {"x": "5"}),
        (("a", "b"), (1, 2), {"a": "1", "b": "2"}),
        (("a",), 1, {"a": "1"}),
        (("a",), {"a": 1, "b": 2}, {"a": "1"}),
        ((), {"a": 1}, {}),
    ],
)
def test_what_is_returned_is_generated_by_name(
    generated: Any, result: Any, said: dict[str, str], run: Run, steps: Steps
) -> None:
    assert capture.task("t", generated=generated)(lambda: result)() is result
    assert steps()["t 0"]["out"] == said
    assert capture.warnings() == {}


@pytest.mark.parametrize("result", [(1,), (1, 2, 3), {"a": 1}, 1])
def test_a_result_unlike_its_names_is_kept_as_far_as_it_goes_and_counted(
    result: object, run: Run, steps: Steps
) -> None:
    assert capture.task("t", generated=("a", "b"))(lambda: result)() is result
    assert steps()["t 0"]["out"]["a"] == "1"
    assert capture.warnings() == {"result-unmatched": 1}


def test_a_name_that_is_no_argument_is_counted_when_the_function_is_decorated() -> None:
    capture.task(used=("lr", "rate"))(lambda lr: None)
    assert capture.warnings() == {"argument-unknown": 1}


def test_calls_nest_in_the_call_around_them_and_in_the_step_that_current_names(run: Run, told: Told) -> None:
    @capture.task
    def inner() -> None: ...

    @capture.task
    def outer() -> None:
        inner()
        inner()

    outer()
    inner()
    with run.task("block") as block, capture.current(block):
        inner()
    for turn in run.loop("turn", range(2)):
        with capture.current(turn):
            outer()
    inner()
    # Ids of steps are paths, so those of one name inside different parents may be the same.
    parents = [
        None if e.parent is None else shown(e.parent)
        for e in told()
        if isinstance(e, StepStarted) and e.step.transformation == "inner"
    ]
    nested = ["outer 0.0", "outer 0.0", "outer 1.0", "outer 1.0"]
    assert parents == ["outer 0", "outer 0", None, "block 0", *nested, None]


def test_a_call_in_a_step_that_has_ended_goes_to_what_is_still_open(run: Run, steps: Steps) -> None:
    @capture.task
    def late() -> None: ...

    with run.task("outer") as outer, capture.current(outer):
        inner = outer.task("inner").begin()
        with capture.current(inner):
            inner.end()
            late()
    with capture.current(outer):
        late()
    assert steps()["late 0.0"]["parent"] == "outer 0" and steps()["late 0"]["parent"] is None


def test_without_a_run_the_function_just_runs_and_is_counted_once(settings: Settings, told: Told) -> None:
    @capture.task
    def double(x: int) -> int:
        return 2 * x

    with capture.workflow("wf", settings=settings) as run, capture.current(run):
        pass
    with capture.current(run):  # It has ended.
        assert [double(1), double(2)] == [2, 4]
    assert double(3) == 6
    assert capture.warnings() == {"function-outside-run": 1} and capture.losses() == {}
    assert not [e for e in told() if isinstance(e, StepStarted)]


def nothing() -> None: ...


def threads(*functions: Callable[[], object]) -> None:
    """Call each in a new thread, and wait for them."""
    found = [threading.Thread(target=function) for function in functions]
    for thread in found:
        thread.start()
    for thread in found:
        thread.join()


def test_a_new_thread_has_the_run_that_is_open_by_with_if_there_is_only_one(
    settings: Settings, steps: Steps
) -> None:
    with capture.workflow("wf", settings=settings) as run, run.task("outer"):
        threads(capture.task("of_the_run")(nothing))
        asyncio.run(asyncio.to_thread(capture.task("handed")(nothing)))
        with capture.workflow("other", settings=settings) as other:
            threads(capture.task("lost")(nothing), capture.task("kept", inside=other)(nothing))
        threads(capture.task("again")(nothing), capture.task("within", inside=run)(nothing))
    threads(capture.task("late")(nothing))
    parents = {name: fact["parent"] for name, fact in steps().items()}
    assert parents == {
        "outer 0": None, "of_the_run 0": None, "handed 0.0": "outer 0", "kept 0": None, "again 0": None,
        "within 0": None,
    }  # fmt: skip
    assert capture.warnings() == {"function-outside-run": 2}


def test_with_alone_says_where_decorated_functions_belong(settings: Settings, steps: Steps) -> None:
    def call(name: str) -> None:
        capture.task(name)(nothing)()

    with capture.workflow("wf", settings=settings) as run:
        call("in_run")
        with run.task("outer") as outer:
            call("in_outer")
            with outer.task("inner"):
                call("in_inner")
            call("in_outer")
            for turn in outer.loop("turn", range(2)):
                call("beside_turn")  # A turn is no `with`, so it stays a row.
                with turn:
                    call("in_turn")
            begun = run.task("begun").begin()
            call("in_outer")
            with begun:
                call("in_begun")
        call("in_run")
    call("nowhere")
    assert {name: fact["parent"] for name, fact in steps().items() if "_" in name} == {
        "in_run 0": None,
        "in_outer 0.0": "outer 0",
        "in_inner 0.0.0": "inner 0.0",
        "in_outer 0.1": "outer 0",
        "beside_turn 0.0": "outer 0",
        "in_turn 0.0.0": "turn 0.0",
        "beside_turn 0.1": "outer 0",
        "in_turn 0.1.0": "turn 0.1",
        "in_outer 0.2": "outer 0",
        "in_begun 0.0": "begun 0",
        "in_run 1": None,
    }
    assert capture.warnings() == {"function-outside-run": 1}


def test_tasks_of_asyncio_that_enter_steps_at_the_same_time_nest_each_in_its_own(
    settings: Settings, steps: Steps
) -> None:
    async def one(run: Run, name: str, barrier: asyncio.Barrier) -> None:
        with run.task(name):
            await barrier.wait()
            capture.task(f"in_{name}")(nothing)()
            await barrier.wait()

    async def both(run: Run) -> None:
        barrier = asyncio.Barrier(2)
        await asyncio.gather(one(run, "a", barrier), one(run, "b", barrier))
        capture.task("in_run")(nothing)()

    with capture.workflow("wf", settings=settings) as run:
        asyncio.run(both(run))
    parents = {name: fact["parent"] for name, fact in steps().items() if "_" in name}
    assert parents == {"in_a 0.0": "a 0", "in_b 0.0": "b 0", "in_run 0": None}


def test_a_with_that_is_left_elsewhere_twice_or_out_of_order_leaves_no_ended_place(
    settings: Settings, steps: Steps
) -> None:
    call = capture.task("call")(nothing)

    def stage(run: Run) -> Iterator[None]:
        with run.task("stage"):
            yield

    with capture.workflow("wf", settings=settings) as run:
        elsewhere = stage(run)
        next(elsewhere)
        threads(lambda: next(elsewhere, None))  # The step ends in another thread.
        call()
        first, second = run.task("first"), run.task("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        call()
        with first, second, first:
            call()
        with (step := run.task("twice")), step:
            call()
        call()
    parents = {name: fact["parent"] for name, fact in steps().items() if name.startswith("call")}
    assert parents == {"call 0": None, "call 1": None, "call 2": None, "call 0.0": "twice 0", "call 3": None}


def test_an_exception_passes_unchanged_and_its_step_is_errored(run: Run, steps: Steps) -> None:
    error = ValueError("too high")

    @capture.task
    def fail(lr: float) -> None:
        raise error

    with pytest.raises(ValueError) as caught:
        fail(1.0)
    assert caught.value is error
    assert outcome(steps()["fail 0"]) == ({"lr": "1.0"}, {}, "ERRORED")
    assert steps()["fail 0"]["error"] == "ValueError: too high"
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        fail()  # type: ignore[call-arg]


def test_coroutines_that_run_side_by_side_nest_each_on_its_own(run: Run, steps: Steps) -> None:
    both = asyncio.Event()

    @capture.task
    async def leaf(name: str) -> str:
        return name

    @capture.task
    async def branch(name: str, wait: bool) -> str:
        if wait:
            await both.wait()
        both.set()
        return await leaf(name)

    @capture.task
    async def root() -> list[str]:
        return [*await asyncio.gather(branch("a", True), branch("b", False))]

    assert asyncio.run(root()) == ["a", "b"]
    found = steps()
    for name, fact in found.items():
        if name.startswith("leaf"):
            assert found[fact["parent"]]["in"]["name"] == fact["in"]["name"]
    assert found["branch 0.0"]["parent"] == found["branch 0.1"]["parent"] == "root 0"


def test_a_cancelled_coroutine_is_errored(run: Run, steps: Steps) -> None:
    @capture.task
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(wait(), 0.01))
    assert steps()["wait 0"]["error"] == "CancelledError"


def test_a_generator_is_a_step_from_its_first_item_to_its_last(run: Run, steps: Steps) -> None:
    @capture.task
    def leaf() -> None: ...

    @capture.task
    def batches(size: int) -> Generator[int, None, str]:
        leaf()
        yield from range(size)
        return "done"

    unused = batches(9)
    assert steps() == {}
    unused.close()
    assert steps() == {}
    for _ in batches(3):
        leaf()  # Not inside the generator, which only waits.
    found = steps()
    out = {"result": "'done'", "yielded": "3"}
    assert outcome(found["batches 0"]) == ({"size": "3"}, out, "FINISHED")
    assert found["leaf 0.0"]["parent"] == "batches 0"
    assert [found[f"leaf {n}"]["parent"] for n in range(3)] == [None] * 3


@pytest.mark.parametrize("leave", ["close", "forget", "throw"])
def test_a_generator_that_is_left_early_ends_its_step(leave: str, run: Run, steps: Steps) -> None:
    tidied = []

    @capture.task
    def numbers() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            tidied.append(True)

    found = numbers()
    next(found)
    if leave == "close":
        found.close()  # type: ignore[attr-defined]
    elif leave == "throw":
        error = KeyError("k")
        with pytest.raises(KeyError) as caught:
            found.throw(error)  # type: ignore[attr-defined]
        assert caught.value is error
    del found
    gc.collect()
    assert tidied == [True]
    wanted = "ERRORED" if leave == "throw" else "FINISHED"
    assert outcome(steps()["numbers 0"]) == ({}, {"yielded": "1"}, wanted)


def test_a_generator_takes_what_is_sent_and_thrown_as_it_did(run: Run) -> None:
    @capture.task
    def echo() -> Generator[str, str, None]:
        said = "ready"
        while True:
            try:
                said = yield said
            except KeyError as error:
                said = f"caught {error.args[0]}"

    talk = echo()
    assert [next(talk), talk.send("a"), talk.throw(KeyError("k")), talk.send("b")] == [
        *("ready", "a", "caught k", "b")
    ]
    talk.close()


def test_an_asynchronous_generator_is_a_step_too(run: Run, steps: Steps) -> None:
    @capture.task
    async def leaf() -> None: ...

    @capture.task
    async def numbers(fail: bool) -> AsyncIterator[int]:
        for n in range(3):
            await leaf()
            yield n
        if fail:
            raise ValueError("spent")

    async def use() -> list[int]:
        found = [n async for n in numbers(False)]
        await leaf()
        with pytest.raises(ValueError, match="spent"):
            _ = [n async for n in numbers(True)]
        left = numbers(False)
        await anext(left)
        await left.aclose()  # type: ignore[attr-defined]
        return found

    assert asyncio.run(use()) == [0, 1, 2]
    found = steps()
    assert [outcome(found[f"numbers {n}"])[1:] for n in range(3)] == [
        ({"yielded": "3"}, "FINISHED"),
        ({"yielded": "3"}, "ERRORED"),
        ({"yielded": "1"}, "FINISHED"),
    ]
    assert found["leaf 0.2"]["parent"] == "numbers 0" and found["leaf 0"]["parent"] is None


def test_methods_work_and_their_object_is_nobodys_value(run: Run, steps: Steps) -> None:
    class Model(float):
        @capture.task
        def fit(self, lr: float) -> float:
            return self + lr

        @capture.task(used=("cls", "x"))
        @classmethod
        def make(cls, x: int) -> Model:
            return cls(x)

        @classmethod
        @capture.task("build")
        def build(cls) -> None: ...

        @staticmethod
        @capture.task
        def outside(x: int) -> int:
            return x

        @capture.task
        @staticmethod
        def inverse(x: int) -> int:
            return -x

    model = Model(1)
    assert (model.fit(0.5), model.outside(2), Model.outside(3), model.inverse(4)) == (1.5, 2, 3, -4)
    assert Model.make(x=3) == 3.0
    Model.build()
    used = {name: fact["in"] for name, fact in steps().items()}
    assert used == {
        "fit 0": {"lr": "0.5"},
        "outside 0": {"x": "2"},
        "outside 1": {"x": "3"},
        "inverse 0": {"x": "4"},
        "make 0": {"x": "3"},
        "build 0": {},
    }


def test_the_wrapper_looks_like_the_function_it_wraps() -> None:
    def plain(a: int, /, b: str = "x", *, c: float) -> None:
        """What it does."""

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    wrapped = capture.task(plain)
    assert (wrapped.__name__, wrapped.__doc__) == ("plain", "What it does.")
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert inspect.iscoroutinefunction(capture.task(coroutine))
    assert inspect.isgeneratorfunction(capture.task(generator))
    assert inspect.isasyncgenfunction(capture.task(asynchronous))


def test_things_that_are_no_functions_can_be_decorated_when_they_can_be_called(
    run: Run, steps: Steps
) -> None:
    assert capture.task(functools.partial(max, 3))(2) == 3
    assert capture.task(max)(1, 2) == 2
    assert sorted(steps()) == ["max 0", "partial 0"]


def test_a_fault_of_ours_never_reaches_the_host(
    run: Run, steps: Steps, internal_errors: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Liar:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("no")

    liar = Liar()
    assert capture.task("t")(lambda x: x)(liar) is liar
    assert outcome(steps()["t 0"])[2] == "FINISHED"
    monkeypatch.setattr(Run, "task", None)
    assert capture.task("u")(lambda: 1)() == 1
    assert capture.losses()["internal-decorator"] == len(internal_errors) >= 1
    internal_errors.clear()
