"""What the read routes of the protocol answer, asked of the graph; nothing here writes.

The names of fields are those of the client's constants. Identifiers come in three forms: `..._hkg_id` is
the IRI in the graph, the plain ids are what a client knows (spec section 9.5 for those of runs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from headstream.gateway.errors import NoSuchThing, TooMuch
from headstream.gateway.run_names import candidates, client_ids
from headstream.query_api import runs, terms
from headstream.query_api.catalogue import catalogue
from headstream.query_api.errors import InvalidValue, StoreError, StoreUnavailable
from headstream.query_api.guard import Form
from headstream.query_api.results import rows_of
from headstream.query_api.store import Limits, QueryStore, Table
from headstream.schemas import identifiers
from headstream.schemas.identifiers import GLOBAL_EXECUTION, GLOBAL_WORKFLOW
from headstream.schemas.vocabulary import PREFIXES

Record = dict[str, Any]
_PROLOGUE: Final = f"PREFIX provml: <{PREFIXES['provml']}>\nPREFIX prov: <{PREFIXES['prov']}>\n"

_PROJECTS: Final = """SELECT ?project ?name ?workflow WHERE {
  ?project a provml:Project ; provml:name ?name . OPTIONAL { ?project prov:hadMember/provml:name ?workflow }
} ORDER BY ?name ?workflow"""
_WORKFLOWS: Final = """SELECT ?workflow ?name ?transformation WHERE {
  ?workflow a provml:Workflow ; provml:name ?name .
  OPTIONAL { ?workflow prov:hadMember/provml:name ?transformation }
} ORDER BY ?name ?transformation"""
_TRANSFORMATIONS: Final = """SELECT ?transformation ?name ?workflow ?input ?output WHERE {
  ?w prov:hadMember ?transformation ; provml:name ?workflow .
  ?transformation a provml:DataTransformation ; provml:name ?name .
  %s
  OPTIONAL { { ?transformation provml:hasInputAttribute/provml:name ?input }
       UNION { ?transformation provml:hasOutputAttribute/provml:name ?output } }
} ORDER BY ?workflow ?name ?input ?output"""
_STORES: Final = """SELECT ?store ?name ?type ?super_type ?host_address ?url ?bucket ?custom_metadata WHERE {
  %s
  ?store a provml:DataStoreInstance ; provml:name ?name .
  OPTIONAL { ?store provml:storeProduct ?type } OPTIONAL { ?store provml:storeType ?super_type }
  OPTIONAL { ?store provml:hostAddress ?host_address } OPTIONAL { ?store provml:url ?url }
  OPTIONAL { ?store provml:bucket ?bucket } OPTIONAL { ?store provml:customMetadata ?custom_metadata }
} ORDER BY ?store"""
_WORKFLOW_NAMES: Final = "SELECT DISTINCT ?name WHERE { ?workflow a provml:Workflow ; provml:name ?name }"
_RUNS: Final = """SELECT ?run ?workflow
  (MIN(?s) AS ?started) (MAX(?e) AS ?ended) (MIN(?o) AS ?outcome) WHERE {
  VALUES ?run { %s }
  ?run a provml:WorkflowExecution ; provml:wasDerivedFromWorkflow/provml:name ?workflow .
  OPTIONAL { ?run prov:startedAtTime ?s } OPTIONAL { ?run prov:endedAtTime ?e }
  OPTIONAL { ?run provml:outcome ?o }
} GROUP BY ?run ?workflow ORDER BY ?run"""
# MIN and MAX give one row for a step that was reported twice; MIN prefers ERRORED to FINISHED.
_STEPS: Final = """SELECT ?step ?run ?name ?person (MIN(?r) AS ?registered) (MIN(?s) AS ?started)
  (MAX(?e) AS ?ended) (MIN(?o) AS ?outcome) (MIN(?i) AS ?iteration) (MIN(?p) AS ?parent) WHERE {
  %s
  ?step provml:wasMemberOfWorkflowExecution ?run ;
        provml:wasDerivedFromDataTransformation/provml:name ?name .
  OPTIONAL { ?step prov:wasAssociatedWith/provml:name ?person }
  OPTIONAL { ?step provml:registeredAt ?r } OPTIONAL { ?step prov:startedAtTime ?s }
  OPTIONAL { ?step prov:endedAtTime ?e } OPTIONAL { ?step provml:outcome ?o }
  OPTIONAL { ?step provml:iteration ?i } OPTIONAL { ?step provml:wasPartOf ?p }
} GROUP BY ?step ?run ?name ?person ORDER BY ?started ?step"""
_VALUES: Final = """SELECT ?step ?direction ?value ?text ?attribute ?store WHERE {
  %s
  ?step provml:wasMemberOfWorkflowExecution ?run .
  { ?step prov:used ?value . BIND ( "input" AS ?direction ) }
  UNION { ?value prov:wasGeneratedBy ?step . BIND ( "output" AS ?direction ) }
  ?value prov:value ?text .
  OPTIONAL {
    ?step provml:wasDerivedFromDataTransformation ?dt . ?value provml:wasDerivedFromAttribute ?a .
    { ?dt provml:hasInputAttribute ?a } UNION { ?dt provml:hasOutputAttribute ?a }
    ?a provml:name ?attribute
  }
  OPTIONAL { ?value provml:wasInStore ?store }
} ORDER BY ?step ?direction ?attribute ?value"""


@dataclass(slots=True)
class Reading:
    """Asks whichever store `find` gives at the time; None is a gateway without a graph to ask."""

    find: Callable[[], QueryStore | None]
    base_iri: str
    limits: Limits

    def projects(self) -> list[Record]:
        rows = self._ask(_PROJECTS)
        return [
            {"project_name": one["name"], "project_hkg_id": iri, "workflows": _all(group, "workflow")}
            for iri, one, group in _grouped(rows, "project")
        ]

    def workflows(self) -> list[Record]:
        rows = self._ask(_WORKFLOWS)
        return [
            {
                "workflow_name": one["name"],
                "workflow_hkg_id": iri,
                "data_transformations": _all(group, "transformation"),
            }
            for iri, one, group in _grouped(rows, "workflow")
        ]

    def transformations(self, workflow: str | None) -> list[Record]:
        chosen = "" if workflow is None else f"FILTER ( ?workflow = {terms.string(workflow)} )"
        rows = self._ask(_TRANSFORMATIONS % chosen)
        return [
            {
                "data_transformation_name": one["name"],
                "data_transformation_hkg_id": iri,
                "workflow_name": one["workflow"],
                "input": [{"attribute_name": name} for name in _all(group, "input")],
                "output": [{"attribute_name": name} for name in _all(group, "output")],
            }
            for iri, one, group in _grouped(rows, "transformation")
        ]

    def stores(self, store_id: str | None = None) -> list[Record]:
        """The data stores in the graph, or that one; none where there is no graph to ask."""
        if self.find() is None:
            return []
        chosen = "" if store_id is None else f"VALUES ?store {{ {self._iri(identifiers.store(store_id))} }}"
        rows = self._ask(_STORES % chosen)
        return [
            {"id": self._last(iri), **_present(one, _STORE_FIELDS), "data_store_hkg_id": iri, "hkg_id": iri}
            for iri, one, _ in _grouped(rows, "store")
        ]

    def runs(self, workflow: str | None = None) -> list[Record]:
        found, cut = runs.list_runs(
            self._store(), base_iri=self.base_iri, limits=self.limits, workflow=workflow
        )
        if cut:
            raise _too_much()
        return [_run(each) for each in found]

    def run(self, name: str) -> Record:
        """A run by its IRI, by `workflow/execution`, by the id that the client makes, or by its execution."""
        found = self._runs_called(name)
        for key in ("workflow_execution_hkg_id", "path", "workflow_execution_id", "execution_id"):
            matching = [each for each in found if name in _names(each, key)]
            if len(matching) == 1:
                return matching[0]
        raise NoSuchThing(
            f"the graph has no run {name[:200]!r}, or several",
            remedy="see /workflow-executions; workflow/execution names one for certain",
        )

    def _runs_called(self, name: str) -> list[Record]:
        """The runs that a name may mean, as `runs` gives them."""
        if "://" in name:
            with suppress(InvalidValue):
                found = self._these_runs([terms.iri(name, base=self.base_iri)])
                if found:
                    return found
        may = candidates(name, [each["name"] for each in self._ask(_WORKFLOW_NAMES)])
        found = self._these_runs([self._iri(identifiers.run(*each)) for each in sorted(may.runs)])
        for workflow in sorted(may.workflows):
            found += [each for each in self.runs(workflow) if each not in found]
        return found

    def _these_runs(self, iris: list[str]) -> list[Record]:
        rows = self._ask(_RUNS % " ".join(iris)) if iris else []
        return [
            _run(
                {
                    **row,
                    "execution": runs.execution_of(row["run"], self.base_iri),
                    "status": runs.status(row["started"], row["ended"], row["outcome"]),
                }
            )
            for row in rows
        ]

    def global_run(self) -> Record:
        """The run of steps that belong to no workflow."""
        return self.run_with_steps(f"{GLOBAL_WORKFLOW}/{GLOBAL_EXECUTION}")

    def run_with_steps(self, name: str) -> Record:
        run = self.run(name)
        return {**run, "data_transformation_executions": self._steps_of(run)}

    def summary(self, name: str) -> Record:
        run = self.run(name)
        whole = runs.one_run(
            self._store(),
            run["workflow_name"],
            run["execution_id"],
            base_iri=self.base_iri,
            limits=self.limits,
        )
        steps = whole["steps"] if whole else []
        return {
            **run,
            "number_of_data_transformation_executions": sum(each["steps"] for each in steps),
            "data_transformations": [
                {
                    "data_transformation_name": each["transformation"],
                    "number_of_data_transformation_executions": each["steps"],
                    **{key: each[key] for key in ("started", "ended", "failed")},
                }
                for each in steps
            ],
        }

    def cycles(self, name: str) -> list[Record]:
        run = self.run(name)
        return self._steps_of(run, "?step a provml:CycleIteration .")

    def steps(self, name: str | None, transformation: str | None, person: str | None) -> list[Record]:
        """Steps of a run (with their values), of a transformation, or of a person."""
        further = []
        if transformation is not None:
            further.append(
                f"?step provml:wasDerivedFromDataTransformation/provml:name {terms.string(transformation)} ."
            )
        if person is not None:
            further.append(f"?step prov:wasAssociatedWith {self._iri(identifiers.person(person))} .")
        if name is not None:
            return self._steps_of(self.run(name), "\n  ".join(further))
        return [self._step(each) for each in self._ask(_STEPS % "\n  ".join(further))]

    def questions(self) -> list[Record]:
        """The catalogue, as the client describes stored queries."""
        return [
            {
                "id": each.id,
                "query_text": each.text,
                "mime_type": "application/sparql-query",
                "label": each.title,
                "description": "; ".join(each.notes) or each.title,
                "columns": list(each.columns),
                "parameters": [parameter.name for parameter in each.parameters],
            }
            for each in catalogue()
        ]

    def _steps_of(self, run: Record, further: str = "") -> list[Record]:
        chosen = f"VALUES ?run {{ {terms.iri(run['workflow_execution_hkg_id'], base=self.base_iri)} }}"
        found = {each["step"]: self._step(each) for each in self._ask(_STEPS % f"{chosen}\n  {further}")}
        for row in self._ask(_VALUES % chosen):
            step = found.get(row["step"])
            if step is not None:
                step[row["direction"]].append(self._value(row))
        return list(found.values())

    def _step(self, row: Record) -> Record:
        iri = str(row["step"])
        shown = {
            "data_transformation_execution_id": iri.removeprefix(self.base_iri),
            "data_transformation_execution_hkg_ids": iri,
            "data_transformation_name": row["name"],
            "workflow_execution_hkg_id": row["run"],
            "task_id": self._last(iri),
            "person_id": row["person"],
            "generated_time": row["registered"],
            "start_time": row["started"],
            "end_time": row["ended"],
            "iteration_id": row["iteration"],
            "parent": row["parent"],
        }
        status = runs.status(row["started"], row["ended"], row["outcome"])
        present = {key: value for key, value in shown.items() if value is not None}
        return {**present, "status": status, "input": [], "output": []}

    def _value(self, row: Record) -> Record:
        iri = str(row["value"])
        shown = {
            "attribute_name": row["attribute"],
            "attribute_value_id": iri.removeprefix(self.base_iri),
            "attribute_value": row["text"],
            "attribute_value_type": "data_reference" if row["store"] else None,
            "data_store_id": self._last(str(row["store"])) if row["store"] else None,
        }
        return {key: value for key, value in shown.items() if value is not None}

    def _ask(self, text: str) -> list[Record]:
        store = self._store()
        found = store.query(_PROLOGUE + text, form=Form.SELECT, limits=self.limits, best_as_written=True)
        if not isinstance(found, Table):
            raise StoreError("a SELECT was not answered by a table")
        rows = rows_of(found)
        if rows.truncated:  # A part is never passed off as the whole.
            raise _too_much()
        return rows.records()

    def _store(self) -> QueryStore:
        found = self.find()
        if found is None:
            raise StoreUnavailable(
                "there is no graph to ask",
                remedy="`headstream up` starts one; or set HEADSTREAM_STORE_URL for the gateway",
            )
        return found

    def _iri(self, relative: str) -> str:
        return terms.iri(self.base_iri + relative, base=self.base_iri)

    def _last(self, iri: str) -> str:
        part = iri.removeprefix(self.base_iri).rpartition("/")[2]
        return "" if part == "~empty" else unquote(part)


_STORE_FIELDS: Final = ("name", "type", "super_type", "host_address", "url", "bucket", "custom_metadata")


def _run(each: Record) -> Record:
    shown = {
        "workflow_execution_id": client_ids(str(each["workflow"]), each["execution"])[0],
        "workflow_execution_hkg_id": each["run"],
        "workflow_name": each["workflow"],
        "execution_id": each["execution"],
        "start_time": each["started"],
        "end_time": each["ended"],
        "status": each["status"],
    }
    return {key: value for key, value in shown.items() if value is not None}


def _names(run: Record, key: str) -> tuple[str, ...]:
    if key == "path":
        return (f"{run['workflow_name']}/{run['execution_id']}",)
    if key == "workflow_execution_id":
        return client_ids(run["workflow_name"], run["execution_id"])
    return (run[key],)


def _grouped(rows: Iterable[Record], key: str) -> list[tuple[str, Record, list[Record]]]:
    """The rows by what they are about: its IRI, its first row, and all of them."""
    groups: dict[str, list[Record]] = {}
    for row in rows:
        groups.setdefault(str(row[key]), []).append(row)
    return [(iri, group[0], group) for iri, group in groups.items()]


def _all(rows: Iterable[Record], key: str) -> list[Any]:
    return list(dict.fromkeys(row[key] for row in rows if row[key] is not None))


def _present(row: Record, keys: Iterable[str]) -> Record:
    return {key: row[key] for key in keys if row[key] is not None}


def _too_much() -> TooMuch:
    return TooMuch(
        "the answer has more rows than one may have",
        remedy="ask for one run or workflow, or raise HEADSTREAM_API_MAX_ROWS",
    )
