"""docs/reference/capture.md has every public name, loss and warning, and its code blocks run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headstream import capture
from headstream.capture.reading import read, spools
from headstream.schemas import events
from headstream.schemas.events import Bag, RunEnded

from ..environment import without_settings

PAGE = "reference/capture.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$",
    (Path(__file__).parents[2] / "docs" / PAGE).read_text("utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)
Rows = Callable[[str, str], list[dict[str, str]]]


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda block: re.sub(r"\W+", "-", block.split('workflow("')[1])[:12]
)
def test_a_code_block_runs_and_its_run_is_captured(block: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(block)
    clean = without_settings()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**clean, "HEADSTREAM_SPOOL": str(tmp_path / "spool")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lost = "values-after-end" in block
    assert done.stderr.startswith("headstream: provenance was lost" if lost else "") and (
        lost or not done.stderr
    )
    folder = tmp_path / ("elsewhere" if lost else "spool")
    told = [
        each for spool in spools(folder) for bag in read(spool) if isinstance(bag, Bag) for each in bag.events
    ]
    assert any(isinstance(event, RunEnded) for event in told)


def test_every_public_name_is_in_the_page_and_no_other(rows: Rows) -> None:
    assert sorted(row["name"] for row in rows(PAGE, "Names")) == sorted(capture.__all__)


def test_the_signatures_in_the_page_name_every_parameter(rows: Rows) -> None:
    for row in rows(PAGE, "Names"):
        match = re.match(r"`(\w+)\((.*?)\)`", row["what it is"])
        if match is not None:
            code = getattr(capture, match[1]).__code__
            names = [*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
            said = [part.split("=")[0].strip().lstrip("*") for part in match[2].split(",")]
            assert [name for name in said if name] == [*names, *(["facts"] if "**" in match[2] else [])]


def test_every_kind_of_event_is_in_the_page(rows: Rows) -> None:
    said = {name for row in rows(PAGE, "What an event carries") for name in re.findall(r"\w+", row["event"])}
    assert said == {kind.__name__ for kind in events.Event.__args__}


@pytest.mark.parametrize(("tally", "column"), [("LOSSES", "loss"), ("WARNINGS", "warning")])
def test_every_reason_is_in_the_page_and_no_other(tally: str, column: str, rows: Rows, root: Path) -> None:
    said = {
        reason
        for row in rows(PAGE, "Losses and warnings")
        for reason in re.findall(r"[a-z*]+(?:-[a-z*]+)*", row.get(column, ""))
    }
    found = {reason for path in (root / "capture").rglob("*.py") for reason in _reasons(path, tally)}
    assert said == found


def _reasons(path: Path, tally: str) -> Iterator[str]:
    """Reasons of `TALLY.add(...)`, and of the function that refuses a script's documents."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        if called.endswith(f"{tally}.add") or (called == "_refused" and tally == "WARNINGS"):
            yield from _texts(node.args[0])


def _texts(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body)
            yield from _texts(orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
            yield f"{text}*"
