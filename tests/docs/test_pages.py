"""Links between pages lead somewhere, the index has every page, and no page knows one machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs").rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Folders of somebody's machine, and files outside of the checkout.
ELSEWHERE = re.compile(r"(?<![\w.])(/root/|/home/|/Users/|/usr/|/var/|/mnt/|(\.\./){3})")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_heading_of_this_repository(path: Path, root: Path) -> None:
    for target in _links(path):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_relative_to(root.resolve()) and file.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{path.name}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_place_of_one_machine(path: Path) -> None:
    assert not ELSEWHERE.search(path.read_text("utf-8"))


def test_the_index_has_every_page(root: Path) -> None:
    index = root / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in _links(index)}
    assert listed == {path.resolve() for path in PAGES if path != index}


def test_the_index_has_the_title_of_every_decision(root: Path) -> None:
    index = (root / "docs" / "README.md").read_text("utf-8")
    for path in (root / "docs" / "decisions").glob("*.md"):
        number, title = path.read_text("utf-8").splitlines()[0].removeprefix("# ").split(" ", 1)
        assert f"| [{number}](decisions/{path.name}) | {title} |" in index


def _links(path: Path) -> Iterator[str]:
    for target in LINK.findall(path.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            yield target


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
