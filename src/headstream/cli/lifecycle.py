"""`headstream up`, `status` and `down`: the services of daily use."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from headstream import modes
from headstream.cli.telling import Data, Json, places, progress, tell
from headstream.errors import CommandError
from headstream.places import Places
from headstream.services import state
from headstream.services.settings import Settings
from headstream.services.stack import Stack
from headstream.services.state import State


class Services(StrEnum):
    """The two modes of headstream."""

    embedded = "embedded"
    full = "full"


ServicesOption = Annotated[
    Services,
    typer.Option(
        "--services",
        envvar="HEADSTREAM_SERVICES",
        help="embedded: one process, no Java, no broker. full: Kafka, Faust workers, Blazegraph.",
    ),
]
ApiPort = Annotated[
    int, typer.Option("--api-port", envvar="HEADSTREAM_API_PORT", help="Port of the query API.")
]
KafkaPort = Annotated[
    int | None,
    typer.Option("--kafka-port", envvar="HEADSTREAM_KAFKA_PORT", help="Port of Kafka.", show_default="19092"),
]
BlazegraphPort = Annotated[
    int | None,
    typer.Option(
        "--blazegraph-port",
        envvar="HEADSTREAM_BLAZEGRAPH_PORT",
        help="Port of Blazegraph.",
        show_default="9999",
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(status)
    app.command()(down)


def up(
    data: Data = None,
    services: ServicesOption = Services.embedded,
    api_port: ApiPort = modes.DEFAULT_API_PORT,
    kafka_port: KafkaPort = None,
    blazegraph_port: BlazegraphPort = None,
    workers: Annotated[int, typer.Option(min=1, help="Tracker workers (full mode).")] = 1,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is ready.")] = False,
) -> None:
    """Start the services and, unless detached, keep them until Ctrl-C."""
    where = places(data)
    running = state.read(where.data)
    if running is not None and running.alive and not running.dead:
        if running.mode != services.value:
            raise CommandError(
                f"{running.mode} services are up in {where.data}; `headstream down` stops them before "
                f"you start {services.value} ones"
            )
        tell(f"already up since {running.started_at:%Y-%m-%d %H:%M:%S} UTC")
        _show(running)
        return
    settings = settings_for(kafka_port, blazegraph_port)
    options = modes.Options(api_port=api_port, workers=workers)
    stack = Stack(where.data)
    started = stack.up(services.value, modes.parts(services.value, where, settings, options), tell)
    _show(started)
    _hint(where)
    if not detach:
        _until_stopped(stack, where)


def status(data: Data = None, as_json: Json = False) -> None:
    """Show what is up; exit status 0 if all of it runs, 1 if a service died, 3 if nothing is up."""
    where = places(data)
    found = state.read(where.data)
    if as_json:
        typer.echo(json.dumps(_facts(where, found)))
    elif found is None:
        tell(f"nothing is up in {where.data}; `headstream up` starts the services")
    else:
        _show(found)
        for dead in found.dead:
            tell(f"{dead.name} has died; its log is {dead.log}; `headstream down`, then `up`, mends it")
    if found is None:
        raise typer.Exit(3)
    if found.dead:
        raise typer.Exit(1)


def down(data: Data = None) -> None:
    """Stop what is up; data and logs stay."""
    where = places(data)
    stopped = Stack(where.data).down(tell)
    tell(
        f"stopped {', '.join(stopped)}; data stay in {where.data}"
        if stopped
        else f"nothing was up in {where.data}"
    )


def settings_for(kafka_port: int | None, blazegraph_port: int | None) -> Settings:
    """Settings of the services, with the ports that a command was given."""
    settings = Settings.from_env(os.environ)
    if kafka_port is not None:
        settings = replace(settings, kafka_port=kafka_port)
        if "HEADSTREAM_KAFKA_CONTROLLER_PORT" not in os.environ:
            settings = replace(settings, kafka_controller_port=kafka_port + 1)
    if blazegraph_port is not None:
        settings = replace(settings, blazegraph_port=blazegraph_port)
    return settings


def _show(found: State) -> None:
    table = Table(title=f"headstream, {found.mode} mode", title_justify="left")
    for heading in ("service", "state", "address", "pid", "log"):
        table.add_column(heading, overflow="fold")
    for each in found.processes:
        address = each.url or ", ".join(str(port) for port in each.ports.values())
        running = "running" if each.alive else "[red]dead[/red]"
        table.add_row(each.name, running, address, str(each.identity.pid), str(each.log))
    progress.print(table)


def _hint(where: Places) -> None:
    tell(
        f"scripts need no settings: what they capture is taken from {where.spool}\n"
        "ask with `headstream query q3 --param dataset=...` or `headstream sparql FILE`; "
        "stop with `headstream down`"
    )


def _until_stopped(stack: Stack, where: Places) -> None:
    """Wait for Ctrl-C or SIGTERM, then stop everything; a service that dies meanwhile is told."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    known_dead: set[str] = set()
    while not asked.wait(1.0):
        found = state.read(where.data)
        if found is None:
            return  # Somebody else said `headstream down`.
        for each in found.dead:
            if each.name not in known_dead:
                known_dead.add(each.name)
                tell(f"{each.name} has died; its log is {each.log}")
        if not found.alive:
            break
    stack.down(tell)
    if known_dead:
        raise typer.Exit(1)


def _facts(where: Places, found: State | None) -> dict[str, Any]:
    if found is None:
        return {"up": False, "data": str(where.data), "services": []}
    return {
        "up": bool(found.alive),
        "data": str(where.data),
        "mode": found.mode,
        "started_at": found.started_at.isoformat(),
        "uptime_seconds": round((datetime.now(UTC) - found.started_at).total_seconds(), 3),
        "services": [
            {
                "name": each.name,
                "running": each.alive,
                "pid": each.identity.pid,
                "url": each.url,
                "ports": each.ports,
                "log": str(each.log),
            }
            for each in found.processes
        ],
    }
