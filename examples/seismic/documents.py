"""Two stand-ins on plain files for the other stores of the paper's use case (Fig. 7).

A document database keeps the polygons: `seismic/polygons/ID` is database, collection and
identifier, and lies in the file `seismic/polygons/ID.json` below the folder of the store. A triple
store of the domain keeps the annotations of geoscientists: N-Triples, one file a survey.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from errors import BadOption, DatasetUnreadable

OG = "http://example.org/og#"
SURVEYS = "http://example.org/surveys/"
RDF_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"


def put(folder: Path, collection: str, document: dict[str, Any]) -> str:
    """Keep a document and return its reference; the same document always has the same reference."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # 24 hex digits, the length of an identifier of MongoDB.
    reference = f"{collection}/{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    path = folder / f"{reference}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return reference


def get(folder: Path, reference: str) -> dict[str, Any]:
    """Read a document by its reference."""
    path = folder / f"{reference}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetUnreadable(
            f"no document {reference} in {folder}; give the folder of the document store with --documents"
        ) from error
    except ValueError as error:
        raise DatasetUnreadable(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise DatasetUnreadable(f"{path} is not a document")
    return found


def survey_resource(segy: Path) -> str:
    """The resource of a survey in the knowledge graph: a neutral IRI from the name of its file."""
    return SURVEYS + quote(segy.name, safe="-._~")


def known_facts(resource: str, known: Path, *, basin: str | None, field: str | None) -> list[str]:
    """What is known about a survey, as sorted N-Triples: facts on file, and those given by hand.

    A basin or field given by hand takes the place of the one on file.
    """
    given = {"associatedOilBasin": basin, "associatedOilField": field}
    replaced = tuple(f"<{OG}{name}>" for name, value in given.items() if value is not None)
    lines = [f"<{resource}> <{RDF_TYPE}> <{OG}SeismicSurvey> ."]
    if known.exists():
        for line in known.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"<{resource}> ") and line.split(" ", 2)[1] not in replaced:
                lines.append(line)
    for name, value in given.items():
        if value is not None:
            lines.append(f"<{resource}> <{OG}{name}> {_literal(name, value)} .")
    return sorted(set(lines))


def write_annotations(folder: Path, segy: Path, lines: list[str]) -> Path:
    """Keep the annotations of a survey; the same facts give the same file."""
    path = folder / f"{segy.name}.nt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _literal(name: str, value: str) -> str:
    if not value.strip() or any(ord(character) < 32 for character in value):
        raise BadOption(f"{name}: {value!r} is not a name; give one line of text")
    escaped = value.strip().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
