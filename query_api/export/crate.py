"""A run as a Workflow Run RO-Crate (profile 0.5): a zip file with metadata, the plan and the run's triples.

The data stay where they are: a crate describes the files that a run used and made, and copies none.
"""

from __future__ import annotations

import json
import mimetypes
import re
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from typing import IO, Any, Final

from headstream.query_api.export.contents import Contents, contents, is_reference, value_of
from headstream.query_api.export.nodes import Node
from headstream.query_api.export.rdf import write_turtle
from headstream.query_api.runs import status
from headstream.schemas.vocabulary import ERRORED, PREFIXES

METADATA: Final = "ro-crate-metadata.json"
PLAN: Final = "workflow.ttl"
RUN: Final = "run.ttl"
README: Final = "README.md"
_WORKFLOW_CRATE: Final = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES: Final = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    _WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
UNLICENSED: Final = "No licence is stated: ask those who ran the workflow"
_PARAMETER: Final = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_UNKNOWN_FORMAT: Final = "application/octet-stream"
_LANGUAGE: Final = PREFIXES["provml"].removesuffix("#")
_PLANNED: Final = tuple(
    f"provml:{name}" for name in ("Project", "Workflow", "DataTransformation", "Attribute", "DataSchema")
)
_INSTANT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")
# A zip file has a time for each entry; one that never changes makes equal crates equal bytes.
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

_README: Final = f"""# {{name}}

A Workflow Run RO-Crate, written by headstream from its provenance graph.

* `{METADATA}` says what the run used and made, in schema.org terms; the files are where they were.
* `{PLAN}` is the plan that was carried out, `{RUN}` the run with every step and value: PROV-ML in Turtle.
"""

Entity = dict[str, Any]


def write_crate(nodes: Iterable[Node], out: IO[bytes], *, base_iri: str, license: str | None = None) -> None:
    """The crate as a zip file; `license` is the IRI of the one under which it is given away."""
    run = contents(nodes)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        metadata = json.dumps(crate(run, license), ensure_ascii=False, indent=2) + "\n"
        archive.writestr(_entry(METADATA), metadata)
        archive.writestr(_entry(README), _README.format(name=_title(run)))
        planned = [each for each in run.nodes.values() if any(map(each.is_a, _PLANNED))]
        for name, some in ((PLAN, planned), (RUN, list(run.nodes.values()))):
            with archive.open(_entry(name), "w") as file:
                write_turtle(some, lambda text, file=file: file.write(text.encode()), base_iri=base_iri)  # type: ignore[misc]


def crate(run: Contents, license: str | None = None) -> Entity:
    """The metadata: one JSON-LD document in the flattened form that RO-Crate 1.1 wants."""
    maker = _Maker(run, license)
    graph = [_compacted(entity) for entity in maker.entities()]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}


def _compacted(entity: Entity) -> Entity:
    """One value instead of a list of one, and nothing instead of a list of none, as RO-Crate wants it."""
    found = {
        key: value[0] if isinstance(value, list) and len(value) == 1 else value
        for key, value in entity.items()
    }
    return {key: value for key, value in found.items() if value != []}


