"""Topics of a real broker in Avro files, and a replay of the files without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from headstream.schemas.codec import encode_bag
from headstream.schemas.definition import parse_definition
from headstream.schemas.documents import document
from headstream.schemas.events import Bag, RunStarted, StepRef, StepStarted
from headstream.schemas.facts import Fact, Identified
from headstream.schemas.topics import Topics
from headstream.stream_processors import topics
from headstream.stream_processors.archive import archive_topics
from headstream.stream_processors.archive_files import MANIFEST
from headstream.stream_processors.errors import ArchiveUnreadable, ArchiveUnusable, RetentionExpired
from headstream.stream_processors.replay import Replayed, replay_source, replay_topics
from headstream.stream_processors.selection import Selection
from headstream.stream_processors.sources import ArchiveSource

DEFINITION = parse_definition(
    {"dataflow_name": "w", "data_transformations": {"train": {"type": "FeatureExtraction"}}}
)
DAY = 86_400_000_000
ALL = Selection()


def bag(execution: str, at: int = 0) -> Bag:
    events = (RunStarted(started=at), StepStarted(step=StepRef("train", "1"), started=at + 1))
    return Bag(workflow="w/x", execution=execution, definition=DEFINITION.content_hash, events=events)


def fill(stream, first: int = 0, count: int = 40) -> None:
    stream.document(document(DEFINITION))
    for number in range(first, first + count):
        stream.bag(bag(f"run {number % 4}", at=number * DAY // 20))
    stream.flush()


def from_archive(path: Path, selection: Selection = ALL, **options) -> tuple[set[Fact], Replayed]:
    written: list[Identified] = []
    done = replay_source(ArchiveSource(path, selection, **options), selection, written.extend)
    return {fact for item in written for fact in item.facts}, done


def from_topics(stream, selection: Selection = ALL, **options) -> tuple[set[Fact], Replayed]:
    written: list[Identified] = []
    done = replay_topics(stream.settings, write=written.extend, selection=selection, **options)
    return {fact for item in written for fact in item.facts}, done


def delete_before(stream, offset: int, partition: int = 0) -> None:
    admin = AdminClient({"bootstrap.servers": stream.settings.bootstrap})
    place = TopicPartition(stream.settings.topics.events, partition, offset)
    for future in admin.delete_records([place]).values():
        future.result()


@pytest.fixture
def archived(stream, tmp_path: Path) -> Path:
    """An archive of forty bags."""
    fill(stream)
    archive_topics(stream.settings, tmp_path / "kept")
    return tmp_path / "kept"


def test_a_replay_of_an_archive_is_a_replay_of_the_topics(stream, archived: Path, tmp_path: Path) -> None:
    assert from_archive(archived) == from_topics(stream)
    one = Selection(workflow="w/x", execution="run 3", since=DAY)
    assert from_archive(archived, one) == from_topics(stream, one)
    assert from_archive(archived, one)[1].bags > 0
    assert len(from_archive(archived)[0]) > len(from_archive(archived, one)[0])


def test_an_archive_lies_by_day_and_run_and_any_avro_reader_reads_it(archived: Path) -> None:
    assert sorted(path.name for path in (archived / "events").iterdir()) == ["1970-01-01", "1970-01-02"]
    runs = {path.name.rsplit("-", 2)[0] for path in (archived / "events" / "1970-01-02" / "w%2Fx").iterdir()}
    assert runs == {f"run%20{number}" for number in range(4)}
    file = next((archived / "events" / "1970-01-01" / "w%2Fx").glob("run%200-*.avro"))
    with file.open("rb") as stream:
        found = list(fastavro.reader(stream))
    assert [record["bag"]["execution"] for record in found] == ["run 0"] * 5
    assert [record["offset"] for record in found] == sorted(record["offset"] for record in found)
    assert all(record["timestamp"] for record in found)


def test_archiving_twice_adds_only_what_is_new(stream, archived: Path) -> None:
    before = {path: path.read_bytes() for path in archived.rglob("*.avro")}
    again = archive_topics(stream.settings, archived)
    assert (again.messages, again.documents, again.files) == (0, 0, 0)
    fill(stream, 40, 8)
    more = archive_topics(stream.settings, archived)
    assert (more.messages, more.documents, more.total_messages) == (8, 1, 50)
    assert {path: path.read_bytes() for path in before} == before
    assert from_archive(archived) == from_topics(stream)


def test_an_archiving_that_was_killed_goes_on_where_its_manifest_ends(stream, tmp_path: Path) -> None:
    fill(stream)
    root = tmp_path / "kept"

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done >= 100:
            raise Killed

    fill(stream, 40, 120)
    with pytest.raises(Killed):
        archive_topics(stream.settings, root, progress=kill, commit_messages=30)
    held = json.loads((root / MANIFEST).read_text())
    assert 0 < sum(each["messages"] for each in held["files"]) < 162
    assert next(root.rglob("*.draft"), None) is not None
    archive_topics(stream.settings, root, commit_messages=30)
    assert from_archive(root) == from_topics(stream)
    assert next(root.rglob("*.draft"), None) is None


def test_what_is_no_bag_is_kept_and_counted_as_it_was(stream, tmp_path: Path) -> None:
    fill(stream, 0, 4)
    stream.send(stream.settings.topics.events, b"k", b"garbage")
    stream.send(stream.settings.topics.definitions, b"k", b"garbage")
    stream.flush()
    done = archive_topics(stream.settings, tmp_path / "kept")
    assert done.undecodable == 2
    facts, replayed = from_archive(tmp_path / "kept")
    assert (facts, replayed) == from_topics(stream)
    assert replayed.refused == {"undecodable": 2}


def test_a_file_of_an_archive_is_replayed_with_the_definitions_of_its_archive(archived: Path) -> None:
    file = next((archived / "events").rglob("run%200-*.avro"))
    _, done = from_archive(file)
    assert (done.bags, done.documents, done.refused) == (5, 1, {})
    day = from_archive(archived / "events" / "1970-01-01")[1]
    assert day.bags == 20
    copy = archived.parent / "alone.avro"
    copy.write_bytes(file.read_bytes())
    assert from_archive(copy)[1].refused == {"definition-missing": 5}, "counted, not passed over"


def test_a_corrupt_or_missing_file_of_an_archive_is_named(archived: Path) -> None:
    file = next((archived / "events").rglob("run%200-*.avro"))
    whole = file.read_bytes()
    for broken in (whole[:-30], whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], b""):
        file.write_bytes(broken)
        with pytest.raises(ArchiveUnreadable, match=file.name):
            from_archive(archived)
    alone = archived.parent / "alone.avro"
    alone.write_bytes(whole[:-30])
    with pytest.raises(ArchiveUnreadable, match=r"alone\.avro is corrupt"):
        from_archive(alone)
    file.unlink()
    written: list[Identified] = []
    with pytest.raises(ArchiveUnreadable, match=f"{file.name} is missing"):
        replay_source(ArchiveSource(archived, ALL), ALL, written.extend)
    assert written == []
    (archived / MANIFEST).write_text("{")
    with pytest.raises(ArchiveUnreadable, match=MANIFEST):
        from_archive(archived)


def test_what_retention_took_before_it_was_archived_is_never_passed_over(stream, tmp_path: Path) -> None:
    names = stream.settings.topics
    stream.document(document(DEFINITION))
    for number in range(10):
        stream.producer.produce(names.events, key=b"k", value=encode_bag(bag(str(number))), partition=0)
    stream.flush()
    delete_before(stream, 4)
    root = tmp_path / "kept"
    with pytest.raises(RetentionExpired, match=r"\[0\] begins at offset 4: 0 to 3 are gone"):
        archive_topics(stream.settings, root)
    assert not list(root.rglob("*.avro"))
    assert archive_topics(stream.settings, root, allow_missing=True).messages == 6
    with pytest.raises(RetentionExpired, match="first missing offset 0 of partition 0"):
        from_archive(root)
    assert from_archive(root, allow_missing=True)[1].first_kept == {0: 4}
    assert from_archive(root, Selection(first={0: 4}))[1].bags == 6
    delete_before(stream, 10)
    assert archive_topics(stream.settings, root).messages == 0, "deleted, but archived before"


def test_an_archive_of_other_topics_or_a_folder_of_other_things_is_refused(
    stream, archived: Path, tmp_path: Path
) -> None:
    other = replace(stream.settings, topics=Topics(f"{stream.settings.topics.prefix}.other"))
    topics.create(other)
    with pytest.raises(ArchiveUnusable, match="give each a folder of its own"):
        archive_topics(other, archived)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ArchiveUnusable, match="holds other things"):
        archive_topics(stream.settings, tmp_path / "mine")
