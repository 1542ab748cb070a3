"""`headstream ingest`: what other trackers recorded, read from their files."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstream import live
from headstream.cli.advancing import advancing
from headstream.cli.rebuilding import tell_refused
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError
from headstream.places import Places

if TYPE_CHECKING:
    from headstream.capture.ingest.told import Item, Refused
    from headstream.importing import Known, Report

WAIT_SECONDS = 30.0


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
Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until what is up has taken it.")]
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

    to = _To(
        dry_run=dry_run,
        into=into,
        into_live=into_live,
        wait=wait,
        refused=refused,
        data=data,
        as_json=as_json,
    )
    given = known((), stores)
    source = open_mlflow(path, Selection(frozenset(experiment or ()), frozenset(run or ())))
    with advancing("reading", "runs") as advance:
        items = read_mlflow(source, given.mounts, lambda done, total: advance(done, total, 0))
        _ingest("mlflow", items, given, to)


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

    to = _To(
        dry_run=dry_run,
        into=into,
        into_live=into_live,
        wait=wait,
        refused=refused,
        data=data,
        as_json=as_json,
    )
    given, files = known((), stores), found_in(paths)
    with advancing("reading", "bytes") as advance:
        items = read_openlineage(records(files, lambda done, total: advance(done, total, 0)), given.mounts)
        _ingest("openlineage", items, given, to)


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

    to = _To(
        dry_run=dry_run,
        into=into,
        into_live=into_live,
        wait=wait,
        refused=refused,
        data=data,
        as_json=as_json,
    )
    given, files = known(definition or (), stores), found_in(paths)
    with advancing("reading", "bytes") as advance:
        items = read_flowcept(
            files, given.definitions, given.mounts, lambda done, total: advance(done, total, 0)
        )
        _ingest("flowcept", items, given, to)


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

    to = _To(
        dry_run=dry_run,
        into=into,
        into_live=into_live,
        wait=wait,
        refused=refused,
        data=data,
        as_json=as_json,
    )
    given, files = known((), stores), found_in(paths, SUFFIXES)
    names = Names(workflow=workflow, execution=execution)
    with advancing("reading", "documents") as advance:
        items = read_prov(files, names, given.mounts, lambda done, total: advance(done, total, 0))
        _ingest("w3c-prov", items, given, to)


@dataclass(frozen=True, slots=True, kw_only=True)
class _To:
    """Where an import goes: nowhere (`dry_run`), into a store, else into the spool."""

    dry_run: bool
    into: str | None
    into_live: bool
    wait: float
    refused: Path | None
    data: Path | None
    as_json: bool


def _ingest(source: str, items: Iterator[Item], given: Known, to: _To) -> None:
    """Count, fill a store or leave in the spool, and tell what was done."""
    from headstream import importing

    where = places(to.data)
    facts: dict[str, Any] = {"source": source, "dry_run": to.dry_run, "into": to.into}
    left: list[Path] = []
    report = importing.Report(on_refused=partial(_keep, to.refused))
    if to.refused is not None:
        to.refused.write_text("", "utf-8")  # That it can be written is known before the work.
    if to.dry_run:
        importing.count(items, report)
    elif to.into is not None:
        built = importing.fill(
            items,
            source,
            os.environ,
            report,
            where,
            to.into,
            documents=given.documents,
            into_live=to.into_live,
            say=tell,
        )
        if built is not None:
            facts |= {
                "triples": built.triples,
                "triples_before": built.before,
                "hash": built.hash,
                "refused_by_tracker": dict(built.replayed.refused),
                "refused_by_store": built.refused_by_store,
            }
            tell_refused(built)
    else:
        left = importing.tell(items, source, os.environ, report, given.documents)
        facts |= {"spools": len(left), "taken": _taken(where, left, to.wait)}
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
    elif left and not facts["taken"]:
        _tell_waiting(where, left)


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


def _taken(where: Places, left: list[Path], seconds: float) -> bool:
    """Await that what is up has taken the spools; False if nothing is up, or not within the time."""
    taker = live.taker(live.up_for(where))
    if taker is None or not taker.alive:
        return False
    deadline = time.monotonic() + seconds
    while any(spool.exists() for spool in left):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _tell_waiting(where: Places, left: list[Path]) -> None:
    folder, number = left[0].parent, sum(spool.exists() for spool in left)
    taker = live.taker(live.up_for(where))
    if taker is None:
        tell(
            f"nothing is up in {where.data}: {number} spools wait in {folder} until `headstream up` or `ship`"
        )
    elif not taker.alive:
        raise CommandError(
            f"{taker.name} has died (its log is {taker.log}): {number} spools wait in {folder} until "
            "`headstream up` starts it again"
        )
    else:
        tell(f"{taker.name} takes them in; {number} spools still wait in {folder}")
