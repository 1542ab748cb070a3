"""Every command, option and reason of `headstream ingest` is in docs/reference/conformance.md, no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import typer.main

from headstream.capture.gateway.wire import MAX_DEPTH
from headstream.capture.ingest.told import UnmappedReason
from headstream.cli import app

PAGE = "reference/conformance.md"
Rows = Callable[[str, str], list[dict[str, str]]]
SOURCES = ("MLflow", "OpenLineage", "FlowCept", "W3C PROV")


def commands() -> dict[str, set[str]]:
    """The options of each command of the family that takes other trackers' records."""
    family = typer.main.get_command(app).commands["ingest"]
    found = {}
    for name in sorted(family.commands.keys() - {"provlake"}):  # That one is in gateway.md.
        options = [each for each in family.commands[name].params if each.param_type_name == "option"]
        found[name] = {opt for each in options for opt in each.opts} - {"--help", "-h"}
    return found


def test_every_command_is_in_the_page(rows: Rows) -> None:
    said = {row["command"].split()[2] for row in rows(PAGE, "headstream ingest") if "command" in row}
    assert said == commands().keys()


def test_every_option_is_in_the_page_with_its_commands(rows: Rows) -> None:
    said = {
        option: row["of"]
        for row in rows(PAGE, "headstream ingest")
        if "option" in row
        for option in names(row["option"])
    }
    found = commands()
    for option in set().union(*found.values()):
        of = [name for name, options in found.items() if option in options]
        assert said.pop(option) == ("all" if len(of) == len(found) else ", ".join(of)), option
    assert not said


def test_every_reason_for_which_something_has_no_place_is_in_the_page(rows: Rows) -> None:
    said = [
        reason
        for source in SOURCES
        for row in rows(PAGE, source)
        if "reason" in row
        for reason in names(row["reason"])
    ]
    assert set(said) == set(get_args(UnmappedReason))


def test_every_reason_for_refusing_is_in_the_page(rows: Rows, root: Path, page: Callable[[str], str]) -> None:
    said = {reason for row in rows(PAGE, "Refused") for reason in names(row["reason"])}
    assert said == set(refusals(root))
    assert f"more than {MAX_DEPTH} levels" in page(PAGE)


def refusals(root: Path) -> Iterator[str]:
    """The reasons in the code: of `Refused(reason=...)`, and of the errors that become one."""
    files = [*(root / "capture" / "ingest").rglob("*.py"), root / "capture" / "gateway" / "wire.py"]
    for path in [*files, root / "src" / "headstream" / "importing.py"]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id == "Refused":
                given = [each.value for each in node.keywords if each.arg == "reason"]
            elif node.func.id == "MessageRefused":
                given = node.args[:1]
            else:
                continue
            yield from (each.value for each in given if isinstance(each, ast.Constant))


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell) or [cell]
