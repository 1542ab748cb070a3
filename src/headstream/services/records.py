"""Small JSON files that are whole or absent, never half written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstream.services.processes import Identity


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Put the value in place of what was there, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def drop(path: Path) -> None:
    """Remove the record; it may be gone already."""
    path.unlink(missing_ok=True)


def write_identity(path: Path, identity: Identity) -> None:
    """Record which process it is."""
    write_json(path, {"pid": identity.pid, "started": identity.started})


def read_identity(path: Path) -> Identity | None:
    """Return the recorded process, or None when there is no record (or no readable one: it names nothing)."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Identity(int(found["pid"]), float(found["started"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
