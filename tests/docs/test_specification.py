"""What the specification prints is what the product asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def body(query: str) -> list[str]:
    """The lines of a query, without its description and prefixes."""
    lines = [line.strip() for line in query.splitlines()]
    return [line for line in lines if line and not line.startswith(("# @", "PREFIX "))]


def test_the_questions_of_table_one_are_printed_as_they_are(page: Callable[[str], str], root: Path) -> None:
    files = sorted((root / "schemas" / "ontology" / "queries").glob("q*.rq"))
    assert len(files) == 6
    text = page("provml-spec.md")
    for file in files:
        printed = text.partition(f"**{file.name[:2].upper()}** ")[2].partition("```sparql\n")[2]
        assert body(printed.partition("```")[0]) == body(file.read_text("utf-8")), file.name
