"""What lies among the artifacts of a run: files, and the folders of models."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import yaml

from headstream.capture.ingest.mlflow.records import Artifact, Model

_MODEL: Final = "MLmodel"


@dataclass(frozen=True, slots=True)
class Listed:
    """The artifacts that were found. `unlisted`: why there may be others."""

    files: tuple[Artifact, ...] = ()
    models: tuple[Model, ...] = ()
    unlisted: str | None = None


def listed(uri: str, beside: Path | None = None) -> Listed:
    """List the artifacts at a URI, or `beside` where a tracking directory was moved.

    They are named by the URI, whatever folder they were found in. Nothing is fetched from anywhere.
    """
    try:
        return _listed(uri, beside)
    except (OSError, ValueError) as error:
        return Listed(unlisted=f"{uri} cannot be listed: {error}")


def _listed(uri: str, beside: Path | None) -> Listed:
    folder = _folder(uri)
    if beside is not None and beside.is_dir() and (folder is None or not folder.is_dir()):
        folder = beside
    if folder is None:
        return Listed(unlisted=f"{uri} is no folder of this machine") if uri else Listed()
    if not folder.is_dir():
        return Listed()  # MLflow makes the folder with the first artifact.
    root = uri.rstrip("/") or str(folder)
    files: list[Artifact] = []
    models: list[Model] = []
    for path, names in _walk(folder):
        name = path.relative_to(folder).as_posix()
        place = root if name == "." else f"{root}/{name}"
        if _MODEL in names:
            models.append(Model(location=place, facts=_facts(path / _MODEL)))
            continue
        files += (Artifact(location=f"{place}/{each}", size=_size(path / each)) for each in names)
    return Listed(tuple(files), tuple(models))


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with the names of its files, in order; what lies in the folder of a model is its own."""
    for path, folders, names in os.walk(folder, onerror=_refuse):
        if _MODEL in names:
            folders.clear()
        folders.sort()
        yield Path(path), sorted(names)


def _refuse(error: OSError) -> None:
    """A folder that cannot be read is said, not passed over."""
    raise error


def _folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(uri) if uri and not parts.scheme else None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _facts(path: Path) -> dict[str, Any]:
    """What the MLmodel file says of the model, as far as a graph can use it."""
    try:
        read = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not isinstance(read, dict):
        return {}
    facts = {
        "flavors": sorted(map(str, read.get("flavors") or ())),
        "model_uuid": read.get("model_uuid"),
        "signature": read.get("signature"),
    }
    return {key: value for key, value in facts.items() if value}
