"""The prospective document that a run of MLflow implies: a function of that run alone.

So a run always names the same document, whatever other runs its experiment gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from headstream.capture.ingest.mlflow.stages import TELEMETRY, Stage, Staged, names
from headstream.capture.ingest.mlflow.turns import INDEX
from headstream.schemas.definition import Attribute, Definition, Transformation

# No key of a parameter or metric: MLflow keeps this prefix to itself.
DATASET: Final = "mlflow.dataset"
MODEL: Final = "mlflow.model"
ARTIFACT: Final = "mlflow.artifact"
_REFERENCE: Final = "DATA_REFERENCE"


def planned(experiment: str, found: Staged) -> Definition:
    """The experiment with the stages, turns and attributes of one of its runs."""
    transformations = [each for stage in found.stages for each in _transformations(stage)]
    if found.telemetry:
        transformations.append(
            Transformation(
                name=TELEMETRY, cycle=True, inputs=_index(), outputs=_ordered(_plain(names(found.telemetry)))
            )
        )
    return Definition(
        workflow=experiment,
        workflow_type="Experiment",
        lifecycle_phase="Learning",
        transformations=tuple(sorted(transformations, key=lambda each: each.name)),
    )


def turns_of(stage: Stage) -> str:
    """What the turns inside a stage are called."""
    return f"{stage.name}_step"


def _transformations(stage: Stage) -> Iterator[Transformation]:
    semantics = None if stage.type is None else "hyper_parameter"
    inputs = [
        Attribute(name=name, semantics="PARAMETER", ml_semantics=semantics) for name in stage.parameters
    ]
    if stage.datasets:
        inputs.append(Attribute(name=DATASET, semantics=_REFERENCE, ml_semantics="dataset"))
    if stage.models_used or stage.evaluations:
        inputs.append(Attribute(name=MODEL, semantics=_REFERENCE, ml_semantics="model"))
    measures = [Attribute(name=name, ml_semantics="evaluation_measure") for name in stage.measures]
    model = [Attribute(name=MODEL, semantics=_REFERENCE, ml_semantics="model")] if stage.models_made else []
    artifact = [Attribute(name=ARTIFACT, semantics=_REFERENCE)] if stage.leading else []
    yield Transformation(
        name=stage.name,
        type=None if stage.type is None else "LearningStage",
        stage_type=stage.type,
        lifecycle_phase="Learning",
        inputs=_ordered(inputs),
        outputs=_ordered([*measures, *model, *artifact]),
    )
    if measures or stage.models_made:
        yield Transformation(
            name=turns_of(stage),
            type="LearningStageSection",
            cycle=True,
            parent=stage.name,
            inputs=_index(),
            outputs=_ordered([*measures, *model]),
        )


def _plain(found: Iterable[str]) -> list[Attribute]:
    return [Attribute(name=name) for name in found]


def _index() -> tuple[Attribute, ...]:
    return (Attribute(name=INDEX, dtype="integer"),)


def _ordered(attributes: list[Attribute]) -> tuple[Attribute, ...]:
    return tuple(sorted(attributes, key=lambda each: each.name))
