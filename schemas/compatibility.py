"""Whether what one Avro schema wrote can be read with another: schema resolution of Avro 1.12. Pure.

No library of ours decides this: fastavro finds out when it reads, and a registry is optional. With
FULL_TRANSITIVE compatibility each version reads what every other one wrote, in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Any  # Parsed JSON: a name, a list (union) or an object.

_PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "error", "enum", "fixed"})


def unreadable(writer: Schema, reader: Schema) -> list[str]:
    """Why `reader` cannot read all that `writer` may have written, each with its place; empty if it can."""
    resolving = _Resolving(_names(writer, ""), _names(reader, ""))
    return list(resolving.problems(_root(writer), _root(reader), ""))


def incompatible(one: Schema, other: Schema) -> list[str]:
    """Why two schemas are not compatible in full: what each cannot read of the other."""
    return [
        f"{direction}{problem}"
        for direction, problems in (
            ("old data, new reader: ", unreadable(one, other)),
            ("new data, old reader: ", unreadable(other, one)),
        )
        for problem in problems
    ]


@dataclass(frozen=True, slots=True)
class _Named:
    """A schema, and the namespace in which its names are meant."""

    schema: Schema
    space: str

    @property
    def kind(self) -> str:
        if isinstance(self.schema, list):
            return "union"
        if isinstance(self.schema, str):
            return self.schema
        kind: Schema = self.schema["type"]
        return kind if isinstance(kind, str) else _Named(kind, self.space).kind

    @property
    def name(self) -> str:
        return str(self.schema["name"]).rpartition(".")[2]

    def inner(self, schema: Schema) -> _Named:
        return _Named(schema, self.space)


@dataclass(frozen=True, slots=True)
class _Resolving:
    writers: Mapping[str, _Named]
    readers: Mapping[str, _Named]
    # Pairs of records that are being looked at: a record may hold itself.
    open: set[tuple[int, int]] = field(default_factory=set)

    def problems(self, writer: _Named, reader: _Named, place: str) -> Iterator[str]:
        writer, reader = _resolved(writer, self.writers), _resolved(reader, self.readers)
        if writer.kind == "union":
            for branch in writer.schema:
                yield from self.problems(writer.inner(branch), reader, place)
        elif reader.kind == "union":
            tried = [list(self.problems(writer, reader.inner(each), place)) for each in reader.schema]
            if all(tried):
                same = [
                    found
                    for found, each in zip(tried, reader.schema, strict=True)
                    if self._like(writer, reader.inner(each))
                ]
                yield from (
                    same[0] if same else [f"{place}: no branch of the reader's union takes {_said(writer)}"]
                )
        elif writer.kind != reader.kind:
            if reader.kind not in _PROMOTED.get(writer.kind, ()):
                yield f"{place}: {_said(writer)} cannot be read as {_said(reader)}"
        elif writer.kind in _NAMED and not _same_name(writer, reader):
            yield f"{place}: {_said(writer)} cannot be read as {_said(reader)}"
        else:
            yield from self._same_kind(writer, reader, place)

    def _same_kind(self, writer: _Named, reader: _Named, place: str) -> Iterator[str]:
        match writer.kind:
            case "record" | "error":
                pair = (id(writer.schema), id(reader.schema))
                if pair not in self.open:
                    self.open.add(pair)
                    yield from self._fields(writer, reader, place)
                    self.open.discard(pair)
            case "array":
                yield from self.problems(
                    writer.inner(writer.schema["items"]), reader.inner(reader.schema["items"]), f"{place}[]"
                )
            case "map":
                yield from self.problems(
                    writer.inner(writer.schema["values"]),
                    reader.inner(reader.schema["values"]),
                    f"{place}{{}}",
                )
            case "enum":
                missing = set(writer.schema["symbols"]) - set(reader.schema["symbols"])
                if missing and "default" not in reader.schema:
                    yield f"{place}: the reader has no symbol {', '.join(sorted(missing))}"
            case "fixed" if writer.schema["size"] != reader.schema["size"]:
                yield f"{place}: {writer.schema['size']} bytes cannot be read as {reader.schema['size']}"

    def _fields(self, writer: _Named, reader: _Named, place: str) -> Iterator[str]:
        written = {each["name"]: each for each in writer.schema["fields"]}
        for each in reader.schema["fields"]:
            names = [each["name"], *each.get("aliases", ())]
            found = next((written[name] for name in names if name in written), None)
            at = f"{place}.{each['name']}" if place else f"{reader.name}.{each['name']}"
            if found is not None:
                yield from self.problems(writer.inner(found["type"]), reader.inner(each["type"]), at)
            elif "default" not in each:
                yield f"{at}: the writer does not have it, and it has no default"

    def _like(self, writer: _Named, branch: _Named) -> bool:
        """Tell whether this branch is the one that was meant, so that its problems are worth telling."""
        branch = _resolved(branch, self.readers)
        return writer.kind == branch.kind and (writer.kind not in _NAMED or _same_name(writer, branch))


def _root(schema: Schema) -> _Named:
    return _Named(schema, "")


def _names(schema: Schema, space: str) -> dict[str, _Named]:
    """Every named schema within, by its full name."""
    found: dict[str, _Named] = {}
    if isinstance(schema, list):
        for branch in schema:
            found |= _names(branch, space)
    elif isinstance(schema, dict):
        inner = space
        if schema.get("type") in _NAMED:
            full = _full(str(schema["name"]), str(schema.get("namespace", space)))
            inner = full.rpartition(".")[0]
            found[full] = _Named(schema, inner)
        for key in ("items", "values", "type"):
            found |= _names(schema.get(key), inner)
        for each in schema.get("fields", ()):
            found |= _names(each["type"], inner)
    return found


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _resolved(named: _Named, names: Mapping[str, _Named]) -> _Named:
    """The schema behind a name; a definition in the place of its first use brings its own namespace."""
    schema = named.schema
    if isinstance(schema, str) and schema not in _PRIMITIVES:
        return names[_full(schema, named.space)]
    if isinstance(schema, dict):
        if schema["type"] in _NAMED:
            return names[_full(str(schema["name"]), str(schema.get("namespace", named.space)))]
        if not isinstance(schema["type"], str) or schema["type"] not in (*_PRIMITIVES, "array", "map"):
            return _resolved(named.inner(schema["type"]), names)
    return named


def _same_name(writer: _Named, reader: _Named) -> bool:
    aliases = (str(each).rpartition(".")[2] for each in reader.schema.get("aliases", ()))
    return writer.name == reader.name or writer.name in aliases


def _said(named: _Named) -> str:
    return f"{named.kind} {named.name}" if named.kind in _NAMED else named.kind
