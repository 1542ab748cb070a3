"""Match what an event says it carries out with the prospective definition (paper section IV).

A transformation or attribute that the definition does not name is no error: it is planned on the
fly with base classes (spec section 6.1), and `declared` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from headstream.schemas import identifiers as ids
from headstream.schemas import vocabulary
from headstream.schemas.definition import Attribute, Definition, Transformation
from headstream.schemas.values import DATA, KNOWLEDGE_GRAPH

MODEL = "provml:ModelReferenceValue"
LEARNING_PROCESS = "provml:LearningProcessExecution"
CYCLE_ITERATION = "provml:CycleIteration"
# Runs of one workflow share a version for long, so a few hundred plans cover a busy worker.
_REMEMBERED = 512
# Steps and slots that a plan keeps although its definition has none: enough for a script, and a
# bound for one that makes up names.
_UNDECLARED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An attribute in one direction of one transformation, ready for naming values."""

    name: str
    direction: str
    iri: str
    # What follows the step in the IRI of a value in this slot.
    tail: str
    declared: bool
    value_class: str | None = None
    is_range: bool = False
    reference_kind: Literal["data", "kg"] | None = None
    store: str | None = None
    describes: tuple[str, str] | None = None
    # Whether an edge can be derived from a value just because it is in this slot.
    derives: bool = False


@dataclass(slots=True, kw_only=True)
class StepPlan:
    """One transformation of a workflow: its IRI, the classes of its executions, its slots."""

    workflow: str
    name: str | None
    iri: str
    transformation: Transformation | None
    types: tuple[str, ...]
    _slots: dict[tuple[str, str], Slot] = field(default_factory=dict)

    @property
    def declared(self) -> bool:
        return self.transformation is not None

    @property
    def cycle(self) -> bool:
        return self.transformation is not None and self.transformation.cycle

    def slot(self, direction: str, name: str) -> Slot:
        """The slot of this name; planned on the fly if the definition has none."""
        found = self._slots.get((direction, name))
        if found is None:
            found = self._make(direction, name)
            if found.declared or len(self._slots) < _UNDECLARED:
                self._slots[direction, name] = found
        return found

    def _make(self, direction: str, name: str) -> Slot:
        iri = ids.attribute(self.workflow, self.name, direction, name)
        tail = f"{direction}/{ids.enc(name)}"
        attribute = self.transformation.attribute(direction, name) if self.transformation else None
        if attribute is None:
            return Slot(name=name, direction=direction, iri=iri, tail=tail, declared=False)
        assert self.transformation is not None
        described = self.transformation.described(direction, attribute)
        semantic = value_class(direction, attribute)
        return Slot(
            name=name,
            direction=direction,
            iri=iri,
            tail=tail,
            declared=True,
            value_class=semantic,
            is_range=attribute.dtype == "range",
            reference_kind=_reference_kind(attribute),
            store=attribute.store,
            describes=None if described is None else (described[0], described[1].name),
            derives=described is not None or semantic == MODEL,
        )


class Plan:
    """A workflow joined with its definition, or with none."""

    def __init__(self, workflow: str, definition: Definition | None) -> None:
        self.workflow = workflow
        self.definition = definition
        self.iri = ids.workflow(workflow)
        self._steps: dict[str | None, StepPlan] = {}

    @cached_property
    def run_types(self) -> tuple[str, ...]:
        """Classes of an execution of this workflow."""
        experiment = self.definition is not None and self.definition.workflow_type == "Experiment"
        return ("provml:WorkflowExecution", *((LEARNING_PROCESS,) if experiment else ()))

    def step(self, name: str | None) -> StepPlan:
        """The transformation of this name; None stands for the workflow itself."""
        found = self._steps.get(name)
        if found is None:
            found = self._make(name)
            if found.declared or len(self._steps) < _UNDECLARED:
                self._steps[name] = found
        return found

    def _make(self, name: str | None) -> StepPlan:
        if name is None:
            return StepPlan(workflow=self.workflow, name=None, iri=self.iri, transformation=None, types=())
        transformation = None if self.definition is None else self.definition.transformation(name)
        types = ["provml:DataTransformationExecution"]
        if transformation is not None and transformation.type is not None:
            types.append("provml:" + vocabulary.TRANSFORMATION_TYPES[transformation.type])
        return StepPlan(
            workflow=self.workflow,
            name=name,
            iri=ids.transformation(self.workflow, name),
            transformation=transformation,
            types=tuple(types),
        )


_plans: dict[tuple[str, str], Plan] = {}


def join(workflow: str, definition: Definition | None) -> Plan:
    """The plan of a workflow under this version of its definition (remembered: it never changes)."""
    if definition is None:
        return Plan(workflow, None)
    key = (workflow, definition.content_hash)
    plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= _REMEMBERED:
            _plans.clear()
        plan = _plans[key] = Plan(workflow, definition)
    return plan


def value_class(direction: str, attribute: Attribute) -> str | None:
    """ML class of the values of an attribute, as a prefixed name (spec section 6.1)."""
    if attribute.ml_semantics is None:
        return None
    name = vocabulary.ML_SEMANTICS[direction][attribute.ml_semantics][1]
    return None if name is None else "provml:" + name


def attribute_class(direction: str, attribute: Attribute) -> str | None:
    """ML class of an attribute itself, as a prefixed name (spec section 6.1)."""
    if attribute.ml_semantics is None:
        return None
    return "provml:" + vocabulary.ML_SEMANTICS[direction][attribute.ml_semantics][0]


def _reference_kind(attribute: Attribute) -> Literal["data", "kg"] | None:
    if attribute.semantics not in vocabulary.REFERENCE_SEMANTICS:
        return None
    return KNOWLEDGE_GRAPH if attribute.semantics == "KG_REFERENCE" else DATA
