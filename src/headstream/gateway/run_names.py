"""Which runs a name may mean: `workflow/execution`, the id that the client makes, or an execution alone.

Pure: the graph says which of them there are, so that nobody has to list all runs to find one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

# What the client makes of an execution id that is a time.
_TIME: Final = re.compile(r"\d{8}T\d{2}h\d{2}m\d{2}s\d{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Runs that a name may mean, and workflows of which it may mean a run by its time."""

    runs: frozenset[tuple[str, str]]
    workflows: frozenset[str]


def client_ids(workflow: str, execution: str) -> tuple[str, ...]:
    """The ids that the client may make for a run (spec section 9.5): a float is also shown as a time."""
    begin = f"{workflow.lower()}_exec_"
    found = [begin + execution]
    with suppress(ValueError, OverflowError, OSError):
        if repr(float(execution)) == execution:
            moment = datetime.fromtimestamp(float(execution), UTC)
            found.insert(0, begin + moment.strftime("%Y%m%dT%Hh%Mm%Ss%f")[:-3])
    return tuple(found)


def candidates(name: str, workflows: Iterable[str]) -> Candidates:
    """What a name may mean among the runs of these workflows; no run that it means is missing."""
    runs: set[tuple[str, str]] = set()
    timed: set[str] = set()
    for workflow in workflows:
        runs.add((workflow, name))
        if name.startswith(f"{workflow}/"):
            runs.add((workflow, name[len(workflow) + 1 :]))
        begin = f"{workflow.lower()}_exec_"
        if name.startswith(begin):
            execution = name[len(begin) :]
            runs.add((workflow, execution))
            if _TIME.fullmatch(execution):
                timed.add(workflow)
    return Candidates(runs=frozenset(runs), workflows=frozenset(timed))
