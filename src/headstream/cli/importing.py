"""`headstream ingest`: what other trackers recorded, read from their files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream.cli.advancing import advancing
from headstream.cli.awaiting import WAIT_SECONDS, Wait, await_taken, tell_awaited
from headstream.cli.rebuilding import tell_refused
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError

if TYPE_CHECKING:
    from headstream.capture.ingest.told import Item, Refused
    from headstream.cli.awaiting import Awaited
    from headstream.importing import Known, Report
    from headstream.places import Places

    # How much of a source is read, of how much.
    Say = Callable[[int, int], None]
    Read = Callable[[Say], Iterator[Item]]

Files = Annotated[list[Path], typer.Argument(help="Files, or folders of them.")]
Stores = Annotated[
    Path | None, typer.Option("--stores", help="Stores with their mounts (YAML or JSON): where paths lie.")
]
Into = Annotated[
    str | None,
    typer.Option(
        "--into",
        help="Build the graph in this store (oxigraph:PATH or a SPARQL endpoint), not in that of what is up.",
    ),
]
IntoLive = Annotated[bool, typer.Option("--live", help="With --into: allow the store of what is up.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read, map and count; tell nobody.")]
RefusedFile = Annotated[
    Path | None,
    typer.Option(
        "--refused", help="Write what is refused to this file: JSON lines of reason, message, where."
    ),
]


def join(family: typer.Typer) -> None:
    """Add the commands to the group `ingest`."""
    for command in (mlflow, openlineage, flowcept):
        family.command()(command)
    family.command("w3c-prov")(w3c_prov)


def mlflow(
    path: Annotated[
        Path, typer.Argument(help="Tracking directory (`mlruns`) or SQLite file (`mlflow.db`) of MLflow.")
    ],
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", help="Only this experiment; may be repeated.")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", help="Only the run with this id; may be repeated.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Only runs in which something changed since this time, or so long ago (2h, 3d)."
        ),
    ] = None,
    stores: Stores = None,
    into: Into = None,
    into_live: IntoLive = False,
    dry_run: DryRun = False,
    wait: Wait = WAIT_SECONDS,
    refused: RefusedFile = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Runs of MLflow: parameters, metrics by step, models, artifacts, datasets, parent runs."""
    from headstream.capture.ingest.mlflow.reading import open_mlflow, read_mlflow
    from headstream.capture.ingest.mlflow.sources import Selection
    from headstream.importing import known

    to = _To(dry_run=dry_run, into=into, into_live=into_live, wait=wait, refused=refused, as_json=as_json)
    given = known((), stores)
    chosen = Selection(
        experiments=frozenset(experiment or ()),
        runs=frozenset(run or ()),
        since=None if since is None else _milliseconds(since),
    )
    source = open_mlflow(path, chosen)
    _ingest("mlflow", "runs", lambda say: read_mlflow(source, given.mounts, say), given, to, data)


