"""Formats, options and edges of exports are in docs/reference/exports.md as the code has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from headstream.cli.exporting import _METADATA, Form
from headstream.query_api.export import belonging
from headstream.query_api.export.crate import METADATA, PLAN, README, RUN
from headstream.query_api.export.formats import FORMATS
from headstream.query_api.export.rdf import curie

PAGE = "reference/exports.md"
Rows = Callable[[str, str], list[dict[str, str]]]


def test_every_format_is_in_the_page_with_media_type_and_suffix(rows: Rows) -> None:
    documented = [(row["format"], row["media type"], row["file"]) for row in rows(PAGE, "Formats")]
    assert documented == [(each.name, each.format.media_type, each.suffix) for each in FORMATS]


def test_the_command_has_every_format() -> None:
    assert [each.value for each in Form] == [each.name for each in FORMATS]
    assert _METADATA == METADATA


def test_every_edge_that_makes_a_node_belong_is_in_the_page(rows: Rows) -> None:
    documented = {row["edge"]: row["followed"] for row in rows(PAGE, "What belongs to a run")}
    assert {edge for edge, when in documented.items() if when == "always"} == set(
        map(curie, belonging.ALWAYS)
    )
    assert {edge for edge, when in documented.items() if when == "with `--lineage`"} == set(
        map(curie, belonging.LINEAGE)
    )
    assert documented.keys() - set(map(curie, belonging.ALWAYS | belonging.LINEAGE)) == {
        curie(belonging.FILLS)
    }


def test_every_option_of_the_command_is_in_the_page(page: Callable[[str], str], rows: Rows) -> None:
    command = [sys.executable, "-m", "headstream", "export", "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    options = {word.strip(",│") for word in told.split() if word.startswith("--")} - {"--help", "--output."}
    documented = " ".join(row.get("option", "") for row in _all(page, rows))
    assert options and all(f"`{option}`" in documented for option in options), options


def test_every_file_of_a_crate_is_in_the_page(rows: Rows) -> None:
    assert {row["file"] for row in rows(PAGE, "RO-Crate")} == {METADATA, PLAN, RUN, README}


def _all(page: Callable[[str], str], rows: Rows) -> list[dict[str, str]]:
    """The rows of the first table, which stands before any heading of the second level."""
    lines = page(PAGE).partition("\n## ")[0].splitlines()
    return [{"option": line} for line in lines if line.startswith("| `--")]
