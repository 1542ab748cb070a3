"""W3C PROV documents (PROV-JSON, PROV-N) as events of headstream, read by the library `prov`.

An activity is a step, an entity a reference by its IRI, a person an agent; a document or bundle is a
run. What PROV says beyond who used and generated what has no place and is counted.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headstream.capture.gateway import wire
from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.scope import holdings
from headstream.capture.ingest.errors import SourceUnreadable
from headstream.capture.ingest.moments import microseconds
from headstream.capture.ingest.told import Item, Refused, Told, Unmapped, UnmappedReason
from headstream.schemas.documents import Person
from headstream.schemas.events import (
    NO_SCOPE,
    OUT,
    Context,
    Event,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue, Reference
from headstream.schemas.vocabulary import FINISHED

if TYPE_CHECKING:
    from prov.model import ProvBundle, ProvRecord

SUFFIXES: Final = frozenset({".json", ".provn"})
_PROV: Final = "http://www.w3.org/ns/prov#"
_ENTITY, _ACTIVITY = "entity", "activity"
# Relations that are no event of a run, with what they are called when they are counted.
_RELATIONS: Final[dict[str, UnmappedReason]] = {
    "Attribution": "attribution", "Delegation": "delegation", "Communication": "communication",
    "Start": "start", "End": "end", "Invalidation": "invalidation", "Specialization": "specialization",
    "Alternate": "alternate", "Membership": "membership", "Mention": "mention", "Influence": "influence",
}  # fmt: skip
# What of a usage or generation has no place: without entity, without activity, its instant.
_INCOMPLETE: Final[dict[str, tuple[UnmappedReason, UnmappedReason, UnmappedReason]]] = {
    "Usage": ("usage-without-entity", "usage-without-activity", "usage-time"),
    "Generation": ("generation-without-entity", "generation-without-activity", "generation-time"),
}
# The one attribute of a relation that has a place.
_RELATION_KEEPS: Final = {"Usage": "role", "Generation": "role", "Derivation": "type", "Association": ""}
_DERIVATIONS: Final = ("Revision", "Quotation", "PrimarySource")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the runs are called that PROV has no names for; the execution is else the file or bundle."""

    workflow: str = "prov"
    execution: str | None = None


@dataclass(slots=True)
class _Element:
    """An entity, activity or agent: what the document says of it besides relations."""

    types: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    started: int | None = None
    ended: int | None = None


@dataclass(slots=True)
class _Graph:
    """The records of a document or bundle, by what they are about. Dictionaries are ordered sets."""

    entities: dict[str, _Element] = field(default_factory=dict)
    activities: dict[str, _Element] = field(default_factory=dict)
    agents: dict[str, _Element] = field(default_factory=dict)
    used: dict[str, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))
    made: dict[str, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))
    # Derivations without an activity, with what they are called.
    derived: dict[tuple[str, str], str] = field(default_factory=dict)
    agents_of: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    plans: dict[str, str] = field(default_factory=dict)


def read_prov(
    files: Sequence[Path],
    names: Names | None = None,
    mounts: Mounts | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Item]:
    """Every document; one that cannot be read is refused, a statement that is wrong skipped and counted.

    Raises SourceUnreadable if the library is missing.
    """
    try:
        import prov.model  # noqa: F401  # Not installed with what scripts import.
    except ImportError as error:
        raise SourceUnreadable(
            "reading PROV documents needs the library `prov`: pip install 'headstream[cli]'"
        ) from error
    for number, path in enumerate(files, start=1):
        yield from _document(path, names or Names(), mounts or Mounts())
        progress(number, len(files))


def _document(path: Path, names: Names, mounts: Mounts) -> Iterator[Item]:
    from prov import Error
    from prov.model import ProvDocument

    try:
        text = path.read_text("utf-8-sig")
        form = "json" if text.lstrip()[:1] in ("{", "[") else "provn"
        options = {} if form == "json" else {"profile": "lenient"}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            document = ProvDocument.deserialize(content=text, format=form, **options)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, Error) as error:
        message = f"neither PROV-JSON nor PROV-N: {' '.join(str(error).split())}"
        yield Refused(reason="document-unreadable", message=message, where=str(path))
        return
    for each in said:
        yield Refused(reason="statement-skipped", message=str(each.message), where=str(path))
    for bundle in (document, *document.bundles):
        identifier = None if bundle.identifier is None else bundle.identifier.uri
        if identifier is None and not bundle.get_records():
            continue  # A document that is nothing but its bundles.
        execution = identifier or names.execution or path.stem
        yield from _bundle(bundle, names.workflow, execution, mounts, f"{path} {identifier or ''}".strip())


def _bundle(bundle: ProvBundle, workflow: str, execution: str, mounts: Mounts, where: str) -> Iterator[Item]:
    reader = _Reader(where)
    for record in bundle.get_records():
        yield from reader.read(record)
    graph = reader.graph
    yield from _left_over(graph, where)
    people = [iri for found in graph.agents_of.values() for iri in found]
    for iri in dict.fromkeys(people):
        yield Person(id=iri, name=_named(graph.agents.get(iri), iri))
    yield Told(workflow=workflow, execution=execution, events=tuple(_Mapping(graph, mounts).events()))


