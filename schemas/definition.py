"""Prospective documents: what a workflow is meant to do (spec section 6.1).

Accepts the IBM ProvLake format with the extensions of the spec, as parsed JSON or YAML. A
definition is known by the SHA-256 of its canonical form, so the same content has the same hash
whether it came as YAML or JSON and in whatever order its keys stood.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headstream.schemas import vocabulary
from headstream.schemas.errors import Key
from headstream.schemas.events import IN, OUT
from headstream.schemas.strict import Where, known, listed, mapping, one_of, required, sequence, text
from headstream.schemas.values import canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A slot that a transformation reads or writes. `store` is the default store of its references."""

    name: str
    dtype: str | None = None
    element_dtype: str | None = None
    semantics: str | None = None
    ml_semantics: str | None = None
    description: str | None = None
    store: str | None = None
    describes: str | None = None
    data_class: str | None = None
    better_when: str | None = None
    members: tuple[Attribute, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Transformation:
    """One planned step, its place in the nesting, and its input and output attributes."""

    name: str
    type: str | None = None
    stage_type: str | None = None
    cycle: bool = False
    parent: str | None = None
    lifecycle_phase: str | None = None
    description: str | None = None
    inputs: tuple[Attribute, ...] = ()
    outputs: tuple[Attribute, ...] = ()

    @cached_property
    def _slots(self) -> dict[tuple[str, str], Attribute]:
        return {(IN, a.name): a for a in self.inputs} | {(OUT, a.name): a for a in self.outputs}

    def attribute(self, direction: str, name: str) -> Attribute | None:
        return self._slots.get((direction, name))

    def described(self, direction: str, attribute: Attribute) -> tuple[str, Attribute] | None:
        """Direction and attribute that this one is a characteristic of; its own direction is tried first."""
        if attribute.describes is None:
            return None
        for side in (direction, OUT if direction == IN else IN):
            found = self.attribute(side, attribute.describes)
            if found is not None:
                return side, found
        return None


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A workflow, its transformations, and the project it belongs to."""

    workflow: str
    workflow_type: str | None = None
    project: str | None = None
    project_type: str | None = None
    lifecycle_phase: str | None = None
    description: str | None = None
    transformations: tuple[Transformation, ...] = ()
    stores: tuple[Store, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, Transformation]:
        return {t.name: t for t in self.transformations}

    def transformation(self, name: str) -> Transformation | None:
        return self._by_name.get(name)

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 of the canonical document: the version that a run names."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @cached_property
    def canonical(self) -> str:
        return canonical_json(to_document(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A deployed data store. `mounts` are path prefixes under which it is visible (spec section 5.3)."""

    id: str
    name: str
    type: str
    product: str | None = None
    host_address: str | None = None
    url: str | None = None
    bucket: str | None = None
    mounts: tuple[str, ...] = ()
    metadata: str | None = None


# Keys of each level, so that a misspelt key is an error and not a silent loss.
_DOCUMENT_KEYS = {
    "context_name", "project_type", "dataflow_name", "workflow_type", "lifecycle_phase", "description",
    "storages", "data_transformations",
}  # fmt: skip
_TRANSFORMATION_KEYS = {
    "type", "stage_type", "cycle", "parent", "lifecycle_phase", "description", "input_datasets",
    "output_datasets",
}  # fmt: skip
_ATTRIBUTE_KEYS = {
    "name", "dtype", "elementdtype", "semantics", "ml_semantics", "description", "storage_references",
    "data_store_id", "describes", "data_class", "better_when", "attributes",
}  # fmt: skip
_DATASET_KEYS = {"attributes", "name", "description"}
_STORE_KEYS = {
    "id", "name", "type", "super_type", "host_address", "url", "bucket", "mounts", "custom_metadata",
}  # fmt: skip


def parse_definition(document: object) -> Definition:
    """Read a prospective document; raise InvalidDefinition that names the key and the rule."""
    where = Where("the document")
    doc = mapping(document, where)
    known(doc, _DOCUMENT_KEYS, where)
    planned, stored = (where.at(key, text=key) for key in ("data_transformations", "storages"))
    transformations = tuple(
        _transformation(str(name), body, planned.at(str(name)))
        for name, body in sorted(mapping(doc.get("data_transformations") or {}, planned).items())
    )
    storages = mapping(doc.get("storages") or {}, stored)
    definition = Definition(
        workflow=required(doc, "dataflow_name", where),
        workflow_type=one_of(doc, "workflow_type", {"Workflow", "Experiment"}, where),
        project=text(doc, "context_name", where),
        project_type=one_of(doc, "project_type", {"Project", "Study"}, where),
        lifecycle_phase=one_of(doc, "lifecycle_phase", vocabulary.LIFECYCLE_PHASES, where),
        description=text(doc, "description", where),
        transformations=transformations,
        stores=tuple(
            parse_store({"id": key, **mapping(body, stored.at(key))}, stored.at(key))
            for key, body in sorted(storages.items())
        ),
    )
    _check_nesting(definition, planned)
    return definition


def parse_store(document: object, place: Where | None = None) -> Store:
    """Read one entry of a store catalogue (the client format of spec section 9.1, with mount prefixes)."""
    place = place or Where("a store")
    doc = mapping(document, place)
    where = Where(f"store {doc.get('id')!r}", place.path)
    known(doc, _STORE_KEYS, where)
    product = text(doc, "type", where)
    kind = one_of(doc, "super_type", vocabulary.STORE_TYPES, where)
    if kind is None and product is not None:
        kind = product if product in vocabulary.STORE_TYPES else vocabulary.STORE_PRODUCTS.get(product)
    if kind is None:
        where.refuse(
            f"{where}: no kind of store: give `super_type`, one of {listed(vocabulary.STORE_TYPES)}, or a "
            f"`type` that implies it, one of {listed(vocabulary.STORE_PRODUCTS)}"
        )
    store_id = required(doc, "id", where)
    metadata = doc.get("custom_metadata")
    return Store(
        id=store_id,
        name=text(doc, "name", where) or store_id,
        type=kind,
        product=product if product not in vocabulary.STORE_TYPES else None,
        host_address=text(doc, "host_address", where),
        url=text(doc, "url", where),
        bucket=text(doc, "bucket", where),
        mounts=tuple(str(m) for m in sequence(doc.get("mounts") or [], where.at("mounts"))),
        metadata=None if metadata is None else canonical_json(metadata),
    )


def to_document(definition: Definition) -> dict[str, Any]:
    """The normal form of a document: `parse_definition` of it gives an equal definition."""
    return _present(
        {
            "context_name": definition.project,
            "project_type": definition.project_type,
            "dataflow_name": definition.workflow,
            "workflow_type": definition.workflow_type,
            "lifecycle_phase": definition.lifecycle_phase,
            "description": definition.description,
            "storages": {s.id: store_document(s) for s in definition.stores} or None,
            "data_transformations": {t.name: _transformation_document(t) for t in definition.transformations},
        }
    )


def store_document(store: Store) -> dict[str, Any]:
    """The normal form of a store: `parse_store` of it gives an equal store."""

    return _present(
        {
            "id": store.id,
            "name": store.name,
            "type": store.product,
            "super_type": store.type,
            "host_address": store.host_address,
            "url": store.url,
            "bucket": store.bucket,
            "mounts": list(store.mounts) or None,
            "custom_metadata": None if store.metadata is None else json.loads(store.metadata),
        }
    )


def _transformation_document(t: Transformation) -> dict[str, Any]:
    return _present(
        {
            "type": t.type,
            "stage_type": t.stage_type,
            "cycle": t.cycle or None,
            "parent": t.parent,
            "lifecycle_phase": t.lifecycle_phase,
            "description": t.description,
            "input_datasets": [{"attributes": [_attribute_document(a) for a in t.inputs]}],
            "output_datasets": [{"attributes": [_attribute_document(a) for a in t.outputs]}],
        }
    )


def _attribute_document(a: Attribute) -> dict[str, Any]:
    return _present(
        {
            "name": a.name,
            "dtype": a.dtype,
            "elementdtype": a.element_dtype,
            "semantics": a.semantics,
            "ml_semantics": a.ml_semantics,
            "description": a.description,
            "data_store_id": a.store,
            "describes": a.describes,
            "data_class": a.data_class,
            "better_when": a.better_when,
            "attributes": [_attribute_document(m) for m in a.members] or None,
        }
    )


def _transformation(name: str, body: object, where: Where) -> Transformation:
    doc = mapping(body or {}, where)
    known(doc, _TRANSFORMATION_KEYS, where)
    kind = one_of(doc, "type", vocabulary.TRANSFORMATION_TYPES, where)
    stage = one_of(doc, "stage_type", vocabulary.STAGE_TYPES, where)
    if (kind == "LearningStage") != (stage is not None):
        where.refuse(
            f"{where}: `stage_type` ({listed(vocabulary.STAGE_TYPES)}) goes with `type: LearningStage`, "
            f"and only with it; found type {kind!r}, stage_type {stage!r}",
            "type" if stage is None else "stage_type",
        )
    transformation = Transformation(
        name=name,
        type=kind,
        stage_type=stage,
        cycle=bool(doc.get("cycle", False)),
        parent=text(doc, "parent", where),
        lifecycle_phase=one_of(doc, "lifecycle_phase", vocabulary.LIFECYCLE_PHASES, where),
        description=text(doc, "description", where),
        inputs=_attributes(doc.get("input_datasets"), IN, where.at("input_datasets")),
        outputs=_attributes(doc.get("output_datasets"), OUT, where.at("output_datasets")),
    )
    for direction, attributes in ((IN, transformation.inputs), (OUT, transformation.outputs)):
        for attribute in attributes:
            if attribute.describes is not None and transformation.described(direction, attribute) is None:
                where.refuse(
                    f"{where}: attribute {attribute.name!r} describes {attribute.describes!r}, "
                    "which is no attribute of the same transformation",
                    *_place_of(doc, direction, attribute.name),
                )
    return transformation


def _place_of(doc: Mapping[str, Any], direction: str, name: str) -> tuple[Key, ...]:
    """The keys that lead to `describes` of an attribute of a transformation that has been read."""
    key = "input_datasets" if direction == IN else "output_datasets"
    for number, dataset in enumerate(doc.get(key) or ()):
        for place, body in enumerate(dataset.get("attributes") or ()):
            if body["name"] == name:
                return key, number, "attributes", place, "describes"
    return ()


def _attributes(datasets: object, direction: str, where: Where) -> tuple[Attribute, ...]:
    found: dict[str, Attribute] = {}
    for number, dataset in enumerate(sequence(datasets or [], where)):
        place = where.at(number, text=f"{where}[{number}]")
        doc = mapping(dataset, place)
        known(doc, _DATASET_KEYS, place)
        for attribute, at in _listed_attributes(doc, direction, place):
            if attribute.name in found:
                at.refuse(f"{where}: two attributes are called {attribute.name!r}")
            found[attribute.name] = attribute
    return tuple(found[name] for name in sorted(found))


def _listed_attributes(
    doc: Mapping[str, Any], direction: str, where: Where
) -> Iterator[tuple[Attribute, Where]]:
    """The attributes under the key `attributes`, each with its place."""
    places = where.at("attributes")
    for number, body in enumerate(sequence(doc.get("attributes") or [], places)):
        at = places.at(number, text=str(where))
        yield _attribute(body, direction, at), at


def _attribute(body: object, direction: str, place: Where) -> Attribute:
    unnamed = place.at(text=f"an attribute of {place}")
    doc = mapping(body, unnamed)
    name = required(doc, "name", unnamed)
    where = place.at(text=f"{place}.{name}")
    known(doc, _ATTRIBUTE_KEYS, where)
    referred = where.at("storage_references")
    storage = mapping(doc.get("storage_references") or {}, referred)
    return Attribute(
        name=name,
        dtype=text(doc, "dtype", where),
        element_dtype=text(doc, "elementdtype", where),
        semantics=one_of(doc, "semantics", vocabulary.VALUE_SEMANTICS, where),
        ml_semantics=one_of(doc, "ml_semantics", vocabulary.ML_SEMANTICS[direction], where),
        description=text(doc, "description", where),
        store=text(doc, "data_store_id", where) or text(storage, "key", referred.at(text=str(where))),
        describes=text(doc, "describes", where),
        data_class=one_of(doc, "data_class", vocabulary.DATA_CLASSES, where),
        better_when=one_of(doc, "better_when", vocabulary.BETTER_WHEN, where),
        members=tuple(member for member, _ in _listed_attributes(doc, direction, where)),
    )


def _check_nesting(definition: Definition, where: Where) -> None:
    for transformation in definition.transformations:
        seen = [transformation.name]
        parent = transformation.parent
        while parent is not None:
            outer = definition.transformation(parent)
            if outer is None:
                where.at(seen[-1]).refuse(
                    f"data_transformations.{seen[-1]}: parent {parent!r} is not defined; "
                    f"defined are {listed(t.name for t in definition.transformations)}",
                    "parent",
                )
            if parent in seen:
                where.at(seen[-1]).refuse(
                    f"data_transformations: circular nesting {' -> '.join([*seen, parent])}", "parent"
                )
            seen.append(parent)
            parent = outer.parent


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}
