"""Which learning stage of a run the things belong to that MLflow keeps of it side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from headstream.capture.ingest.mlflow.records import Dataset, DatasetKey, Model, Point, Run

TELEMETRY: Final = "telemetry"
_SYSTEM: Final = "system/"
# The stage that a dataset is for, by what its context (`mlflow.data.context`) begins with.
_CONTEXTS: Final = (("train", "Training"), ("val", "Validation"), ("test", "Test"), ("eval", "Test"))
_NAMES: Final = {"Training": "training", "Validation": "validation", "Test": "test"}


@dataclass(slots=True, kw_only=True)
class Stage:
    """One step of a run. `type` None: nothing says that anything is learnt or evaluated in it."""

    name: str
    type: str | None
    leading: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    datasets: list[Dataset] = field(default_factory=list)
    models_used: list[Model] = field(default_factory=list)
    models_made: list[Model] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    # Evaluations of one model each, by its id: what is known of one says nothing of another.
    evaluations: dict[str, list[Point]] = field(default_factory=lambda: defaultdict(list))

    @property
    def measures(self) -> list[str]:
        """Every metric of the stage."""
        return names([*self.points, *(point for points in self.evaluations.values() for point in points)])


@dataclass(frozen=True, slots=True)
class Staged:
    """The stages of a run, the leading one first, and the metrics of its machine."""

    stages: tuple[Stage, ...]
    telemetry: tuple[Point, ...]


def staged(run: Run) -> Staged:
    """Put datasets into the stages they are for, metrics into those of their datasets.

    All else belongs to the leading stage: training, or in a run that makes no model and has only
    datasets to evaluate with, the stage of the first of them.
    """
    kinds = {dataset.key: stage_type(dataset.context) for dataset in run.datasets}
    evaluates = bool(kinds) and "Training" not in kinds.values() and not run.models_made
    leading_type = min(kinds.values()) if evaluates else "Training"
    measures = [point for point in run.points if not point.key.startswith(_SYSTEM)]
    telemetry = tuple(point for point in run.points if point.key.startswith(_SYSTEM))
    learns = bool(measures or run.datasets or run.models_made or run.models_used)
    # What a run that goes on is for may still show: what is told now must hold then.
    if not learns and not (run.ended is not None and (run.parameters or run.artifacts)):
        return Staged((), telemetry)
    leading = Stage(
        name=_NAMES[leading_type] if learns else "run",
        type=leading_type if learns else None,
        leading=True,
        parameters=dict(run.parameters),
        models_made=list(run.models_made),
    )
    found = {leading_type: leading}
    for dataset in run.datasets:
        _stage(found, kinds[dataset.key]).datasets.append(dataset)
    for point in measures:
        stage = _stage(found, _kind(point.dataset, kinds) or leading_type)
        of_one = point.model is not None and stage.type != "Training"
        (stage.evaluations[str(point.model)] if of_one else stage.points).append(point)
    for stage in found.values():
        if stage.leading:
            stage.models_used += run.models_used
        elif stage.points:
            # Of no model in particular: of those that are made here, else that MLflow says the run used.
            stage.models_used += run.models_made or run.models_used
    return Staged(tuple(found.values()), telemetry)


def stage_type(context: str | None) -> str:
    """The learning stage that a context of a dataset stands for."""
    low = (context or "").lower()
    return next((kind for begin, kind in _CONTEXTS if low.startswith(begin)), "Training")


def _stage(found: dict[str, Stage], kind: str) -> Stage:
    return found.setdefault(kind, Stage(name=_NAMES[kind], type=kind))


def _kind(key: DatasetKey | None, kinds: dict[DatasetKey, str]) -> str | None:
    return None if key is None else kinds.get(key)


def names(points: Iterable[Point]) -> list[str]:
    """The metrics of some points."""
    return sorted({point.key for point in points})
