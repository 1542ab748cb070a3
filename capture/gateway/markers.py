"""The value markers of the ProvLake client, and where a reference is stored (spec sections 5.3, 9.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from headstream.capture.gateway.wire import identifier, json_text
from headstream.schemas.definition import Attribute
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue, DictValue, Json, ListValue, Reference, Value
from headstream.schemas.vocabulary import REFERENCE_SEMANTICS

_REFERENCES: Final[dict[str, Literal["data", "kg"]]] = {
    "data_reference": "data",
    "data_reference_as_is": "data",
    "kg_reference": "kg",
}
_WRAPPERS: Final = frozenset({"attribute_value", "attribute_value_with_custom_metadata"})
_DATASETS: Final = frozenset({"dataset", "dataset_item"})
_COLLECTIONS: Final = frozenset({"list", "dict"})
_MARKERS: Final = _REFERENCES.keys() | _WRAPPERS | _DATASETS | _COLLECTIONS
# `type` is also a likely key of somebody's own dictionary, so the old marker key means less than the new.
_OLD_MARKERS: Final = _MARKERS - _DATASETS
_OWN_KEYS: Final = frozenset({"prov_attr_type", "type", "values", "custom_metadata"})
_REFERENCE_KEYS: Final = frozenset({"data_store_id", "datastore_id", "version", "checksum"})


def coerce(name: str, wire: Any, attribute: Attribute | None, mounts: Mounts) -> AttributeValue:
    """What a value on the wire says in the slot of an attribute; never raises on cleaned JSON.

    Metadata of elements inside a list or dictionary is kept under `elements`, by their path.
    """
    kind = type(wire)
    if kind is float or kind is int or kind is bool or (kind is str and attribute is None):
        return AttributeValue(name, wire)  # As nearly all are.
    coercion = _Coercion(mounts)
    value = coercion.value(wire, attribute, ())
    metadata = coercion.metadata.pop((), {})
    if coercion.metadata:
        metadata = {
            **metadata,
            "elements": {"/".join(path): found for path, found in coercion.metadata.items()},
        }
    return AttributeValue(
        name,
        value,
        json_text(metadata)[0] if metadata else None,
        "; ".join(dict.fromkeys(coercion.notes)) or None,
    )


@dataclass(slots=True)
class _Coercion:
    """One walk through one value, with what it found on its way."""

    mounts: Mounts
    metadata: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def value(self, wire: Any, attribute: Attribute | None, path: tuple[str, ...]) -> Value:
        if isinstance(wire, dict):
            kind = wire.get("prov_attr_type")
            old = wire.get("type")
            if kind is None and isinstance(old, str) and old in _OLD_MARKERS:
                kind = old
            if isinstance(kind, str) and kind in _MARKERS and "values" in wire:
                return self._marked(kind, wire, attribute, path)
            if "prov_attr_type" in wire:
                self.notes.append(f"not a marker we know: prov_attr_type {kind!r}; kept as it came")
        return self._plain(wire, attribute)

    def _marked(
        self, kind: str, wire: dict[str, Any], attribute: Attribute | None, path: tuple[str, ...]
    ) -> Value:
        self._keep_metadata(kind, wire, path)
        inner = wire["values"]
        if kind in _REFERENCES:
            return self._reference(inner, wire, _REFERENCES[kind], attribute)
        if kind in _COLLECTIONS | _DATASETS and isinstance(inner, dict | list):
            return self._elements(inner, attribute, path)
        return self.value(inner, attribute, path)

    def _elements(
        self, inner: dict[str, Any] | list[Any], attribute: Attribute | None, path: tuple[str, ...]
    ) -> Value:
        if not inner:
            return self._plain(inner, None)
        if isinstance(inner, list):
            return ListValue(
                tuple(self.value(item, attribute, (*path, str(n))) for n, item in enumerate(inner))
            )
        members = {member.name: member for member in attribute.members} if attribute else {}
        return DictValue(
            tuple(
                (key, self.value(item, members.get(key, attribute), (*path, key)))
                for key, item in inner.items()
            )
        )

    def _reference(
        self, inner: Any, wire: dict[str, Any], kind: Literal["data", "kg"], attribute: Attribute | None
    ) -> Value:
        if isinstance(inner, list) and inner:
            return ListValue(tuple(self._reference(item, wire, kind, attribute) for item in inner))
        if isinstance(inner, bool) or not isinstance(inner, str | int | float) or not str(inner).strip():
            self.notes.append("a reference without text is no reference; kept as a value")
            return self._plain(inner, None)
        store = wire.get("data_store_id")
        return self._stored(
            identifier(inner, "a reference"),
            kind,
            _scalar(store if store is not None else wire.get("datastore_id")),
            attribute,
            version=_scalar(wire.get("version")),
            checksum=_scalar(wire.get("checksum")),
        )

    def _stored(
        self,
        text: str,
        kind: Literal["data", "kg"],
        store: str | None,
        attribute: Attribute | None,
        version: str | None = None,
        checksum: str | None = None,
    ) -> Reference:
        if store is None and attribute is not None:
            store = attribute.store
        if store is None:
            store = self.mounts.store_of(text)
        return Reference(text=text, store=store, kind=kind, version=version, checksum=checksum)

    def _plain(self, wire: Any, attribute: Attribute | None) -> Value:
        match wire:
            case str():
                semantics = None if attribute is None else attribute.semantics
                if semantics not in REFERENCE_SEMANTICS or not wire.strip():
                    return wire
                return self._stored(wire, "kg" if semantics == "KG_REFERENCE" else "data", None, attribute)
            case bool() | int() | float():
                return wire
        text, changed = json_text(wire)
        if changed:
            self.notes.append("JSON has no NaN or infinity: written as text")
        return Json(text)

    def _keep_metadata(self, kind: str, wire: Mapping[str, Any], path: tuple[str, ...]) -> None:
        known = _OWN_KEYS | _REFERENCE_KEYS if kind in _REFERENCES else _OWN_KEYS
        found = {key: item for key, item in wire.items() if key not in known}
        custom = wire.get("custom_metadata")
        if isinstance(custom, Mapping):
            found |= custom
        elif custom is not None:
            found["custom_metadata"] = custom
        if found:
            self.metadata[path] = {**found, **self.metadata.get(path, {})}


def _scalar(value: Any) -> str | None:
    usable = isinstance(value, str | int | float) and value != ""
    return identifier(value, "a key of a reference") if usable else None
