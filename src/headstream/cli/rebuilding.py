"""`headstream replay` and `verify`: the graph again, and whether two graphs are one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from headstream import live
from headstream.cli.telling import Data, Json, places, progress, tell
from headstream.places import Places

SHOWN = 20


def register(app: typer.Typer) -> None:
    app.command()(replay)
    app.command()(verify)


def replay(
    into: Annotated[str, typer.Option("--into", help="Store to fill: oxigraph:PATH or a SPARQL endpoint.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="topics, spool, or a folder.", show_default="topics in full mode, else spool"
        ),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    execution: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Replay the rest when retention has deleted events.")
    ] = False,
    into_live: Annotated[
        bool, typer.Option("--live", help="Allow the store of what is up, to fill what it lost.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Build the graph again from the topics or from spool files; nothing of it touches what is live."""
    from headstream import rebuilding  # Sinks and tracker, which other commands need not load.

    where = places(data)
    chosen = source or _default_source(where)
    with _bar() as advance:
        rebuilt = rebuilding.replay(
            where,
            into,
            source=chosen,
            workflow=workflow,
            execution=execution,
            progress=advance,
            allow_missing=allow_missing,
            into_live=into_live,
        )
    done = rebuilt.replayed
    facts = {
        "from": chosen, "into": into, "documents": done.documents, "bags": done.bags, "events": done.events,
        "facts": done.facts, "refused": dict(done.refused), "refused_by_store": rebuilt.refused_by_store,
        "triples_before": rebuilt.before, "triples": rebuilt.triples, "hash": rebuilt.hash,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(facts))
        return
    tell(
        f"replayed {done.events} events in {done.bags} bags and {done.documents} documents from {chosen} "
        f"into {into}: {rebuilt.triples} triples"
    )
    if rebuilt.before:
        tell(f"{into} held {rebuilt.before} triples before: the hash is that of both together")
    for reason, count in done.refused.items():
        tell(f"{count} refused: {reason}")
    typer.echo(f"graph hash {rebuilt.hash}")


def verify(
    left: Annotated[
        str, typer.Argument(help="oxigraph:PATH, a SPARQL endpoint, or live for the store of what is up.")
    ],
    right: Annotated[str, typer.Argument(help="The store to hold against it.")],
    without_clocks: Annotated[
        bool, typer.Option("--without-clocks", help="Leave out times and process facts.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare two graphs by hash; exit status 1 and a list of what differs if they are not equal."""
    from headstream import rebuilding

    where = places(data)
    compared = rebuilding.compare(
        live.location(where, left),
        live.location(where, right),
        rebuilding.CLOCK_READINGS if without_clocks else frozenset(),
    )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "equal": compared.equal,
                    "hashes": compared.hashes,
                    "only_left": compared.only_left,
                    "only_right": compared.only_right,
                }
            )
        )
    elif compared.equal:
        typer.echo(f"equal: {compared.hashes[0]}")
    else:
        for name, lines in ((left, compared.only_left), (right, compared.only_right)):
            typer.echo(f"only in {name}: {len(lines)} triples")
            for line in lines[:SHOWN]:
                typer.echo(f"  {line}")
            if len(lines) > SHOWN:
                typer.echo(f"  ... and {len(lines) - SHOWN} more; --json lists all")
    if not compared.equal:
        raise typer.Exit(1)


def _default_source(where: Places) -> str:
    found = live.up_for(where)
    if found is not None:
        return "topics" if found.mode == "full" else "spool"
    return "topics" if os.environ.get("HEADSTREAM_BOOTSTRAP") else "spool"


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("messages", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
