"""`headstream define`: publish definitions, stores, persons and domain data."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from headstream import live
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError
from headstream.places import Places
from headstream.services.state import Running

WAIT_SECONDS = 10.0


def register(app: typer.Typer) -> None:
    app.command()(define)


def define(
    files: Annotated[
        list[Path],
        typer.Argument(help="YAML or JSON (definition, stores, persons), or .nt / .ttl (domain data)."),
    ],
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until what is up has taken them.")
    ] = WAIT_SECONDS,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Publish documents: all are validated first, then taken by what is up (or at its next start)."""
    from headstream.capture.publishing import leave
    from headstream.publish import read_documents  # The tracker's rules, by which documents are validated.

    where = places(data)
    documents = [document for file in files for document in read_documents(file)]
    spool = leave(documents, os.environ)
    taker = live.taker(live.up_for(where))
    taken = taker is not None and taker.alive and _gone(spool, wait)
    if as_json:
        facts = [{"kind": each.kind, "name": each.name, "hash": each.content_hash} for each in documents]
        typer.echo(json.dumps({"published": facts, "up": taker is not None and taker.alive, "taken": taken}))
    else:
        for each in documents:
            typer.echo(f"{each.kind} {each.name} {each.content_hash[:12]}")
    if taken:
        tell(f"taken by {taker.name}" if taker else "taken")
    else:
        _tell_waiting(where, spool, taker, wait)


def _gone(spool: Path, seconds: float) -> bool:
    """Await that a spool is taken: whoever has it acknowledged removes or archives it."""
    deadline = time.monotonic() + seconds
    while spool.exists():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _tell_waiting(where: Places, spool: Path, taker: Running | None, wait: float) -> None:
    if taker is None:
        tell(f"nothing is up in {where.data}: they wait in {spool.parent} until `headstream up` or `ship`")
    elif not taker.alive:
        raise CommandError(
            f"{taker.name} has died (its log is {taker.log}): they wait in {spool.parent} until "
            "`headstream up` starts it again"
        )
    elif wait:
        raise CommandError(
            f"{taker.name} has not taken them within {wait:g} s: they wait in {spool.parent}; "
            f"its log, {taker.log}, may say why"
        )
