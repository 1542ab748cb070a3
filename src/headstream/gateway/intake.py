"""What a request says: bytes to documents, bags and dead letters, and what the client is told.

A bag is taken message by message: one that breaks a rule goes to the dead letters with its reason, and
the rest of the bag is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from headstream.capture.gateway.errors import MessageRefused
from headstream.capture.gateway.provlake import Bagging, Rejected, Translated, Translator
from headstream.capture.gateway.wire import cleaned, is_plain
from headstream.gateway.errors import DefinitionRefused
from headstream.gateway.keeping import Parcel
from headstream.gateway.metrics import Metrics
from headstream.gateway.remembering import Notes
from headstream.gateway.settings import Settings
from headstream.query_api.errors import RequestRefused
from headstream.schemas.dead_letters import GATEWAY
from headstream.schemas.definition import Definition, Store, parse_definition, parse_store
from headstream.schemas.documents import Document, content, document
from headstream.schemas.errors import InvalidDefinition, SchemaError
from headstream.schemas.events import IN, OUT, Bag, RunEnded, StepEnded, StepStarted, ValuesAdded
from headstream.schemas.facts import DeadLetter, Origin
from headstream.schemas.topics import run_key

PROVLAKE: Final = "gateway:provlake"
BAG_SIZE: Final = 50
# A dead letter is one message, and a broker takes 1 MB of them.
_LARGEST_LETTER: Final = 900_000
_MOST_RUNS: Final = 1000

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a client is told of its message. Codes that begin with W are warnings."""

    code: str
    type: str
    explanation: str

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "type": self.type, "explanation": self.explanation}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a request leads to: what is to be kept, and what was found in each message that had something."""

    parcel: Parcel
    messages: int
    findings: tuple[tuple[Finding, ...], ...] = ()


# How the body of a request is read: the same for each protocol. Raises RequestRefused for what is none.
Take = Callable[[bytes], Taken]


@dataclass(slots=True)
class Intake:
    """The translator of ProvLake messages, with what it has to know and to remember.

    Safe from any thread. What it learns (`learn`) counts from the next message on.
    """

    settings: Settings
    metrics: Metrics
    notes: Notes
    now: Callable[[], int]
    producer: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _translator: Translator = field(init=False)
    _bagging: Bagging = field(init=False)
    _stores: dict[str, Store] = field(default_factory=dict)
    _definitions: dict[str, Definition] = field(default_factory=dict)
    _letters: int = 0

    def __post_init__(self) -> None:
        self._translator = Translator(recall=self.notes.recall)
        self._bagging = Bagging(self._translator, bag_size=BAG_SIZE, producer=self.producer)

    @property
    def busy(self) -> bool:
        """Somebody is at it: whoever may not wait must not ask now."""
        return self._lock.locked()

    @property
    def stores(self) -> tuple[Store, ...]:
        """The stores that are known here, by id."""
        with self._lock:
            return tuple(self._stores[name] for name in sorted(self._stores))

    def learn(self, published: Document) -> None:
        """Use a document that somebody has published; what is neither definition nor store is nothing."""
        try:
            found = content(published)
        except SchemaError:
            return  # Whoever described it has refused it.
        if isinstance(found, Definition | Store):
            with self._lock:
                self._learn(found)

    def bag(self, body: bytes, *, validate: bool = False) -> Taken:
        """Take a bag of retrospective messages: a JSON array, or one message.

        With `validate` the findings have warnings too.
        """
        messages = messages_of(body)
        if isinstance(messages, Rejected):
            messages = [messages]
        if len(messages) > self.settings.max_messages:
            raise RequestRefused(
                f"the bag has {len(messages)} messages, more than {self.settings.max_messages}",
                remedy="send smaller bags, or raise HEADSTREAM_GATEWAY_MAX_MESSAGES",
            )
        # Only of a long body can a message be too long.
        long = len(body) > self.settings.max_message_bytes
        checked = [self._too_long(each) or each for each in messages] if long else messages
        plain = is_plain(body)
        with self._lock:
            said = [self._translator.translate(message, plain=plain) for message in checked]
            return self._bagged(said, validate=validate)

    def definition(self, body: bytes, *, overwrite: bool) -> Taken:
        """Take a prospective document; raises DefinitionRefused with a sentence for its author."""
        found = _parsed(body, parse_definition)
        with self._lock:
            known = self._definitions.get(found.workflow)
            if known is not None and known.content_hash != found.content_hash and not overwrite:
                raise DefinitionRefused(
                    f"{found.workflow} has another definition, {known.content_hash[:12]}",
                    remedy="send it with overwrite=True: runs keep the version that they began with",
                )
            self._learn(found)
        return Taken(parcel=Parcel(documents=(document(found),)), messages=1)

    def store(self, body: bytes) -> Taken:
        """Take a data store; raises DefinitionRefused."""
        found = _parsed(body, parse_store)
        with self._lock:
            self._learn(found)
        return Taken(parcel=Parcel(documents=(document(found),)), messages=1)

    def _learn(self, found: Definition | Store) -> None:
        self._translator.learn(found)
        if isinstance(found, Store):
            self._stores[found.id] = found
            return
        self._definitions[found.workflow] = found
        self._stores |= {store.id: store for store in found.stores}

    def _bagged(self, said: list[Translated | Rejected], *, validate: bool) -> Taken:
        bags: list[Bag] = []
        documents: list[Document] = []
        findings: list[tuple[Finding, ...]] = []
        for number, each in enumerate(said):
            if isinstance(each, Rejected):
                findings.append((_refusal(each, number),))
                continue
            for store in each.stores:
                if self._stores.get(store.id) != store:
                    documents.append(document(store))
                self._stores[store.id] = store
            bags += self._bagging.add(each)
            if validate and (found := tuple(self._warnings(each, number))):
                findings.append(found)
        bags += self._bagging.flush()
        self._remember([each for each in said if isinstance(each, Translated)])
        letters = tuple(self._letter(each) for each in said if isinstance(each, Rejected))
        return Taken(
            parcel=Parcel(documents=tuple(documents), bags=tuple(bags), letters=letters),
            messages=len(said),
            findings=tuple(findings),
        )

    def _remember(self, said: list[Translated]) -> None:
        lost = self.notes.keep(said)
        if lost:
            self.metrics.unremembered.inc(lost)
        else:
            for each in said:  # A message that comes after the end finds its scope in the notes.
                if isinstance(each.events[-1], RunEnded):
                    self._translator.forget(each.workflow, each.execution)
        self._translator.keep_latest(_MOST_RUNS)
        self.metrics.runs.set(self._translator.remembered)

    def _warnings(self, said: Translated, number: int) -> Iterator[Finding]:
        """What may be a mistake of the author: names that the definition does not have, odd values."""
        definition = self._definitions.get(said.workflow)
        for event in said.events:
            for value in getattr(event, "values", ()):
                if value.note is not None:
                    yield _warning("W001", "value", number, f"{value.name}: {value.note}")
            if definition is None or not isinstance(event, StepStarted | StepEnded | ValuesAdded):
                continue
            assert event.step is not None
            name = event.step.transformation
            planned = definition.transformation(name)
            if planned is None:
                yield _warning("W002", "transformation", number, f"{name} is not in the definition")
                continue
            direction = getattr(event, "direction", IN if isinstance(event, StepStarted) else OUT)
            for value in event.values:
                if planned.attribute(direction, value.name) is None:
                    yield _warning(
                        "W003",
                        "attribute",
                        number,
                        f"{name} has no {direction}put {value.name} by its definition",
                    )

    def _letter(self, rejected: Rejected) -> DeadLetter:
        """The message as it came, under the run that it names."""
        self._letters += 1
        self.metrics.rejected.labels(reason=rejected.reason).inc()
        return letter(
            rejected.source,
            origin=Origin(topic=PROVLAKE, partition=0, offset=self._letters),
            key=_run_named(rejected.source),
            reason=rejected.reason,
            error=Rejected.__name__,
            message=rejected.message,
            at=self.now(),
        )

    def _too_long(self, message: object) -> Rejected | None:
        size = len(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))
        if size <= self.settings.max_message_bytes:
            return None
        return Rejected(
            reason="too-long",
            message=f"the message has {size} bytes, more than {self.settings.max_message_bytes} "
            "(HEADSTREAM_GATEWAY_MAX_MESSAGE_BYTES)",
            source=message,
        )


def letter(
    source: object, *, origin: Origin, key: bytes, reason: str, error: str, message: str, at: int
) -> DeadLetter:
    """The dead letter of a message of a foreign client: as it came, cut where no broker would take it."""
    text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False, default=str)
    return DeadLetter(
        origin=origin,
        key=key,
        value=text.encode("utf-8", "replace")[:_LARGEST_LETTER],
        stage=GATEWAY,
        reason=reason,
        error=error,
        message=message,
        at=at,
    )


def messages_of(body: bytes) -> list[Any] | Rejected:
    """What is in a body: Python reads the NaN that the client may write, and which JSON does not have."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:
        text = body.decode("utf-8", "replace")
        return Rejected(reason="not-json", message=f"the body is not JSON: {str(error)[:200]}", source=text)
    return read if isinstance(read, list) else [read]


