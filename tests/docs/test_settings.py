"""Every HEADSTREAM_* variable is in docs/reference/settings.md with its default, its readers and its flag."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headstream.capture.settings import Settings as CaptureSettings
from headstream.gateway.settings import Settings as GatewaySettings
from headstream.query_api.settings import Settings as ApiSettings
from headstream.services.settings import Settings as ServicesSettings
from headstream.sinks.settings import Settings as SinkSettings
from headstream.stream_processors.settings import Settings as TrackerSettings

PAGE = "reference/settings.md"
NAME = re.compile(r"HEADSTREAM_[A-Z_]+")
READERS = {
    "capture": "capture",
    "stream_processors": "tracker",
    "sinks": "sink",
    "query_api": "api",
    "src/headstream/services": "services",
    "src/headstream/gateway": "gateway",
    "src/headstream": "cli",
}
STORE = {"HEADSTREAM_STORE_URL": "http://127.0.0.1:1/store"}  # `oxigraph:` has batches of its own.
FROM_ENV: dict[str, Callable[[Mapping[str, str]], Any]] = {
    "capture": CaptureSettings.from_env,
    "tracker": TrackerSettings.from_env,
    "sink": lambda environ: SinkSettings.from_env({**STORE, **environ}),
    "api": ApiSettings.from_env,
    "services": ServicesSettings.from_env,
    "gateway": GatewaySettings.from_env,
}
Rows = Callable[[str, str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def documented(rows: Rows) -> dict[str, dict[str, str]]:
    """The rows of the page by variable; a name with a star stands for a prefix."""
    headings = ("Where things are", "Capture", "Tracker", "Sink", "Query API", "Gateway", "Local services")
    found = [row for heading in headings for row in rows(PAGE, heading)]
    names = [row["variable"] for row in found]
    assert len(names) == len(set(names)), "a variable stands twice in the page"
    return {row["variable"]: row for row in found}


def test_every_variable_that_the_code_names_is_in_the_page_and_no_other(
    documented: dict[str, dict[str, str]], root: Path
) -> None:
    named = {_shown(name) for _, tree in _sources(root) for name in _named(tree)}
    assert set(documented) == named


def test_the_page_says_who_reads_a_variable(documented: dict[str, dict[str, str]], root: Path) -> None:
    readers: dict[str, set[str]] = defaultdict(set)
    for reader, tree in _sources(root):
        for name in _read(tree):
            readers[_shown(name)].add(reader)
    said = {name: set(row["read by"].split(", ")) for name, row in documented.items()}
    for name, row in said.items():
        # What the command has of a service's settings is for the page to judge.
        assert row - {"cli"} == readers[name] - {"cli"}, name
        assert row, name


def test_the_page_has_the_flag_of_every_variable_that_has_one(
    documented: dict[str, dict[str, str]], root: Path
) -> None:
    flags: dict[str, set[str]] = defaultdict(set)
    for name, flag in (found for _, tree in _sources(root) for found in _flags(tree)):
        flags[name].add(flag)
    said = {
        name: set(row["flag"].replace("`", "").split(", ")) for name, row in documented.items() if row["flag"]
    }
    assert said == flags


def test_a_documented_default_is_what_an_unset_variable_means(
    documented: dict[str, dict[str, str]],
) -> None:
    for name, row in documented.items():
        if not row["default"] or row["default"].startswith("("):
            continue
        for reader in set(row["read by"].split(", ")) & FROM_ENV.keys():
            read = FROM_ENV[reader]
            assert read({name: row["default"]}) == read({}), f"{reader} has another default of {name}"


def test_a_variable_with_a_number_changes_the_settings_of_all_who_read_it(
    documented: dict[str, dict[str, str]],
) -> None:
    for name, row in documented.items():
        if not row["default"].isdecimal():
            continue
        for reader in set(row["read by"].split(", ")) & FROM_ENV.keys():
            read = FROM_ENV[reader]
            assert read({name: str(int(row["default"]) + 7)}) != read({}), f"{reader} does not read {name}"


def _sources(root: Path) -> Iterator[tuple[str, ast.Module]]:
    for folder, reader in READERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            inside = path.relative_to(root / folder).parts
            # src/headstream also links to the siblings, and holds the services.
            if reader == "cli" and (inside[0] in READERS or inside[0] in ("gateway", "schemas", "services")):
                continue
            yield reader, ast.parse(path.read_text("utf-8"), str(path))


# What functions of schemas/clients.py and schemas/logs.py read for all services.
OPTIONS = {
    "configure": ["HEADSTREAM_LOG_FORMAT", "HEADSTREAM_LOG_LEVEL"],
    "client_options": ["HEADSTREAM_KAFKA_"],
    "registry_options": [
        f"HEADSTREAM_REGISTRY_{name}" for name in ("URL", "USER", "PASSWORD", "TOKEN", "CA")
    ],
}


def _options_taken(node: ast.AST) -> list[str]:
    """The variables behind a call of one of these functions."""
    return OPTIONS.get(getattr(node.func, "id", ""), []) if isinstance(node, ast.Call) else []


def _takes_file(node: ast.AST) -> bool:
    """Tell a call of those that look for the settings file for all (schemas/configuration.py)."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("configured", "settings_file")


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        yield from _options_taken(node)
        if _takes_file(node):
            yield "HEADSTREAM_CONFIG"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield node.value


def _read(tree: ast.AST) -> Iterator[str]:
    """Variables that are looked up: arguments of calls, loaded keys, constants that a look-up goes through.

    Keys of dictionaries and assignments only set a variable for a child.
    """
    for node in ast.walk(tree):
        yield from _options_taken(node)
        if _takes_file(node):
            yield "HEADSTREAM_CONFIG"
        held: list[ast.expr] = []
        if isinstance(node, ast.Call):
            held = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            held = [node.slice]
        elif isinstance(node, ast.Tuple):
            held = list(node.elts)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            held = [node.value]
        for each in held:
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and NAME.fullmatch(each.value):
                yield each.value


def _flags(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "envvar" and isinstance(keyword.value, ast.Constant):
                    (flag, *_) = (arg.value for arg in node.args if isinstance(arg, ast.Constant))
                    yield str(keyword.value.value), str(flag)


def _shown(name: str) -> str:
    return f"{name}*" if name.endswith("_") else name
