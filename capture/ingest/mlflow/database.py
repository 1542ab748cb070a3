"""The SQLite database of an MLflow server or of a local `mlflow.db`, read without writing anything."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from headstream.capture.ingest.errors import SourceUnreadable
from headstream.capture.ingest.mlflow.artifacts import listed
from headstream.capture.ingest.mlflow.records import Dataset, DatasetKey, Model, Parent, Point, Run
from headstream.capture.ingest.mlflow.sources import NESTED, Counts, Selection, dataset
from headstream.capture.ingest.told import Refused, Unmapped, UnmappedReason

_MAGIC: Final = b"SQLite format 3\0"
# MLflow writes the greatest number where a metric is infinite, which SQL databases cannot keep.
_INFINITE: Final = {sys.float_info.max: math.inf, -sys.float_info.max: -math.inf}
_NEEDED: Final = ("experiments", "runs", "params", "metrics", "tags")
_RUNS: Final = """
SELECT r.*, e.name AS experiment FROM runs r JOIN experiments e USING (experiment_id)
WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active' ORDER BY r.start_time, r.run_uuid
"""


class Database:
    """A database of MLflow, read one run at a time."""

    def __init__(self, path: Path, selection: Selection) -> None:
        self._path = path
        self.counts = Counts(str(path))
        self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row
        try:
            self._tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
            missing = [name for name in _NEEDED if name not in self._tables]
            if missing:
                raise SourceUnreadable(
                    f"{path} is no database of MLflow: it has no table {', '.join(missing)}"
                )
            self._experiment_of = {
                str(row["run_uuid"]): str(row["name"])
                for row in self._rows(
                    "SELECT r.run_uuid, e.name FROM runs r JOIN experiments e USING (experiment_id)"
                )
            }
            self.experiments: Collection[str] = [
                row["name"] for row in self._rows("SELECT name FROM experiments ORDER BY name")
            ]
            self._chosen = [
                row
                for row in self._rows(_RUNS)
                if selection.takes(row["experiment"], row["run_uuid"])
                and (selection.since is None or self._changed(row, selection.since))
            ]
        except sqlite3.Error as error:
            raise SourceUnreadable(f"{path} cannot be read: {error}") from error
        self.total = len(self._chosen)

    @staticmethod
    def is_one(path: Path) -> bool:
        """Tell a SQLite file by how it begins."""
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC

    def runs(self) -> Iterator[Run | Unmapped | Refused]:
        try:
            for row in self._chosen:
                yield from self._run(row)
            self._count()
        except sqlite3.Error as error:
            raise SourceUnreadable(f"{self._path} cannot be read: {error}") from error
        finally:
            self._connection.close()
        yield from self.counts.unmapped()

    def _run(self, row: sqlite3.Row) -> Iterator[Run | Unmapped]:
        run = row["run_uuid"]
        tags = self._pairs("tags", run)
        artifacts = listed(row["artifact_uri"] or "")
        used, made = self._models(run)
        yield Run(
            id=run,
            experiment=row["experiment"],
            experiment_id=str(row["experiment_id"]),
            where=f"{self._path}: run {run}",
            name=tags.get("mlflow.runName") or row["name"] or None,
            user=row["user_id"] or tags.get("mlflow.user") or None,
            status=row["status"] or "RUNNING",
            started=row["start_time"],
            ended=row["end_time"],
            parent=self._parent(tags.get(NESTED), row["experiment"]),
            artifact_uri=row["artifact_uri"],
            parameters=self._pairs("params", run),
            tags=tags,
            points=tuple(self._points(run)),
            datasets=tuple(self._datasets(run)),
            models_used=used,
            models_made=(*made, *artifacts.models),
            artifacts=artifacts.files,
        )
        if artifacts.unlisted is not None:
            yield Unmapped(reason="artifacts-not-listed", message=artifacts.unlisted, where=f"run {run}")

    def _changed(self, row: sqlite3.Row, since: int) -> bool:
        """Tell whether a run goes on, or began, ended or had a metric from then on."""
        if row["end_time"] is None or max(row["start_time"] or 0, row["end_time"]) >= since:
            return True
        metrics = "SELECT 1 FROM metrics WHERE run_uuid = ? AND timestamp >= ? LIMIT 1"
        return any(True for _ in self._rows(metrics, row["run_uuid"], since))

    def _parent(self, run: str | None, experiment: str) -> Parent | None:
        return Parent(self._experiment_of.get(run, experiment), run) if run else None

    def _pairs(self, table: str, run: str) -> dict[str, str]:
        rows = self._rows(f"SELECT key, value FROM {table} WHERE run_uuid = ? ORDER BY key", run)
        return {row["key"]: row["value"] or "" for row in rows}

    def _points(self, run: str) -> Iterator[Point]:
        # By the value too: two models may have a metric of one name in one millisecond.
        linked: dict[tuple[str, int, int, float], tuple[DatasetKey | None, str]] = {}
        if "logged_model_metrics" in self._tables:
            for row in self._rows("SELECT * FROM logged_model_metrics WHERE run_id = ?", run):
                place = (row["metric_name"], row["metric_step"], row["metric_timestamp_ms"])
                name, digest = row["dataset_name"], row["dataset_digest"]
                linked[*place, row["metric_value"]] = (
                    DatasetKey(name, digest) if name else None,
                    row["model_id"],
                )
        for row in self._rows("SELECT * FROM metrics WHERE run_uuid = ? ORDER BY key, timestamp", run):
            place = (row["key"], row["step"], row["timestamp"])
            value = float("nan") if row["is_nan"] else _INFINITE.get(row["value"], row["value"])
            yield Point(*place, value, *linked.get((*place, row["value"]), (None, None)))

    def _datasets(self, run: str) -> Iterator[Dataset]:
        if "datasets" not in self._tables:
            return
        for row in self._rows(
            "SELECT d.name, d.digest, d.dataset_source_type AS source_type, d.dataset_source AS source, "
            "d.dataset_schema AS schema, d.dataset_profile AS profile, t.value AS context "
            "FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id "
            "LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = 'mlflow.data.context' "
            "WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ? "
            "ORDER BY d.name, d.digest",
            run,
        ):
            yield dataset(dict(row), row["context"])

    def _models(self, run: str) -> tuple[tuple[Model, ...], tuple[Model, ...]]:
        """Models used and models made."""
        if "logged_models" not in self._tables:
            return (), ()
        found: dict[str, dict[str, Model]] = defaultdict(dict)
        for row in self._rows(
            "SELECT i.destination_type AS link, i.destination_id AS id, i.step, m.name, m.artifact_location, "
            "m.model_type FROM inputs i "
            "LEFT JOIN logged_models m ON m.model_id = i.destination_id "
            "WHERE i.source_id = ? AND i.destination_type IN ('MODEL_INPUT', 'MODEL_OUTPUT') "
            "ORDER BY i.destination_id",
            run,
        ):
            params = self._rows("SELECT * FROM logged_model_params WHERE model_id = ?", row["id"])
            facts = {
                "name": row["name"],
                "type": row["model_type"],
                "params": {each["param_key"]: each["param_value"] for each in params},
            }
            found[row["link"]][row["id"]] = Model(
                location=row["artifact_location"] or f"models:/{row['id']}",
                id=row["id"],
                step=row["step"] or 0,
                facts={key: value for key, value in facts.items() if value},
            )
        made = found["MODEL_OUTPUT"]
        return tuple(model for name, model in found["MODEL_INPUT"].items() if name not in made), tuple(
            made.values()
        )

    def _count(self) -> None:
        counted: tuple[tuple[UnmappedReason, str, str], ...] = (
            ("deleted-run", "runs", "lifecycle_stage = 'deleted'"),
            ("deleted-experiment", "experiments", "lifecycle_stage = 'deleted'"),
            ("trace", "trace_info", "1"),
            ("registered-model", "registered_models", "1"),
        )
        for reason, table, where in counted:
            if table in self._tables:
                (row,) = self._rows(f"SELECT COUNT(*) FROM {table} WHERE {where}")
                self.counts.add(reason, row[0])

    def _rows(self, text: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection.execute(text, values).fetchall()
