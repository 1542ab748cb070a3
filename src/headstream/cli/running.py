"""The commands that run one service each: tracker, sink, api, embedded, gateway, ship, topics."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from headstream import live
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError, Unreadable
from headstream.places import DEFAULT_GATEWAY_PORT

SHIP_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    for command in (tracker, sink, api, embedded, gateway, ship):
        app.command()(command)
    app.add_typer(topics_app)


def tracker() -> None:
    """Run one tracker worker (Faust): joins events with definitions and assigns identifiers."""
    from headstream.stream_processors.__main__ import main  # Faust takes a second to import.

    main()


def sink() -> None:
    """Run one sink worker: batches identified facts into the store."""
    from headstream.sinks.__main__ import main

    sys.exit(main(os.environ))


def api() -> None:
    """Run the query API over the store of HEADSTREAM_STORE_URL."""
    from headstream.query_api.__main__ import main

    sys.exit(main())


def embedded(data: Data = None) -> None:
    """Run the embedded mode in the foreground: spool to Oxigraph, with the query API on top."""
    from headstream.serving import serve

    serve(places(data))


def gateway(
    host: Annotated[
        str | None,
        typer.Option(
            "--host", envvar="HEADSTREAM_GATEWAY_HOST", help="Address to listen on.", show_default="127.0.0.1"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            envvar="HEADSTREAM_GATEWAY_PORT",
            help="Port to listen on.",
            show_default=str(DEFAULT_GATEWAY_PORT),
        ),
    ] = None,
    data: Data = None,
) -> None:
    """Run the gateway: ProvLake and OpenLineage clients send to it, and ProvLake's ask it of the graph."""
    from headstream.gateway.serving import serve
    from headstream.schemas.logs import configure

    where = places(data)
    for name, given in (("HEADSTREAM_GATEWAY_HOST", host), ("HEADSTREAM_GATEWAY_PORT", port)):
        if given is not None:
            os.environ[name] = str(given)
    configure(os.environ)
    serve(where, os.environ)


def ship(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of spools.", show_default="the spool of the data directory")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on for what is captured from now on.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds after which to give up (without --watch).")
    ] = SHIP_SECONDS,
    data: Data = None,
) -> None:
    """Send what lies in the spool to Kafka (HEADSTREAM_BOOTSTRAP), crashed runs included."""
    from headstream.serving import relay

    where = places(data)
    if folder is not None and not folder.is_dir():
        raise Unreadable(f"{folder} is no folder, so there are no spools to ship in it")
    if not watch:
        live.use_broker(where)  # Without a broker there is nothing to wait for.
    elif not os.environ.get("HEADSTREAM_BOOTSTRAP"):
        raise CommandError(
            "HEADSTREAM_BOOTSTRAP is not set, so there is no broker to ship to; in embedded mode "
            "`headstream up` takes the spool by itself, in full mode its relay does"
        )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    left = relay(folder, watch=watch, stop=stop, timeout=None if watch else timeout, tell=tell)
    if left and not watch:
        raise CommandError(f"{left} messages are not acknowledged; they stay in the spool for the next time")


topics_app = typer.Typer(name="topics", help="Make and check the Kafka topics.", no_args_is_help=True)


@topics_app.command()
def create(data: Data = None, as_json: Json = False) -> None:
    """Make the topics that are missing."""
    from headstream.stream_processors import topics
    from headstream.stream_processors.settings import Settings

    live.use_broker(places(data))
    made = topics.create(Settings.from_env(os.environ))
    if as_json:
        typer.echo(json.dumps({"made": made}))
        return
    for name in made:
        typer.echo(f"made {name}")
    if not made:
        tell("all topics were there")


@topics_app.command()
def check(data: Data = None, as_json: Json = False) -> None:
    """Say what is wrong with the topics; exit status 1 if anything is."""
    from headstream.stream_processors import topics
    from headstream.stream_processors.settings import Settings

    live.use_broker(places(data))
    problems = topics.check(Settings.from_env(os.environ))
    if as_json:
        typer.echo(json.dumps({"problems": problems}))
    else:
        for problem in problems:
            typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    tell("all topics are as they should be")
