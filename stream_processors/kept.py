"""What a topic still holds of what somebody needs: a missing event is named, never passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from confluent_kafka import Message

from headstream.stream_processors.bounded import Span
from headstream.stream_processors.errors import RetentionExpired


def demand_kept(
    topic: str, needed: Mapping[int, int], held: Mapping[int, Span], *, allow_missing: bool, what: str
) -> dict[int, tuple[int, int]]:
    """The ranges that are gone, by partition; raises RetentionExpired if there are any, unless allowed.

    `needed` is the first offset of each partition that is needed, `what` what is made of it.
    """
    gone = {
        number: (needed[number], held[number].low)
        for number in sorted(needed)
        if needed[number] < held[number].low
    }
    if gone and not allow_missing:
        raise RetentionExpired(_gone(topic, gone, what))
    return gone


def _gone(topic: str, gone: Mapping[int, tuple[int, int]], what: str) -> str:
    ranges = "; ".join(
        f"{topic}[{number}] begins at offset {past}: {first} to {past - 1} are gone (retention), "
        f"first missing offset {first}"
        for number, (first, past) in gone.items()
    )
    choice = ",".join(f"{number}:{past}" for number, (_, past) in gone.items())
    remedy = (
        "Replay from an archive or from spools that still have them, choose what is left with "
        f"--from-offset {choice}, or take the rest as it is with --allow-missing"
        if what == "a replay"
        else "Archive more often, or archive the rest with --allow-missing; the gap is then remembered"
    )
    return f"{ranges}; {what} would be partial. {remedy}"


def unbroken(topic: str, messages: Iterable[Message], wanted: Mapping[int, Span]) -> Iterator[Message]:
    """The messages, as long as none is missing between them; RetentionExpired names the first that is."""
    expected = {number: span.low for number, span in wanted.items() if span.low < span.high}
    for message in messages:
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None
        if offset != expected[partition]:
            raise RetentionExpired(_hole(topic, partition, expected[partition], offset))
        yield message
        expected[partition] = offset + 1
    for partition, offset in expected.items():
        if offset < wanted[partition].high:
            raise RetentionExpired(_hole(topic, partition, offset, wanted[partition].high))


def _hole(topic: str, partition: int, first: int, past: int) -> str:
    return (
        f"{topic}[{partition}] has no offset {first} to {past - 1}, and goes on behind them: they were "
        "compacted, or a producer of somebody else's used transactions. What was read until then is "
        "kept, the rest would be partial; set cleanup.policy=delete, or take it as it is with --allow-missing"
    )
