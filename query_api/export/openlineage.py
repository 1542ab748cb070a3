"""A run as OpenLineage events (specification 2-0-2): one job a workflow, one a transformation.

Every execution with a time has a START and, once it has ended, a COMPLETE or FAIL; the run is the parent
of its outer steps, a step of its inner ones. JSON Lines, in the order in which things happened.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import unquote

from headstream.query_api.export.contents import (
    Contents,
    contents,
    custom_metadata,
    facts,
    is_reference,
    value_of,
)
from headstream.query_api.export.nodes import Node
from headstream.query_api.export.rdf import Write
from headstream.query_api.runs import status
from headstream.schemas.vocabulary import ERRORED, PREFIXES

NAMESPACE: Final = "headstream"
# The key of custom metadata under which OpenLineage events that were taken in keep what they said.
_FOREIGN: Final = "openlineage"
_SPEC: Final = "https://openlineage.io/spec"
_EVENT: Final = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs"
_MEASURED: Final = (
    "provml:clusterName", "provml:jobId", "provml:hostName", "provml:durationSeconds", "provml:cpuSeconds",
    "provml:peakMemoryBytes", "provml:gpuSeconds", "provml:gpuPeakMemoryBytes", "provml:iteration",
    "provml:standardOutput",
)  # fmt: skip
_STORE: Final = (
    "provml:storeType",
    "provml:storeProduct",
    "provml:hostAddress",
    "provml:url",
    "provml:bucket",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """An event to be: sorted, outer executions begin before inner ones and end after them."""

    time: str
    ending: bool
    depth: int
    execution: Node
    kind: str

    @property
    def order(self) -> tuple[str, bool, int, str]:
        return (self.time.removesuffix("Z"), self.ending, -self.depth if self.ending else self.depth,
                self.execution.iri)  # fmt: skip


def write_openlineage(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """JSON Lines, one event a line."""
    for event in events(contents(nodes), base_iri):
        write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")


def events(run: Contents, base_iri: str) -> Iterator[dict[str, Any]]:
    """The events of a run and its steps, in order of time."""
    maker = _Maker(run, base_iri)
    moments = [moment for each in (run.run, *run.steps) for moment in maker.moments(each)]
    for moment in sorted(moments, key=lambda moment: moment.order):
        yield maker.event(moment)


class _Maker:
    """Makes events of executions."""

    def __init__(self, run: Contents, base_iri: str) -> None:
        self._run = run
        self._base = base_iri
        self._producer = _producer()
        self._depths: dict[str, int] = {}

    def moments(self, execution: Node) -> Iterator[_Moment]:
        """When an execution began and ended; one that is only announced is OTHER, one without a time none."""
        started, ended = execution.text("prov:startedAtTime"), execution.text("prov:endedAtTime")
        announced = execution.text("provml:registeredAt")
        depth = self._depth(execution)
        if started is not None:
            yield _Moment(time=started, ending=False, depth=depth, execution=execution, kind="START")
        elif announced is not None:
            yield _Moment(time=announced, ending=False, depth=depth, execution=execution, kind="OTHER")
        if ended is not None:
            failed = status(started, ended, execution.text("provml:outcome")) == ERRORED
            kind = "FAIL" if failed else "COMPLETE"
            yield _Moment(time=ended, ending=True, depth=depth, execution=execution, kind=kind)

    def event(self, moment: _Moment) -> dict[str, Any]:
        """One RunEvent."""
        execution = moment.execution
        used, made = self._run.data(execution, is_reference)
        return {
            "eventTime": moment.time,
            "eventType": moment.kind,
            "producer": self._producer,
            "schemaURL": f"{_EVENT}/RunEvent",
            "run": {"runId": run_id(execution.iri), "facets": self._run_facets(moment)},
            "job": {**self._job(execution), "facets": self._job_facets(execution)},
            "inputs": [self._dataset(each, "inputFacets") for each in used],
            "outputs": [self._dataset(each, "outputFacets") for each in made] if moment.ending else [],
        }

    def _depth(self, execution: Node) -> int:
        if execution.iri == self._run.run.iri:
            return 0
        if execution.iri not in self._depths:
            self._depths[execution.iri] = 1  # A circle of steps, which no capture makes, ends here.
            outer = self._outer(execution)
            self._depths[execution.iri] = 1 + (self._depth(outer) if outer is not None else 0)
        return self._depths[execution.iri]

    def _outer(self, execution: Node) -> Node | None:
        if execution.iri == self._run.run.iri:
            return None
        around = execution.iris("provml:wasPartOf")
        return self._run.get(around[0]) if around else self._run.run

    def _job(self, execution: Node) -> dict[str, str]:
        workflow = self._run.plan(self._run.run).text("provml:name") or "unknown"
        if execution.iri == self._run.run.iri:
            return {"namespace": NAMESPACE, "name": workflow}
        step = self._run.plan(execution).text("provml:name") or "unknown"
        return {"namespace": NAMESPACE, "name": f"{workflow}.{step}"}

    def _job_facets(self, execution: Node) -> dict[str, Any]:
        whole = execution.iri == self._run.run.iri
        found = {
            "jobType": self._facet(
                "facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
                processingType="BATCH",
                integration="HEADSTREAM",
                jobType="WORKFLOW" if whole else "TASK",
            )
        }
        plan = self._run.plan(execution)
        description = plan.text("dcterms:description")
        if description is not None:
            found["documentation"] = self._facet(
                "facets/1-1-0/DocumentationJobFacet.json#/$defs/DocumentationJobFacet",
                description=description,
            )
        ml = {
            name: iris[0].removeprefix(PREFIXES["provml"])
            for name in ("lifecyclePhase", "stageType")
            if (iris := plan.iris(f"provml:{name}"))
        }
        if ml:
            found["headstream_stage"] = self._own("JobFacet", **ml)
        return {**_kept(execution, "job"), **found}

    def _run_facets(self, moment: _Moment) -> dict[str, Any]:
        execution = moment.execution
        found: dict[str, Any] = {}
        outer = self._outer(execution)
        if outer is not None:
            found["parent"] = self._facet(
                "facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
                run={"runId": run_id(outer.iri)},
                job=self._job(outer),
                root={"run": {"runId": run_id(self._run.run.iri)}, "job": self._job(self._run.run)},
            )
        parameters = [each for each in self._run.used(execution) if not is_reference(each)]
        if parameters:
            found["executionParameters"] = self._facet(
                "facets/1-0-0/ExecutionParametersRunFacet.json#/$defs/ExecutionParametersRunFacet",
                parameters=[
                    {"key": self._run.name(each), "value": _text(value_of(each))} for each in parameters
                ],
            )
            found["headstream_used"] = self._values(parameters)
        if moment.ending:
            found |= self._end_facets(moment)
        said = {key: value for key, value in custom_metadata(execution).items() if key != _FOREIGN}
        if said:
            found["headstream_customMetadata"] = self._own("RunFacet", metadata=said)
        found["headstream_execution"] = self._own(
            "RunFacet",
            iri=execution.iri,
            **facts(execution, _MEASURED),
            persons=[iri.rpartition("/")[2] for iri in execution.iris("prov:wasAssociatedWith")],
        )
        return {**_kept(execution, "run"), **found}

    def _end_facets(self, moment: _Moment) -> dict[str, Any]:
        found: dict[str, Any] = {}
        made = [each for each in self._run.generated(moment.execution) if not is_reference(each)]
        if made:
            found["headstream_generated"] = self._values(made)
        message = moment.execution.text("provml:errorMessage")
        if message is not None:
            found["errorMessage"] = self._facet(
                "facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
                message=message,
                programmingLanguage="Python",
            )
        return found

    def _values(self, values: list[Node]) -> dict[str, Any]:
        return self._own("RunFacet", values=[_value(self._run, each) for each in values])

    def _dataset(self, reference: Node, kind: str) -> dict[str, Any]:
        store = self._run.store(reference)
        namespace, name = _foreign_name(reference) or dataset_name(reference, store)
        found: dict[str, Any] = {}
        if store is not None:
            found["dataSource"] = self._facet(
                "facets/1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet",
                name=store.text("provml:name") or store.iri,
                uri=store.iri,
            )
            found["headstream_store"] = self._own("DatasetFacet", **facts(store, _STORE))
        _, versioned, tail = reference.iri.rpartition(";v=")
        checksum = reference.text("provml:checksum")
        if versioned or checksum is not None:
            found["version"] = self._facet(
                "facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
                datasetVersion=unquote(tail) if versioned else checksum,
            )
        found["headstream_reference"] = self._own(
            "DatasetFacet",
            iri=reference.iri,
            classes=_classes(reference),
            **facts(reference, ("provml:checksum", "dcterms:modified")),
        )
        sizes = facts(reference, ("provml:sizeBytes",))
        statistics = {}
        if isinstance(sizes.get("sizeBytes"), int):
            side, number = ("Output", "1-0-2") if kind == "outputFacets" else ("Input", "1-0-0")
            facet = f"{side}Statistics{side}DatasetFacet"
            statistics[f"{side.lower()}Statistics"] = self._facet(
                f"facets/{number}/{facet}.json#/$defs/{facet}", size=sizes["sizeBytes"], fileCount=1
            )
        kept = _kept(reference, "facets")
        return {"namespace": namespace, "name": name, "facets": {**kept, **found}, kind: statistics}

    def _facet(self, schema: str, **fields: Any) -> dict[str, Any]:
        return {"_producer": self._producer, "_schemaURL": f"{_SPEC}/{schema}", **fields}

    def _own(self, base: str, **fields: Any) -> dict[str, Any]:
        """A facet of ours: any fields are valid in one, beside those of its base."""
        return {"_producer": self._producer, "_schemaURL": f"{_EVENT}/{base}", **fields}


def _kept(node: Node, part: str) -> dict[str, Any]:
    """The facets that came with OpenLineage events of others, as they were."""
    found = custom_metadata(node).get(_FOREIGN)
    facets = found.get(part) if isinstance(found, dict) else None
    if not isinstance(facets, dict):
        return {}
    return {
        name: facet
        for name, facet in facets.items()
        if isinstance(facet, dict) and {"_producer", "_schemaURL"} <= facet.keys()
    }


def _foreign_name(reference: Node) -> tuple[str, str] | None:
    """What others called a dataset in their events."""
    found = custom_metadata(reference).get(_FOREIGN)
    if not isinstance(found, dict):
        return None
    namespace, name = found.get("namespace"), found.get("name")
    return (namespace, name) if isinstance(namespace, str) and isinstance(name, str) else None


def run_id(iri: str) -> str:
    """The UUID of an execution: a pure function of its IRI (RFC 9562, version 5)."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, iri))


