"""ProvLake client messages (provlake 0.2.982 and older) into capture events: spec sections 6 and 9.

Pure and incremental: a `Translator` sees the messages of a run in order and keeps the scope that
our own client would have sent. A message that cannot be read is a `Rejected`, never an exception.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from headstream.capture.gateway import wire
from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.markers import coerce
from headstream.capture.gateway.messages import (
    WORKFLOW,
    Envelope,
    RunMessage,
    StepMessage,
    read_envelope,
    read_run,
    read_step,
)
from headstream.capture.gateway.scope import Note, RunScope
from headstream.schemas.definition import Definition, Store, parse_store
from headstream.schemas.errors import InvalidDefinition
from headstream.schemas.events import (
    OUT,
    Bag,
    Event,
    RunEnded,
    RunStarted,
    Scope,
    StepEnded,
    StepRef,
    StepStarted,
    ValuesAdded,
)
from headstream.schemas.mounts import Mounts
from headstream.schemas.values import AttributeValue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """The events of one message. `stores` are those that an old client declares at the start of a run."""

    workflow: str
    execution: str
    events: tuple[Event, ...]
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A message (or line of a log file) that cannot be translated: a stable reason, and what was wrong."""

    reason: str
    message: str
    source: Any = None


class Translator:
    """Translates the messages of any number of runs; those of one run must come in their order.

    Remembers the steps of each run until `forget`; a message that is rejected leaves no trace.
    Of a run that it does not remember, `recall` gives the notes (`scope.note`) that somebody has kept.
    """

    def __init__(
        self,
        definitions: Iterable[Definition] = (),
        stores: Iterable[Store] = (),
        recall: Callable[[str, str], Iterable[Note]] = lambda workflow, execution: (),
    ) -> None:
        self._recall = recall
        self._definitions = {definition.workflow: definition for definition in definitions}
        self._stores = {store.id: store for store in stores}
        self._mounts_of: dict[str, Mounts] = {}
        self._runs: dict[tuple[str, str], RunScope] = {}

    def learn(self, content: Definition | Store) -> None:
        """Use a definition or a store from now on, in place of one with the same name."""
        if isinstance(content, Definition):
            self._definitions[content.workflow] = content
        else:
            self._stores[content.id] = content
        self._mounts_of.clear()

    def definition_hash(self, workflow: str) -> str | None:
        """Content hash of the definition that this workflow has now, as a bag names it."""
        definition = self._definitions.get(workflow)
        return None if definition is None else definition.content_hash

    @property
    def runs(self) -> tuple[tuple[str, str], ...]:
        """The (workflow, execution) that are remembered, the one that was heard of last at the end."""
        return tuple(self._runs)

    @property
    def remembered(self) -> int:
        """How many runs are remembered."""
        return len(self._runs)

    def keep_latest(self, most: int) -> None:
        """Forget runs, those first that have not been heard of for longest, until so many are remembered."""
        for run in list(islice(self._runs, max(0, len(self._runs) - most))):
            del self._runs[run]

    def forget(self, workflow: str, execution: str) -> None:
        """Drop what is remembered of a run: steps that come later will know nothing around them."""
        self._runs.pop((workflow, execution), None)

    def translate(self, message: object, *, plain: bool = False) -> Translated | Rejected:
        """The events that one message says. Never raises; the same message again says the same.

        `plain`: it was parsed from a text of which `wire.is_plain` is true.
        """
        if isinstance(message, Rejected):  # an unreadable line, passed on by `read_log`
            return message
        try:
            envelope = read_envelope(message, plain=plain)
            if envelope.act == WORKFLOW:
                return self._run(envelope, read_run(envelope))
            return self._step(envelope, read_step(envelope))
        except MessageRefused as error:
            return Rejected(reason=error.reason, message=str(error), source=message)

    def _run(self, envelope: Envelope, message: RunMessage) -> Translated:
        event: Event
        if message.ended is None:
            event = RunStarted(started=message.started, person=message.person, context=message.context)
        else:
            event = RunEnded(
                started=message.started,
                ended=message.ended,
                outcome=message.outcome,
                error=message.error,
                output=message.output,
                values=self._values(envelope.workflow, None, OUT, message.values),
                context=message.context,
            )
        stores = _declared_stores(message.configuration)
        for store in stores:
            if store.id not in self._stores:
                self.learn(store)
        self._around(envelope.workflow, envelope.execution)
        return Translated(
            workflow=envelope.workflow, execution=envelope.execution, events=(event,), stores=stores
        )

    def _step(self, envelope: Envelope, message: StepMessage) -> Translated:
        # Nothing is refused any more, so what is remembered and what is said agree.
        run = (envelope.workflow, envelope.execution)
        # Nobody begins the run that stands for "no run", so its first step does.
        begin = (RunStarted(started=None),) if envelope.is_global and run not in self._runs else ()
        around = self._around(*run)
        definition = self._definitions.get(envelope.workflow)
        values = self._values(
            envelope.workflow, message.step.transformation, message.direction, message.values
        )
        parent = around.place(message.step, message.started, message.named_parent, definition)
        scope = around.around(message.step, message.direction, values, definition)
        event = _step_event(message, parent, values, scope)
        if isinstance(event, StepEnded):
            around.over(message.step)
        return Translated(workflow=envelope.workflow, execution=envelope.execution, events=(*begin, event))

    def _around(self, workflow: str, execution: str) -> RunScope:
        run = (workflow, execution)
        found = self._runs.pop(run, None)
        if found is None:
            found = RunScope()
            for note in self._recall(workflow, execution):
                found.restore(note)
        self._runs[run] = found
        return found

    def _values(
        self, workflow: str, transformation: str | None, direction: str, values: Mapping[str, Any]
    ) -> tuple[AttributeValue, ...]:
        if not values:
            return ()
        definition = self._definitions.get(workflow)
        planned = definition.transformation(transformation) if definition and transformation else None
        mounts = self._mounts(workflow)
        if planned is None:
            return tuple([coerce(name, value, None, mounts) for name, value in values.items()])
        return tuple(
            [
                coerce(name, value, planned.attribute(direction, name), mounts)
                for name, value in values.items()
            ]
        )

    def _mounts(self, workflow: str) -> Mounts:
        found = self._mounts_of.get(workflow)
        if found is None:
            definition = self._definitions.get(workflow)
            planned = () if definition is None else definition.stores
            found = self._mounts_of[workflow] = Mounts.of([*planned, *self._stores.values()])
        return found


