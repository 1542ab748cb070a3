"""A run as MLflow keeps it, whichever of its stores it was read from. Times are milliseconds, as there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class DatasetKey(NamedTuple):
    """What metrics name a dataset by."""

    name: str
    digest: str


class Point(NamedTuple):
    """One value of a metric; `model` is the id of the logged model that it is of, if MLflow says so."""

    key: str
    step: int
    at: int
    value: float
    dataset: DatasetKey | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset that a run used. `source` is what MLflow kept of where it lies, parsed."""

    key: DatasetKey
    source_type: str | None
    source: Mapping[str, Any]
    context: str | None = None
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A logged model (MLflow 3), or a folder with an MLmodel file among the artifacts (`id` None).

    `step` is that at which the run generated it; `facts` are what MLflow says besides.
    """

    location: str
    id: str | None = None
    step: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file among the artifacts of a run."""

    location: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run with all that its store has of it."""

    id: str
    experiment: str
    experiment_id: str
    where: str
    name: str | None = None
    user: str | None = None
    status: str = "RUNNING"
    started: int | None = None
    ended: int | None = None
    parent: Parent | None = None
    artifact_uri: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    models_used: tuple[Model, ...] = ()
    models_made: tuple[Model, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Parent:
    """The run that a run is nested in."""

    experiment: str
    run: str
