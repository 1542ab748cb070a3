"""Every option of replay, verify and archive is in docs/reference/replay.md, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import typer.main

from headstream.cli import app
from headstream.sinks import bulk
from headstream.sinks.graph_hash import BUCKETS
from headstream.stream_processors.archive_files import MANIFEST

PAGE = "reference/replay.md"
Rows = Callable[[str, str], list[dict[str, str]]]


@pytest.mark.parametrize("command", ["replay", "verify", "archive"])
def test_every_option_of_the_command_is_in_the_page(command: str, page: Callable[[str], str]) -> None:
    _, _, section = page(PAGE).partition(f"## headstream {command}\n")
    section = section.partition("\n## ")[0]
    said = {name for line in re.findall(r"^\| (`--.*?) \|", section, re.MULTILINE) for name in _names(line)}
    made = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    options = [param for param in made.params if param.param_type_name == "option"]
    known = {name for param in options for name in (*param.opts, *param.secondary_opts)}
    assert said == {name for name in known if name not in ("--help", "-h")}


def test_the_page_has_the_numbers_of_the_code(page: Callable[[str], str]) -> None:
    text = page(PAGE)
    assert f"({bulk.TRIPLES:,} triples" in text and f"{bulk.OXIGRAPH_TRIPLES:,} for Oxigraph" in text
    assert f"has {BUCKETS:,} parts" in text
    assert MANIFEST in text


def _names(cell: str) -> list[str]:
    return re.findall(r"`(--[\w-]+)`", cell)
