"""Where refused events are kept, with the reason, until somebody mends the cause and sends them again."""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headstream.schemas.clients import Trouble
from headstream.schemas.codec import decode_dead_letter, encode_dead_letter
from headstream.schemas.dead_letters import to_headers
from headstream.schemas.facts import DeadLetter
from headstream.schemas.topics import PARTITIONER
from headstream.sinks.errors import ConfigurationError, DeadLettersUnavailable

_FRAME: Final = struct.Struct("<II")  # Length and CRC-32 of the record that follows.


class DeadLetters(Protocol):
    """A place that forgets nothing it has taken."""

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Keep letters; on return they are safe. Raises DeadLettersUnavailable: consume no further."""

    def close(self) -> None:
        """Let go of connections and files."""


class MemoryDeadLetters:
    """A double; while `broken` it takes nothing."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.broken = False

    def put(self, letters: Sequence[DeadLetter]) -> None:
        if self.broken:
            raise DeadLettersUnavailable("the double was told to be broken")
        self.letters.extend(letters)

    def close(self) -> None:
        return None


class FileDeadLetters:
    """One append-only file of framed records, for one writer; a torn end is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._one = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, _whole(path.read_bytes()))
        except OSError as error:
            raise DeadLettersUnavailable(f"{path} cannot be opened for dead letters: {error}") from error

    def put(self, letters: Sequence[DeadLetter]) -> None:
        with self._one:
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                data = b"".join(_framed(encode_dead_letter(letter)) for letter in letters)
                while data:
                    data = data[os.write(self._file, data) :]
                os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, end)
                raise DeadLettersUnavailable(
                    f"{self.path} did not take {len(letters)} dead letters: {error}; is the disk full?"
                ) from error

    def read(self) -> Iterator[DeadLetter]:
        """Yield the letters, oldest first."""
        return read_letters(self.path)

    def numbered(self) -> Iterator[tuple[int, DeadLetter]]:
        """Yield the letters with the number that names each, oldest first."""
        return numbered_letters(self.path)

    def close(self) -> None:
        os.close(self._file)


def read_letters(path: Path) -> Iterator[DeadLetter]:
    """Yield the letters of a file, oldest first, up to a torn end; a file that is not there has none."""
    return (letter for _, letter in numbered_letters(path))


def numbered_letters(path: Path) -> Iterator[tuple[int, DeadLetter]]:
    """Yield the letters of a file with their numbers: where each begins, which never changes."""
    data = path.read_bytes() if path.exists() else b""
    for start, end in _records(data):
        yield start - _FRAME.size, decode_dead_letter(data[start:end])


class Settlements:
    """What became of the letters of a file: lines that anybody may append, the last of a letter counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, numbers: Iterable[int], outcome: str, at: int) -> None:
        """Say this of letters; on return it survives a kill. Raises DeadLettersUnavailable."""
        lines = [json.dumps({"letter": number, "outcome": outcome, "at": at}) for number in numbers]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                # A line that was torn by a crash must not swallow the first of these.
                os.write(file, "".join(f"\n{line}" for line in (*lines, "")).encode())
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise DeadLettersUnavailable(f"{self.path} cannot be written: {error}") from error

    def read(self) -> dict[int, str]:
        """The outcome of each letter that has one."""
        found: dict[int, str] = {}
        for line in self.path.read_text("utf-8", "replace").splitlines() if self.path.exists() else ():
            try:
                said = json.loads(line)
                found[int(said["letter"])] = str(said["outcome"])
            except (ValueError, KeyError, TypeError):  # Empty, or torn: it was never confirmed.
                continue
        return found

    def size(self) -> int:
        """Grows with everything that is said."""
        return self.path.stat().st_size if self.path.exists() else 0


def _framed(record: bytes) -> bytes:
    return _FRAME.pack(len(record), zlib.crc32(record)) + record


def _records(data: bytes) -> Iterator[tuple[int, int]]:
    place = 0
    while place + _FRAME.size <= len(data):
        length, checksum = _FRAME.unpack_from(data, place)
        start = place + _FRAME.size
        place = start + length
        if place > len(data) or zlib.crc32(data[start:place]) != checksum:
            return
        yield start, place


def _whole(data: bytes) -> int:
    end = 0
    for _, end in _records(data):  # noqa: B007 - the last one counts
        pass
    return end


class KafkaDeadLetters:
    """The dead-letter topic: original key and bytes, with the reason in the headers."""

    def __init__(self, configuration: Mapping[str, str], topic: str, *, seconds: float = 10.0) -> None:
        self._topic = topic
        self._seconds = seconds
        trouble = Trouble()  # The consumer's says the same, and is told.
        try:
            self._producer = Producer(
                {
                    **configuration,
                    **trouble.options(),
                    "acks": "all",
                    "enable.idempotence": True,
                    "partitioner": PARTITIONER,
                    "linger.ms": 0,
                    "message.timeout.ms": int(seconds * 1000),
                    "topic.metadata.propagation.max.ms": 2000,
                    "message.max.bytes": 16 * 1024 * 1024,  # The broker's limit decides.
                }
            )
        except KafkaException as error:
            raise ConfigurationError(f"HEADSTREAM_KAFKA_* cannot be used: {error.args[0].str()}") from error

    def put(self, letters: Sequence[DeadLetter]) -> None:
        """Send letters and wait until the broker has acknowledged every one."""
        errors: list[str] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error.str())

        try:
            for letter in letters:
                self._producer.produce(
                    self._topic,
                    key=letter.key,
                    value=letter.value,
                    headers=list[tuple[str, str | bytes | None]](to_headers(letter)),
                    on_delivery=delivered,
                )
            left = self._producer.flush(self._seconds + 5.0)
        except (KafkaException, BufferError) as error:
            raise DeadLettersUnavailable(f"topic {self._topic} takes no dead letters: {error}") from error
        if left or errors:
            raise DeadLettersUnavailable(
                f"topic {self._topic} did not take {len(letters)} dead letters: "
                f"{errors[0] if errors else 'no answer'}; nothing is consumed until it does"
            )

    def close(self) -> None:
        self._producer.flush(1.0)
