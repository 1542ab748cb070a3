"""Give every captured thing its identifier and its base facts (spec sections 5 and 6.3).

Pure functions from events and their plan to facts. Nothing here knows about other events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from headstream.schemas import identifiers as ids
from headstream.schemas.events import IN, Context, Holding, StepRef
from headstream.schemas.facts import BOOLEAN, DATE_TIME, DOUBLE, ID, INTEGER, IRI, JSON, STRING, TERM, Fact
from headstream.schemas.values import (
    KNOWLEDGE_GRAPH,
    AttributeValue,
    DictValue,
    Instant,
    Json,
    ListValue,
    Reference,
    Value,
    canonical_json,
    double,
    plain,
)
from headstream.stream_processors.join import Plan, Slot, StepPlan

TYPE = "rdf:type"
VALUE = "provml:AttributeValue"


class Node(NamedTuple):
    """A captured value with its identifier: what derived edges are made of."""

    iri: str
    slot: Slot | None
    is_reference: bool


class Occurrence(NamedTuple):
    """Where values occur: a step of a run, or a run as a whole (`task` None)."""

    workflow: str
    execution: str
    transformation: str | None
    task: str | None
    iri: str
    plan: StepPlan
    # What the IRIs of all its values begin with; the tail of a slot comes behind it.
    values: str


def occurrence(plan: Plan, workflow: str, execution: str, step: StepRef | None) -> Occurrence:
    """The place of a step's values, or of a run's own values if there is no step."""
    if step is None:
        return Occurrence(
            workflow=workflow,
            execution=execution,
            transformation=None,
            task=None,
            iri=ids.run(workflow, execution),
            plan=plan.step(None),
            values=ids.values(workflow, execution, None, None),
        )
    iri, values = ids.step_and_values(workflow, execution, step.transformation, step.task)
    return Occurrence(
        workflow, execution, step.transformation, step.task, iri, plan.step(step.transformation), values
    )


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def instant(microseconds: int) -> str:
    """xsd:dateTime in UTC, trailing zeros of the fraction removed (spec section 5.4)."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    text = _second(seconds)
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else text + "Z"


def literal(value: Value) -> tuple[str, str]:
    """Kind and lexical form of a value (spec section 5.4)."""
    exact = type(value)
    if exact is float:
        return DOUBLE, double(value)  # type: ignore[arg-type]
    if exact is int:
        return INTEGER, str(value)
    if exact is str:
        return STRING, value  # type: ignore[return-value]
    match value:
        case bool():
            return BOOLEAN, "true" if value else "false"
        case int():
            return INTEGER, str(value)
        case float():
            return DOUBLE, double(value)
        case str():
            return STRING, value
        case Json(text):
            return JSON, text
        case Instant(microseconds):
            return DATE_TIME, instant(microseconds)
        case Reference():
            return STRING, ids.canonical_reference(value.text)
        case ListValue() | DictValue():
            return JSON, canonical_json(plain(value))


def duration(started: int, ended: int) -> str:
    """Seconds from start to end, rounded to microseconds."""
    return double(round((ended - started) / 1e6, 6))


def context_facts(subject: str, context: Context) -> Iterator[Fact]:
    """Execution data of a run or step (spec section 6.2)."""
    if context.cluster is not None:
        yield subject, "provml:clusterName", STRING, context.cluster
    if context.job is not None:
        yield subject, "provml:jobId", STRING, context.job
    for host in context.hosts:
        yield subject, "provml:hostName", STRING, host
    if context.peak_memory_bytes is not None:
        yield subject, "provml:peakMemoryBytes", INTEGER, str(context.peak_memory_bytes)
    if context.cpu_seconds is not None:
        yield subject, "provml:cpuSeconds", DOUBLE, double(context.cpu_seconds)
    if context.gpu_seconds is not None:
        yield subject, "provml:gpuSeconds", DOUBLE, double(context.gpu_seconds)
    if context.gpu_peak_memory_bytes is not None:
        yield subject, "provml:gpuPeakMemoryBytes", INTEGER, str(context.gpu_peak_memory_bytes)
    if context.metadata is not None:
        yield subject, "provml:customMetadata", JSON, context.metadata


def reference_iri(reference: Reference, slot: Slot | None) -> str:
    """Global identity of a reference; the attribute's default store counts if it names none."""
    store = reference.store if reference.store is not None or slot is None else slot.store
    return ids.reference(store, reference.text, reference.version)


def as_declared(value: Value, slot: Slot) -> Value:
    """Plain text in a slot that is declared to hold references is a reference (spec section 6.1).

    Blank text stays text: as a reference it would chain every step that had nothing to name.
    """
    if slot.reference_kind is not None and isinstance(value, str) and value.strip():
        return Reference(text=value, kind=slot.reference_kind)
    return value


def held(holding: Holding, place: Occurrence, direction: str) -> Iterator[Node]:
    """The nodes behind an identity that a scope mentions."""
    slot = None if holding.attribute is None else place.plan.slot(direction, holding.attribute)
    reference = holding.reference
    if reference is None:
        if slot is not None:
            yield Node(place.values + slot.tail, slot, False)
        return
    yield Node(reference_iri(reference, slot), slot, True)
    if reference.version is not None and direction != IN:
        yield Node(_unversioned(reference, slot), slot, True)


def _unversioned(reference: Reference, slot: Slot | None) -> str:
    store = reference.store if reference.store is not None or slot is None else slot.store
    return ids.reference(store, reference.text)