def dataset_name(reference: Node, store: Node | None) -> tuple[str, str]:
    """Namespace and name by OpenLineage's naming: the store by its address, and the path in it."""
    name = reference.text("prov:value") or reference.iri
    if store is None:
        return "file", name
    kind, host = store.text("provml:storeType"), store.text("provml:hostAddress")
    bucket, url = store.text("provml:bucket"), store.text("provml:url")
    if kind == "ObjectStore" and bucket is not None:
        return f"s3://{bucket}", name.removeprefix(f"{bucket}/")
    if kind == "FileSystem" and host is not None:
        return f"file://{host}", name
    if url is not None:
        return url, name
    scheme = (store.text("provml:storeProduct") or kind or "store").lower()
    return f"{scheme}://{host or store.iri.rpartition('/')[2]}", name


def _value(run: Contents, value: Node) -> dict[str, Any]:
    return {"name": run.name(value), "value": value_of(value), "classes": _classes(value)}


def _classes(node: Node) -> list[str]:
    own = PREFIXES["provml"]
    return sorted(each.removeprefix(own) for each in node.types if each.startswith(own))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _producer() -> str:
    try:
        return f"urn:headstream:{version('headstream')}"
    except PackageNotFoundError:  # Run from a folder that is not installed.
        return "urn:headstream:unknown"
