"""`headstream spool` shows what lies on a node, and says what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headstream.capture import frames, wire
from headstream.capture.header import new_header
from headstream.capture.reading import read
from headstream.capture.settings import Settings
from headstream.capture.shipper import Shipper
from headstream.capture.spool import Writer
from headstream.capture.transports.memory import MemoryTransport
from headstream.cli import app
from headstream.errors import CommandError
from headstream.schemas.documents import Document
from headstream.schemas.events import RunStarted, StepEnded, StepRef
from headstream.schemas.values import AttributeValue, DictValue, Instant, Json, ListValue, Reference

T = 1_766_000_000_000_000
DOCUMENT = Document(kind="person", name="ana", body='{"id":"ana","name":"Ana"}')
VALUES = (
    AttributeValue("loss", 0.25),
    AttributeValue("worst", float("inf")),
    AttributeValue("model", Reference(text="/m.pt", store="gpfs1")),
    AttributeValue("shape", Json("[1,2]")),
    AttributeValue("since", Instant(T)),
    AttributeValue("parts", ListValue((1, DictValue((("a", True),))))),
    AttributeValue("words", "red\x1b[31m\nline"),
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTREAM_DATA", str(tmp_path))
    monkeypatch.delenv("HEADSTREAM_SPOOL", raising=False)
    return tmp_path


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["spool", *arguments])


def answer(*arguments: str) -> Any:
    result = ask(*arguments, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def spooled(root: Path, execution: str = "r1", steps: int = 3) -> Writer:
    writer = Writer(
        new_header("tiny", execution, None, f"node-{execution}", "node"), Settings(spool=root), (DOCUMENT,)
    )
    assert writer.event(RunStarted(started=T))
    for number in range(steps):
        step = StepRef("training", str(number))
        assert writer.event(StepEnded(step=step, started=T, ended=T + 1, outcome="FINISHED", values=VALUES))
    return writer


def directory(writer: Writer) -> Path:
    assert writer.directory is not None
    return writer.directory


def spoiled(path: Path, needle: bytes) -> None:
    segment = path / "000000.seg"
    held = segment.read_bytes()
    at = held.index(needle)
    segment.write_bytes(held[:at] + b"#" * len(needle) + held[at + len(needle) :])


def test_a_spool_is_listed_with_its_run_its_writer_and_what_is_in_it(data: Path) -> None:
    writer = spooled(data / "spool")
    (found,) = answer("ls")
    assert (found["workflow"], found["execution"], found["host"]) == ("tiny", "r1", "node")
    assert found["pid"] == writer.header.pid and found["created"] == writer.header.created
    assert found["alive"] and found["segments"] == 1 and found["bytes"] > 0
    assert (found["documents"], found["bags"], found["events"]) == (1, 1, 4)
    assert found["shipped"] is None and found["torn"] == found["unreadable"] == 0
    assert "(alive)" in ask("ls").stdout and "nothing shipped" in ask("ls").stdout
    writer.close()
    assert answer("ls")[0]["alive"] is False


def test_listing_says_how_far_a_spool_is_shipped_and_changes_nothing(data: Path) -> None:
    writer = spooled(data / "spool")
    shipper = Shipper(MemoryTransport(), keep=True)
    shipper.round([directory(writer)], lambda: False)
    shipper.close()
    before = {path: path.read_bytes() for path in directory(writer).iterdir()}
    (found,) = answer("ls")
    assert found["shipped"]["segment"] == 0 and found["shipped"]["offset"] > 0
    assert found["shipped"]["done"] is False and found["events"] == 4
    assert {path: path.read_bytes() for path in directory(writer).iterdir()} == before
    writer.close()
    shipper = Shipper(MemoryTransport(), keep=True)
    shipper.round([directory(writer)], lambda: False)
    shipper.close()
    assert "all shipped" in ask("ls").stdout


def test_the_archive_is_listed_only_when_it_is_asked_for(data: Path) -> None:
    spooled(data / "spool", "r1").close()
    spooled(data / "archive", "r0").close()
    assert [each["execution"] for each in answer("ls")] == ["r1"]
    assert [each["execution"] for each in answer("ls", "--archive")] == ["r1", "r0"]
    assert [each["execution"] for each in answer("ls", str(data / "archive"))] == ["r0"]


def test_nothing_on_a_node_is_an_answer_and_a_folder_that_is_none_is_an_error(data: Path) -> None:
    assert answer("ls") == []
    assert "no spool lies in" in ask("ls").stderr
    assert answer("verify")["spools"] == 0
    assert isinstance(ask("ls", str(data / "typo")).exception, CommandError)
    assert isinstance(ask("cat", "typo").exception, CommandError)


def test_every_document_and_event_is_printed_in_order_with_its_values(data: Path) -> None:
    writer = spooled(data / "spool")
    writer.close()
    lines = ask("cat", directory(writer).name).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["document", "RunStarted", *["StepEnded"] * 3]
    assert "training/0 FINISHED loss=0.25 worst=INF model=/m.pt shape=[1, 2]" in lines[2]
    assert r"words=red\x1b[31m\nline" in lines[2]


def test_a_machine_reads_every_value_with_its_type(data: Path) -> None:
    writer = spooled(data / "spool", steps=1)
    writer.close()
    document, started, ended = map(
        json.loads, ask("cat", str(directory(writer)), "--json").stdout.splitlines()
    )
    assert document["document"]["body"] == DOCUMENT.body
    assert started == {"event": "RunStarted", "started": T}
    assert ended["step"] == {"transformation": "training", "task": "0"}
    assert {each["name"]: each["value"] for each in ended["values"]} == {
        "loss": 0.25,
        "worst": "INF",
        "model": {"reference": "/m.pt", "store": "gpfs1", "kind": "data"},
        "shape": {"json": [1, 2]},
        "since": {"instant": T},
        "parts": {"list": [1, {"dict": {"a": True}}]},
        "words": "red\x1b[31m\nline",
    }


def test_printing_stops_at_its_limit_and_says_so(data: Path) -> None:
    writer = spooled(data / "spool")
    writer.close()
    result = ask("cat", "tiny", "--limit", "2")
    assert len(result.stdout.splitlines()) == 2 and "there is more" in result.stderr
    assert "there is more" not in ask("cat", "tiny", "--limit", "5").stderr


def test_a_name_that_two_spools_begin_with_is_refused(data: Path) -> None:
    spooled(data / "spool", "r1").close()
    spooled(data / "spool", "r2").close()
    assert "2 spools" in str(ask("cat", "tiny").exception)
    assert ask("cat", "tiny~r2").exit_code == 0


def test_turns_of_a_loop_are_told_as_a_count_of_rows(data: Path) -> None:
    from headstream import capture

    with capture.workflow(
        "looped",
        execution="r1",
        settings=Settings(spool=data / "spool", online=False, git=False, packages=False),
    ) as run:
        for turn in run.loop("epoch", range(5), index_as="epoch"):
            turn.generated(loss=1.0 / (1 + turn.index))
    (line,) = [each for each in ask("cat", "looped").stdout.splitlines() if "IterationBlock" in each]
    assert "epoch 5 rows epoch=0..4 loss=1.0..0.2" in line
    blocks = [json.loads(each) for each in ask("cat", "looped", "--json").stdout.splitlines()]
    assert [each["rows"] for each in blocks if each.get("event") == "IterationBlock"] == [5]
    assert answer("ls")[0]["events"] == 12


def test_sound_spools_are_verified_with_status_0(data: Path) -> None:
    spooled(data / "spool").close()
    spooled(data / "archive", "r0").close()
    result = ask("verify", "--archive")
    assert result.exit_code == 0
    assert result.stdout == "read 2 spools, 2 documents, 8 events: 0 torn, 0 unreadable\n"


def test_a_torn_frame_is_found_and_all_others_are_read(data: Path) -> None:
    writer = spooled(data / "spool")
    writer.close()
    spoiled(directory(writer), b"red")
    result = ask("verify")
    assert result.exit_code == 1
    finding, total = result.stdout.splitlines()
    assert str(directory(writer)) in finding and "segment 000000 at byte" in finding and "torn" in finding
    assert total == "read 1 spool, 1 document, 3 events: 1 torn, 0 unreadable"
    assert answer("ls")[0]["torn"] == 1
    assert "torn" in ask("cat", "tiny").stderr


def test_a_segment_of_another_format_is_unreadable_and_the_next_spool_is_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("headstream.capture.wire.FORMAT", 99)
        header = new_header("tiny", "newer", None, "node-newer", "node")
        newer = type(header)(**{**{n: getattr(header, n) for n in header.__slots__}, "format": 99})
        Writer(newer, Settings(spool=data / "spool")).close()
    spooled(data / "spool").close()
    found = answer("verify")
    assert ask("verify").exit_code == 1
    assert (found["spools"], found["unreadable"], found["events"]) == (2, 1, 4)
    assert "spool format 99" in found["findings"][0]


def test_reading_goes_on_behind_a_segment_that_cannot_be_understood(data: Path) -> None:
    writer = spooled(data / "spool", steps=2000)
    writer.close()
    assert answer("ls")[0]["segments"] > 1
    whole = answer("verify")["events"]
    wrong = wire.dump(["no such record"])
    held = bytearray((directory(writer) / "000000.seg").read_bytes())
    at = frames.frame_size(frames.LENGTH.unpack_from(held)[0] - frames.FRAME.size)
    # A frame that is whole by its checksum, and says nothing that this version knows.
    held[at + frames.FRAME.size : at + frames.FRAME.size + len(wrong)] = wrong
    frames.REST.pack_into(held, at + 4, frames.crc(frames.EVENT, wrong), frames.EVENT)
    frames.LENGTH.pack_into(held, at, len(wrong) + frames.FRAME.size)
    (directory(writer) / "000000.seg").write_bytes(held)
    found = answer("verify")
    assert found["unreadable"] == 1 and "segment 000000 at byte" in found["findings"][0]
    assert 0 < found["events"] < whole


def test_segments_that_are_shipped_and_deleted_are_no_fault(data: Path) -> None:
    writer = spooled(data / "spool", steps=2000)
    writer.close()
    (directory(writer) / "000000.seg").unlink()
    found = answer("verify")
    assert found["torn"] == found["unreadable"] == 0 and found["events"] > 0


def test_a_spool_without_a_header_is_unreadable(data: Path) -> None:
    empty = data / "spool" / "empty"
    empty.mkdir(parents=True)
    (empty / "owner").write_text("node\n1\n")
    (empty / "000000.seg").write_bytes(b"\0" * 4096)
    result = ask("verify")
    assert result.exit_code == 1 and "no segment has a header" in result.stdout
    assert answer("ls")[0]["workflow"] is None


def test_what_is_read_here_is_what_a_shipper_reads(data: Path) -> None:
    writer = spooled(data / "spool", steps=120)
    writer.close()
    contents = list(read(directory(writer)))
    (found,) = answer("ls")
    assert found["bags"] == len(contents) - 1
    assert len(ask("cat", "tiny").stdout.splitlines()) == 122