class _Reader:
    """Sorts the records of a bundle."""

    def __init__(self, where: str) -> None:
        self.graph = _Graph()
        self._where = where

    def read(self, record: ProvRecord) -> Iterator[Item]:
        kind = record.get_type().localpart
        formal = {name.localpart: value for name, value in record.formal_attributes}
        if kind in _RELATION_KEEPS:
            kept = f"{_PROV}{_RELATION_KEEPS[kind]}"
            left = [str(name) for name, _ in record.extra_attributes if name.uri != kept]
            if left:
                yield self._unmapped("relation-attribute", f"{', '.join(left)} of a {kind}")
        match kind:
            case "Entity" | "Activity" | "Agent":
                yield from self._element(kind, record, formal)
            case "Usage" | "Generation":
                yield from self._data(kind, record, formal)
            case "Derivation":
                self._derivation(record, formal)
            case "Association":
                yield from self._association(record, formal)
            case _:
                yield self._unmapped(_RELATIONS.get(kind, "other-relation"), f"{kind} is kept nowhere")

    def _element(self, kind: str, record: ProvRecord, formal: dict[str, Any]) -> Iterator[Item]:
        found = {"Entity": self.graph.entities, "Activity": self.graph.activities, "Agent": self.graph.agents}
        element = found[kind].setdefault(_iri(record.identifier), _Element())
        element.types += _types(record)
        element.facts |= _facts(record)
        for key, value in (("started", formal.get("startTime")), ("ended", formal.get("endTime"))):
            if value is None:
                continue
            try:
                moment = microseconds(value)
            except MessageRefused as error:
                yield Refused(reason=error.reason, message=str(error), where=self._where)
                continue
            if getattr(element, key) not in (None, moment):
                yield self._unmapped("second-time", "an activity that starts or ends twice")
            else:
                setattr(element, key, moment)

    def _data(self, kind: str, record: ProvRecord, formal: dict[str, Any]) -> Iterator[Item]:
        without_entity, without_activity, timed = _INCOMPLETE[kind]
        entity, activity = formal.get("entity"), formal.get("activity")
        if entity is None or activity is None:
            reason = without_entity if entity is None else without_activity
            yield self._unmapped(reason, f"a {kind} that does not say of what, or by what")
            return
        if formal.get("time") is not None:
            yield self._unmapped(timed, f"the instant of a {kind}")
        graph = self.graph
        graph.activities.setdefault(_iri(activity), _Element())
        graph.entities.setdefault(_iri(entity), _Element())
        by_activity = graph.used if kind == "Usage" else graph.made
        by_activity[_iri(activity)][_iri(entity), _role(record)] = None

    def _derivation(self, record: ProvRecord, formal: dict[str, Any]) -> None:
        """One that names its activity says that this used the one and generated the other (inference 11)."""
        made, used = _iri(formal["generatedEntity"]), _iri(formal["usedEntity"])
        activity = formal.get("activity")
        for entity in (made, used):
            self.graph.entities.setdefault(entity, _Element())
        if activity is not None:
            self.graph.activities.setdefault(_iri(activity), _Element())
            self.graph.used[_iri(activity)].setdefault((used, ""))
            self.graph.made[_iri(activity)].setdefault((made, ""))
            return
        named = next((each for each in _DERIVATIONS if each in _types(record, own=True)), "Derivation")
        self.graph.derived[made, used] = named.lower()

    def _association(self, record: ProvRecord, formal: dict[str, Any]) -> Iterator[Item]:
        activity, agent, plan = (formal.get(key) for key in ("activity", "agent", "plan"))
        if activity is None:
            yield self._unmapped("association-without-activity", "an agent of no activity")
            return
        self.graph.activities.setdefault(_iri(activity), _Element())
        if plan is not None:
            self.graph.plans.setdefault(_iri(activity), plan.localpart or plan.uri)
        if agent is not None:
            self.graph.agents_of[_iri(activity)][_iri(agent)] = None

    def _unmapped(self, reason: UnmappedReason, message: str) -> Unmapped:
        return Unmapped(reason=reason, message=message, where=self._where)


def _left_over(graph: _Graph, where: str) -> Iterator[Item]:
    """Take out agents that are no persons; say what nothing else speaks of."""
    associated = {iri for found in graph.agents_of.values() for iri in found}
    for activity, agents in graph.agents_of.items():
        for iri in list(agents):
            types = graph.agents[iri].types if iri in graph.agents else []
            if any(each in types for each in ("SoftwareAgent", "Organization")):
                del agents[iri]
                yield Unmapped(
                    reason="agent-no-person", message=f"{iri} is associated with {activity}", where=where
                )
    known = {entity for found in (*graph.used.values(), *graph.made.values()) for entity, _ in found}
    known |= {entity for pair in graph.derived for entity in pair}
    for iri in graph.entities:
        if iri not in known:
            message = f"{iri} is neither used nor generated nor derived"
            yield Unmapped(reason="entity-alone", message=message, where=where)
    for iri in graph.agents:
        if iri not in associated:
            yield Unmapped(reason="agent-alone", message=f"{iri} is associated with no activity", where=where)


