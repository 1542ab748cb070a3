"""Pages of docs/ as text, and their tables as rows, for the tests that hold them against the code."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Page = Callable[[str], str]
Rows = Callable[[str, str], list[dict[str, str]]]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def page() -> Page:
    """The text of a page, by its path under docs/."""
    return lambda name: (ROOT / "docs" / name).read_text("utf-8")


@pytest.fixture(scope="session")
def rows(page: Page) -> Rows:
    """Every row of the tables under a heading of a page, by column; backticks are taken off whole cells."""

    def under(name: str, heading: str) -> list[dict[str, str]]:
        _, found, rest = page(name).partition(f"\n## {heading}\n")
        assert found, f"docs/{name} has no heading '## {heading}'"
        section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
        return [row for block in re.split(r"\n\s*\n", section) for row in _table(block)]

    return under


def _table(block: str) -> list[dict[str, str]]:
    lines = [line for line in block.splitlines() if line.startswith("|")]
    if len(lines) < 3:
        return []
    columns = _cells(lines[0])
    found = [_cells(line) for line in lines[2:]]
    return [dict(zip(columns, cells, strict=True)) for cells in found]


def _cells(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return [re.sub(r"^`([^`]*)`$", r"\1", cell) for cell in cells]
