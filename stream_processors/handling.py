"""What becomes of one message: pure functions from bytes to facts and dead letters.

The Faust agents, the replay and the tests run these same functions, so an online graph and a
replayed one cannot differ. Bad input is data here, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from headstream.schemas.codec import decode_bag, decode_document, encode_bag, encode_identified
from headstream.schemas.dead_letters import DEFINITION_MISSING, Headers, attempts, to_headers
from headstream.schemas.definition import Definition
from headstream.schemas.documents import DEFINITION, Document, content
from headstream.schemas.errors import SchemaError, UnknownSchema
from headstream.schemas.events import Bag
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.topics import run_key
from headstream.stream_processors.tracker import Rejected, Tracked

STAGE: Final = "tracker"
UNDECODABLE: Final = "undecodable"
UNKNOWN_SCHEMA: Final = "unknown-schema"
INVALID_DOCUMENT: Final = "invalid-document"
TRACKER_FAILED: Final = "tracker-failed"

# Facts are several times as large as the events behind them, and Kafka takes 1 MiB a message.
LARGEST_MESSAGE: Final = 900_000

Track = Callable[[Bag, Definition | None, Origin], Tracked]
Describe = Callable[[Document, Origin], Identified]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A Kafka message as it came."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    at: float | None = None  # When it was handed to Kafka, in seconds since the epoch.


@dataclass(frozen=True, slots=True)
class Parked:
    """A bag that waits for its definition in the dead-letter topic."""

    incoming: Incoming
    bag: Bag


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter, and the definition it waits for if it is a parked bag."""

    letter: DeadLetter
    definition: str | None = None

    @property
    def headers(self) -> Headers:
        return to_headers(self.letter, self.definition)


