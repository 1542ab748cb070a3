"""The points of metrics as turns of a loop: MLflow's `step` is the number of the turn.

A turn happened when its first point was logged, and takes no time: MLflow knows no start of it. What
is logged for it later adds values to it and changes nothing, so a run may be read while it runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from headstream.capture.ingest.mlflow.records import Point
from headstream.schemas.events import Column, IterationBlock, StepRef

INDEX: Final = "step"
_ROWS: Final = 500


@dataclass(slots=True)
class Turn:
    """What was logged for one step. `prefix`, `ordinal` and `suffix` make its task id."""

    step: int
    prefix: str
    ordinal: int
    suffix: str = ""
    at: int = 0
    values: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return f"{self.prefix}{self.ordinal}{self.suffix}"


def turns(points: Iterable[Point]) -> dict[str, Turn]:
    """Turns by their task id: `STEP`, and `STEP@MILLISECONDS` for further values of a metric at a step.

    A metric that is logged without a step has many values at step 0.
    """
    grouped: dict[tuple[int, str], set[tuple[int, float]]] = defaultdict(set)
    for point in points:
        grouped[point.step, point.key].add((point.at, point.value))
    found: dict[str, Turn] = {}
    for (step, key), values in sorted(grouped.items()):
        # Sorted by text where numbers are no order: NaN is neither more nor less than another.
        ordered = sorted({(at, repr(value)): value for at, value in values}.items())
        same: dict[int, int] = defaultdict(int)
        for number, ((at, _), value) in enumerate(ordered):
            fresh = Turn(step, "", step)
            if number:
                fresh = Turn(step, f"{step}@", at, f".{same[at]}" if same[at] else "")
                same[at] += 1
            turn = found.setdefault(fresh.task, fresh)
            turn.at = min(turn.at, at) if turn.values else at
            turn.values[key] = value
    return found


def blocks(
    transformation: str, parent: StepRef | None, told: Iterable[Turn], before: str = ""
) -> Iterator[IterationBlock]:
    """Turns as rows: a block for each set of metrics and form of task ids, which begin with `before`."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[Turn]] = defaultdict(list)
    for turn in told:
        alike[turn.prefix, turn.suffix, tuple(sorted(turn.values))].append(turn)
    for (prefix, suffix, names), members in alike.items():
        for first in range(0, len(members), _ROWS):
            rows = members[first : first + _ROWS]
            times = tuple(turn.at * 1000 for turn in rows)
            yield IterationBlock(
                transformation=transformation,
                parent=parent,
                prefix=before + prefix,
                suffix=suffix,
                index_attribute=INDEX,
                ordinals=tuple(turn.ordinal for turn in rows),
                index=tuple(turn.step for turn in rows),
                started=times,
                ended=times,
                columns=tuple(Column(name, tuple(turn.values[name] for turn in rows)) for name in names),
            )
