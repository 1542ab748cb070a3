"""Prospective documents: what a workflow is meant to do (spec section 6.1).

Accepts the IBM ProvLake format with the extensions of the spec, as parsed JSON or YAML. A
definition is known by the SHA-256 of its canonical form, so the same content has the same hash
whether it came as YAML or JSON and in whatever order its keys stood.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headstream.schemas import vocabulary
from headstream.schemas.errors import InvalidDefinition
from headstream.schemas.events import IN, OUT
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
    doc = _mapping(document, "the document")
    _known(doc, _DOCUMENT_KEYS, "the document")
    transformations = tuple(
        _transformation(str(name), body)
        for name, body in sorted(
            _mapping(doc.get("data_transformations") or {}, "data_transformations").items()
        )
    )
    storages = _mapping(doc.get("storages") or {}, "storages")
    definition = Definition(
        workflow=_required(doc, "dataflow_name", "the document"),
        workflow_type=_one_of(doc, "workflow_type", {"Workflow", "Experiment"}, "the document"),
        project=_text(doc, "context_name", "the document"),
        project_type=_one_of(doc, "project_type", {"Project", "Study"}, "the document"),
        lifecycle_phase=_one_of(doc, "lifecycle_phase", vocabulary.LIFECYCLE_PHASES, "the document"),
        description=_text(doc, "description", "the document"),
        transformations=transformations,
        stores=tuple(
            parse_store({"id": key, **_mapping(body, f"storages.{key}")})
            for key, body in sorted(storages.items())
        ),
    )
    _check_nesting(definition)
    return definition


def parse_store(document: object) -> Store:
    """Read one entry of a store catalogue (the client format of spec section 9.1, with mount prefixes)."""
    doc = _mapping(document, "a store")
    where = f"store {doc.get('id')!r}"
    _known(doc, _STORE_KEYS, where)
    product = _text(doc, "type", where)
    kind = _one_of(doc, "super_type", vocabulary.STORE_TYPES, where)
    if kind is None and product is not None:
        kind = product if product in vocabulary.STORE_TYPES else vocabulary.STORE_PRODUCTS.get(product)
    if kind is None:
        raise InvalidDefinition(
            f"{where}: no kind of store: give `super_type`, one of {_listed(vocabulary.STORE_TYPES)}, or a "
            f"`type` that implies it, one of {_listed(vocabulary.STORE_PRODUCTS)}"
        )
    store_id = _required(doc, "id", where)
    metadata = doc.get("custom_metadata")
    return Store(
        id=store_id,
        name=_text(doc, "name", where) or store_id,
        type=kind,
        product=product if product not in vocabulary.STORE_TYPES else None,
        host_address=_text(doc, "host_address", where),
        url=_text(doc, "url", where),
        bucket=_text(doc, "bucket", where),
        mounts=tuple(str(m) for m in _sequence(doc.get("mounts") or [], f"{where}.mounts")),
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


def _transformation(name: str, body: object) -> Transformation:
    where = f"data_transformations.{name}"
    doc = _mapping(body or {}, where)
    _known(doc, _TRANSFORMATION_KEYS, where)
    kind = _one_of(doc, "type", vocabulary.TRANSFORMATION_TYPES, where)
    stage = _one_of(doc, "stage_type", vocabulary.STAGE_TYPES, where)
    if (kind == "LearningStage") != (stage is not None):
        raise InvalidDefinition(
            f"{where}: `stage_type` ({_listed(vocabulary.STAGE_TYPES)}) goes with `type: LearningStage`, "
            f"and only with it; found type {kind!r}, stage_type {stage!r}"
        )
    transformation = Transformation(
        name=name,
        type=kind,
        stage_type=stage,
        cycle=bool(doc.get("cycle", False)),
        parent=_text(doc, "parent", where),
        lifecycle_phase=_one_of(doc, "lifecycle_phase", vocabulary.LIFECYCLE_PHASES, where),
        description=_text(doc, "description", where),
        inputs=_attributes(doc.get("input_datasets"), IN, f"{where}.input_datasets"),
        outputs=_attributes(doc.get("output_datasets"), OUT, f"{where}.output_datasets"),
    )
    for direction, attributes in ((IN, transformation.inputs), (OUT, transformation.outputs)):
        for attribute in attributes:
            if attribute.describes is not None and transformation.described(direction, attribute) is None:
                raise InvalidDefinition(
                    f"{where}: attribute {attribute.name!r} describes {attribute.describes!r}, "
                    "which is no attribute of the same transformation"
                )
    return transformation


def _attributes(datasets: object, direction: str, where: str) -> tuple[Attribute, ...]:
    found: dict[str, Attribute] = {}
    for number, dataset in enumerate(_sequence(datasets or [], where)):
        doc = _mapping(dataset, f"{where}[{number}]")
        _known(doc, _DATASET_KEYS, f"{where}[{number}]")
        for body in _sequence(doc.get("attributes") or [], f"{where}[{number}].attributes"):
            attribute = _attribute(body, direction, f"{where}[{number}]")
            if attribute.name in found:
                raise InvalidDefinition(f"{where}: two attributes are called {attribute.name!r}")
            found[attribute.name] = attribute
    return tuple(found[name] for name in sorted(found))


def _attribute(body: object, direction: str, where: str) -> Attribute:
    doc = _mapping(body, f"an attribute of {where}")
    name = _required(doc, "name", f"an attribute of {where}")
    where = f"{where}.{name}"
    _known(doc, _ATTRIBUTE_KEYS, where)
    storage = _mapping(doc.get("storage_references") or {}, f"{where}.storage_references")
    return Attribute(
        name=name,
        dtype=_text(doc, "dtype", where),
        element_dtype=_text(doc, "elementdtype", where),
        semantics=_one_of(doc, "semantics", vocabulary.VALUE_SEMANTICS, where),
        ml_semantics=_one_of(doc, "ml_semantics", vocabulary.ML_SEMANTICS[direction], where),
        description=_text(doc, "description", where),
        store=_text(doc, "data_store_id", where) or _text(storage, "key", where),
        describes=_text(doc, "describes", where),
        data_class=_one_of(doc, "data_class", vocabulary.DATA_CLASSES, where),
        better_when=_one_of(doc, "better_when", vocabulary.BETTER_WHEN, where),
        members=tuple(
            _attribute(member, direction, where)
            for member in _sequence(doc.get("attributes") or [], f"{where}.attributes")
        ),
    )


def _check_nesting(definition: Definition) -> None:
    for transformation in definition.transformations:
        seen = [transformation.name]
        parent = transformation.parent
        while parent is not None:
            outer = definition.transformation(parent)
            if outer is None:
                raise InvalidDefinition(
                    f"data_transformations.{seen[-1]}: parent {parent!r} is not defined; "
                    f"defined are {_listed(t.name for t in definition.transformations)}"
                )
            if parent in seen:
                raise InvalidDefinition(
                    f"data_transformations: circular nesting {' -> '.join([*seen, parent])}"
                )
            seen.append(parent)
            parent = outer.parent


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value is not None}


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _known(doc: Mapping[str, Any], keys: set[str], where: str) -> None:
    unknown = sorted(set(map(str, doc)) - keys)
    if unknown:
        raise InvalidDefinition(f"{where}: unknown key {unknown[0]!r}; known are {_listed(keys)}")


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidDefinition(f"{where} must be a mapping of keys to values, found {type(value).__name__}")
    return value


def _sequence(value: object, where: str) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidDefinition(f"{where} must be a list, found {type(value).__name__}")
    return value


def _text(doc: Mapping[str, Any], key: str, where: str) -> str | None:
    value = doc.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidDefinition(f"{where}: `{key}` must be text, found {value!r}")
    return value


def _required(doc: Mapping[str, Any], key: str, where: str) -> str:
    value = _text(doc, key, where)
    if not value:
        raise InvalidDefinition(f"{where}: `{key}` is missing")
    return value


def _one_of(doc: Mapping[str, Any], key: str, allowed: Any, where: str) -> str | None:
    value = _text(doc, key, where)
    if value is not None and value not in allowed:
        raise InvalidDefinition(f"{where}: `{key}` is {value!r}, but must be one of {_listed(allowed)}")
    return value
