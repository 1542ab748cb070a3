"""`headstream up`, `status` and `down`: the services of daily use."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from headstream import live
from headstream.cli import telling
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError
from headstream.places import DEFAULT_API_PORT, DEFAULT_GATEWAY_PORT, Places
from headstream.services import state
from headstream.services.errors import AlreadyRunning
from headstream.services.settings import Settings
from headstream.services.stack import Stack, answers
from headstream.services.state import Running, State

RUNNING = "running"
DEAD = "dead"
SILENT = "not answering"
NOTHING_UP = 3


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
    int,
    typer.Option("--api-port", envvar="HEADSTREAM_API_PORT", min=1, max=65535, help="Port of the query API."),
]
KafkaPort = Annotated[
    int | None,
    typer.Option(
        "--kafka-port",
        envvar="HEADSTREAM_KAFKA_PORT",
        min=1,
        max=65534,
        help="Port of Kafka; its controller takes the next one.",
        show_default="19092",
    ),
]
BlazegraphPort = Annotated[
    int | None,
    typer.Option(
        "--blazegraph-port",
        envvar="HEADSTREAM_BLAZEGRAPH_PORT",
        min=1,
        max=65535,
        help="Port of Blazegraph.",
        show_default="9999",
    ),
]


WithGateway = Annotated[
    bool,
    typer.Option(
        "--gateway",
        envvar="HEADSTREAM_WITH_GATEWAY",
        help="Also start the gateway, to which ProvLake and OpenLineage clients send.",
    ),
]
GatewayPort = Annotated[
    int,
    typer.Option(
        "--gateway-port", envvar="HEADSTREAM_GATEWAY_PORT", min=1, max=65535, help="Port of the gateway."
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(status)
    app.command()(down)


def up(
    data: Data = None,
    services: ServicesOption = Services.embedded,
    api_port: ApiPort = DEFAULT_API_PORT,
    kafka_port: KafkaPort = None,
    blazegraph_port: BlazegraphPort = None,
    workers: Annotated[int, typer.Option(min=1, help="Tracker workers (full mode).")] = 1,
    gateway: WithGateway = False,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is ready.")] = False,
    as_json: Json = False,
) -> None:
    """Start the services and, unless detached, keep them until Ctrl-C.

    What is up already is found again; if one of its services has died, all are started anew.
    """
    from headstream import modes  # Kafka's client and the settings of every service.
    from headstream.gateway.settings import Settings as GatewaySettings

    where = places(data)
    stack = Stack(where.data)
    if found := _already_up(stack, where, services, gateway):
        tell(f"already up since {found.started_at:%Y-%m-%d %H:%M:%S} UTC")
        _tell_state(where, found, as_json)
        return
    settings = settings_for(kafka_port, blazegraph_port)
    options = modes.Options(
        api_port=api_port, workers=workers, gateway_port=gateway_port if gateway else None
    )
    if gateway:
        GatewaySettings.from_env(os.environ).check_exposure()
    modes.check(services.value, settings, options, os.environ)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # As Ctrl-C: nothing that was started is left.
    started = stack.up(services.value, modes.parts(services.value, where, settings, options), tell)
    if detach:  # It has come up and stays: whoever ends the command now is too late to stop it.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    _tell_state(where, started, as_json)
    _hint(where, started)
    if not detach:
        _until_stopped(stack, where)


def status(data: Data = None, as_json: Json = False) -> None:
    """Show what is up; exit status 0 if all of it runs, 1 if a service died, 3 if nothing is up."""
    where = places(data)
    found = state.read(where.data)
    if found is None:
        if as_json:
            typer.echo(json.dumps({"up": False, "data": str(where.data), "services": []}))
        else:
            tell(f"nothing is up in {where.data}; `headstream up` starts the services")
        raise typer.Exit(NOTHING_UP)
    conditions = _tell_state(where, found, as_json)
    wrong = [each for each in found.processes if conditions[each.name] != RUNNING]
    for each in wrong:
        tell(
            f"{each.name} has died; its log is {each.log}; `headstream up` starts the services anew"
            if not each.alive
            else f"{each.name} runs but does not answer at {each.url}; its log is {each.log}"
        )
    if wrong:
        raise typer.Exit(1)


def down(data: Data = None, as_json: Json = False) -> None:
    """Stop what is up; data and logs stay."""
    where = places(data)
    stopped = _stop(Stack(where.data), where)
    if as_json:
        typer.echo(json.dumps({"stopped": stopped, "data": str(where.data)}))
    elif stopped:
        tell(f"stopped {', '.join(stopped)}; data stay in {where.data}")
    else:
        tell(f"nothing was up in {where.data}")


def _already_up(stack: Stack, where: Places, wanted: Services, gateway: bool) -> State | None:
    """What is up in the wanted mode and whole; what is left of a broken one is stopped first.

    Raises CommandError if the other mode is up, or no gateway where one is wanted, AlreadyRunning while
    another command starts or stops it.
    """
    with state.lock(where.data):  # Held by an `up` that has not come to its end.
        found = state.read(where.data)
    if found is None or not found.alive:
        return None
    if found.mode != wanted.value:
        raise CommandError(
            f"{found.mode} services are up in {where.data}; `headstream down` stops them before "
            f"you start {wanted.value} ones"
        )
    if not found.dead:
        if gateway and live.GATEWAY not in found.urls:
            raise CommandError(
                f"the services are up in {where.data} without the gateway; `headstream gateway` runs one "
                "beside them, or `headstream down` stops them before you start all of it"
            )
        return found
    for each in found.dead:
        tell(f"{each.name} has died; its log is {each.log}")
    tell("stopping the others, to start all anew")
    _stop(stack, where)
    return None


def _stop(stack: Stack, where: Places) -> tuple[str, ...]:
    stopped = stack.down(tell)
    shutil.rmtree(where.run, ignore_errors=True)
    return stopped


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


def _condition(each: Running) -> str:
    """What one process is doing: one that answers over HTTP is asked."""
    if not each.alive:
        return DEAD
    if (
        each.name in {*live.API, live.GATEWAY}
        and each.url is not None
        and not answers(f"{each.url}/readyz")()
    ):
        return SILENT
    return RUNNING


def _tell_state(where: Places, found: State, as_json: bool) -> dict[str, str]:
    """Show what is up, and return the condition of each process."""
    conditions = {each.name: _condition(each) for each in found.processes}
    if as_json:
        typer.echo(json.dumps(_facts(where, found, conditions)))
        return conditions
    table = Table(title=f"headstream, {found.mode} mode", title_justify="left")
    for heading in ("service", "state", "address", "pid", "log"):
        table.add_column(heading, overflow="fold")
    for each in found.processes:
        address = each.url or ", ".join(str(port) for port in each.ports.values())
        condition = conditions[each.name]
        shown = condition if condition == RUNNING else f"[red]{condition}[/red]"
        table.add_row(each.name, shown, address, str(each.identity.pid), str(each.log))
    telling.answers().print(table)
    return conditions


def _hint(where: Places, started: State) -> None:
    if live.GATEWAY in started.urls:
        tell(f"ProvLake clients send to it by service_url={started.urls[live.GATEWAY]!r}")
    tell(
        f"scripts need no settings: what they capture is taken from {where.spool}\n"
        "ask with `headstream query q3 --param dataset=...` or `headstream sparql FILE`; "
        "stop with `headstream down`"
    )


def _until_stopped(stack: Stack, where: Places) -> None:
    """Wait for Ctrl-C, SIGTERM or SIGHUP, then stop everything; a service that dies meanwhile is told."""
    asked = threading.Event()
    # A service that another command stops must not stay behind as our zombie: `down` would wait for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: asked.set())
    known_dead: set[str] = set()
    while not asked.wait(1.0):
        try:
            with state.lock(where.data):  # Not while `headstream down` takes one after the other away.
                found = state.read(where.data)
        except AlreadyRunning:
            continue
        if found is None:
            tell("stopped by another command")
            return
        for each in found.dead:
            if each.name not in known_dead:
                known_dead.add(each.name)
                tell(f"{each.name} has died; its log is {each.log}; Ctrl-C and `headstream up` start it anew")
        if not found.alive:
            break
    _stop(stack, where)
    if known_dead:
        raise typer.Exit(1)


def _facts(where: Places, found: State, conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "up": all(condition == RUNNING for condition in conditions.values()),
        "data": str(where.data),
        "spool": str(where.spool),
        "store": live.store(where) if found.alive else None,
        "mode": found.mode,
        "started_at": found.started_at.isoformat(),
        "uptime_seconds": round((datetime.now(UTC) - found.started_at).total_seconds(), 3),
        "services": [
            {
                "name": each.name,
                "state": conditions[each.name],
                "running": each.alive,
                "pid": each.identity.pid,
                "url": each.url,
                "ports": each.ports,
                "log": str(each.log),
            }
            for each in found.processes
        ],
    }
