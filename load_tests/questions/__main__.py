"""How fast the questions are answered, engine by engine, beside the same questions as first written.

    python -m load_tests.questions [--runs 8] [--engine blazegraph,oxigraph] [--keep FOLDER]
                                   [--writing 60] [--only Q4,X07] [--json]

Run it in the checkout's root. The graph of N training runs of 300 epochs of 35 batches is made through
the product's own mapping and written into each engine; 134 runs are 30,037,547 triples. With --keep it
stays in a folder and is used again, unless --writing has written into it: then it is another graph,
which is refused (exit status 2). Every answer is warm; the smallest of --repeat is shown, since others
may share the machine, and p95 with --writing. "first" is the question as it was written at first
(`first_written/`), which knows no run: for one run it had to answer for all. The rows of all
engines are compared, and with those as first written; a difference is the exit status 1. With --writing
the questions are asked again, for that many seconds, while 1,000 events a second are written into the
same store.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from load_tests.questions import cases, engines, measuring, writing
from load_tests.questions.cases import Case
from load_tests.questions.engines import Engine, Filling
from load_tests.questions.runs import Shape

from headstream.query_api.store import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One case on one engine: seconds now, at first, and while the store is written to."""

    case: str
    target: float | None
    rows: int | None
    now: float
    p95: float
    first: float | None
    p95_writing: float | None

    @property
    def ratio(self) -> float | None:
        return None if self.first is None or math.isinf(self.now) else self.first / self.now


def main() -> int:
    """Measure and print; what cannot be measured is one sentence."""
    try:
        return _measured(_options())
    except engines.OtherGraph as error:
        print(f"questions: {error}", file=sys.stderr)
        return 2


def _measured(chosen: argparse.Namespace) -> int:
    shape = Shape(epochs=chosen.epochs, batches=chosen.batches)
    wanted = set(chosen.only.upper().split(",")) if chosen.only else None
    asked = [case for case in cases.cases(shape) if wanted is None or case.id in wanted]
    found: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, Table]] = {case.name: {} for case in asked}
    with _folder(chosen.keep) as folder:
        for name in chosen.engine.split(","):
            filling = Filling(
                runs=chosen.runs,
                shape=shape,
                folder=folder,
                heap=chosen.heap,
                namespace=chosen.namespace,
                workers=chosen.workers,
            )
            with engines.ENGINES[name](filling) as engine:
                lines = _measure(name, engine, asked, chosen, answers)
                found[name] = {"filled": asdict(engine.filled), "lines": lines}
    different = _differences(answers)
    if chosen.json:
        print(json.dumps(_as_json(found, different, chosen)))
    else:
        _print(found, different, chosen)
    return 1 if different else 0


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--runs", type=int, default=8, help="134 for the paper's 30 million triples")
    options.add_argument("--epochs", type=int, default=300)
    options.add_argument("--batches", type=int, default=35)
    options.add_argument("--engine", default="blazegraph,oxigraph", help="of " + ", ".join(engines.ENGINES))
    options.add_argument(
        "--keep",
        type=Path,
        help="folder for the graphs; one that is full is used again, unless --writing wrote into it",
    )
    options.add_argument("--heap", default="4g", help="of Blazegraph's Java")
    options.add_argument("--namespace", default="questions", help="of Blazegraph that holds the graph")
    options.add_argument("--workers", type=int, default=2, help="processes that make the graph")
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--seconds", type=float, default=60.0, help="after which an answer is given up")
    options.add_argument("--only", help="ids of questions, such as Q4,X07")
    options.add_argument("--no-first", action="store_true", help="leave out the questions as first written")
    options.add_argument(
        "--writing",
        type=float,
        default=0.0,
        help="seconds of questions while writing, at the end; a folder of --keep cannot be used after that",
    )
    options.add_argument("--rate", type=float, default=1000.0, help="events a second of --writing")
    options.add_argument("--json", action="store_true")
    return options.parse_args()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="headstream-load-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _measure(
    name: str, engine: Engine, asked: list[Case], chosen: argparse.Namespace, answers: dict[str, Any]
) -> list[Line]:
    """Each case now and at first, in turn; then all of them again while the store is written to."""
    quiet: dict[str, tuple[list[float], Table | None, float | None]] = {}
    for case in asked:
        first = None
        if not chosen.no_first:
            slow, before = measuring.times(
                engine, cases.first_written(case), repeat=chosen.repeat, seconds=chosen.seconds
            )
            first = min(slow)
            if before is not None and "run" not in cases.first_written_lacks(case):
                answers[case.name][f"{name} as first written"] = before
        times, table = measuring.times(engine, cases.now(case), repeat=chosen.repeat, seconds=chosen.seconds)
        quiet[case.name] = times, table, first
        if table is not None:
            answers[case.name][name] = table
        print(f"{name}: {case.name} {min(times):.3f} s, at first {first or 0:.3f} s", file=sys.stderr)
    busy: dict[str, list[float]] = {}
    if chosen.writing and engine.location is not None:
        busy = _while_writing(engine, engine.location, asked, chosen)
    return [
        Line(
            case=case.name,
            target=case.target,
            rows=None if quiet[case.name][1] is None else len(quiet[case.name][1].rows),  # type: ignore[union-attr]
            now=min(quiet[case.name][0]),
            p95=measuring.p95(quiet[case.name][0]),
            first=quiet[case.name][2],
            p95_writing=measuring.p95(busy[case.name]) if busy.get(case.name) else None,
        )
        for case in asked
    ]


