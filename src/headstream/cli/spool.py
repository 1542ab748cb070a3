"""`headstream spool ls`, `cat` and `verify`: what lies on this node, whether or not anything is up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from headstream.cli.telling import Data, Json, instant, places, tell
from headstream.errors import Unreadable

# `headstream.spools` loads what reads spools, which other commands need not: imported where it is used.

Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of spools, or one spool.", show_default="where scripts leave spools"),
]
Archive = Annotated[bool, typer.Option("--archive", help="Also what the embedded mode has taken in.")]
family = typer.Typer(no_args_is_help=True, help="Show what scripts captured and left on this node.")


def register(app: typer.Typer) -> None:
    app.add_typer(family, name="spool")


@family.command("ls")
def list_spools(
    folder: Folder = None, archive: Archive = False, data: Data = None, as_json: Json = False
) -> None:
    """List spools: which run, who writes it, what is in it, and how far it is shipped."""
    from headstream import spools

    roots = _roots(folder, archive, data)
    found = [each for each in map(spools.survey, spools.under(*roots)) if not each.gone]
    if as_json:
        typer.echo(json.dumps([_facts(each) for each in found]))
        return
    for each in found:
        typer.echo("\n".join(_lines(each)))
    if not found:
        tell(f"no spool lies in {' or '.join(map(str, roots))}")


@family.command("cat")
def show(
    spool: Annotated[
        str, typer.Argument(help="A spool directory, or its name (or how it begins) from `ls`.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many lines.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Print every document and event of a spool in order; with --json one JSON object a line."""
    from headstream import spools

    where = places(data)
    contents = spools.Contents(path=spools.find(spool, where.spool, where.archive))
    for count, entry in enumerate(spools.walk(contents)):
        if count == limit:
            tell(f"stopped after {limit}; there is more")
            return
        typer.echo(json.dumps(spools.as_json(entry)) if as_json else spools.as_line(entry, instant))
    for finding in (*contents.torn, *contents.unreadable):
        tell(finding.sentence)


@family.command("verify")
def verify(folder: Folder = None, archive: Archive = False, data: Data = None, as_json: Json = False) -> None:
    """Read everything; exit status 1, and a sentence for each finding, if anything is torn or unreadable."""
    from headstream import spools

    roots = _roots(folder, archive, data)
    found = [each for each in map(spools.survey, spools.under(*roots)) if not each.gone]
    findings = [finding for each in found for finding in (*each.torn, *each.unreadable)]
    aside = [path for root in roots for path in spools.set_aside(root)]
    totals: dict[str, Any] = {
        "spools": len(found),
        **{name: sum(each.read[name] for each in found) for name in ("documents", "bags", "events")},
        "torn": sum(len(each.torn) for each in found),
        "unreadable": sum(len(each.unreadable) for each in found),
    }
    if as_json:
        sentences = [finding.sentence for finding in findings]
        typer.echo(json.dumps({**totals, "findings": sentences, "set_aside": [str(path) for path in aside]}))
    else:
        for finding in findings:
            typer.echo(finding.sentence)
        for each in found:
            if each.missing:
                numbers = ", ".join(f"{number:06d}" for number in each.missing)
                tell(f"{each.path}: {numbers} not on disk: in the memory of the script, or deleted")
        if aside:
            tell(f"{_plural(len(aside), 'torn frame')} of spools that are shipped lie in {aside[0].parent}")
        typer.echo(
            f"read {_plural(totals['spools'], 'spool')}, {_plural(totals['documents'], 'document')}, "
            f"{_plural(totals['events'], 'event')}: {totals['torn']} torn, {totals['unreadable']} unreadable"
        )
    if findings:
        raise typer.Exit(1)


def _roots(folder: Path | None, archive: bool, data: Path | None) -> list[Path]:
    if folder is not None and not folder.is_dir():
        raise Unreadable(f"{folder} is no folder; give one that holds spools, or a spool itself")
    where = places(data)
    return [folder or where.spool, *([where.archive] if archive else [])]


def _facts(each: Any) -> dict[str, Any]:
    header, shipped = each.header, each.shipped
    who: dict[str, Any] = {"workflow": None, "execution": None, "host": None, "pid": None, "created": None}
    if header is not None:
        who = {name: getattr(header, name) for name in who}
    return {
        "path": str(each.path),
        **who,
        "alive": each.alive,
        "segments": len(each.segments),
        "bytes": each.size,
        **{name: each.read[name] for name in ("documents", "bags", "events")},
        "shipped": None
        if shipped.segment < 0
        else {"segment": shipped.segment, "offset": shipped.offset, "done": shipped.done},
        "torn": len(each.torn),
        "unreadable": len(each.unreadable),
    }


def _lines(each: Any) -> list[str]:
    header, shipped = each.header, each.shipped
    lines = [str(each.path)]
    if header is not None:
        writer = "alive" if each.alive else "gone"
        lines.append(
            f"  workflow {header.workflow}, run {header.execution}, written on {header.host} by process "
            f"{header.pid} ({writer}) since {instant(header.created)}"
        )
    if shipped.segment < 0:
        told = "nothing shipped"
    elif shipped.done:
        told = "all shipped"
    else:
        told = f"shipped up to segment {shipped.segment:06d}, byte {shipped.offset}"
    lines.append(
        f"  {_plural(len(each.segments), 'segment')}, {_plural(each.size, 'byte')}: "
        f"{_plural(each.read['documents'], 'document')}, {_plural(each.read['events'], 'event')} in "
        f"{_plural(each.read['bags'], 'bag')}; {told}"
    )
    if not each.sound:
        lines.append(
            f"  {len(each.torn)} torn, {len(each.unreadable)} unreadable: see `headstream spool verify`"
        )
    return lines


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
