"""Capture events: what a workflow says about itself while it runs (spec sections 6.2 and 6.3).

Every event is self-contained: with the prospective definition alone it yields all its triples,
derived edges included, because the client says what is in scope around a step. Times are
microseconds since the epoch, UTC. `None` means "absent".
"""

from __future__ import annotations

from dataclasses import field

from headstream.schemas.immutable import immutable
from headstream.schemas.values import AttributeValue, Reference, Value

IN = "in"
OUT = "out"


@immutable()
class StepRef:
    """One step of a run: the transformation it carries out and the task id the client chose."""

    transformation: str
    task: str


@immutable()
class Holding:
    """A value that a step holds, by identity only.

    A reference names itself; anything else is named by its attribute. A reference nested in a
    list or dictionary has no attribute of its own.
    """

    attribute: str | None
    reference: Reference | None = None


@immutable()
class Enclosing:
    """A step around the one that speaks, and what it had used by then."""

    step: StepRef
    used: tuple[Holding, ...]


@immutable()
class Scope:
    """What was known around a step when its event was made, besides the event's own values."""

    used: tuple[Holding, ...] = ()
    generated: tuple[Holding, ...] = ()
    enclosing: tuple[Enclosing, ...] = ()


NO_SCOPE = Scope()


@immutable(kw_only=True)
class Context:
    """Execution data of a run or a step (paper section V-B). `metadata` is canonical JSON."""

    cluster: str | None = None
    job: str | None = None
    hosts: tuple[str, ...] = ()
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    gpu_seconds: float | None = None
    gpu_peak_memory_bytes: int | None = None
    metadata: str | None = None


@immutable()
class ParentRun:
    """The run, and the step of it if that is known, inside which another run was started."""

    workflow: str
    execution: str
    step: StepRef | None = None


@immutable(kw_only=True)
class RunStarted:
    """A workflow execution exists, and has started if `started` is given."""

    started: int | None
    registered: int | None = None
    person: str | None = None
    context: Context | None = None
    parent: ParentRun | None = None


@immutable(kw_only=True)
class RunEnded:
    """A workflow execution has ended; `values` are outputs of the run as a whole."""

    started: int | None
    ended: int
    outcome: str
    error: str | None = None
    output: str | None = None
    values: tuple[AttributeValue, ...] = ()
    context: Context | None = None


@immutable(kw_only=True)
class StepStarted:
    """A step was registered or has started; `values` are those it uses."""

    step: StepRef
    parent: StepRef | None = None
    cycle: bool = False
    iteration: int | None = None
    registered: int | None = None
    started: int | None = None
    person: str | None = None
    values: tuple[AttributeValue, ...] = ()
    scope: Scope = NO_SCOPE
    context: Context | None = None


@immutable()
class PartTotals:
    """What the ended parts of a step with one transformation came to: how many, and microseconds."""

    transformation: str
    count: int
    total: int
    least: int
    most: int


@immutable(kw_only=True)
class StepEnded:
    """A step has ended; `values` are those it generated. Repeats the start, so one event has the duration.

    `parts` say what the steps inside came to, transformation by transformation, as far as whoever
    tells this knows them all; `apart` that the end of `parent` may be told without this part.
    """

    step: StepRef
    ended: int
    outcome: str
    parent: StepRef | None = None
    cycle: bool = False
    iteration: int | None = None
    registered: int | None = None
    started: int | None = None
    person: str | None = None
    error: str | None = None
    output: str | None = None
    values: tuple[AttributeValue, ...] = ()
    scope: Scope = NO_SCOPE
    context: Context | None = None
    parts: tuple[PartTotals, ...] = ()
    apart: bool = False


@immutable(kw_only=True)
class ValuesAdded:
    """An open step used or generated further values (`direction` is "in" or "out").

    Without a step the run as a whole did: its outputs, told before it ends.
    """

    step: StepRef | None
    direction: str
    values: tuple[AttributeValue, ...]
    at: int | None = None
    scope: Scope = NO_SCOPE


@immutable()
class Column:
    """One generated attribute of every row of a block."""

    name: str
    values: tuple[Value, ...]


@immutable(kw_only=True)
class IterationBlock:
    """Finished turns of one loop, column by column: the cheap way to say many step events.

    Row i is the step (transformation, f"{prefix}{ordinals[i]}{suffix}"), a cycle iteration with
    `iteration` = index[i], finished, inside `parent`. With `index_attribute` the index is also a
    value that the step used. All columns have the length of `index`. `apart` is as in StepEnded.
    """

    transformation: str
    parent: StepRef | None
    prefix: str
    suffix: str = ""
    index_attribute: str | None = None
    ordinals: tuple[int, ...]
    index: tuple[int, ...]
    started: tuple[int, ...]
    ended: tuple[int, ...]
    columns: tuple[Column, ...] = ()
    enclosing: tuple[Enclosing, ...] = ()
    apart: bool = False


Event = RunStarted | RunEnded | StepStarted | StepEnded | ValuesAdded | IterationBlock


@immutable(kw_only=True)
class Bag:
    """Up to `bag_size` events of one run in one Kafka message.

    `definition` is the content hash of the prospective document of the run. `producer` and
    `sequence` say which process made the bag and which of its bags it is; they order and trace,
    and are no part of any identity.
    """

    workflow: str
    execution: str
    events: tuple[Event, ...] = field(default=())
    definition: str | None = None
    producer: str = ""
    sequence: int = 0


def event_time(event: Event) -> int | None:
    """When the latest thing that the event tells happened, in microseconds, for freshness."""
    match event:
        case RunEnded() | StepEnded():
            return event.ended
        case RunStarted() | StepStarted():
            return event.started if event.started is not None else event.registered
        case ValuesAdded():
            return event.at
        case IterationBlock():
            return max(event.ended, default=None)


def event_count(event: Event) -> int:
    """How many capture events the record stands for: two for each row of a block, else one."""
    return 2 * len(event.index) if isinstance(event, IterationBlock) else 1