def _while_writing(
    engine: Engine, location: str, asked: list[Case], chosen: argparse.Namespace
) -> dict[str, list[float]]:
    """The cases that have a target, round by round, beside a writer."""
    busy: dict[str, list[float]] = {case.name: [] for case in asked if case.target is not None}
    with writing.writer(location, chosen.rate) as stored:
        before, begun = stored.value, time.monotonic()
        while time.monotonic() - begun < chosen.writing or not all(busy.values()):
            for case in asked:
                if case.target is not None:
                    times, _ = measuring.times(
                        engine, cases.now(case), repeat=1, seconds=max(chosen.seconds, 1.0)
                    )
                    busy[case.name].extend(times)
        spent = time.monotonic() - begun
        print(f"written meanwhile: {(stored.value - before) / spent:,.0f} events/s", file=sys.stderr)
    return busy


def _differences(answers: dict[str, dict[str, Table]]) -> list[str]:
    """The cases that two engines answer differently."""
    found = []
    for case, tables in answers.items():
        bags = [measuring.bag(table) for table in tables.values()]
        if any(bag != bags[0] for bag in bags[1:]):
            found.append(f"{case}: {' and '.join(tables)} differ")
    return found


def _as_json(found: dict[str, Any], different: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    shown = {
        name: {"filled": each["filled"], "lines": [_finite(line) for line in each["lines"]]}
        for name, each in found.items()
    }
    return {"runs": chosen.runs, "engines": shown, "different": different, "load": os.getloadavg()}


def _finite(line: Line) -> dict[str, Any]:
    """A time that was given up is null in JSON, which has no infinity."""
    pairs = {**asdict(line), "ratio": line.ratio}.items()
    return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in pairs}


def _print(found: dict[str, Any], different: list[str], chosen: argparse.Namespace) -> None:
    for name, each in found.items():
        filled = each["filled"]
        rate = f", {filled['statements'] / filled['seconds']:,.0f} a second" if filled["seconds"] else ""
        print(f"\n{name}: {filled['triples']:,} triples{rate}\n")
        print("| question | rows | seconds | at most | p95 | first written | ratio | p95 while writing |")
        print("|---|---|---|---|---|---|---|---|")
        for line in each["lines"]:
            print(f"| {' | '.join(_cells(line, chosen.seconds))} |")
    for difference in different:
        print(difference)
    print(f"\nload average {' '.join(f'{average:.1f}' for average in os.getloadavg())}")


def _cells(line: Line, limit: float) -> tuple[str, ...]:
    def seconds(value: float | None) -> str:
        if value is None:
            return ""
        return f"over {limit:g}" if math.isinf(value) else f"{value:.3f}"

    ratio = "" if line.ratio is None else f"{line.ratio:.1f}"
    if line.first is not None and math.isinf(line.first) and not math.isinf(line.now):
        ratio = f"over {limit / line.now:.0f}"
    return (
        line.case,
        "" if line.rows is None else f"{line.rows:,}",
        seconds(line.now),
        "" if line.target is None else f"{line.target:g}",
        seconds(line.p95),
        seconds(line.first),
        ratio,
        seconds(line.p95_writing),
    )


if __name__ == "__main__":
    sys.exit(main())
