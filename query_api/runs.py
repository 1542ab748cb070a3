"""What is known about runs. Status is derived, never stored (the note of question X02)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from headstream.query_api import terms
from headstream.query_api.guard import Form
from headstream.query_api.results import Rows, Value, rows_of, shorten
from headstream.query_api.store import Limits, QueryStore, Table
from headstream.schemas import identifiers
from headstream.schemas.vocabulary import PREFIXES

_PROLOGUE = f"PREFIX provml: <{PREFIXES['provml']}>\nPREFIX prov: <{PREFIXES['prov']}>\n"

# MIN and MAX give one row even for a run that was reported twice; MIN prefers ERRORED to FINISHED.
_RUNS = (
    _PROLOGUE
    + """SELECT ?run ?workflow (MIN(?s) AS ?started) (MAX(?e) AS ?ended) (MIN(?o) AS ?outcome)
WHERE {
  %s
  ?run a provml:WorkflowExecution ; provml:wasDerivedFromWorkflow/provml:name ?workflow .
  %s
  OPTIONAL { ?run prov:startedAtTime ?s } OPTIONAL { ?run prov:endedAtTime ?e }
  OPTIONAL { ?run provml:outcome ?o }
}
GROUP BY ?run ?workflow
ORDER BY DESC(?started) ?run
"""
)
_FACTS = (
    _PROLOGUE
    + """SELECT DISTINCT ?property ?value
WHERE { VALUES ?run { %s } ?run ?property ?value . FILTER ( isLiteral(?value) ) }
ORDER BY ?property ?value
"""
)
_STEPS = (
    _PROLOGUE
    + """SELECT ?transformation (COUNT(DISTINCT ?step) AS ?steps) (COUNT(DISTINCT ?begun) AS ?started)
       (COUNT(DISTINCT ?over) AS ?ended) (COUNT(DISTINCT ?wrong) AS ?failed)
WHERE {
  VALUES ?run { %s }
  ?step provml:wasMemberOfWorkflowExecution ?run ;
        provml:wasDerivedFromDataTransformation/provml:name ?transformation .
  OPTIONAL { ?step prov:startedAtTime ?s . BIND ( ?step AS ?begun ) }
  OPTIONAL { ?step prov:endedAtTime ?e . BIND ( ?step AS ?over ) }
  OPTIONAL { ?step provml:outcome "ERRORED" . BIND ( ?step AS ?wrong ) }
}
GROUP BY ?transformation
ORDER BY ?transformation
"""
)


def status(started: Value, ended: Value, outcome: Value) -> str:
    """GENERATED before the start, RUNNING until the end, then the outcome.

    An end without an outcome is FINISHED; an outcome counts even where the end is not known.
    """
    if ended is not None or outcome is not None:
        return outcome if isinstance(outcome, str) else "FINISHED"
    return "GENERATED" if started is None else "RUNNING"


def list_runs(
    store: QueryStore, *, base_iri: str, limits: Limits, workflow: str | None = None
) -> tuple[list[dict[str, Any]], bool]:
    """Return the runs, latest start first, and whether the list was cut."""
    if workflow is None:
        text = _RUNS % ("", "")
    else:
        block = f"VALUES ?p_workflow {{ {terms.string(workflow)} }}"
        text = _RUNS % (block, "FILTER ( ?workflow = ?p_workflow )")
    found = _rows(store, text, limits)
    return [_run(record, base_iri) for record in found.records()], found.truncated


def one_run(
    store: QueryStore, workflow: str, execution: str, *, base_iri: str, limits: Limits
) -> dict[str, Any] | None:
    """Return all that is known about a run as a whole, and its steps counted by transformation."""
    term = terms.iri(base_iri + identifiers.run(workflow, execution), base=base_iri)
    runs = _rows(store, _RUNS % (f"VALUES ?run {{ {term} }}", ""), limits).records()
    if not runs:
        return None
    facts: dict[str, list[Value]] = {}
    for record in _rows(store, _FACTS % term, limits).records():
        facts.setdefault(shorten(str(record["property"]), base_iri), []).append(record["value"])
    steps = _rows(store, _STEPS % term, limits)
    return {**_run(runs[0], base_iri), "facts": facts, "steps": steps.records(), "truncated": steps.truncated}


def _run(record: Mapping[str, Value], base_iri: str) -> dict[str, Any]:
    iri = str(record["run"])
    return {
        "run": iri,
        "workflow": record["workflow"],
        "execution": execution_of(iri, base_iri),
        "status": status(record["started"], record["ended"], record["outcome"]),
        "started": record["started"],
        "ended": record["ended"],
    }


def execution_of(iri: str, base_iri: str) -> str:
    """The execution id in the IRI of a run (spec section 5.2); a foreign IRI stands for itself."""
    parts = iri.removeprefix(base_iri).split("/")
    if len(parts) == 3 and parts[0] == "wfe":
        return "" if parts[2] == "~empty" else unquote(parts[2])
    return iri


def _rows(store: QueryStore, text: str, limits: Limits) -> Rows:
    found = store.query(text, form=Form.SELECT, limits=limits, best_as_written=True)
    if not isinstance(found, Table):
        raise TypeError(f"a SELECT was answered by {type(found).__name__}")
    return rows_of(found)