class _Mapping:
    """The events of one bundle."""

    def __init__(self, graph: _Graph, mounts: Mounts) -> None:
        self._graph = graph
        self._mounts = mounts

    def events(self) -> Iterator[Event]:
        # A document says nothing of itself as a run: neither a start nor an end.
        yield RunStarted(started=None)
        for iri, activity in self._graph.activities.items():
            yield from self._activity(iri, activity)
        yield from self._derivations()

    def _activity(self, iri: str, activity: _Element) -> Iterator[Event]:
        step = self._step(iri)
        used = tuple(self._value(*each) for each in self._graph.used.get(iri, ()))
        made = tuple(self._value(*each) for each in self._graph.made.get(iri, ()))
        people = list(self._graph.agents_of.get(iri, ()))
        context = Context(metadata=_json({"prov": activity.facts})) if activity.facts else None
        common: dict[str, Any] = {"step": step, "started": activity.started, "context": context}
        yield StepStarted(values=used, person=people[0] if people else None, **common)
        for person in people[1:]:
            yield StepStarted(person=person, **common)
        scope = Scope(used=holdings(used)) if used else NO_SCOPE
        if activity.ended is not None:
            yield StepEnded(ended=activity.ended, outcome=FINISHED, values=made, scope=scope, **common)
        elif made:
            yield ValuesAdded(step=step, direction=OUT, values=made, scope=scope)

    def _derivations(self) -> Iterator[Event]:
        """An entity derives from another also where no activity is said to have used that one."""
        makers = {entity: iri for iri, found in self._graph.made.items() for entity, _ in found}
        for (made, used), kind in self._graph.derived.items():
            source, result = self._value(used, ""), self._value(made, "")
            maker = makers.get(made)
            if maker is not None:
                scope = Scope(used=holdings((source,)))
                yield ValuesAdded(step=self._step(maker), direction=OUT, values=(result,), scope=scope)
                continue
            step = StepRef(kind, f"{made} {used}")  # Some activity there was, of which no more is said.
            yield StepStarted(step=step, values=(source,))
            yield ValuesAdded(
                step=step, direction=OUT, values=(result,), scope=Scope(used=holdings((source,)))
            )

    def _step(self, iri: str) -> StepRef:
        """The transformation is the plan that an activity followed, else its type."""
        plan = self._graph.plans.get(iri)
        types = [each for each in self._graph.activities[iri].types if each]
        return StepRef(plan or (types[0] if types else _ACTIVITY), iri)

    def _value(self, iri: str, role: str) -> AttributeValue:
        entity = self._graph.entities.get(iri, _Element())
        facts = _json({"prov": entity.facts}) if entity.facts else None
        types = [each for each in entity.types if each]
        slot = role or (types[0] if types else _ENTITY)
        return AttributeValue(slot, Reference(text=iri, store=self._mounts.store_of(iri)), facts)


def _iri(name: Any) -> str:
    return str(getattr(name, "uri", name))


def _types(record: ProvRecord, *, own: bool = False) -> list[str]:
    """Local names of the types; with `own` those of PROV itself too."""
    found = []
    for each in sorted(record.get_asserted_types(), key=str):
        iri = _iri(each)
        if own or not iri.startswith(_PROV) or iri.endswith(("#SoftwareAgent", "#Organization", "#Person")):
            found.append(str(getattr(each, "localpart", each)) or iri)
    return found


def _role(record: ProvRecord) -> str:
    roles = sorted(
        str(getattr(value, "localpart", value))
        for name, value in record.extra_attributes
        if name.uri == f"{_PROV}role"
    )
    return roles[0] if roles else ""


def _facts(record: ProvRecord) -> dict[str, Any]:
    """What a record says besides relations, by prefixed name; several values as a sorted list."""
    found: dict[str, list[Any]] = defaultdict(list)
    for name, value in record.extra_attributes:
        found[str(name)].append(_plain(value))
    return {
        key: values[0] if len(values) == 1 else sorted(values, key=repr)
        for key, values in sorted(found.items())
    }


def _plain(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 63:
        return str(value)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "uri"):
        return value.uri
    if hasattr(value, "datatype"):
        facts = {"value": value.value, "type": value.datatype and _iri(value.datatype), "lang": value.langtag}
        return {key: each for key, each in facts.items() if each is not None}
    return str(value)


def _json(value: Any) -> str:
    return wire.json_text(wire.cleaned(value))[0]


def _named(agent: _Element | None, iri: str) -> str:
    facts = {} if agent is None else agent.facts
    for key in ("foaf:name", "prov:label", "schema:name"):
        if isinstance(facts.get(key), str):
            return str(facts[key])
    return iri
