"""`headstream define`: publish definitions, stores, persons and domain data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from headstream.capture.publishing import leave
from headstream.cli.telling import Data, Json, places, tell
from headstream.publish import read_documents
from headstream.services import state


def register(app: typer.Typer) -> None:
    app.command()(define)


def define(
    files: Annotated[
        list[Path],
        typer.Argument(help="YAML or JSON (definition, stores, persons), or .nt / .ttl (domain data)."),
    ],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Publish documents: validated here, then taken by what is up (or at its next start)."""
    where = places(data)
    documents = [document for file in files for document in read_documents(file)]
    leave(documents, os.environ)
    found = state.read(where.data)
    taken = found is not None and bool(found.alive)
    if as_json:
        facts = [{"kind": each.kind, "name": each.name, "hash": each.content_hash} for each in documents]
        typer.echo(json.dumps({"published": facts, "up": taken}))
        return
    for each in documents:
        typer.echo(f"{each.kind} {each.name} {each.content_hash[:12]}")
    if not taken:
        tell(f"nothing is up in {where.data}: they wait in the spool until `headstream up`")
