"""What keeps a hook from harming its host: late imports with a clear error, and swallowed failures."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstream.capture.errors import WARNINGS, swallow


def need(module: str, install: str | None = None) -> Any:
    """The library of a hook, or an ImportError that says what to install.

    It is imported by its name, so that type checkers and the layers of the project never follow
    libraries that most installations do not have.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # The library is there, and something that it needs is not: that it says best.
        text = f"this hook needs {package}: pip install {install or package}"
        raise ImportError(text, name=error.name) from error


@contextmanager
def shielded(where: str) -> Iterator[None]:
    """Swallow and count whatever goes wrong inside; also a decorator for functions that return nothing."""
    try:
        yield
    except Exception as error:
        swallow(error, f"hook-{where}")


def warn(reason: str, message: str) -> None:
    """Count something that is captured with a part missing."""
    WARNINGS.add(reason, message=message)