def openlineage(
    paths: Files,
    stores: Stores = None,
    into: Into = None,
    into_live: IntoLive = False,
    dry_run: DryRun = False,
    wait: Wait = WAIT_SECONDS,
    refused: RefusedFile = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """OpenLineage events in JSON lines: runs, jobs, datasets, with all facets."""
    from headstream.capture.ingest.jsonl import found_in, records
    from headstream.capture.ingest.openlineage import read_openlineage
    from headstream.importing import known

    to = _To(dry_run=dry_run, into=into, into_live=into_live, wait=wait, refused=refused, as_json=as_json)
    given, files = known((), stores), found_in(paths)

    def read(say: Say) -> Iterator[Item]:
        return read_openlineage(records(files, say), given.mounts)

    _ingest("openlineage", "bytes", read, given, to, data)


def flowcept(
    paths: Files,
    definition: Annotated[
        list[Path] | None,
        typer.Option(
            "--definition",
            help="What a workflow means: which texts are references, what is learnt. May be repeated.",
        ),
    ] = None,
    stores: Stores = None,
    into: Into = None,
    into_live: IntoLive = False,
    dry_run: DryRun = False,
    wait: Wait = WAIT_SECONDS,
    refused: RefusedFile = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Buffers of FlowCept (flowcept_buffer.jsonl): workflows, tasks, loops."""
    from headstream.capture.ingest.flowcept import read_flowcept
    from headstream.capture.ingest.jsonl import found_in
    from headstream.importing import known

    to = _To(dry_run=dry_run, into=into, into_live=into_live, wait=wait, refused=refused, as_json=as_json)
    given, files = known(definition or (), stores), found_in(paths)

    def read(say: Say) -> Iterator[Item]:
        return read_flowcept(files, given.definitions, given.mounts, say)

    _ingest("flowcept", "bytes", read, given, to, data)


def w3c_prov(
    paths: Files,
    workflow: Annotated[
        str, typer.Option(help="Name of the workflow that the documents tell runs of.")
    ] = "prov",
    execution: Annotated[
        str | None,
        typer.Option(help="Id of the run that a document tells.", show_default="the name of its file"),
    ] = None,
    stores: Stores = None,
    into: Into = None,
    into_live: IntoLive = False,
    dry_run: DryRun = False,
    wait: Wait = WAIT_SECONDS,
    refused: RefusedFile = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """W3C PROV documents (PROV-JSON, PROV-N): activities, entities, persons; a bundle is a run of its own."""
    from headstream.capture.ingest.jsonl import found_in
    from headstream.capture.ingest.w3c_prov import SUFFIXES, Names, read_prov
    from headstream.importing import known

    to = _To(dry_run=dry_run, into=into, into_live=into_live, wait=wait, refused=refused, as_json=as_json)
    given, files = known((), stores), found_in(paths, SUFFIXES)
    names = Names(workflow=workflow, execution=execution)
    _ingest("w3c-prov", "documents", lambda say: read_prov(files, names, given.mounts, say), given, to, data)


def _milliseconds(since: str) -> int:
    from headstream.letters import moment

    return moment(since, datetime.now(UTC)) // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _To:
    """Where an import goes: nowhere (`dry_run`), into a store, else into the spool."""

    dry_run: bool
    into: str | None
    into_live: bool
    wait: float
    refused: Path | None
    as_json: bool


def _ingest(source: str, unit: str, read: Read, given: Known, to: _To, data: Path | None) -> None:
    """Count, fill a store or leave in the spool, and tell what was done."""
    from headstream import importing

    where = places(data)
    facts: dict[str, Any] = {"source": source, "dry_run": to.dry_run, "into": to.into}
    awaited: Awaited | None = None
    report = importing.Report(on_refused=partial(_keep, to.refused))
    if to.refused is not None:
        to.refused.write_text("", "utf-8")  # That it can be written is known before the work.
    with advancing("reading", unit) as advance:
        items = read(advance)
        if to.dry_run:
            importing.count(items, report)
        elif to.into is not None:
            facts |= _filled(source, items, given, to.into, to.into_live, where, report)
        else:
            left = importing.tell(items, source, os.environ, report, given.documents)
    if not to.dry_run and to.into is None:  # Two displays on one terminal would be in each other's way.
        awaited = await_taken(where, left, to.wait)
        facts |= {"spools": len(left), "taken": awaited.taken}
    if to.as_json:
        typer.echo(json.dumps({**facts, **report.as_json()}))
    else:
        _tell(report, to.dry_run)
    if not report.runs and (report.refused or report.unmapped):
        raise CommandError(
            f"no run was found in what was given; is it of {source}? What was there instead is said above"
        )
    if "triples" in facts:
        tell(f"{to.into} holds {facts['triples']} triples")
    elif awaited is not None:
        tell_awaited(awaited)


def _filled(
    source: str,
    items: Iterator[Item],
    given: Known,
    into: str,
    into_live: bool,
    where: Places,
    report: Report,
) -> dict[str, Any]:
    """Build the graph in a store; what it holds then, or nothing if there was nothing to build."""
    from headstream.importing import fill

    built = fill(
        items,
        source,
        os.environ,
        report,
        where,
        into,
        documents=given.documents,
        into_live=into_live,
        say=tell,
    )
    if built is None:
        return {}
    tell_refused(built)
    return {
        "triples": built.triples,
        "triples_before": built.before,
        "hash": built.hash,
        "refused_by_tracker": dict(built.replayed.refused),
        "refused_by_store": built.refused_by_store,
    }


def _keep(file: Path | None, refused: Refused) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(refused), ensure_ascii=False) + "\n")


def _tell(report: Report, dry_run: bool) -> None:
    verb = "would tell" if dry_run else "told"
    typer.echo(f"{verb} {report.events} events of {len(report.runs)} runs")
    for counted, what in ((report.refused, "refused"), (report.unmapped, "has no place in the graph")):
        for reason, count in sorted(counted.items()):
            message, where = report.examples[reason][0]
            typer.echo(f"{count} {what}: {reason} (such as {where}: {message})")
