"""Messages to bytes and back: Avro single-object encoding of the records in `avro/*.avsc`.

The marker C3 01 and the fingerprint of the writer's schema come before the record (Avro 1.12,
"Single-object encoding"), so each message can be read without knowing where it came from. A
reader consumes every byte: fastavro by itself accepts trailing garbage (faults.md row 22).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from fastavro import schemaless_reader, schemaless_writer

from headstream.schemas import bag_bytes, bags, columns, registry
from headstream.schemas.documents import Document
from headstream.schemas.errors import MalformedMessage, UnknownFraming
from headstream.schemas.events import Bag
from headstream.schemas.facts import DeadLetter, Identified, Origin
from headstream.schemas.records import bag_from_record, bag_to_record

MARKER: Final = b"\xc3\x01"
_HEADER = len(MARKER) + 8
# The other framing that is read: that of a schema registry, which only producers of ours make
# that are told of one (confluent.py). The record is the same.
CONFLUENT: Final = b"\0"
_CONFLUENT_HEADER = 5


def encode_bag(bag: Bag) -> bytes:
    try:
        return MARKER + bags.FINGERPRINT + bag_bytes.write_bag(bag)
    except bag_bytes.Unwritten:
        return _encode("bag", bag_to_record(bag))


def decode_bag(data: bytes) -> Bag:
    """Read a bag; MalformedMessage, UnknownFraming or UnknownSchema say why it cannot be."""
    if data[:_HEADER] == MARKER + bags.FINGERPRINT:
        try:
            return bags.read_bag(data, _HEADER)
        except bags.Unread:
            pass  # Slower, but it knows blocks, and what to say of broken bytes.
    record = _decode("bag", data)
    try:
        return bag_from_record(record)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Whole by its schema, and yet nothing that a client of ours writes: an integer without digits.
        raise MalformedMessage(f"an event of the bag says what no event can: {error}") from error


def encode_document(document: Document) -> bytes:
    return _encode("document", {"kind": document.kind, "name": document.name, "body": document.body})


def decode_document(data: bytes) -> Document:
    """Read a document; raises as `decode_bag` does."""
    return Document(**_decode("document", data))


def encode_identified(identified: Identified) -> bytes:
    """Bytes of the fields of `identified.avsc` in their order."""
    subjects, predicates, kinds, objects = (
        zip(*identified.facts, strict=True) if identified.facts else ((), (), (), ())
    )
    origin = identified.origin
    return b"".join(
        (
            MARKER,
            registry.current("identified").fingerprint,
            columns.text(identified.workflow),
            columns.text(identified.execution),
            columns.text(origin.topic),
            columns.long(origin.partition),
            columns.long(origin.offset),
            columns.longs(identified.counts),
            columns.longs(identified.event_times),
            columns.varied(subjects),
            columns.repeated(predicates),
            columns.repeated(kinds),
            columns.varied(objects),
        )
    )


def decode_identified(data: bytes) -> Identified:
    """Read identified facts; raises as `decode_bag` does, also if the columns differ in length."""
    record = _decode("identified", data)
    columns = [record[name] for name in ("subjects", "predicates", "kinds", "objects")]
    if len({len(column) for column in columns}) != 1 or sum(record["counts"]) != len(columns[0]):
        raise MalformedMessage("identified facts: the columns and counts do not agree in length")
    return Identified(
        workflow=record["workflow"],
        execution=record["execution"],
        origin=Origin(**record["origin"]),
        facts=tuple(zip(*columns, strict=True)),
        counts=tuple(record["counts"]),
        event_times=tuple(record["event_times"]),
    )


def encode_dead_letter(letter: DeadLetter) -> bytes:
    return _encode(
        "dead_letter",
        {
            "origin": _origin_record(letter.origin),
            "key": letter.key,
            "value": letter.value,
            "stage": letter.stage,
            "reason": letter.reason,
            "error": letter.error,
            "message": letter.message,
            "at": letter.at,
            "attempt": letter.attempt,
        },
    )


def decode_dead_letter(data: bytes) -> DeadLetter:
    """Read a dead letter; raises as `decode_bag` does."""
    record = _decode("dead_letter", data)
    return DeadLetter(**{**record, "origin": Origin(**record["origin"])})


def _origin_record(origin: Origin) -> dict[str, Any]:
    return {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}


def _encode(name: str, record: dict[str, Any]) -> bytes:
    schema = registry.current(name)
    out = BytesIO()
    out.write(MARKER)
    out.write(schema.fingerprint)
    schemaless_writer(out, schema.parsed, record)
    return out.getvalue()


def _decode(name: str, data: bytes) -> dict[str, Any]:
    if data[:1] == CONFLUENT and len(data) >= _CONFLUENT_HEADER:
        header, schema = _CONFLUENT_HEADER, registry.by_id(name, int.from_bytes(data[1:5], "big"))
    elif data[: len(MARKER)] == MARKER:
        header, schema = _HEADER, registry.writer(name, data[len(MARKER) : _HEADER])
    else:
        raise UnknownFraming(
            f"{len(data)} bytes begin with {data[:2].hex() or 'nothing'}, "
            "not with the c301 of Avro single-object encoding"
        )
    reader = registry.current(name)
    stream = BytesIO(data)
    stream.seek(header)
    try:
        record = schemaless_reader(
            stream,
            schema.parsed,
            None if schema is reader else reader.parsed,
            return_record_name=True,
        )
    except Exception as error:  # fastavro raises EOFError, IndexError, ValueError, UnicodeDecodeError, ...
        raise MalformedMessage(
            f"{len(data)} bytes are not a whole {name}: {type(error).__name__}: {error}"
        ) from error
    if stream.tell() != len(data):
        raise MalformedMessage(f"{len(data) - stream.tell()} bytes follow the end of the {name}")
    assert isinstance(record, dict)
    return record