@dataclass(frozen=True, slots=True)
class Version:
    """A definition and the hashes that bags may name it by.

    The hash of the published body is one as well: should the normal form gain a key one day, the
    bags of older clients still find what they were made with.
    """

    definition: Definition
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What a message leads to; all of it must reach the broker before the message is acknowledged."""

    identified: tuple[Identified, ...] = ()
    letters: tuple[Letter, ...] = ()
    parked: Parked | None = None


def open_bag(incoming: Incoming, *, now: int) -> Bag | Letter:
    """The bag in a message, or the letter that says why there is none."""
    try:
        return decode_bag(incoming.value or b"")
    except SchemaError as error:
        return _refused(incoming, _decoding_reason(error), error, now)


def handle_bag(
    incoming: Incoming, bag: Bag, definition: Definition | None, *, track: Track, now: int
) -> Handled:
    """Track a bag; rejected events become letters, and so does a bag whose definition is missing.

    A parked bag is in the letter as a whole, so its rejected events get no letters of their own:
    they are judged again with the definition.
    """
    tracked = _track(bag, definition, incoming.origin, track)
    identified = tuple(item.identified for item in tracked if item.identified.facts)
    if definition is None and bag.definition is not None:
        letter = Letter(
            letter=_letter(
                incoming,
                reason=DEFINITION_MISSING,
                error="DefinitionMissing",
                message=f"definition {bag.definition} of workflow {bag.workflow!r} has not arrived; "
                "the bag is sent again by itself when it does",
                now=now,
            ),
            definition=bag.definition,
        )
        return Handled(identified=identified, letters=(letter,), parked=Parked(incoming, bag))
    rejected = [rejection for item in tracked for rejection in item.rejected]
    return Handled(identified=identified, letters=tuple(_rejections(incoming, bag, rejected, now)))


def version_of(document: Document) -> Version | None:
    """The definition in a document, None for a document of another kind; raises InvalidDefinition."""
    if document.kind != DEFINITION:
        return None
    definition = content(document)
    assert isinstance(definition, Definition)
    return Version(definition, frozenset({document.content_hash, definition.content_hash}))


def handle_document(incoming: Incoming, *, describe: Describe, now: int) -> tuple[Handled, Version | None]:
    """Describe a document; also the definition that it brings."""
    if incoming.value is None:  # A tombstone says nothing.
        return Handled(), None
    try:
        document = decode_document(incoming.value)
    except SchemaError as error:
        return Handled(letters=(_refused(incoming, _decoding_reason(error), error, now),)), None
    version = None
    try:
        version = version_of(document)
        return Handled(identified=(describe(document, incoming.origin),)), version
    except SchemaError as error:
        return Handled(letters=(_refused(incoming, INVALID_DOCUMENT, error, now),)), version
    except Exception as error:  # A fault of ours costs this document, never the stream.
        return Handled(letters=(_refused(incoming, TRACKER_FAILED, error, now),)), version


def messages(identified: Identified, largest: int = LARGEST_MESSAGE) -> Iterator[bytes]:
    """Encode facts, in several messages where one would be too large for Kafka."""
    encoded = encode_identified(identified)
    if len(encoded) <= largest or len(identified.facts) < 2:
        yield encoded
        return
    for part in halves(identified):
        yield from messages(part, largest)


def halves(identified: Identified) -> tuple[Identified, Identified]:
    """Cut facts in the middle; an event on both sides of the cut is counted on both."""
    middle = len(identified.facts) // 2
    left: list[int] = []
    right: list[int] = []
    before = 0
    for count in identified.counts:
        within = max(0, min(count, middle - before))
        left.append(within)
        right.append(count - within)
        before += count
    return (
        _part(identified, slice(0, middle), left),
        _part(identified, slice(middle, None), right),
    )


def _part(identified: Identified, cut: slice, counts: list[int]) -> Identified:
    kept = [index for index, count in enumerate(counts) if count]
    return replace(
        identified,
        facts=identified.facts[cut],
        counts=tuple(counts[index] for index in kept),
        event_times=tuple(identified.event_times[index] for index in kept),
    )


def _track(bag: Bag, definition: Definition | None, origin: Origin, track: Track) -> list[Tracked]:
    """Track a bag at once or, if that fails unforeseen, event by event to isolate the one at fault."""
    try:
        return [track(bag, definition, origin)]
    except Exception as error:
        failure = error
    if len(bag.events) > 1:
        singles = []
        for index, event in enumerate(bag.events):
            for tracked in _track(replace(bag, events=(event,)), definition, origin, track):
                rejected = tuple(replace(item, index=index) for item in tracked.rejected)
                singles.append(replace(tracked, rejected=rejected))
        return singles
    nothing = Identified(
        workflow=bag.workflow, execution=bag.execution, origin=origin, facts=(), counts=(), event_times=()
    )
    fault = Rejected(index=0, reason=TRACKER_FAILED, error=type(failure).__name__, message=str(failure))
    return [Tracked(identified=nothing, rejected=(fault,) if bag.events else ())]


def _rejections(incoming: Incoming, bag: Bag, rejected: list[Rejected], now: int) -> Iterator[Letter]:
    """One letter for each kind of refusal: a bag with just the events that were refused for it."""
    kinds: dict[tuple[str, str], list[Rejected]] = {}
    for item in rejected:
        kinds.setdefault((item.reason, item.error), []).append(item)
    for (reason, error), items in kinds.items():
        more = f" (and {len(items) - 1} more of this bag)" if len(items) > 1 else ""
        refused = replace(bag, events=tuple(bag.events[item.index] for item in items))
        yield Letter(
            letter=replace(
                _letter(incoming, reason=reason, error=error, message=items[0].message + more, now=now),
                key=incoming.key or run_key(bag.workflow, bag.execution),
                value=encode_bag(refused),
            )
        )


def _refused(incoming: Incoming, reason: str, error: Exception, now: int) -> Letter:
    return Letter(
        letter=_letter(incoming, reason=reason, error=type(error).__name__, message=str(error), now=now)
    )


def _decoding_reason(error: SchemaError) -> str:
    """A schema that is not known yet can be mended by a newer worker; broken bytes cannot."""
    return UNKNOWN_SCHEMA if isinstance(error, UnknownSchema) else UNDECODABLE


def _letter(incoming: Incoming, *, reason: str, error: str, message: str, now: int) -> DeadLetter:
    return DeadLetter(
        origin=incoming.origin,
        key=incoming.key or b"",
        value=incoming.value or b"",
        stage=STAGE,
        reason=reason,
        error=error,
        message=message,
        at=now,
        attempt=attempts(incoming.headers) + 1,
    )
