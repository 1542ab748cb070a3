"""`headstream ingest`: what other trackers wrote, brought into the graph."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream import live
from headstream.cli import importing
from headstream.cli.telling import Data, Json, places, progress, tell
from headstream.errors import CommandError
from headstream.places import Places

if TYPE_CHECKING:
    from headstream.gateway.ingesting import Ingested
    from headstream.schemas.documents import Document

WAIT_SECONDS = 30.0

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
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until what is up has taken it.")
    ] = WAIT_SECONDS,
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
        with _bar(sum(path.stat().st_size for path in files)) as advance:
            done = ingest(files, known, spool, advance)
    finally:
        spool.close()
    taken = _taken(where, made, wait)
    _tell(done, where, taken, as_json)


def _taken(where: Places, spools: list[Path], seconds: float) -> bool:
    """Await that all is taken: whoever has a spool acknowledged removes or archives it."""
    taker = live.taker(live.up_for(where))
    deadline = time.monotonic() + seconds
    while any(spool.exists() for spool in spools):
        if taker is None or not taker.alive or time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _tell(done: Ingested, where: Places, taken: bool, as_json: bool) -> None:
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
    if not taken:
        if live.taker(live.up_for(where)) is not None:
            raise CommandError(
                "what was read waits in the spool: the service that is up has not taken all yet"
            )
        tell(f"nothing is up in {where.data}: it waits in {where.spool} until `headstream up` or `ship`")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], object]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda size: bar.advance(task, size)