class Bagging:
    """Bags of consecutive events of one run, in the order in which messages were translated."""

    def __init__(self, translator: Translator, *, bag_size: int = 50, producer: str = "provlake") -> None:
        self._translator = translator
        self._size = bag_size
        self._producer = producer
        self._sequence = 0
        self._run: tuple[str, str] | None = None
        self._events: list[Event] = []

    def add(self, translated: Translated) -> tuple[Bag, ...]:
        """Take the events of one message; gives the bag before it where they do not fit into it."""
        run = (translated.workflow, translated.execution)
        over = run != self._run or len(self._events) + len(translated.events) > self._size
        before = self.flush() if over else ()
        self._run = run
        self._events += translated.events
        return before

    def flush(self) -> tuple[Bag, ...]:
        """What has been taken and not given yet."""
        if self._run is None or not self._events:
            return ()
        events, self._events = tuple(self._events), []
        workflow, execution = self._run
        bag = Bag(
            workflow=workflow,
            execution=execution,
            events=events,
            definition=self._translator.definition_hash(workflow),
            producer=self._producer,
            sequence=self._sequence,
        )
        self._sequence += 1
        return (bag,)


def translate_all(
    messages: Iterable[object],
    definitions: Iterable[Definition] = (),
    stores: Iterable[Store] = (),
    *,
    bag_size: int = 50,
    producer: str = "provlake",
    on_rejected: Callable[[Rejected], object] | None = None,
    on_store: Callable[[Store], object] = lambda store: None,
) -> Iterator[Bag]:
    """Bags of consecutive events of one run, in the order of the messages.

    Each rejected message is given to `on_rejected`; without one it is logged as a warning. `on_store` is
    told of the stores that old clients declare at the start of a run.
    """
    translator = Translator(definitions, stores)
    bagging = Bagging(translator, bag_size=bag_size, producer=producer)
    refuse = on_rejected or _warn
    for message in messages:
        translated = translator.translate(message)
        if isinstance(translated, Rejected):
            refuse(translated)
            continue
        for store in translated.stores:
            on_store(store)
        yield from bagging.add(translated)
    yield from bagging.flush()


def read_log(lines: Iterable[str]) -> Iterator[Any]:
    """The messages of a client's log file: each line is a bag (a JSON array, maybe `[]`) or one message.

    A line that is not JSON, such as the last one of a process that was killed, comes as `Rejected`.
    Lines are repeated by some clients; what comes of it is the same.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            read = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Rejected(reason="not-json", message=f"line {number} is not JSON: {error}", source=line)
            continue
        if isinstance(read, list):
            yield from read
        else:
            yield read


def _step_event(
    message: StepMessage, parent: StepRef | None, values: tuple[AttributeValue, ...], scope: Scope
) -> Event:
    if message.extends:
        return ValuesAdded(
            step=message.step, direction=message.direction, values=values, at=message.ended, scope=scope
        )
    if message.ended is None:
        return StepStarted(
            step=message.step,
            parent=parent,
            cycle=message.cycle,
            iteration=message.iteration,
            registered=message.registered,
            started=message.started,
            person=message.person,
            values=values,
            scope=scope,
            context=message.context,
        )
    return StepEnded(
        step=message.step,
        ended=message.ended,
        outcome=message.outcome,
        parent=parent,
        cycle=message.cycle,
        iteration=message.iteration,
        registered=message.registered,
        started=message.started,
        person=message.person,
        error=message.error,
        output=message.output,
        values=values,
        scope=scope,
        context=message.context,
    )


def _declared_stores(configuration: Any) -> tuple[Store, ...]:
    """Stores under `configuration.storages`; one that breaks a rule stays in the run's metadata only."""
    storages = configuration.get("storages") if isinstance(configuration, Mapping) else None
    found = []
    for key, body in storages.items() if isinstance(storages, Mapping) else ():
        try:
            found.append(parse_store({"id": key, **wire.mapping(body, "a store")}))
        except (InvalidDefinition, MessageRefused):
            continue
    return tuple(found)


def _warn(rejected: Rejected) -> None:
    log.warning("message rejected", extra={"reason": rejected.reason, "problem": rejected.message})
