"""Which references a value is or holds, and by which rules of its run they are resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from headstream.capture.files import OFF, Wanted
from headstream.capture.references import AsDict, AsList, Catalogue, Given, file
from headstream.capture.wire import clean
from headstream.schemas.values import Reference

if TYPE_CHECKING:
    from headstream.schemas.definition import Attribute

_DIGEST = 64 << 20
_DEPTH = 64
_NODES = 200_000
_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})


class Rules(NamedTuple):
    """What applies to the values of one run."""

    catalogue: Catalogue
    limit: int = 256 << 10
    digest: int = _DIGEST  # Of more bytes no digest is made: it would take longer than a script may wait.
    file_facts: bool = True
    checksum: str | None = None  # The algorithm for all files that name none.
    files: dict[Reference, Wanted] | None = None  # Where files that were met are noted, if anywhere.


def resolved(given: Given, attribute: Attribute | None, rules: Rules) -> Reference:
    """The reference that a script gave, with its store; a file is noted as one to be looked at."""
    found = rules.catalogue.resolve(given, None if attribute is None else attribute.store)
    cleaned = [None if t is None else clean(t) for t in (found.store, found.version, found.checksum)]
    reference = Reference(
        text=clean(found.text), store=cleaned[0], kind=found.kind, version=cleaned[1], checksum=cleaned[2]
    )
    if given.path is not None and rules.files is not None:
        algorithm = given.algorithm or (rules.checksum if given.checksum is None else None)
        wanted = Wanted(given.path, rules.file_facts, None if algorithm == OFF else algorithm)
        if wanted.facts or wanted.algorithm is not None:
            rules.files[reference] = wanted
    return reference


def declared_reference(text: str, attribute: Attribute, rules: Rules) -> Reference:
    """The reference that a text is because its attribute is declared to hold some."""
    if attribute.semantics == "KG_REFERENCE":
        return resolved(Given(text=text, kind="kg"), attribute, rules)
    return resolved(
        file(text) if attribute.semantics == "FILE_REFERENCE" else Given(text=text), attribute, rules
    )


def holds_reference(given: Any) -> bool:
    """Tell whether a reference is somewhere inside, as deep and far as values go; no part is asked twice."""
    level, seen, left = [given], set[int](), _NODES
    for _ in range(_DEPTH):
        inner: list[Any] = []
        for each in level:
            left -= 1
            kind = type(each)  # What an object says of its class may be anything, and may raise.
            if kind in _PLAIN:
                continue
            if issubclass(kind, (Given, AsList, AsDict)):
                return True
            if issubclass(kind, (list, tuple, Mapping)) and id(each) not in seen and left > 0:
                seen.add(id(each))
                inner.extend(each.values() if issubclass(kind, Mapping) else each)
        if not inner or left <= 0:
            break
        level = inner
    return False
