"""A tracking directory of MLflow: folders of experiments, of runs in them, and a file for each fact."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from headstream.capture.ingest.mlflow.artifacts import listed
from headstream.capture.ingest.mlflow.records import Dataset, DatasetKey, Model, Parent, Point, Run
from headstream.capture.ingest.mlflow.sources import NESTED, Counts, Selection, dataset
from headstream.capture.ingest.told import Refused, Unmapped

_META: Final = "meta.yaml"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_RUNS: Final = frozenset({"datasets", "models", "tags", "traces", ".trash"})
# As in MLflow's RunStatus, which the files keep as a number.
_STATUS: Final = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


@dataclass(frozen=True, slots=True)
class _Experiment:
    id: str
    name: str
    path: Path


class Directory:
    """A tracking directory, read one run at a time."""

    def __init__(self, root: Path, selection: Selection) -> None:
        self._root = root
        self._selection = selection
        self.counts = Counts(str(root))
        self._refused: list[Refused] = []
        self._kept = list(self._read_experiments())
        self.experiments: Collection[str] = sorted({each.name for each in self._kept})
        self._places = {
            path.name: (experiment, path)
            for experiment in self._kept
            for path in _folders(experiment.path)
            if path.name not in _NO_RUNS and (path / _META).is_file()
        }
        self._taken = [name for name in self._places if self._chosen(name)]
        self.total = len(self._taken)

    @staticmethod
    def is_one(path: Path) -> bool:
        """Tell whether experiments lie in a folder."""
        return any((each / _META).is_file() for each in _folders(path))

    def runs(self) -> Iterator[Run | Unmapped | Refused]:
        yield from self._refused
        for experiment, path in map(self._places.__getitem__, self._taken):
            try:
                yield from self._run(experiment, path)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
                said = " ".join(str(error).split())
                yield Refused(
                    reason="run-unreadable", message=f"{type(error).__name__}: {said}", where=str(path)
                )
        for experiment in self._kept:
            self.counts.add("trace", len(_folders(experiment.path / "traces")))
        # Beside the experiments, the same name is that of the model registry.
        self.counts.add("registered-model", len(_folders(self._root / "models")))
        yield from self.counts.unmapped()

    def _chosen(self, run: str) -> bool:
        experiment, path = self._places[run]
        since = self._selection.since
        return self._selection.takes(experiment.name, run) and (since is None or _changed(path, since))

    def _read_experiments(self) -> Iterator[_Experiment]:
        for path in _folders(self._root):
            if not (path / _META).is_file():
                continue
            try:
                meta = _meta(path)
                if meta.get("lifecycle_stage") == "deleted":
                    self.counts.add("deleted-experiment")
                    continue
                yield _Experiment(path.name, str(meta["name"]), path)
            except (OSError, KeyError, ValueError, yaml.YAMLError) as error:
                said = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self._refused.append(Refused(reason="experiment-unreadable", message=said, where=str(path)))
        self.counts.add("deleted-experiment", len(_folders(self._root / ".trash")))

    def _run(self, experiment: _Experiment, path: Path) -> Iterator[Run | Unmapped | Refused]:
        meta = _meta(path)
        if meta.get("lifecycle_stage") == "deleted":
            self.counts.add("deleted-run")
            return
        tags = dict(_texts(path / "tags"))
        used, made, datasets = self._linked(experiment, path)
        points: list[Point] = []
        models = self._models_of_points(path.name, [model.id for model in (*used, *made) if model.id])
        for read in _points(path / "metrics"):
            if isinstance(read, Refused):
                yield read
            else:
                points.append(
                    read._replace(model=models.get((read.key, read.step, read.at, repr(read.value))))
                )
        artifacts = listed(str(meta.get("artifact_uri") or ""), path / "artifacts")
        yield Run(
            id=str(meta.get("run_id") or path.name),
            experiment=experiment.name,
            experiment_id=experiment.id,
            where=str(path),
            name=tags.get("mlflow.runName") or meta.get("run_name") or None,
            user=str(meta.get("user_id") or tags.get("mlflow.user") or "") or None,
            status=_STATUS.get(int(meta.get("status") or 1), "RUNNING"),
            started=meta.get("start_time"),
            ended=meta.get("end_time"),
            parent=self._parent(tags.get(NESTED), experiment),
            artifact_uri=meta.get("artifact_uri"),
            parameters=dict(_texts(path / "params")),
            tags=tags,
            points=tuple(points),
            datasets=tuple(datasets),
            models_used=tuple(used),
            models_made=(*made, *artifacts.models),
            artifacts=artifacts.files,
        )
        if artifacts.unlisted is not None:
            yield Unmapped(reason="artifacts-not-listed", message=artifacts.unlisted, where=str(path))

    def _parent(self, run: str | None, experiment: _Experiment) -> Parent | None:
        if not run:
            return None
        found = self._places.get(run)
        return Parent(experiment.name if found is None else found[0].name, run)

    def _linked(self, experiment: _Experiment, run: Path) -> tuple[list[Model], list[Model], list[Dataset]]:
        """Models used, models made and datasets used."""
        used: list[Model] = []
        made = [
            replace(self._model(path.name), step=int(_meta(path).get("step") or 0))
            for path in _folders(run / "outputs")
        ]
        datasets: list[Dataset] = []
        for path in _folders(run / "inputs"):
            meta = _meta(path)
            source = str(meta["source_id"])
            if meta.get("source_type") == "DATASET":
                kept = _meta(experiment.path / "datasets" / source)
                datasets.append(dataset(kept, (meta.get("tags") or {}).get("mlflow.data.context")))
            elif meta.get("source_type", "").startswith(("MODEL", "RUN_INPUT")):
                used.append(self._model(str(meta.get("destination_id") or source)))
        ours = {model.id for model in made}
        return [model for model in used if model.id not in ours], made, datasets

    def _models_of_points(self, run: str, models: list[str]) -> dict[tuple[str, int, int, str], str]:
        """Which model each point of a run is of: MLflow keeps it with the model.

        By the value too (as text, so that NaN is one): two models may have a metric in one millisecond.
        """
        found = {}
        for model in models:
            for key, path in _files(self._folder_of(model) / "metrics"):
                for words in map(str.split, path.read_text("utf-8").splitlines()):
                    with suppress(ValueError):  # The same line of the run is refused.
                        if len(words) > 3 and words[3] == run:
                            found[key, int(words[2]), int(words[0]), repr(float(words[1]))] = model
        return found

    def _folder_of(self, model: str) -> Path:
        places = (each.path / "models" / model for each in self._kept)
        return next((path for path in places if path.is_dir()), self._root / "models" / model)

    def _model(self, name: str) -> Model:
        path = self._folder_of(name)
        if not (path / _META).is_file():
            return Model(location=f"models:/{name}", id=name)
        meta = _meta(path)
        facts = {
            "name": meta.get("name"),
            "type": meta.get("model_type"),
            "params": dict(_texts(path / "params")),
        }
        return Model(
            location=str(meta["artifact_location"]),
            id=name,
            facts={key: value for key, value in facts.items() if value},
        )


def _points(folder: Path) -> Iterator[Point | Refused]:
    for key, path in _files(folder):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            try:
                yield _point(key, line.split())
            except (ValueError, IndexError):
                yield Refused(
                    reason="metric-line",
                    message=f"not `milliseconds value step`: {line[:80]!r}",
                    where=f"{path}:{number}",
                )


def _point(key: str, words: list[str]) -> Point:
    """`at value step`; old versions write no step, new ones may add name and digest of a dataset."""
    step = int(words[2]) if len(words) > 2 else 0
    linked = DatasetKey(" ".join(words[3:-1]), words[-1]) if len(words) > 4 else None
    return Point(key, step, int(words[0]), float(words[1]), linked)


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for key, path in _files(folder):
        yield key, path.read_text("utf-8").removesuffix("\n")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """A file for each fact; a key with slashes is a file in folders."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _changed(folder: Path, since: int) -> bool:
    """Tell whether a file below a folder was written from then on; what cannot be looked at, is read."""
    try:
        return any(path.stat().st_mtime_ns >= since * 1_000_000 for _, path in _files(folder))
    except OSError:
        return True


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []


def _meta(folder: Path) -> Mapping[str, Any]:
    found = yaml.load((folder / _META).read_text("utf-8"), _LOADER)
    if not isinstance(found, Mapping):
        raise ValueError(f"{folder / _META} holds no mapping")
    return found