class Values:
    """Names the values of one event at one place, adding to its facts and collecting nodes."""

    __slots__ = ("_direction", "_found", "_place", "derive", "facts")

    def __init__(self, place: Occurrence, direction: str, facts: list[Fact]) -> None:
        self._place = place
        self._direction = direction
        self._found: list[tuple[str, Slot | None, bool]] = []
        self.facts = facts
        # Whether an edge can be derived from one of the values, whatever else the step holds.
        self.derive = False

    def nodes(self) -> list[Node]:
        """The nodes of all values, made only when somebody asks: few steps derive anything."""
        return list(map(Node._make, self._found))

    def add(self, given: AttributeValue) -> Slot:
        """Identify one value and tell its slot; InvalidIdentifier if it refers to what is no IRI."""
        place, direction = self._place, self._direction
        slot = place.plan.slot(direction, given.name)
        value = given.value if slot.reference_kind is None else as_declared(given.value, slot)
        if isinstance(value, Reference):
            for iri in self._reference(value, slot):
                self.facts.append((iri, "provml:wasDerivedFromAttribute", ID, slot.iri))
                self._describe(iri, slot, given)
            return slot
        iri = place.values + slot.tail
        self._found.append((iri, slot, False))
        if slot.derives:
            self.derive = True
        kind, text = literal(value)
        self.facts += (
            (iri, TYPE, TERM, VALUE),
            (iri, "provml:wasDerivedFromAttribute", ID, slot.iri),
            self._link(iri),
            (iri, "prov:value", kind, text),
        )
        if slot.value_class is not None or given.metadata is not None:
            self._describe(iri, slot, given)
        if kind == JSON:
            self._members(iri, value, (given.name,))
        if slot.is_range:
            self.facts.extend(_range(iri, value))
        return slot

    def _describe(self, iri: str, slot: Slot, given: AttributeValue) -> None:
        if slot.value_class is not None:
            self.facts.append((iri, TYPE, TERM, slot.value_class))
        if given.metadata is not None:
            self.facts.append((iri, "provml:customMetadata", JSON, given.metadata))

    def _link(self, iri: str) -> Fact:
        if self._direction == IN:
            return (self._place.iri, "prov:used", ID, iri)
        return (iri, "prov:wasGeneratedBy", ID, self._place.iri)

    def _members(self, iri: str, value: Value, path: tuple[ids.Segment, ...]) -> None:
        if isinstance(value, ListValue):
            self.facts.append((iri, TYPE, TERM, "provml:ComplexAttributeValue"))
            for position, item in enumerate(value.items):
                self._element(iri, item, (*path, position), ("provml:position", INTEGER, str(position)))
        elif isinstance(value, DictValue):
            self.facts.append((iri, TYPE, TERM, "provml:ComplexAttributeValue"))
            for key, item in value.items:
                self._element(iri, item, (*path, key), ("provml:memberKey", STRING, key))

    def _element(
        self, whole: str, item: Value, path: tuple[ids.Segment, ...], place: tuple[str, str, str]
    ) -> None:
        if isinstance(item, Reference):
            # A shared reference has no one position: it is a member, and used or generated itself.
            for iri in self._reference(item, None):
                self.facts.append((whole, "prov:hadMember", ID, iri))
            return
        at = self._place
        iri = ids.value(
            at.workflow, at.execution, at.transformation, at.task, self._direction, str(path[0]), *path[1:]
        )
        self.facts.append((iri, TYPE, TERM, VALUE))
        self.facts.append((whole, "prov:hadMember", ID, iri))
        self.facts.append((iri, *place))
        kind, text = literal(item)
        self.facts.append((iri, "prov:value", kind, text))
        if kind == JSON:
            self._members(iri, item, path)

    def _reference(self, reference: Reference, slot: Slot | None) -> list[str]:
        """Facts of a reference; a versioned output also generates the unversioned node (spec 5.3)."""
        iri = reference_iri(reference, slot)
        found = [iri]
        if self._direction != IN or (slot is not None and slot.derives):
            self.derive = True
        if reference.version is not None and self._direction != IN:
            general = _unversioned(reference, slot)
            self.facts.append((iri, "prov:specializationOf", ID, general))
            found.append(general)
        store = reference.store if reference.store is not None or slot is None else slot.store
        text = ids.canonical_reference(reference.text)
        kind = slot.reference_kind if slot is not None and slot.reference_kind else reference.kind
        for node in found:
            self.facts.append((node, TYPE, TERM, VALUE))
            self.facts.append((node, TYPE, TERM, "provml:DataReference"))
            self.facts.append((node, "prov:value", STRING, text))
            if kind == KNOWLEDGE_GRAPH:
                self.facts.append((node, TYPE, TERM, "provml:KGReference"))
                self.facts.append((node, "provml:refersToResource", IRI, ids.external(reference.text)))
            if store is not None:
                self.facts.append((node, "provml:wasInStore", ID, ids.store(store)))
            self._found.append((node, slot, True))
            self.facts.append(self._link(node))
        if reference.checksum is not None:
            self.facts.append((iri, "provml:checksum", STRING, reference.checksum))
        if reference.size_bytes is not None:
            self.facts.append((iri, "provml:sizeBytes", INTEGER, str(reference.size_bytes)))
        if reference.modified is not None:
            self.facts.append((iri, "dcterms:modified", DATE_TIME, instant(reference.modified)))
        return found


def _range(iri: str, value: Value) -> Iterator[Fact]:
    """Bounds of a range attribute given as [first, last] or {start, end} (spec section 6.3)."""
    content = plain(value)
    bounds: list[object] = []
    if isinstance(content, list) and len(content) == 2:
        bounds = content
    elif isinstance(content, dict) and content.keys() >= {"start", "end"}:
        bounds = [content["start"], content["end"]]
    for name, bound in zip(("provml:rangeStart", "provml:rangeEnd"), bounds, strict=False):
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            yield (iri, name, *literal(bound))
