"""Derived edges, from what one self-contained event says (spec section 6.3, ontology/updates/*.ru).

The `.ru` files define these edges and are the oracle of the tests; on a run whose messages came
in order both give the same set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headstream.schemas.facts import ID, Fact
from headstream.stream_processors.identify import Node
from headstream.stream_processors.join import MODEL

EVALUATION = "provml:ModelEvaluation"
MODEL_HYPER_PARAMETER = "provml:ModelHyperParameterValue"
SETTING = "provml:LearningHyperParameterSetting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """All that a step is known to have used and generated, and what the steps around it had used."""

    used: Sequence[Node]
    generated: Sequence[Node]
    enclosing: Sequence[Node]
    ended: bool


def derive(holdings: Holdings) -> Iterator[Fact]:
    """Every derived edge that this knowledge of a step justifies."""
    yield from _derivations(holdings)
    yield from _characteristics(holdings)
    yield from _model_facts(holdings)


def _derivations(h: Holdings) -> Iterator[Fact]:
    """02: a generated reference derives from every reference used by its step or a step around it."""
    sources = {node.iri for node in (*h.used, *h.enclosing) if node.is_reference}
    for node in h.generated:
        if node.is_reference:
            for source in sources:
                if source != node.iri:
                    yield node.iri, "prov:wasDerivedFrom", ID, source


def _characteristics(h: Holdings) -> Iterator[Fact]:
    """03: a value describes the values of the attribute that its own attribute describes."""
    own = (*h.used, *h.generated)
    for node in own:
        if node.slot is None or node.slot.describes is None:
            continue
        for target in own:
            if target.slot is not None and (target.slot.direction, target.slot.name) == node.slot.describes:
                yield target.iri, "provml:hasCharacteristic", ID, node.iri


def _model_facts(h: Holdings) -> Iterator[Fact]:
    """04: a model and its hyperparameters, settings and evaluations."""
    models = _of_class(h.generated, MODEL)
    evaluations = _of_class(h.generated, EVALUATION)
    for model in models:
        for node in _of_class(h.generated, MODEL_HYPER_PARAMETER):
            yield model, "provml:hasModelHyperParameter", ID, node
        for node in evaluations:
            yield model, "provml:hasEvaluation", ID, node
        for node in _of_class((*h.used, *h.enclosing), SETTING):
            yield model, "provml:hasLearningHyperParameterSetting", ID, node
    if h.ended and not models:
        for model in _of_class(h.used, MODEL):
            for node in evaluations:
                yield model, "provml:hasEvaluation", ID, node


def _of_class(nodes: Sequence[Node], value_class: str) -> list[str]:
    return [node.iri for node in nodes if node.slot is not None and node.slot.value_class == value_class]
