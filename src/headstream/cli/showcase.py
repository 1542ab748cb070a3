"""`headstream demo`: the seismic use case, or how fresh the graph is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from headstream.cli.lifecycle import Services, ServicesOption
from headstream.cli.telling import Data, Json, places, progress, tell
from headstream.demo import RATE, SECONDS

if TYPE_CHECKING:
    from headstream.demo.freshness import Freshness
    from headstream.demo.seismic import Demo

ROWS_SHOWN = 12


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    services: ServicesOption = Services.embedded,
    segy: Annotated[
        Path | None, typer.Option(help="A 3-D post-stack SEG-Y file.", show_default="a synthetic survey")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each training.")] = None,
    freshness: Annotated[
        bool, typer.Option("--freshness", help="Measure how soon events are in the graph instead.")
    ] = False,
    rate: Annotated[int, typer.Option(min=1, help="Events a second for --freshness.")] = RATE,
    seconds: Annotated[float, typer.Option(min=1, help="How long to send for --freshness.")] = SECONDS,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Run the seismic use case of the paper and answer Q1 to Q6, in a data directory of its own."""
    from headstream.demo.freshness import measure  # The demo puts everything together.
    from headstream.demo.seismic import Wishes, run_demo

    where = places(data)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("headstream demo", total=None)
        stage = ""

        def enter(name: str) -> None:
            nonlocal stage
            stage = name
            bar.console.print(f"[bold]{name}[/bold]")
            bar.update(task, description=name)

        def say(line: str) -> None:
            bar.update(task, description=f"{stage}: {line[:100]}")
            bar.console.print(f"  {line}", highlight=False, markup=False)

        if freshness:
            _tell_freshness(measure(services.value, where, rate, seconds, enter, say), as_json)
            return
        learning = () if epochs is None else ("--epochs", str(epochs))
        done = run_demo(services.value, where, Wishes(segy=segy, learning=learning), enter, say)
    _tell_demo(done, as_json)


def _tell_demo(done: Demo, as_json: bool) -> None:
    from headstream.demo.seismic import command_for

    if as_json:
        typer.echo(
            json.dumps(
                {
                    "services": done.mode,
                    "data": str(done.data),
                    "store": done.store,
                    "triples": done.triples,
                    "hash": done.hash,
                    "hash_without_clocks": done.hash_without_clocks,
                    "seconds": done.seconds,
                    "answers": {each.id: each.table for each in done.answers},
                }
            )
        )
        return
    for each in done.answers:
        typer.echo(f"\n{each.id}  {each.title}\n")
        lines = each.table.rstrip("\n").split("\n")
        shown, hidden = lines[: ROWS_SHOWN + 2], len(lines) - ROWS_SHOWN - 3
        typer.echo("\n".join(shown if hidden > 0 else lines))
        if hidden > 0:
            typer.echo(f"... {hidden} more rows; all of them:\n  {command_for(each, done)}")
    timed = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in done.seconds.items())
    typer.echo(f"\n{done.triples} triples; {timed}")
    typer.echo(f"graph hash                {done.hash}")
    typer.echo(f"the same without clocks   {done.hash_without_clocks}")
    if done.mode == "full":
        tell(f"services are stopped; to ask more: headstream up --services full --data {done.data}")
    typer.echo(f"more: headstream questions; {command_for(done.answers[2], done)}")


def _tell_freshness(found: Freshness, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.facts()))
        return
    typer.echo(found.sentence())
