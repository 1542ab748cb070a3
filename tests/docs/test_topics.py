"""Topics, headers of dead letters and reasons are in docs/reference/topics.md as the code has them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from headstream.schemas import dead_letters, topics
from headstream.schemas.registry import NAMES
from headstream.sinks import core
from headstream.stream_processors import handling
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.topics import Plan, plans

PAGE = "reference/topics.md"
DAY_MS = 24 * 3600 * 1000
RETENTION = {"-1": "for ever"}
Rows = Callable[[str, str], list[dict[str, str]]]


def test_the_topics_are_made_as_the_page_says(rows: Rows) -> None:
    documented = [
        (row["topic"], row["cleanup"], row["retention"], row["partitions"], row["max message"])
        for row in rows(PAGE, "The four")
    ]
    assert documented == [_made(plan) for plan in plans(Settings())]


def _made(plan: Plan) -> tuple[str, ...]:
    kept = plan.config.get("retention.ms", "-1")
    most = plan.config.get("max.message.bytes")
    return (
        plan.name,
        plan.config["cleanup.policy"],
        RETENTION.get(kept) or f"{int(kept) // DAY_MS} days",
        str(plan.partitions),
        f"{most} bytes" if most else "broker's default",
    )


def test_the_partitioner_is_named(page: Callable[[str], str]) -> None:
    assert f"`{topics.PARTITIONER}`" in page(PAGE)


def test_every_record_is_in_the_page(rows: Rows, root: Path) -> None:
    documented = {row["schema"] for row in rows(PAGE, "Values")}
    assert documented == {f"schemas/avro/{name}.avsc" for name in NAMES}
    assert all((root / path).is_file() for path in documented)


def test_every_header_of_a_dead_letter_is_in_the_page(rows: Rows) -> None:
    documented = [row["header"] for row in rows(PAGE, "Headers of a dead letter")]
    named = [
        value
        for name, value in vars(dead_letters).items()
        if name.isupper() and isinstance(value, str) and value.startswith("headstream.")
    ]
    assert documented == named


def test_every_reason_is_in_the_page_and_no_other(rows: Rows, root: Path) -> None:
    documented = {(row["stage"], row["reason"]) for row in rows(PAGE, "Reasons")}
    tracker = _constants(handling) | set(_literal_reasons(root / "stream_processors"))
    sink = _constants(core) | set(_literal_reasons(root / "sinks"))
    folders = (root / "capture" / "gateway", root / "src" / "headstream" / "gateway")
    gateway = {reason for folder in folders for reason in (*_literal_reasons(folder), *_refusals(folder))}
    gateway |= set(_refusals(root / "capture" / "ingest", "openlineage.py"))
    assert documented == {
        (stage, reason)
        for stage, reasons in ((handling.STAGE, tracker), (core.STAGE, sink), (dead_letters.GATEWAY, gateway))
        for reason in reasons
    }


def _constants(module: object) -> set[str]:
    """The reasons that a module names: its constants of hyphenated text, and UNDECODABLE."""
    found = {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    return {text for text in found if "-" in text or text == "undecodable"}


def _refusals(folder: Path, files: str = "*.py") -> Iterator[str]:
    """The reasons that MessageRefused is raised with."""
    for path in folder.rglob(files):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MessageRefused":
                (reason, *_) = node.args
                assert isinstance(reason, ast.Constant)
                yield str(reason.value)


def _literal_reasons(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.keyword)
                and node.arg == "reason"
                and isinstance(node.value, ast.Constant)
            ):
                yield str(node.value.value)
