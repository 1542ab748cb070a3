"""docs/reference/commands.md has every command, and names no option that its command does not have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import typer.main

from headstream.cli import app

PAGE = "reference/commands.md"
HEADINGS = ("To run and to look", "To publish", "To ask", "To run on a cluster", "To look after it")
Rows = Callable[[str, str], list[dict[str, str]]]


def test_every_command_is_in_the_page_and_no_other(rows: Rows) -> None:
    named = [row["command"] for heading in HEADINGS for row in rows(PAGE, heading)]
    assert sorted(named) == sorted(_commands())


def test_a_command_has_the_options_that_its_row_names(rows: Rows) -> None:
    commands = _commands()
    for heading in HEADINGS:
        for row in rows(PAGE, heading):
            has = {option for each in commands[row["command"]].params for option in each.opts}
            assert set(re.findall(r"--[a-z]+", " ".join(row.values()))) <= has, row["command"]


def _commands() -> dict[str, Any]:
    return dict(_below("headstream", typer.main.get_command(app)))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for each, inner in command.commands.items():
        yield from _below(f"{name} {each}", inner)
