"""Decide what belongs to a run: which nodes are reached from it, and by which edges.

A node that belongs comes with every triple of which it is the subject, unchanged. So an edge may lead
out of an export, to what belongs to other runs, and the exports of all runs together are the graph.
"""

from __future__ import annotations

from typing import Final

import pyoxigraph

from headstream.query_api.export.nodes import Node
from headstream.schemas.vocabulary import expand

_RUN: Final = expand("provml:WorkflowExecution")
_STEP: Final = expand("provml:DataTransformationExecution")
_WORKFLOW: Final = expand("provml:Workflow")
_PROJECT: Final = expand("provml:Project")
_REFERENCE: Final = expand("provml:DataReference")
_HAD_MEMBER: Final = expand("prov:hadMember")
_MEMBER_OF_RUN: Final = expand("provml:wasMemberOfWorkflowExecution")
_GENERATED_BY: Final = expand("prov:wasGeneratedBy")
FILLS: Final = expand("provml:wasDerivedFromAttribute")

# Edges along which a run has its plan, its steps what they used, and values what describes them.
ALWAYS: Final = frozenset(
    map(
        expand,
        (
            "prov:used", "prov:hadMember", "prov:wasAssociatedWith", "prov:wasAttributedTo",
            "prov:specializationOf", "provml:wasDerivedFromWorkflow",
            "provml:wasDerivedFromDataTransformation", "provml:wasPartOf",
            "provml:wasMemberOfWorkflowExecution", "provml:hasInputAttribute", "provml:hasOutputAttribute",
            "provml:isSectionOf", "provml:describesAttribute", "provml:referred", "provml:isStoredInStore",
            "provml:wasInStore", "provml:instanceOfStore", "provml:refersToResource",
            "provml:hasCharacteristic", "provml:hasModelHyperParameter",
            "provml:hasLearningHyperParameterSetting", "provml:hasEvaluation", "provml:hasPartTotals",
        ),
    )
)  # fmt: skip
# Edges to where something came from, up to the raw files: only with the lineage.
LINEAGE: Final = frozenset(map(expand, ("prov:wasDerivedFrom", "prov:wasGeneratedBy")))


def followed(node: Node, *, lineage: bool) -> set[str]:
    """The nodes that belong because this one does."""
    reference = _REFERENCE in node.types
    found: set[str] = set()
    for predicate, value in node.edges:
        if not isinstance(value, pyoxigraph.NamedNode):
            continue
        # A shared reference fills slots of every workflow that met it; those are no part of this run.
        along = predicate in ALWAYS or (predicate == FILLS and (lineage or not reference))
        if along or (lineage and predicate in LINEAGE):
            found.add(value.value)
    return found


def followed_backwards(node: Node, *, root: bool) -> tuple[str, ...]:
    """The predicates whose subjects belong because this node, their object, does."""
    if root:
        return (_MEMBER_OF_RUN, _GENERATED_BY)
    if _STEP in node.types:
        return (_GENERATED_BY,)
    return (_HAD_MEMBER,) if _WORKFLOW in node.types else ()


def is_run(node: Node) -> bool:
    """Tell whether the graph knows this node as a run."""
    return _RUN in node.types


def is_project(node: Node) -> bool:
    """Tell whether this node gathers workflows, of which only those that belong are kept."""
    return _PROJECT in node.types


def without_strangers(project: Node, belonging: set[str]) -> Node:
    """A project with no other members than workflows that belong."""
    return Node(
        project.iri,
        tuple(
            (predicate, value)
            for predicate, value in project.edges
            if predicate != _HAD_MEMBER or getattr(value, "value", None) in belonging
        ),
    )
