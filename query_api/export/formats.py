"""The formats of an export: what each is called, and who writes it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO, Final

from headstream.query_api import terms
from headstream.query_api.errors import InvalidValue
from headstream.query_api.export.crate import write_crate
from headstream.query_api.export.ml_schema import write_ml_schema
from headstream.query_api.export.nodes import Node
from headstream.query_api.export.openlineage import write_openlineage
from headstream.query_api.export.prov_document import write_prov_json, write_prov_n
from headstream.query_api.export.rdf import Write, write_json_ld, write_turtle
from headstream.query_api.export.subgraph import Advance, Demand, subgraph
from headstream.query_api.negotiation import Format
from headstream.query_api.store import QueryStore

# Nodes in, bytes out; the keyword is the instance base.
Writer = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format: how it is asked for, what a file of it is called, and who writes it.

    `license` is the IRI that a file of it names as its licence, where the format has a place for one.
    """

    format: Format
    suffix: str
    writer: Writer
    binary: bool = False
    license: str | None = None

    @property
    def name(self) -> str:
        return self.format.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How much of the graph an export is made of."""

    nodes: int
    triples: int


TURTLE: Final = ExportFormat(
    format=Format("turtle", "text/turtle", ("application/x-turtle",)), suffix=".ttl", writer=write_turtle
)
JSON_LD: Final = ExportFormat(
    format=Format("json-ld", "application/ld+json"), suffix=".jsonld", writer=write_json_ld
)
PROV_N: Final = ExportFormat(
    format=Format("prov-n", "text/provenance-notation"), suffix=".provn", writer=write_prov_n
)
PROV_JSON: Final = ExportFormat(
    format=Format("prov-json", "application/provenance+json", ("application/json",)),
    suffix=".json",
    writer=write_prov_json,
)
# Turtle as well, so no Accept header can tell it from the first: only its name does.
ML_SCHEMA: Final = ExportFormat(format=Format("mls", "text/turtle"), suffix=".ttl", writer=write_ml_schema)
RO_CRATE: Final = ExportFormat(
    format=Format("ro-crate", "application/zip"), suffix=".zip", writer=write_crate, binary=True
)
OPENLINEAGE: Final = ExportFormat(
    format=Format("openlineage", "application/x-ndjson"), suffix=".jsonl", writer=write_openlineage
)
FORMATS: Final = (TURTLE, JSON_LD, PROV_N, PROV_JSON, ML_SCHEMA, RO_CRATE, OPENLINEAGE)
OFFERS: Final = tuple(each.format for each in FORMATS)


def licensed(chosen: ExportFormat, license: str) -> ExportFormat:
    """The format with a licence; raises InvalidValue for a format without a place for it, or for no IRI."""
    if chosen is not RO_CRATE:
        raise InvalidValue(
            f"{chosen.name} has no place for a licence",
            remedy=f"ask for {RO_CRATE.name}, or without a licence",
        )
    if "://" not in license:
        raise InvalidValue(
            f"{license[:200]!r} is not the IRI of a licence",
            remedy="give one such as https://spdx.org/licenses/CC-BY-4.0",
        )
    return replace(chosen, license=terms.iri(license, base="")[1:-1])


def of_name(name: str) -> ExportFormat | None:
    """The format of this name, if there is one."""
    return next((each for each in FORMATS if each.name == name), None)


def export(
    store: QueryStore,
    demand: Demand,
    chosen: ExportFormat,
    out: IO[bytes],
    advance: Advance = lambda done, known: None,
) -> Exported:
    """Write one run in one format; raises UnknownRun before the first byte, or any QueryApiError.

    What has been written when an error comes is no export: throw it away.
    """
    counted = _Counted(subgraph(store, demand, advance))
    if chosen.license is not None:
        chosen.writer(counted, out, base_iri=demand.base_iri, license=chosen.license)
    elif chosen.binary:
        chosen.writer(counted, out, base_iri=demand.base_iri)
    else:
        chosen.writer(counted, _encoding(out), base_iri=demand.base_iri)
    return Exported(nodes=counted.nodes, triples=counted.triples)


class _Counted:
    """Nodes as they pass."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = nodes
        self.nodes = self.triples = 0

    def __iter__(self) -> Iterator[Node]:
        for each in self._nodes:
            self.nodes += 1
            self.triples += len(each.edges)
            yield each


def _encoding(out: IO[bytes]) -> Write:
    return codecs.getwriter("utf-8")(out).write
