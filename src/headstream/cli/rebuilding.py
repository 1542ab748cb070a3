"""`headstream replay`, `verify` and `archive`: the graph again, and what it is made from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream import live
from headstream.cli.advancing import advancing
from headstream.cli.telling import Data, Json, places, tell
from headstream.places import Places

if TYPE_CHECKING:
    from headstream.rebuilding import Rebuilt

SHOWN = 20

AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Take the rest when retention has deleted events.")
]


def register(app: typer.Typer) -> None:
    app.command()(replay)
    app.command()(verify)
    app.command()(archive)


def replay(
    into: Annotated[str, typer.Option("--into", help="Store to fill: oxigraph:PATH or a SPARQL endpoint.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="topics, spool, or a folder or file: spools, or an archive.",
            show_default="topics in full mode, else spool",
        ),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only runs of this workflow.")] = None,
    execution: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only events that happened then or later (ISO 8601, else UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only events that happened before.")] = None,
    from_offset: Annotated[
        str | None,
        typer.Option("--from-offset", help="First offsets of the events topic, by partition: 0:100,1:50."),
    ] = None,
    to_offset: Annotated[
        str | None, typer.Option("--to-offset", help="Offsets before which to stop, by partition.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=1, help="Most events a second.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that track topics and archives.", show_default="cores - 1, to 8"),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on where a replay that was killed stopped.")
    ] = False,
    with_hash: Annotated[
        bool, typer.Option("--hash/--no-hash", help="Read the graph at the end and tell its hash.")
    ] = True,
    allow_missing: AllowMissing = False,
    into_live: Annotated[
        bool, typer.Option("--live", help="Allow the store of what is up, to fill what it lost.")
    ] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Build the graph again from topics, spools or an archive; nothing of it touches what is live.

    Killed, the same command goes on where it stopped. Conditions are joined by "and".
    """
    from headstream import rebuilding  # Sinks and tracker, which other commands need not load.
    from headstream.stream_processors.selection import selection

    where = places(data)
    chosen = source or _default_source(where)
    selected = selection(
        workflow=workflow,
        execution=execution,
        since=since,
        until=until,
        from_offset=from_offset,
        to_offset=to_offset,
    )
    options = rebuilding.Options(
        allow_missing=allow_missing,
        into_live=into_live,
        rate=rate,
        workers=workers,
        resume=not restart,
        hash=with_hash,
    )
    with advancing("replaying") as advance:
        rebuilt = rebuilding.replay(
            where,
            into,
            source=chosen,
            selection=selected,
            options=options,
            progress=lambda moment: advance(moment.messages, moment.total, moment.events),
            say=tell,
        )
    _tell_replay(chosen, into, rebuilt, as_json)


def tell_refused(rebuilt: Rebuilt) -> None:
    """What the tracker or the store would not take of what was read."""
    for reason, count in rebuilt.replayed.refused.items():
        tell(f"{count} refused: {reason}")
    if rebuilt.refused_by_store:
        tell(f"{rebuilt.refused_by_store} events refused by the store, or with a fact that none may be given")


