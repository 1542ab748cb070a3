"""What both stores of MLflow have in common: which runs are taken, and the odd forms of some facts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from headstream.capture.ingest.mlflow.records import Dataset, DatasetKey, Run
from headstream.capture.ingest.told import Refused, Unmapped, UnmappedReason

NESTED: Final = "mlflow.parentRunId"
# What MLflow keeps that is no provenance of runs, or not of theirs (docs/reference/conformance.md).
_SENTENCES: Final[dict[UnmappedReason, str]] = {
    "trace": "a trace of calls of a language model",
    "registered-model": "a name in the model registry, with its versions and aliases",
    "deleted-run": "a run that was deleted in MLflow",
    "deleted-experiment": "an experiment that was deleted in MLflow, with its runs",
}


class Source(Protocol):
    """A store of MLflow. `total`: how many runs there are to read of its `experiments`."""

    total: int
    experiments: Collection[str]

    def runs(self) -> Iterator[Run | Unmapped | Refused]:
        """Every run that is chosen, and what the store has besides."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Which runs are taken; empty: all of them.

    With `since` (milliseconds) only those in which something has changed from then on, as far as the store
    knows: one that is taken for nothing changes nothing.
    """

    experiments: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    since: int | None = None

    def takes(self, experiment: str, run: str) -> bool:
        return (not self.experiments or experiment in self.experiments) and (
            not self.runs or run in self.runs
        )


@dataclass(slots=True)
class Counts:
    """What is not taken, counted."""

    where: str
    _found: Counter[UnmappedReason] = field(default_factory=Counter)

    def add(self, reason: UnmappedReason, count: int = 1) -> None:
        self._found[reason] += count

    def unmapped(self) -> Iterator[Unmapped]:
        for reason, count in sorted(self._found.items()):
            if count:
                yield Unmapped(reason=reason, message=_SENTENCES[reason], where=self.where, count=count)


def dataset(kept: Mapping[str, Any], context: str | None) -> Dataset:
    """A dataset from its row or file; a source that is no JSON object is kept as its text."""
    text = kept.get("source")
    try:
        source = json.loads(text or "{}")
    except (TypeError, ValueError):
        source = None
    if not isinstance(source, dict):
        source = {"source": text}
    return Dataset(
        key=DatasetKey(str(kept["name"]), str(kept["digest"])),
        source_type=kept.get("source_type"),
        source=source,
        context=context,
        schema=kept.get("schema"),
        profile=kept.get("profile"),
    )
