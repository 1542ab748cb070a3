"""The ProvTracker of the paper (section IV) as pure functions: bags and documents in, facts out.

`track` keeps no state: an event is self-contained, so no crash can lose a join and the order of
arrival cannot matter (architecture section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headstream.schemas import identifiers as ids
from headstream.schemas import vocabulary
from headstream.schemas.definition import Definition
from headstream.schemas.documents import Document
from headstream.schemas.errors import MalformedMessage, SchemaError
from headstream.schemas.events import (
    IN,
    NO_SCOPE,
    OUT,
    Bag,
    Enclosing,
    Event,
    IterationBlock,
    ParentRun,
    PartTotals,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
    event_time,
)
from headstream.schemas.facts import DATE_TIME, DOUBLE, ID, INTEGER, STRING, TERM, Fact, Identified, Origin
from headstream.schemas.values import AttributeValue
from headstream.stream_processors.blocks import is_plain, plain_rows, rows
from headstream.stream_processors.derive import Holdings, derive
from headstream.stream_processors.identify import (
    TYPE,
    Node,
    Occurrence,
    Values,
    context_facts,
    duration,
    held,
    instant,
    occurrence,
)
from headstream.stream_processors.join import CYCLE_ITERATION, Plan, Slot, StepPlan, join
from headstream.stream_processors.prospective import document_facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An event of a bag that cannot become facts, and why; the others of the bag still do."""

    index: int
    reason: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What became of a bag."""

    identified: Identified
    rejected: tuple[Rejected, ...]


def track(bag: Bag, definition: Definition | None, origin: Origin) -> Tracked:
    """Join, identify and derive: the facts of every event of a bag, and the events that are refused."""
    tracking = _Tracking(bag, join(bag.workflow, definition))
    facts: list[Fact] = []
    counts: list[int] = []
    times: list[int] = []
    rejected: list[Rejected] = []
    for index, event in enumerate(bag.events):
        try:
            units = tracking.units(event)
        except SchemaError as error:
            rejected.append(
                Rejected(
                    index=index,
                    reason="invalid-event",
                    error=type(error).__name__,
                    message=str(error),
                )
            )
            continue
        for unit, time in units:
            facts.extend(unit)
            counts.append(len(unit))
            times.append(time)
    if tracking.shared:
        # Plan nodes and people that several events need: an entry of their own, so that an event
        # which a store refuses takes nothing with it that another one needs.
        shared = list(dict.fromkeys(tracking.shared))
        facts[:0] = shared
        counts.insert(0, len(shared))
        times.insert(0, 0)
    return Tracked(
        identified=Identified(
            workflow=bag.workflow,
            execution=bag.execution,
            origin=origin,
            facts=tuple(facts),
            counts=tuple(counts),
            event_times=tuple(times),
        ),
        rejected=tuple(rejected),
    )


def describe(document: Document, origin: Origin) -> Identified:
    """The facts of a published document; SchemaError says why it has none."""
    facts = tuple(document_facts(document))
    return Identified(
        workflow=document.name if document.kind == "definition" else "",
        execution="",
        origin=origin,
        facts=facts,
        counts=(len(facts),),
        event_times=(0,),
    )


Unit = tuple[list[Fact], int]


class _Tracking:
    """One bag on its way: the plan it is joined with and the shared facts its events need."""

    def __init__(self, bag: Bag, plan: Plan) -> None:
        self._bag = bag
        self._plan = plan
        self._run = ids.run(bag.workflow, bag.execution)
        self._places: dict[tuple[str, str] | None, Occurrence] = {}
        # By identity, so each is kept here: another one must not get its identity.
        self._quiet: dict[tuple[int, str | None], tuple[Scope, bool]] = {}
        self._planned: set[tuple[str, bool]] = set()
        self.shared: list[Fact] = []

    def units(self, event: Event) -> list[Unit]:
        """Facts of an event, in units that stand or fall together, each with its event time."""
        match event:
            case StepStarted() | StepEnded():
                facts = self._step_facts(event)
            case ValuesAdded():
                facts = self._added_facts(event)
            case IterationBlock():
                return list(self._block(event))
            case RunStarted() | RunEnded():
                facts = self._run_facts(event)
        return [(facts, event_time(event) or 0)]

    def _block(self, block: IterationBlock) -> Iterator[Unit]:
        plan = self._plan.step(block.transformation)
        if is_plain(block, plan):
            self._plan_step(plan, cycle=True)
            names = [(OUT, column.name) for column in block.columns]
            if block.index_attribute is not None:
                names.append((IN, block.index_attribute))
            for direction, name in names:
                self._plan_slot(plan, plan.slot(direction, name))
            parent = block.parent
            parent_iri = None if parent is None else self._place(parent).iri
            yield from plain_rows(block, plan, self._bag.execution, self._run, parent_iri)
            return
        for row in rows(block):
            yield self._step_facts(row), event_time(row) or 0

    def _place(self, step: StepRef | None) -> Occurrence:
        key = None if step is None else (step.transformation, step.task)
        found = self._places.get(key)
        if found is None:
            found = occurrence(self._plan, self._bag.workflow, self._bag.execution, step)
            self._places[key] = found
        return found

    def _run_facts(self, event: RunStarted | RunEnded) -> list[Fact]:
        run = self._run
        self._plan_workflow()
        facts: list[Fact] = [(run, TYPE, TERM, name) for name in self._plan.run_types]
        facts.append((run, "provml:wasDerivedFromWorkflow", ID, self._plan.iri))
        if event.started is not None:
            facts.append((run, "prov:startedAtTime", DATE_TIME, instant(event.started)))
        if event.context is not None:
            facts.extend(context_facts(run, event.context))
        if isinstance(event, RunStarted):
            if event.registered is not None:
                facts.append((run, "provml:registeredAt", DATE_TIME, instant(event.registered)))
            self._person(run, event.person, facts)
            if event.parent is not None:
                facts.append((run, "provml:wasNestedIn", ID, _parent_iri(event.parent)))
            return facts
        facts.extend(_ending(run, event.started, event.ended, event.outcome, event.error, event.output))
        place = self._place(None)
        nodes = self._values(place, OUT, event.values, facts).nodes()
        facts.extend(derive(Holdings(used=(), generated=nodes, enclosing=(), ended=True)))
        return facts

    def _step_facts(self, event: StepStarted | StepEnded) -> list[Fact]:
        place = self._place(event.step)
        step, plan = place.iri, place.plan
        self._plan_step(plan, cycle=event.cycle)
        facts: list[Fact] = [(step, TYPE, TERM, name) for name in plan.types]
        if event.cycle or plan.cycle:
            facts.append((step, TYPE, TERM, CYCLE_ITERATION))
        facts += (
            (step, "provml:wasDerivedFromDataTransformation", ID, plan.iri),
            (step, "provml:wasMemberOfWorkflowExecution", ID, self._run),
        )
        if event.parent is not None:
            facts.append((step, "provml:wasPartOf", ID, self._place(event.parent).iri))
        if event.iteration is not None:
            facts.append((step, "provml:iteration", INTEGER, str(event.iteration)))
        if event.registered is not None:
            facts.append((step, "provml:registeredAt", DATE_TIME, instant(event.registered)))
        if event.started is not None:
            facts.append((step, "prov:startedAtTime", DATE_TIME, instant(event.started)))
        if event.person is not None:
            self._person(step, event.person, facts)
        if event.context is not None:
            facts.extend(context_facts(step, event.context))
        ended = isinstance(event, StepEnded)
        if isinstance(event, StepEnded):
            facts.extend(_ending(step, event.started, event.ended, event.outcome, event.error, event.output))
            for part in event.parts:
                facts.extend(self._totals(event.step, part))
            if event.apart and event.parent is not None:
                around = self._place(event.parent).iri
                facts.append((around, "provml:hasPartBeyondTotals", ID, plan.iri))
        self._hold(place, OUT if ended else IN, event.values, event.scope, facts, ended=ended)
        return facts

    def _totals(self, step: StepRef, part: PartTotals) -> list[Fact]:
        """What the parts of a step came to (decision 0016)."""
        inner = part.transformation
        around = self._place(step).iri
        iri = ids.totals(self._bag.workflow, self._bag.execution, step.transformation, step.task, inner)
        return [
            (around, "provml:hasPartTotals", ID, iri),
            (iri, TYPE, TERM, "provml:PartTotals"),
            (iri, "provml:totalsOver", ID, self._plan.step(inner).iri),
            (iri, "provml:partCount", INTEGER, str(part.count)),
            (iri, "provml:partSeconds", DOUBLE, duration(0, part.total)),
            (iri, "provml:minPartSeconds", DOUBLE, duration(0, part.least)),
            (iri, "provml:maxPartSeconds", DOUBLE, duration(0, part.most)),
        ]

    def _added_facts(self, event: ValuesAdded) -> list[Fact]:
        place = self._place(event.step)
        facts: list[Fact] = []
        self._hold(place, event.direction, event.values, event.scope, facts, ended=False)
        return facts

    def _hold(
        self,
        place: Occurrence,
        direction: str,
        values: tuple[AttributeValue, ...],
        scope: Scope,
        facts: list[Fact],
        *,
        ended: bool,
    ) -> None:
        """Add the facts of the values, and every edge that they and the scope justify."""
        named = self._values(place, direction, values, facts)
        if not named.derive and self._justifies_nothing(scope, place.plan):
            return
        used = [node for holding in scope.used for node in held(holding, place, IN)]
        generated = [node for holding in scope.generated for node in held(holding, place, OUT)]
        (used if direction == IN else generated).extend(named.nodes())
        enclosing = [node for outer in scope.enclosing for node in self._enclosing(outer)]
        facts.extend(derive(Holdings(used=used, generated=generated, enclosing=enclosing, ended=ended)))

    def _justifies_nothing(self, scope: Scope, plan: StepPlan) -> bool:
        """Whether all that a scope holds is enough for no edge, as long as the values are not either.

        See derive.py: an edge needs a generated reference, a model, or a value that describes another.
        """
        if scope is NO_SCOPE:
            return True
        key = (id(scope), plan.name)
        found = self._quiet.get(key)
        if found is None:
            slots = [
                plan.slot(direction, holding.attribute)
                for direction, holdings in ((IN, scope.used), (OUT, scope.generated))
                for holding in holdings
                if holding.attribute is not None
            ]
            quiet = not any(slot.derives for slot in slots) and not any(
                holding.reference is not None for holding in scope.generated
            )
            found = self._quiet[key] = scope, quiet
        return found[1]

    def _enclosing(self, outer: Enclosing) -> Iterator[Node]:
        place = self._place(outer.step)
        for holding in outer.used:
            yield from held(holding, place, IN)

    def _values(
        self, place: Occurrence, direction: str, values: tuple[AttributeValue, ...], facts: list[Fact]
    ) -> Values:
        named = Values(place, direction, facts)
        for value in values:
            slot = named.add(value)
            if not slot.declared:
                self._plan_slot(place.plan, slot)
        return named

    def _person(self, subject: str, person: str | None, facts: list[Fact]) -> None:
        if person is None:
            return
        iri = ids.person(person)
        facts.append((subject, "prov:wasAssociatedWith", ID, iri))
        self.shared.append((iri, TYPE, TERM, "provml:Person"))
        self.shared.append((iri, "provml:name", STRING, person))

    def _plan_workflow(self) -> None:
        """Workflow node for a run without a definition (spec section 6.1)."""
        if self._plan.definition is None:
            self.shared.append((self._plan.iri, TYPE, TERM, "provml:Workflow"))
            self.shared.append((self._plan.iri, "provml:name", STRING, self._plan.workflow))

    def _plan_step(self, plan: StepPlan, *, cycle: bool) -> None:
        if plan.declared or plan.name is None or (plan.iri, cycle) in self._planned:
            return
        self._planned.add((plan.iri, cycle))
        self._plan_workflow()
        self.shared.append((self._plan.iri, "prov:hadMember", ID, plan.iri))
        self.shared.append((plan.iri, TYPE, TERM, "provml:DataTransformation"))
        self.shared.append((plan.iri, "provml:name", STRING, plan.name))
        if cycle:
            self.shared.append((plan.iri, TYPE, TERM, "provml:Cycle"))

    def _plan_slot(self, plan: StepPlan, slot: Slot) -> None:
        if slot.declared or (slot.iri, False) in self._planned:
            return
        self._planned.add((slot.iri, False))
        predicate = "provml:hasInputAttribute" if slot.direction == IN else "provml:hasOutputAttribute"
        self.shared.append((slot.iri, TYPE, TERM, "provml:Attribute"))
        self.shared.append((slot.iri, "provml:name", STRING, slot.name))
        if plan.name is not None:
            self.shared.append((plan.iri, predicate, ID, slot.iri))


def _parent_iri(parent: ParentRun) -> str:
    if parent.step is None:
        return ids.run(parent.workflow, parent.execution)
    return ids.step(parent.workflow, parent.execution, parent.step.transformation, parent.step.task)


def _ending(
    subject: str, started: int | None, ended: int, outcome: str, error: str | None, output: str | None
) -> list[Fact]:
    if outcome not in vocabulary.OUTCOMES:
        raise MalformedMessage(f"outcome {outcome!r} is none of {', '.join(sorted(vocabulary.OUTCOMES))}")
    facts: list[Fact] = [
        (subject, "prov:endedAtTime", DATE_TIME, instant(ended)),
        (subject, "provml:outcome", STRING, outcome),
    ]
    if started is not None:
        facts.append((subject, "provml:durationSeconds", DOUBLE, duration(started, ended)))
    if error is not None:
        facts.append((subject, "provml:errorMessage", STRING, error))
    if output is not None:
        facts.append((subject, "provml:standardOutput", STRING, output))
    return facts