def _parsed(body: bytes, parse: Callable[[object], _Parsed]) -> _Parsed:
    read = messages_of(body)
    if isinstance(read, Rejected):
        raise DefinitionRefused(read.message, remedy="send one JSON object")
    try:
        return parse(cleaned(read[0] if len(read) == 1 else read))
    except (InvalidDefinition, MessageRefused) as error:
        raise DefinitionRefused(str(error)) from error


def _refusal(rejected: Rejected, number: int) -> Finding:
    return Finding(
        code=f"E-{rejected.reason}", type=rejected.reason, explanation=_of(number, rejected.message)
    )


def _warning(code: str, type: str, number: int, text: str) -> Finding:
    return Finding(code=code, type=type, explanation=_of(number, text))


def _of(number: int, text: str) -> str:
    return f"message {number + 1} of the bag: {text}"


def _run_named(source: object) -> bytes:
    """The key of the run that a message names, as far as it names one."""
    body = source.get("prov_obj") if isinstance(source, dict) else None
    if not isinstance(source, dict) or not isinstance(body, dict):
        return b""
    parts = (body, *(body.get(act) for act in ("task", "cycle")))
    execution = next(
        (part["wf_execution"] for part in parts if isinstance(part, dict) and "wf_execution" in part), ""
    )
    named = (source.get("dataflow_name"), execution)
    return run_key(*(str(each).encode("utf-8", "replace").decode() for each in named))