class _Maker:
    """Makes the entities of a crate."""

    def __init__(self, run: Contents, license: str | None) -> None:
        self._run = run
        self._license = license
        # Turns of loops are in run.ttl, and what they made is the run's: a training has ten thousands.
        self._steps = [step for step in run.steps if not run.loops(step)]
        self._shown = [run.run, *self._steps]
        self._files: dict[str, Node] = {}
        self._values: dict[str, Node] = {}
        for step in run.steps:
            self._meet(step, is_reference)
        for each in self._shown:
            self._meet(each, lambda value: True)
        for model in list(self._files.values()):
            for value in self._described_by(model):
                self._values.setdefault(value.iri, value)
        self._kept = self._files.keys() | self._values.keys()
        self._slots = self._filled()

    def _meet(self, execution: Node, wanted: Any) -> None:
        for value in (*self._run.used(execution), *self._run.generated(execution)):
            if wanted(value) and value.edges:
                (self._files if is_reference(value) else self._values).setdefault(value.iri, value)

    def entities(self) -> Iterator[Entity]:
        """All: descriptor, root, workflow, profiles, licence, actions, tools, people, data, values."""
        yield {
            "@id": METADATA,
            "@type": "CreativeWork",
            "conformsTo": [_id("https://w3id.org/ro/crate/1.1"), _id(_WORKFLOW_CRATE)],
            "about": _id("./"),
        }
        yield self._root()
        yield self._workflow()
        yield {"@id": _LANGUAGE, "@type": "ComputerLanguage", "name": "PROV-ML", "url": _id(_LANGUAGE)}
        yield _file(RUN, "The run with all that belongs to it, in PROV-ML", "text/turtle")
        yield {**_file(README, "What is in this crate", "text/markdown"), "about": _id("./")}
        for iri, (name, version) in (*PROFILES.items(), (_PARAMETER, ("FormalParameter", "1.0-RELEASE"))):
            yield {"@id": iri, "@type": "CreativeWork", "name": name, "version": version}
        if self._license is not None:
            yield {"@id": self._license, "@type": "CreativeWork", "name": self._license}
        for each in self._shown:
            yield self._action(each)
        for tool in self._tools():
            yield {"@id": tool.iri, "@type": "SoftwareApplication", **_described(tool), "url": tool.iri}
        for person in self._people(self._shown):
            yield {"@id": person.iri, "@type": "Person", "name": person.text("provml:name") or person.iri}
        for iri in sorted(self._files):
            yield self._data(self._files[iri])
        for iri in sorted(self._values):
            yield self._property(self._values[iri])
        yield from self._parameters()

    def _root(self) -> Entity:
        run = self._run.run
        plan = self._run.plan(run)
        name = plan.text("provml:name") or "unknown workflow"
        ended = run.text("prov:endedAtTime") or run.text("prov:startedAtTime")
        return {
            "@id": "./",
            "@type": "Dataset",
            "name": _title(self._run),
            "description": plan.text("dcterms:description")
            or f"Provenance of one run of the workflow {name}, as captured while it ran",
            "datePublished": _time(ended) or "1970-01-01",
            "license": UNLICENSED if self._license is None else _id(self._license),
            "author": [_id(each.iri) for each in self._people(self._shown)],
            "conformsTo": [_id(iri) for iri in PROFILES],
            "mainEntity": _id(PLAN),
            "hasPart": [_id(PLAN), _id(RUN), _id(README), *map(_id, sorted(self._files))],
            "mentions": [_id(each.iri) for each in self._shown],
        }

    def _workflow(self) -> Entity:
        plan = self._run.plan(self._run.run)
        found = _file(PLAN, plan.text("provml:name") or "workflow", "text/turtle")
        slots = sorted(self._slots)
        inputs = {iri for each in self._run.nodes.values() for iri in each.iris("provml:hasInputAttribute")}
        return {
            **found,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "programmingLanguage": _id(_LANGUAGE),
            "conformsTo": _id("https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"),
            "sameAs": plan.iri,
            "input": [_id(iri) for iri in slots if iri in inputs],
            "output": [_id(iri) for iri in slots if iri not in inputs],
        }

    def _action(self, execution: Node) -> Entity:
        whole = execution.iri == self._run.run.iri
        plan = self._run.plan(execution)
        name = plan.text("provml:name") or "unknown"
        started, ended = execution.text("prov:startedAtTime"), execution.text("prov:endedAtTime")
        state = status(started, ended, execution.text("provml:outcome"))
        used, made = self._run.data(execution, lambda value: value.iri in self._kept)
        found: Entity = {
            "@id": execution.iri,
            "@type": "CreateAction",
            "name": f"{'Run' if whole else 'Step'} {execution.iri.rpartition('/')[2]} of {name}",
            "description": plan.text("dcterms:description") or f"{name}, {state.lower()}",
            "instrument": _id(PLAN if whole else plan.iri),
            "actionStatus": f"http://schema.org/{_STATES.get(state, 'PotentialActionStatus')}",
            "object": [_id(each.iri) for each in used],
            "result": [_id(each.iri) for each in made],
        }
        times = {"startTime": _time(started), "endTime": _time(ended)}
        found.update({key: time for key, time in times.items() if time is not None})
        found["agent"] = [_id(each.iri) for each in self._people([execution] if not whole else self._shown)]
        message = execution.text("provml:errorMessage")
        if message is not None and state == ERRORED:
            found["error"] = message
        return found

    def _tools(self) -> list[Node]:
        found = {self._run.plan(step).iri: self._run.plan(step) for step in self._steps}
        return [found[iri] for iri in sorted(found) if iri]

    def _people(self, executions: list[Node]) -> list[Node]:
        iris = {iri for each in executions for iri in each.iris("prov:wasAssociatedWith")}
        return [self._run.get(iri) for iri in sorted(iris)]

    def _data(self, reference: Node) -> Entity:
        found: Entity = {"@id": reference.iri, "@type": "File"}
        found["name"] = reference.text("prov:value") or reference.iri
        store = self._run.store(reference)
        if store is not None:
            where = store.text("provml:hostAddress")
            found["description"] = f"In {store.text('provml:name') or store.iri}" + (
                f" at {where}" if where else ""
            )
        # Nobody looked into the file: its name is all there is to tell its format by.
        found["encodingFormat"] = _known_types().guess_type(found["name"], strict=False)[0] or _UNKNOWN_FORMAT
        size, modified = reference.text("provml:sizeBytes"), _time(reference.text("dcterms:modified"))
        kind, _, digest = (reference.text("provml:checksum") or "").partition(":")
        facts = {
            "contentSize": size,
            "dateModified": modified,
            "sha256": digest if kind == "sha256" else None,
        }
        found.update({key: fact for key, fact in facts.items() if fact is not None})
        found.update(self._example(reference))
        described = self._described_by(reference)
        if described:
            found["additionalProperty"] = [_id(value.iri) for value in described]
        return found

    def _described_by(self, reference: Node) -> list[Node]:
        names = ("hasCharacteristic", "hasModelHyperParameter", "hasEvaluation")
        iris = {iri for name in names for iri in reference.iris(f"provml:{name}")}
        return [self._run.nodes[iri] for iri in sorted(iris) if iri in self._run.nodes]

    def _property(self, value: Node) -> Entity:
        held = value_of(value)
        plain = held if isinstance(held, str | int | float | bool) else json.dumps(held, ensure_ascii=False)
        return {
            "@id": value.iri,
            "@type": "PropertyValue",
            "name": self._run.name(value),
            "value": plain,
            **self._example(value),
        }

    def _example(self, value: Node) -> Entity:
        slots = [iri for iri in value.iris("provml:wasDerivedFromAttribute") if iri in self._slots]
        return {"exampleOfWork": [_id(iri) for iri in slots]} if slots else {}

    def _filled(self) -> dict[str, list[Node]]:
        """The slots of this run's plan, with the values and files of the crate that fill them."""
        own = {
            iri
            for each in self._run.nodes.values()
            for name in ("hasInputAttribute", "hasOutputAttribute")
            for iri in each.iris(f"provml:{name}")
        }
        filled: dict[str, list[Node]] = {}
        for value in (*self._files.values(), *self._values.values()):
            for iri in value.iris("provml:wasDerivedFromAttribute"):
                if iri in own and iri in self._run.nodes:
                    filled.setdefault(iri, []).append(value)
        return filled

    def _parameters(self) -> Iterator[Entity]:
        for iri, values in sorted(self._slots.items()):
            slot = self._run.get(iri)
            yield {
                "@id": iri,
                "@type": "FormalParameter",
                **_described(slot),
                "additionalType": _type_of(values[0]),
                "conformsTo": _id(_PARAMETER),
                "workExample": [_id(value.iri) for value in sorted(values, key=lambda value: value.iri)],
            }


