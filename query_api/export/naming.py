"""Decide which run a text names: an IRI, `WORKFLOW/EXECUTION`, or an execution id that is there once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from headstream.query_api.errors import UnknownRun

_NEAR = 5


@dataclass(frozen=True, slots=True)
class Name:
    """A run by the names that its script gave: plain text, nothing encoded."""

    workflow: str
    execution: str

    def __str__(self) -> str:
        return f"{self.workflow}/{self.execution}"


def spelled_out(text: str, *, base_iri: str) -> Name | None:
    """The run that the text names whole, without a look into the graph; None for an execution id alone.

    A name with a slash in it is percent-encoded, as in the IRI of its run.
    """
    parts = text.removeprefix(base_iri).removeprefix("wfe/").split("/")
    if len(parts) != 2 or not all(parts):
        return None
    return Name(*("" if part == "~empty" else unquote(part) for part in parts))


def named(text: str, runs: Sequence[Name]) -> Name:
    """The one run among these with this execution id; raises UnknownRun for none and for several."""
    found = [run for run in runs if text in (run.execution, str(run))]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(sorted(map(str, found))[:_NEAR])
        raise UnknownRun(f"{text[:200]!r} names several runs: {several}", remedy="give WORKFLOW/EXECUTION")
    raise unknown(text, runs)


def unknown(text: str, runs: Sequence[Name]) -> UnknownRun:
    """The error of a name that no run has, with those that look like it."""
    detail = f"there is no run {text[:200]!r}"
    if not runs:
        return UnknownRun(detail, remedy="the graph holds no run at all")
    spellings = {spelling: str(run) for run in runs for spelling in (str(run), run.execution)}
    near = difflib.get_close_matches(text, spellings, n=2 * _NEAR, cutoff=0.6)
    shown = list(dict.fromkeys(spellings[spelling] for spelling in near))[:_NEAR]
    if shown:
        return UnknownRun(detail, remedy=f"did you mean {', '.join(shown)}?")
    there = ", ".join(sorted(map(str, runs))[:_NEAR])
    return UnknownRun(detail, remedy=f"of {len(runs)} there {'is' if len(runs) == 1 else 'are'} {there}")
