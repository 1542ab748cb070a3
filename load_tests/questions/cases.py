"""What is asked, and how fast the answer has to be at 30 million triples in Blazegraph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from load_tests.questions import runs
from load_tests.questions.runs import Shape

from headstream.query_api.binding import bind
from headstream.query_api.catalogue import Question, catalogue, parse

FIRST_WRITTEN: Final = Path(__file__).parent / "first_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A question with values; `about` says of what it is asked, `target` is in seconds."""

    id: str
    about: str
    target: float | None = None
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.id} {self.about}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query as it is sent."""

    text: str
    best_as_written: bool


def cases(shape: Shape) -> tuple[Case, ...]:
    """Every question about one run, model or file; those over many runs also about all of them."""
    model = f"ref/gpfs1/models/{runs.execution(0)}/model{shape.epochs // 2:03d}.hdf5"
    run = {"run": f"wfe/{runs.WORKFLOW}/{runs.execution(0)}"}
    dataset = {"dataset": "ref/gpfs1/input/train.hdf5"}
    slices = {"inlineMin": 100, "inlineMax": 400, "crosslineMin": 300, "crosslineMax": 800}
    return (
        Case(id="Q1", about="a model", target=0.2, values={"model": model}),
        Case(id="Q2", about="a model", target=0.2, values={"model": model}),
        Case(id="Q3", about="all models", target=2, values=dataset),
        Case(id="Q4", about="a run", target=0.5, values=dataset | run),
        Case(id="Q4", about="all runs", target=10, values=dataset),
        Case(id="Q5", about="a run", target=0.5, values=slices | run),
        Case(id="Q5", about="all runs", target=10, values=slices),
        Case(id="Q6", about="slices", target=0.2, values=slices),
        Case(id="X01", about="a run", target=0.2, values=run | {"measure": ["loss", "mean_iou"]}),
        Case(id="X02", about="now", target=0.2),
        Case(id="X03", about="a model", target=0.2, values={"model": model}),
        Case(id="X04", about="an unused file", target=0.2, values={"file": "ref/gpfs1/data/parihaka.sgy"}),
        Case(id="X04", about="the file behind all", values={"file": "ref/gpfs1/data/netherlands.sgy"}),
        Case(id="X05", about="a run", target=0.2, values=dataset | run),
        Case(id="X05", about="all runs", values=dataset),
        Case(id="X06", about="a model", target=0.2, values={"artefact": model}),
        Case(id="X07", about="a run", target=1, values=run),
        Case(id="X07", about="all runs"),
        Case(id="X08", about="a run", target=1, values=run),
        Case(id="X08", about="all runs"),
        Case(id="X09", about="a model", target=0.2, values={"model": model}),
        Case(id="X10", about="a model", target=0.2, values={"model": model}),
        Case(id="X11", about="all people", target=0.2),
    )


def now(case: Case) -> Asked:
    """The question of the catalogue."""
    return _asked(catalogue().find(case.id), case, case.values)


def first_written(case: Case) -> Asked:
    """The question as it was before; it knew no `run`, so it is asked of all of them."""
    question = _first(case)
    lacks = first_written_lacks(case)
    known = {name: value for name, value in case.values.items() if name not in lacks}
    return _asked(question, case, known)


def first_written_lacks(case: Case) -> set[str]:
    """Parameters of a case that the question as first written did not have."""
    question = _first(case)
    return {name for name in case.values if question.parameter(name) is None}


def _first(case: Case) -> Question:
    (path,) = FIRST_WRITTEN.glob(f"{case.id.lower()}-*.rq")
    return parse(path.read_text("utf-8"), source=path.name)


# What the catalogue said of them when the questions were written.
_AS_WRITTEN_AT_FIRST: Final = frozenset({"Q1", "Q2", "Q3", "Q5", "Q6", "X02", "X05", "X07", "X08", "X10"})


def _asked(question: Question, case: Case, values: Mapping[str, object]) -> Asked:
    first = question is not catalogue().find(case.id)
    ordered = case.id in _AS_WRITTEN_AT_FIRST if first else question.best_as_written
    return Asked(text=bind(question, values), best_as_written=ordered)  # type: ignore[arg-type]