_STATES: Final = {
    "FINISHED": "CompletedActionStatus",
    "ERRORED": "FailedActionStatus",
    "RUNNING": "ActiveActionStatus",
}


def _type_of(value: Node) -> str:
    if is_reference(value):
        return "File"
    held = value_of(value)
    if isinstance(held, bool):
        return "Boolean"
    if isinstance(held, int):
        return "Integer"
    if isinstance(held, float):
        return "Float"
    return "Text" if isinstance(held, str) else "PropertyValue"


def _title(run: Contents) -> str:
    name = run.plan(run.run).text("provml:name") or "an unknown workflow"
    return f"Run {run.run.iri.rpartition('/')[2]} of {name}"


def _described(node: Node) -> Entity:
    found: Entity = {"name": node.text("provml:name") or node.iri}
    description = node.text("dcterms:description")
    return found if description is None else {**found, "description": description}


def _time(text: str | None) -> str | None:
    """An instant as the profile wants it: with an offset, and milliseconds at most."""
    match = _INSTANT.fullmatch(text or "")
    if match is None:
        return None
    part = f".{match[2][:3]:0<3}" if match[2] else ""
    return f"{match[1]}{part}+00:00"


def _file(name: str, title: str, media_type: str) -> Entity:
    return {"@id": name, "@type": "File", "name": title, "encodingFormat": media_type}


def _id(iri: str) -> Entity:
    return {"@id": iri}


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


@cache
def _known_types() -> mimetypes.MimeTypes:
    """Python's own table: that of a machine is another on the next, and may take model.pt for a game."""
    return mimetypes.MimeTypes()
