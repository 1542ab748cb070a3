"""A dead letter as a Kafka message: the original key and bytes, and why it was refused in headers.

The tracker and the sink write such messages and whoever sends one again reads them; the names
here are the only agreement between them. A message that is sent again carries its count of
attempts, so that a second refusal says that it is the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from headstream.schemas.errors import MalformedMessage
from headstream.schemas.facts import DeadLetter, Origin

Headers = list[tuple[str, bytes]]

# As the clients of Kafka hand them over.
_Value = str | bytes | None
AnyHeaders = Mapping[str, _Value] | Iterable[tuple[str, _Value]] | None

TOPIC: Final = "headstream.topic"
PARTITION: Final = "headstream.partition"
OFFSET: Final = "headstream.offset"
STAGE: Final = "headstream.stage"
REASON: Final = "headstream.reason"
ERROR: Final = "headstream.error"
MESSAGE: Final = "headstream.message"
AT: Final = "headstream.at"
ATTEMPT: Final = "headstream.attempt"
DEFINITION: Final = "headstream.definition"
SETTLES: Final = "headstream.settles"
OUTCOME: Final = "headstream.outcome"

# What became of a letter. `asked`: the embedded service is to send it again and has not done so yet.
WAITING: Final = "waiting"
ASKED: Final = "asked"
REDRIVEN: Final = "redriven"
DROPPED: Final = "dropped"
# A parked bag whose definition has come: it was or will be sent again without anybody's doing.
RESENT: Final = "resent"
# A letter of the gateway's file that lies in the topic since the broker is back: there it waits.
MOVED: Final = "moved"

# A bag whose definition had not arrived: it is sent again by itself when the definition comes.
DEFINITION_MISSING: Final = "definition-missing"

# The stage of a message of a foreign client that could not be translated: its value is what came.
GATEWAY: Final = "gateway"

# A message is for people: the bytes themselves are in the value.
LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A dead letter where it lies, without its value, and what has become of it."""

    place: Origin
    letter: DeadLetter
    size: int
    definition: str | None = None
    state: str = WAITING

    @property
    def id(self) -> str:
        """Topic, partition and offset of the letter itself."""
        return f"{self.place.topic}-{self.place.partition}-{self.place.offset}"


def to_headers(letter: DeadLetter, definition: str | None = None) -> Headers:
    """The headers of a dead letter; `definition` is the hash that a parked bag waits for."""
    texts = [
        (TOPIC, letter.origin.topic),
        (PARTITION, str(letter.origin.partition)),
        (OFFSET, str(letter.origin.offset)),
        (STAGE, letter.stage),
        (REASON, letter.reason),
        (ERROR, letter.error),
        (MESSAGE, letter.message[:LONGEST_MESSAGE]),
        (AT, str(letter.at)),
        (ATTEMPT, str(letter.attempt)),
    ]
    if definition is not None:
        texts.append((DEFINITION, definition))
    # A lone surrogate in an error message must not cost the letter.
    return [(name, text.encode("utf-8", "replace")) for name, text in texts]


def from_headers(headers: AnyHeaders, *, key: bytes | None, value: bytes | None) -> DeadLetter:
    """Read a dead letter; MalformedMessage if a header is missing or is no number where it must be."""
    found = _texts(headers)
    try:
        return DeadLetter(
            origin=Origin(topic=found[TOPIC], partition=int(found[PARTITION]), offset=int(found[OFFSET])),
            key=key or b"",
            value=value or b"",
            stage=found[STAGE],
            reason=found[REASON],
            error=found[ERROR],
            message=found[MESSAGE],
            at=int(found[AT]),
            attempt=int(found[ATTEMPT]),
        )
    except KeyError as missing:
        raise MalformedMessage(f"a dead letter without the header {missing.args[0]!r}") from missing
    except ValueError as error:
        raise MalformedMessage(f"a dead letter with a header that is no number: {error}") from error


def definition_of(headers: AnyHeaders) -> str | None:
    """The definition that a parked bag waits for; None for any other message."""
    found = _texts(headers)
    return found.get(DEFINITION) if found.get(REASON) == DEFINITION_MISSING else None


def redrive_headers(letter: DeadLetter) -> Headers:
    """The headers of the original message when it is sent again to its topic."""
    return [(ATTEMPT, str(letter.attempt).encode())]


def settlement(offset: int, outcome: str, at: int) -> Headers:
    """The headers of a message that says what became of the letter at this offset of the same partition.

    It lies behind its letter, so retention never takes it away before the letter
    (docs/decisions/0008).
    """
    texts = ((SETTLES, str(offset)), (OUTCOME, outcome), (AT, str(at)))
    return [(name, text.encode()) for name, text in texts]


def settled_by(headers: AnyHeaders) -> tuple[int, str] | None:
    """Offset and outcome if this message settles a letter; None for a letter and anything else."""
    found = _texts(headers)
    offset = found.get(SETTLES, "")
    return (int(offset), found.get(OUTCOME, "")) if offset.isascii() and offset.isdigit() else None


def attempts(headers: AnyHeaders) -> int:
    """How often this message was refused before: 0 unless it is a dead letter sent again."""
    text = _texts(headers).get(ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _texts(headers: AnyHeaders) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    return {
        name: value if isinstance(value, str) else (value or b"").decode("utf-8", "replace")
        for name, value in pairs
    }
