"""A run of MLflow as events: spec section 6, and the table of docs/reference/conformance.md.

Pure. The experiment is the workflow, the run its execution; a learning stage uses parameters and
datasets and generates metrics, models and artifacts; each step of a metric is a turn inside it.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from headstream.capture.gateway.scope import holdings
from headstream.capture.ingest.mlflow.planning import ARTIFACT, DATASET, MODEL, planned, turns_of
from headstream.capture.ingest.mlflow.records import Dataset, Model, Point, Run
from headstream.capture.ingest.mlflow.stages import TELEMETRY, Stage, Staged, staged
from headstream.capture.ingest.mlflow.turns import INDEX, Turn, blocks, turns
from headstream.capture.ingest.told import Item, Told, Unmapped
from headstream.schemas.events import (
    OUT,
    Context,
    Enclosing,
    Event,
    ParentRun,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue, Reference, Value, canonical_json
from headstream.schemas.vocabulary import ERRORED, FINISHED

_ENDED: Final = {"FINISHED": FINISHED, "FAILED": ERRORED, "KILLED": ERRORED}
# The years 1970 to 9999, in milliseconds: what MLflow can have meant and every store can write.
_TIMES: Final = range(253_402_300_800_000)
_LONG: Final = range(-(2**63), 2**63)
_MOST_TEXT: Final = 64 << 10
_CHUNK: Final = 200
# Where a dataset lies, by the keys that MLflow's kinds of sources have for it.
_LOCATIONS: Final = ("uri", "url", "path", "delta_table_name", "table_name")
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*:")


def map_run(run: Run, mounts: Mounts) -> Iterator[Item]:
    """The events of a run, and what of it is not in them."""
    sound = tuple(point for point in run.points if point.at in _TIMES and point.step in _LONG)
    if len(sound) < len(run.points):
        yield Unmapped(
            reason="metric-out-of-range",
            message="a point of a metric with a time outside of 1970 to 9999, or a step of more than 64 bits",
            where=run.where,
            count=len(run.points) - len(sound),
        )
    ended = run.ended if run.status in _ENDED and run.ended in _TIMES else None
    if run.status in _ENDED and ended is None:
        yield Unmapped(reason="end-without-time", message=f"{run.status}, but not when", where=run.where)
    yield from _relative(run)
    run = replace(run, points=sound, ended=ended)
    found = staged(run)
    mapping = _Mapping(run, found, mounts, ended)
    yield Told(
        workflow=run.experiment,
        execution=run.id,
        events=tuple(mapping.events()),
        definition=planned(run.experiment, found),
    )


def as_written(text: str) -> Value:
    """A parameter as the finite number or boolean whose text Python writes so, else the text.

    MLflow keeps `str(value)` of whatever it was given.
    """
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        whole = isinstance(number, int)
        if str(number) == text and (number in _LONG if whole else math.isfinite(number)):
            return number
    return text


def location(dataset: Dataset) -> str:
    """What identifies the data: where MLflow says that it lies, else its name and digest."""
    for key in _LOCATIONS:
        found = dataset.source.get(key)
        if isinstance(found, str) and found.strip():
            return found
    return f"mlflow-dataset://{dataset.key.name}/{dataset.key.digest}"


class _Mapping:
    """One run on its way."""

    def __init__(self, run: Run, found: Staged, mounts: Mounts, ended: int | None) -> None:
        self._run = run
        self._found = found
        self._mounts = mounts
        self._started = run.started * 1000 if run.started is not None and run.started in _TIMES else None
        self._ended = None if ended is None else ended * 1000
        self._outcome = _ENDED.get(run.status, FINISHED)
        self._error = f"MLflow says {run.status}" if self._outcome == ERRORED else None

    def events(self) -> Iterator[Event]:
        run = self._run
        yield RunStarted(
            started=self._started,
            person=run.user,
            context=Context(metadata=_facts(run)),
            parent=None if run.parent is None else ParentRun(run.parent.experiment, run.parent.run),
        )
        for stage in self._found.stages:
            yield from self._stage(stage)
        yield from blocks(TELEMETRY, None, turns(self._found.telemetry).values())
        if self._ended is not None:
            yield RunEnded(started=self._started, ended=self._ended, outcome=self._outcome, error=self._error)

    def _stage(self, stage: Stage) -> Iterator[Event]:
        step = StepRef(stage.name, "0")
        used = tuple(self._used(stage))
        yield StepStarted(step=step, started=self._started, person=self._run.user, values=used)
        scope = Scope(used=holdings(used))
        yield from self._turns(stage, step, turns(stage.points), scope)
        for model, points in sorted(stage.evaluations.items()):
            yield from self._evaluation(stage, step, model, points, scope)
        # A model that is logged without a step has step 0.
        models = [self._model(model) for model in stage.models_made if not model.step]
        if stage.leading:
            yield from self._artifacts(step, scope)
        if self._ended is None:
            if models:
                yield ValuesAdded(step=step, direction=OUT, values=tuple(models), scope=scope)
            return
        # Only now: as long as a run goes on, its last values are not the last.
        last = _last_values(stage.points)
        yield StepEnded(
            step=step,
            started=self._started,
            ended=self._ended,
            outcome=self._outcome,
            error=self._error,
            person=self._run.user,
            values=(*last, *models),
            scope=scope,
        )

    def _evaluation(
        self, stage: Stage, around: StepRef, model_id: str, points: list[Point], scope: Scope
    ) -> Iterator[Event]:
        """What was measured of one model, inside the stage; it lasts from its first point to its last."""
        known = {each.id: each for each in (*self._run.models_made, *self._run.models_used)}
        model = known.get(model_id) or Model(location=f"models:/{model_id}", id=model_id)
        used = (self._model(model),)
        enclosing = (Enclosing(around, scope.used),)
        over = self._ended is not None
        common: dict[str, Any] = {
            "step": StepRef(stage.name, model_id),
            "parent": around,
            "started": min(point.at for point in points) * 1000 if over else None,
        }
        yield StepStarted(values=used, scope=Scope(enclosing=enclosing), **common)
        yield from blocks(turns_of(stage), common["step"], turns(points).values(), f"{model_id}/")
        if over:
            yield StepEnded(
                ended=max(point.at for point in points) * 1000,
                outcome=FINISHED,
                values=tuple(_last_values(points)),
                scope=Scope(used=holdings(used), enclosing=enclosing),
                **common,
            )

    def _turns(self, stage: Stage, step: StepRef, told: dict[str, Turn], scope: Scope) -> Iterator[Event]:
        """The turns inside a stage: rows, and steps where one made a model."""
        makers: dict[int, list[Model]] = defaultdict(list)
        for model in stage.models_made:
            if model.step:
                makers[model.step].append(model)
        name = turns_of(stage)
        made = {str(number) for number in makers}
        yield from blocks(name, step, (turn for task, turn in told.items() if task not in made))
        for number, models in sorted(makers.items()):
            yield from self._turn(
                StepRef(name, str(number)), step, number, told.get(str(number)), models, scope
            )

    def _turn(
        self,
        ref: StepRef,
        parent: StepRef,
        number: int,
        turn: Turn | None,
        models: list[Model],
        around: Scope,
    ) -> Iterator[Event]:
        """A turn that made models, which no row can say. Without any metric nothing says when it was."""
        enclosing = (Enclosing(parent, around.used),)
        index = (AttributeValue(INDEX, number),)
        made = [self._model(model) for model in models]
        common: dict[str, Any] = {
            "step": ref, "parent": parent, "cycle": True, "iteration": number,
            "started": None if turn is None else turn.at * 1000,
        }  # fmt: skip
        yield StepStarted(values=index, scope=Scope(enclosing=enclosing), **common)
        scope = Scope(used=holdings(index), enclosing=enclosing)
        if turn is None:
            yield ValuesAdded(step=ref, direction=OUT, values=tuple(made), scope=scope)
            return
        measured = [AttributeValue(key, value) for key, value in sorted(turn.values.items())]
        yield StepEnded(
            ended=turn.at * 1000, outcome=FINISHED, values=(*measured, *made), scope=scope, **common
        )

    def _artifacts(self, step: StepRef, scope: Scope) -> Iterator[Event]:
        files, over = self._run.artifacts, self._ended is not None
        for first in range(0, len(files), _CHUNK):
            values = tuple(
                AttributeValue(ARTIFACT, self._reference(file.location, size=file.size if over else None))
                for file in files[first : first + _CHUNK]
            )
            yield ValuesAdded(step=step, direction=OUT, values=values, scope=scope)

    def _used(self, stage: Stage) -> Iterator[AttributeValue]:
        for name, text in sorted(stage.parameters.items()):
            yield AttributeValue(name, as_written(text))
        for dataset in stage.datasets:
            facts = {
                "name": dataset.key.name,
                "digest": dataset.key.digest,
                "source_type": dataset.source_type,
                "schema": _parsed(dataset.schema),
                "profile": _parsed(dataset.profile),
            }
            # The digest is a fact about the data and no part of its name, as whoever made it did not know it.
            yield AttributeValue(
                DATASET,
                self._reference(location(dataset), checksum=f"mlflow:{dataset.key.digest}"),
                canonical_json({key: value for key, value in facts.items() if value is not None}),
            )
        for model in stage.models_used:
            yield self._model(model)

    def _model(self, model: Model) -> AttributeValue:
        facts = {"model_id": model.id, **model.facts} if model.id else dict(model.facts)
        return AttributeValue(
            MODEL, self._reference(model.location), canonical_json(facts) if facts else None
        )

    def _reference(self, text: str, *, checksum: str | None = None, size: int | None = None) -> Reference:
        return Reference(text=text, store=self._mounts.store_of(text), checksum=checksum, size_bytes=size)


def _facts(run: Run) -> str:
    """What MLflow says of a run beyond what has a property of its own, as canonical JSON."""
    facts = {
        "run_name": run.name,
        "experiment_id": run.experiment_id,
        "artifact_uri": run.artifact_uri,
    }
    return canonical_json({"mlflow": {key: value for key, value in facts.items() if value is not None}})


def _last_values(points: list[Point]) -> list[AttributeValue]:
    return [AttributeValue(name, value) for name, value in sorted(_last(points).items())]


def _last(points: list[Point]) -> dict[str, float]:
    """The value that MLflow shows for a metric: that of the greatest step, then time, then value."""
    found: dict[str, tuple[int, int, bool, float]] = {}
    for point in points:
        # A number counts before NaN, which is neither more nor less.
        rank = (point.step, point.at, point.value == point.value, point.value)
        if (
            point.key not in found
            or rank[:3] > found[point.key][:3]
            or (rank[:3] == found[point.key][:3] and rank[3] > found[point.key][3])
        ):
            found[point.key] = rank
    return {key: rank[3] for key, rank in found.items()}


def _relative(run: Run) -> Iterator[Unmapped]:
    for dataset in run.datasets:
        text = location(dataset)
        if not _SCHEME.match(text) and not text.startswith("/") and dataset.source_type == "local":
            yield Unmapped(
                reason="relative-path",
                message=f"dataset {dataset.key.name!r} lies at {text!r}, relative to a folder that MLflow "
                "does not know: it is a reference, but not the one of the file's absolute path",
                where=run.where,
            )


def _parsed(text: str | None) -> Any:
    """JSON that MLflow keeps as text; too long for a graph, it is told as its length."""
    if text is None or text == "null":
        return None
    if len(text) > _MOST_TEXT:
        return f"{len(text)} characters, which are not kept"
    try:
        return json.loads(text)
    except ValueError:
        return text