def _tell_replay(source: str, into: str, rebuilt: Rebuilt, as_json: bool) -> None:
    done = rebuilt.replayed
    if as_json:
        facts = {
            "from": source, "into": into, "documents": done.documents, "bags": done.bags,
            "events": done.events, "facts": done.facts, "refused": dict(done.refused),
            "refused_by_store": rebuilt.refused_by_store, "resumed_behind": rebuilt.resumed_behind,
            "first_kept": {str(number): offset for number, offset in done.first_kept.items()},
            "seconds": round(rebuilt.seconds, 3), "triples_before": rebuilt.before,
            "triples": rebuilt.triples, "hash": rebuilt.hash,
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    rate = done.events / max(rebuilt.seconds, 1e-6)
    tell(
        f"replayed {done.events} events in {done.bags} bags and {done.documents} documents from {source} "
        f"into {into} in {rebuilt.seconds:.1f} s ({rate:,.0f} events/s): {rebuilt.triples} triples"
    )
    for number, offset in done.first_kept.items():
        tell(f"partition {number}: what was before offset {offset} is missing, as you allowed")
    if rebuilt.before:
        tell(f"{into} held {rebuilt.before} triples before: the graph is that of both together")
    tell_refused(rebuilt)
    if rebuilt.hash is not None:
        typer.echo(f"graph hash {rebuilt.hash}")


def verify(
    left: Annotated[
        str,
        typer.Argument(
            help="oxigraph:PATH, a SPARQL endpoint, or live for the store of what is up; or what is replayed "
            "for it: topics, spool, a folder or file."
        ),
    ],
    right: Annotated[str, typer.Argument(help="What to hold against it.")],
    without_clocks: Annotated[
        bool, typer.Option("--without-clocks", help="Leave out times and process facts.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Triples to list of each side.")] = SHOWN,
    list_all: Annotated[bool, typer.Option("--all", help="List every triple that differs.")] = False,
    allow_missing: AllowMissing = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Compare two graphs by hash; exit status 1 and a list of what differs if they are not equal."""
    from headstream import comparing

    compared = comparing.compare(
        places(data),
        left,
        right,
        without=comparing.CLOCK_READINGS if without_clocks else frozenset(),
        limit=None if list_all else limit,
        allow_missing=allow_missing,
        say=tell,
    )
    if as_json:
        facts = {
            "equal": compared.equal,
            "hashes": compared.hashes,
            "counts": compared.counts,
            "runs": compared.runs,
            "only_left": compared.only[0],
            "only_right": compared.only[1],
        }
        typer.echo(json.dumps(facts))
    elif compared.equal:
        typer.echo(f"equal: {compared.hashes[0]}")
    else:
        _tell_difference(left, right, compared)
    if not compared.equal:
        raise typer.Exit(1)


def _tell_difference(left: str, right: str, compared: Any) -> None:
    runs = sorted(compared.runs.items(), key=lambda each: (-sum(each[1]), each[0]))
    for run, (ours, theirs) in runs[:SHOWN]:
        typer.echo(f"run {run}: {ours} triples only in {left}, {theirs} only in {right}")
    if len(runs) > SHOWN:
        typer.echo(f"... and {len(runs) - SHOWN} more runs; --json lists all")
    for name, count, lines in zip((left, right), compared.counts, compared.only, strict=True):
        typer.echo(f"only in {name}: {count} triples")
        for line in lines:
            typer.echo(f"  {line}")
        if count > len(lines):
            typer.echo(f"  ... and {count - len(lines)} more; --all lists them")


def archive(
    folder: Annotated[Path, typer.Argument(help="Folder of the archive; a new one, or one of these topics.")],
    allow_missing: AllowMissing = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Write events and definitions from Kafka into Avro files by day and run, for a replay without Kafka.

    Called again it adds only what is new.
    """
    from headstream.stream_processors.archive import archive_topics
    from headstream.stream_processors.settings import Settings

    live.use_broker(places(data))
    with advancing("archiving") as advance:
        done = archive_topics(
            Settings.from_env(os.environ),
            folder,
            progress=advance,
            allow_missing=allow_missing,
        )
    if as_json:
        facts = {
            "folder": str(folder), "messages": done.messages, "documents": done.documents,
            "undecodable": done.undecodable, "files": done.files, "bytes": done.bytes,
            "messages_in_all": done.total_messages,
        }  # fmt: skip
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"archived {done.messages} messages and {done.documents} documents in {done.files} files "
        f"({done.bytes} bytes) in {folder}; it holds {done.total_messages} in all"
    )
    if done.undecodable:
        tell(f"{done.undecodable} of them are no bag or document of ours, and are kept as bytes")


def _default_source(where: Places) -> str:
    found = live.up_for(where)
    if found is not None:
        return "topics" if found.mode == "full" else "spool"
    return "topics" if os.environ.get("HEADSTREAM_BOOTSTRAP") else "spool"
