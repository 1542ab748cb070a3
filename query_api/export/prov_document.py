"""A run as a PROV document: elements and relations of the data model, written by the `prov` library.

Nothing is left out: what PROV has no relation for is a `wasInfluencedBy` of that type or an attribute, so
that the triples can be had back from the document.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pyoxigraph import Literal as RdfLiteral
from pyoxigraph import NamedNode

from headstream.query_api.errors import FormatNotInstalled
from headstream.query_api.export.nodes import DATE_TIME, DOUBLE, STRING, TYPE, Node, Term
from headstream.query_api.export.rdf import Write
from headstream.schemas.vocabulary import PREFIXES, expand

if TYPE_CHECKING:
    from prov.identifier import Namespace, QualifiedName
    from prov.model import ProvDocument

ACTIVITIES: Final = frozenset(
    map(expand, ("provml:WorkflowExecution", "provml:DataTransformationExecution", "provml:Execution"))
)
AGENTS: Final = frozenset(map(expand, ("provml:Person", "provml:Software")))
# What PROV calls our classes (the ontology says so; a test holds this against it).
PROV_TYPES: Final = {
    expand(ours): theirs
    for ours, theirs in {
        "provml:Project": "Collection", "provml:Workflow": "Plan", "provml:DataTransformation": "Plan",
        "provml:ComplexAttributeValue": "Collection", "provml:ComplexAttribute": "Collection",
        "provml:DataSchema": "Collection", "provml:Person": "Person", "provml:Software": "SoftwareAgent",
    }.items()
}  # fmt: skip
# Sub-properties of prov:wasInfluencedBy, and of its inverse, for which PROV-DM has no record of their own.
INFLUENCED_BY: Final = frozenset(
    map(
        expand,
        (
            "provml:hasInputAttribute", "provml:referred", "provml:wasDerivedFromAttribute",
            "provml:wasMemberOfWorkflowExecution", "provml:wasPartOf", "provml:wasNestedIn",
            "provml:instanceOfStore",
        ),
    )
)  # fmt: skip
INFLUENCED: Final = frozenset(map(expand, ("provml:hasOutputAttribute", "provml:hasEvaluation")))
PLANS: Final = (expand("provml:wasDerivedFromWorkflow"), expand("provml:wasDerivedFromDataTransformation"))
ASSOCIATED: Final = expand("prov:wasAssociatedWith")
STARTED, ENDED = expand("prov:startedAtTime"), expand("prov:endedAtTime")
# Relations by predicate: the method of a ProvDocument that takes subject and object in this order.
RELATIONS: Final = {
    expand("prov:used"): "used",
    expand("prov:wasGeneratedBy"): "wasGeneratedBy",
    expand("prov:wasDerivedFrom"): "wasDerivedFrom",
    expand("prov:wasAttributedTo"): "wasAttributedTo",
    expand("prov:specializationOf"): "specializationOf",
    expand("prov:hadMember"): "hadMember",
}


def write_prov_n(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """PROV-N (W3C Recommendation of 2013)."""
    write(document(nodes, base_iri).get_provn() + "\n")


def write_prov_json(nodes: Iterable[Node], write: Write, *, base_iri: str) -> None:
    """PROV-JSON (W3C Member Submission of 2013)."""
    from prov.serializers.provjson import encode_json_document

    found = document(nodes, base_iri)
    for chunk in json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(encode_json_document(found)):
        write(chunk)
    write("\n")


def document(nodes: Iterable[Node], base_iri: str) -> ProvDocument:
    """The nodes as one PROV document, in their order; raises FormatNotInstalled without the library."""
    try:
        from prov.model import ProvDocument
    except ImportError as missing:
        raise FormatNotInstalled(
            "PROV-N and PROV-JSON are written by the package prov, which is not installed here",
            remedy="pip install 'headstream[export]'",
        ) from missing
    with warnings.catch_warnings():
        # Its advice on values that other PROV tools may read differently; there is no other way to say them.
        warnings.simplefilter("ignore")
        made = _Maker(ProvDocument(), base_iri)
        held = list(nodes)
        for node in held:
            made.element(node)
        for node in held:
            made.relations(node)
    return made.document


class _Maker:
    """Makes records of nodes."""

    def __init__(self, document: ProvDocument, base_iri: str) -> None:
        self.document = document
        self._spaces: dict[str, Namespace] = {}
        for prefix, namespace in (("id", base_iri), *PREFIXES.items()):
            self._space(namespace, prefix)
        self._known = sorted(self._spaces, key=len, reverse=True)

    def element(self, node: Node) -> None:
        """The entity, activity or agent that a node is, with all that is no relation."""
        name = self._name(node.iri)
        attributes = list(self._attributes(node))
        if node.types & ACTIVITIES:
            self.document.activity(name, _first(node, STARTED), _first(node, ENDED), attributes)
        elif node.types & AGENTS:
            self.document.agent(name, attributes)
        else:
            self.document.entity(name, attributes)

    def relations(self, node: Node) -> None:
        """What leads from a node to others."""
        name = self._name(node.iri)
        plans: list[QualifiedName | None] = []
        agents: list[QualifiedName | None] = []
        for predicate, term in node.edges:
            if not isinstance(term, NamedNode):
                continue
            other = self._name(term.value)
            if predicate in RELATIONS:
                getattr(self.document, RELATIONS[predicate])(name, other)
            elif predicate in INFLUENCED_BY:
                self._influence(name, other, predicate)
            elif predicate in INFLUENCED:
                self._influence(other, name, predicate)
            elif predicate in PLANS:
                plans.append(other)
            elif predicate == ASSOCIATED:
                agents.append(other)
        for plan in plans or [None]:
            for agent in agents or [None]:
                if plan is not None or agent is not None:
                    self.document.wasAssociatedWith(name, agent, plan)

    def _influence(self, effect: QualifiedName, cause: QualifiedName, predicate: str) -> None:
        self.document.wasInfluencedBy(
            effect, cause, other_attributes=[(self._prov("type"), self._name(predicate))]
        )

    def _attributes(self, node: Node) -> Iterator[tuple[QualifiedName, Any]]:
        for each in sorted(node.types):
            yield self._prov("type"), self._name(each)
        for each in sorted({PROV_TYPES[each] for each in node.types if each in PROV_TYPES}):
            yield self._prov("type"), self._prov(each)
        label = node.text("provml:name")
        if label is not None:
            yield self._prov("label"), label
        times = {STARTED: _first(node, STARTED), ENDED: _first(node, ENDED)}
        activity = bool(node.types & ACTIVITIES)
        for predicate, term in node.edges:
            if predicate == TYPE or (isinstance(term, NamedNode) and _is_relation(predicate)):
                continue
            if activity and predicate in times and getattr(term, "value", None) == times[predicate]:
                continue
            yield self._name(predicate), self._value(term)

    def _value(self, term: Term) -> Any:
        from prov.model import Literal

        if isinstance(term, NamedNode):
            return self._name(term.value)
        if not isinstance(term, RdfLiteral):
            raise TypeError(f"{term} is neither an IRI nor a literal, and headstream writes no other")
        if term.language:
            return Literal(term.value, None, term.language)
        datatype = term.datatype.value
        if datatype == STRING:
            return term.value
        if datatype == DOUBLE:
            return float(term.value)
        return Literal(term.value, self._name(datatype))

    def _prov(self, local: str) -> QualifiedName:
        return self._name(PREFIXES["prov"] + local)

    def _name(self, iri: str) -> QualifiedName:
        for namespace in self._known:
            if iri.startswith(namespace) and len(iri) > len(namespace):
                return self._spaces[namespace][iri[len(namespace) :]]
        # A foreign IRI: its namespace ends with the last separator that leaves something behind it.
        cut = max(iri.rfind("/", 0, -1), iri.rfind("#", 0, -1), iri.rfind(":", 0, -1)) + 1
        namespace = iri[:cut]
        if namespace not in self._spaces:
            self._space(namespace, f"ns{len(self._spaces) - len(PREFIXES)}")
        return self._spaces[namespace][iri[cut:]]

    def _space(self, namespace: str, prefix: str) -> None:
        self._spaces[namespace] = self.document.add_namespace(prefix, namespace)


def _is_relation(predicate: str) -> bool:
    return (
        predicate in RELATIONS
        or predicate in INFLUENCED_BY
        or predicate in INFLUENCED
        or predicate in PLANS
        or predicate == ASSOCIATED
    )


def _first(node: Node, predicate: str) -> str | None:
    """The first instant of a predicate that PROV can have as the time of an activity."""
    for each, term in node.edges:
        if each == predicate and isinstance(term, RdfLiteral) and term.datatype.value == DATE_TIME:
            try:
                datetime.fromisoformat(term.value)
            except ValueError:
                continue
            return term.value
    return None
