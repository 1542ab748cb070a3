"""Every test that docs/reference/errors-and-faults.md names exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from headstream import cli
from headstream.cli import lifecycle, publishing


def test_every_test_named_in_the_page_exists(page: Callable[[str], str], root: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page("reference/errors-and-faults.md")))
    written = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
    }
    assert named and named <= written, sorted(named - written)


def test_every_exit_status_is_in_the_page(rows: Callable[[str, str], list[dict[str, str]]]) -> None:
    told = {int(row["status"]) for row in rows("reference/errors-and-faults.md", "Exit statuses")}
    ours = {cli.FAILED, cli.UNFORESEEN, cli.INTERRUPTED, cli.PIPE_CLOSED, publishing.TROUBLE}
    assert told == {0, lifecycle.NOTHING_UP, *ours}
