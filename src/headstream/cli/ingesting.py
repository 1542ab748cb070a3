"""`headstream ingest`: what other trackers wrote, brought into the graph."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli import importing
from headstream.cli.advancing import advancing
from headstream.cli.awaiting import WAIT_SECONDS, Wait, await_taken, tell_awaited
from headstream.cli.telling import Data, Json, places, tell

if TYPE_CHECKING:
    from headstream.gateway.ingesting import Ingested
    from headstream.schemas.documents import Document

family = typer.Typer(no_args_is_help=True, help="Bring what other trackers wrote into the graph.")


def register(app: typer.Typer) -> None:
    app.add_typer(family, name="ingest")
    importing.join(family)


@family.callback()
def _ingest() -> None:
    """Bring what other trackers wrote into the graph."""


@family.command()
def provlake(
    source: Annotated[Path, typer.Argument(help="A log file of a ProvLake client, or a folder of them.")],
    stores: Annotated[
        list[Path] | None,
        typer.Option(
            "--stores",
            help="YAML or JSON with stores (or a definition) that are published first (repeatable).",
        ),
    ] = None,
    wait: Wait = WAIT_SECONDS,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Read the log files of ProvLake clients; files that are read again change nothing in the graph."""
    from headstream.capture.settings import Settings as CaptureSettings
    from headstream.gateway.ingesting import ingest, log_files
    from headstream.gateway.serving import published
    from headstream.gateway.spooling import SpoolTransport
    from headstream.publish import read_documents

    where = places(data)
    files = log_files(source)
    given = [document for path in stores or () for document in read_documents(path)]
    known: list[Document] = [*published(where, os.environ), *given]
    made: list[Path] = []
    producer = f"ingest-{os.uname().nodename}-{os.getpid()}"
    spool = SpoolTransport(CaptureSettings.from_env(os.environ), producer, made.append)
    try:
        for each in given:
            spool.publish(each)
        with advancing("reading", "bytes") as advance:
            total = sum(path.stat().st_size for path in files)
            done = ingest(files, known, spool, _summed(lambda read: advance(read, total)))
    finally:
        spool.close()
    awaited = await_taken(where, made, wait)
    _tell(done, awaited.taken, as_json)
    tell_awaited(awaited)


def _tell(done: Ingested, taken: bool, as_json: bool) -> None:
    refused = sum(done.reasons.values())
    if as_json:
        facts = {
            "files": done.files,
            "messages": done.messages,
            "events": done.events,
            "runs": len(done.runs),
        }
        typer.echo(json.dumps({**facts, "refused": dict(done.reasons), "taken": taken}))
    else:
        typer.echo(
            f"{done.messages} messages of {len(done.runs)} runs in {done.files} files: {done.events} events"
        )
    for line in done.refused:
        tell(line)
    if refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.reasons.most_common())
        tell(f"{refused} messages were refused ({reasons}); everything else is in")


def _summed(advance: Callable[[int], object]) -> Callable[[int], object]:
    """Tell of all bytes read so far where each call brings those of one line."""
    read = 0

    def add(size: int) -> None:
        nonlocal read
        read += size
        advance(read)

    return add
