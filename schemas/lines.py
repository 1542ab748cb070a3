"""On which line of a YAML or JSON text something stands; PyYAML is imported only when that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headstream.schemas.errors import Key


def line_of(text: str, path: tuple[Key, ...]) -> int | None:
    """The line of the key or entry at this path, or of the innermost one that is there; None if unknown."""
    node = _root(text)
    if node is None:
        return None
    line = node.start_mark.line
    for key in path:
        step = next((each for each in _entries(node) if each[0] == key), None)
        if step is None:
            break
        _, mark, node = step
        line = mark.line
    return int(line) + 1


def repeated(text: str) -> tuple[tuple[Key, ...], int, int] | None:
    """A key that stands twice in one mapping, with both lines: a parser would keep the last in silence."""
    root = _root(text)
    return None if root is None else next(_repeated(root, ()), None)


def _root(text: str) -> Any:
    import yaml

    for readable in (text, text.replace("\t", " ")):  # JSON may have tabs between tokens, YAML not.
        try:
            return yaml.compose(readable, Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
    return None


def _entries(node: Any) -> Iterator[tuple[Key, Any, Any]]:
    """Key or number, the mark of it, and the node of each entry."""
    if node.id == "mapping":
        for key, value in node.value:
            yield str(key.value), key.start_mark, value
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            yield number, value.start_mark, value


def _repeated(node: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], int, int]]:
    seen: dict[Key, int] = {}
    for key, mark, value in _entries(node):
        if key in seen and key != "<<":
            yield (*path, key), seen[key], mark.line + 1
        seen[key] = mark.line + 1
        yield from _repeated(value, (*path, key))
