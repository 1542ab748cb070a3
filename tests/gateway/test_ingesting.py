"""`headstream ingest provlake`: managed and unmanaged logs, read again and again without effect."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headstream.capture.reading import read, spools
from headstream.capture.settings import Settings as CaptureSettings
from headstream.errors import Unreadable
from headstream.gateway.ingesting import ingest, log_files
from headstream.gateway.spooling import SpoolTransport
from headstream.schemas.definition import parse_definition, parse_store
from headstream.schemas.documents import document
from headstream.schemas.events import Bag

EXAMPLE = Path(__file__).parents[1] / "data" / "worked_example"
RECORDED = Path(__file__).parent / "data" / "recorded.log"


def documents():
    lines = (EXAMPLE / "definitions.jsonl").read_text("utf-8").splitlines()
    stores = json.loads((EXAMPLE / "stores.json").read_text("utf-8"))
    found = [parse_definition(json.loads(line)) for line in lines], [parse_store(each) for each in stores]
    return [document(each) for part in found for each in part]


def into(spool: Path, *files: Path):
    transport = SpoolTransport(CaptureSettings(spool=spool), "ingest")
    for each in documents():
        transport.publish(each)
    done = ingest(files, documents(), transport)
    transport.close()
    return done


def test_logs_that_are_read_again_change_nothing(tmp_path: Path, graph_of) -> None:
    log = tmp_path / "a.log"
    log.write_bytes((EXAMPLE / "events.jsonl").read_bytes())
    done = into(tmp_path / "spool", log)
    assert (done.messages, done.events, len(done.runs), done.refused) == (63, 63, 4, [])
    once = graph_of(tmp_path / "spool", tmp_path / "once")
    assert len(once) > 900
    into(tmp_path / "spool", log)
    assert graph_of(tmp_path / "spool", tmp_path / "twice") == once


def test_managed_and_unmanaged_logs_say_the_same(tmp_path: Path, graph_of) -> None:
    messages = [m for line in RECORDED.read_text("utf-8").splitlines() for m in json.loads(line)]
    managed, unmanaged = tmp_path / "managed.log", tmp_path / "unmanaged.log"
    managed.write_text("\n".join(["[]", json.dumps(messages[:9]), json.dumps(messages[9:]), ""]))
    unmanaged.write_text("".join(f"{json.dumps(message)}\n" for message in messages))
    graphs = []
    for log in (managed, unmanaged, RECORDED):
        into(tmp_path / f"spool-{log.stem}", log)
        graphs.append(graph_of(tmp_path / f"spool-{log.stem}", tmp_path / f"graph-{log.stem}"))
    assert graphs[0] == graphs[1] == graphs[2]
    assert graphs[0]


def test_what_is_refused_is_told_by_its_place_and_the_rest_is_in(tmp_path: Path) -> None:
    log = tmp_path / "torn.log"
    _, *lines = RECORDED.read_text("utf-8").splitlines()
    log.write_text("\n".join([lines[0], '[{"act_type": "party", "prov_obj": {}}]', lines[1], lines[2][:50]]))
    done = into(tmp_path / "spool", log)
    assert dict(done.reasons) == {"unknown-act": 1, "not-json": 1}
    assert f"{log}: message 2: act_type must be" in done.refused[0]
    assert "line 4 is not JSON" in done.refused[1]
    bags = [each for path in spools(tmp_path / "spool") for each in read(path) if isinstance(each, Bag)]
    assert sum(len(bag.events) for bag in bags) == done.events == 2


def test_the_logs_of_a_folder_are_read_in_the_order_in_which_they_begin(tmp_path: Path) -> None:
    lines = RECORDED.read_text("utf-8").splitlines()
    (tmp_path / "z.log").write_text("\n".join(lines[:2]))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.log").write_text(lines[5])
    (tmp_path / "b.log").write_text("torn")
    (tmp_path / "notes.txt").write_text("no log")
    assert [path.name for path in log_files(tmp_path)] == ["z.log", "a.log", "b.log"]
    with pytest.raises(Unreadable):
        log_files(tmp_path / "nowhere")


def test_the_command_says_what_it_read_and_where_it_waits(tmp_path: Path) -> None:
    stores = tmp_path / "stores.json"
    stores.write_bytes((EXAMPLE / "stores.json").read_bytes())
    command = [sys.executable, "-m", "headstream", "ingest", "provlake", str(RECORDED)]
    options = ["--stores", str(stores), "--data", str(tmp_path / "data")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "21 messages of 1 runs in 1 files: 21 events\n"
    said = " ".join(done.stderr.split())
    assert f"2 spools wait in {tmp_path / 'data' / 'spool'} until `headstream up` or `ship`" in said
    assert len(spools(tmp_path / "data" / "spool")) == 2  # The stores, and the run.
