"""`headstream define`: publish definitions, stores, persons and domain data, or compare two versions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstream.cli.awaiting import Wait, await_taken, tell_awaited
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError
from headstream.places import Places

if TYPE_CHECKING:
    from headstream.schemas.definition import Definition
    from headstream.schemas.versions import Change

WAIT_SECONDS = 10.0  # Documents are few and small.
DIFFERENT = 1
TROUBLE = 2


def register(app: typer.Typer) -> None:
    app.command()(define)


def define(
    files: Annotated[
        list[str],
        typer.Argument(help="YAML or JSON (definition, stores, persons), or .nt / .ttl (domain data)."),
    ],
    diff: Annotated[
        bool,
        typer.Option(
            "--diff",
            help="Publish nothing: compare a definition with its published version, or two with each other "
            "(files, hashes, or names of workflows). Exit status 0: equal, 1: they differ, 2: trouble.",
        ),
    ] = False,
    wait: Wait = WAIT_SECONDS,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Publish documents: all are validated first, then taken by what is up (or at its next start)."""
    from headstream.capture.publishing import leave
    from headstream.publish import read_documents  # The tracker's rules, by which documents are validated.

    where = places(data)
    if diff:
        _compare(files, where, as_json)
        return
    documents = [document for file in files for document in read_documents(Path(file))]
    awaited = await_taken(where, [leave(documents, os.environ)], wait)
    if as_json:
        facts = [{"kind": each.kind, "name": each.name, "hash": each.content_hash} for each in documents]
        typer.echo(json.dumps({"published": facts, "up": awaited.up, "taken": awaited.taken}))
    else:
        for each in documents:
            typer.echo(f"{each.kind} {each.name} {each.content_hash[:12]}")
    tell_awaited(awaited)


def _compare(names: list[str], where: Places, as_json: bool) -> None:
    """Say what differs and exit as diff does: a script tells trouble from a difference."""
    from headstream.schemas.errors import SchemaError
    from headstream.schemas.versions import changes
    from headstream.stream_processors.errors import TrackerError

    try:
        old, new = _two(names, where)
    except (CommandError, SchemaError, TrackerError) as error:
        tell(f"headstream: {error}")
        raise typer.Exit(TROUBLE) from error
    found = changes(old, new)
    if as_json:
        facts = [
            {"place": each.place, "change": each.kind, "old": each.old, "new": each.new} for each in found
        ]
        sides = {"old": old.content_hash, "new": new.content_hash}
        typer.echo(json.dumps({"workflow": new.workflow, **sides, "equal": not found, "changes": facts}))
    else:
        if found:
            typer.echo(
                f"--- {old.workflow} {old.content_hash[:12]}\n+++ {new.workflow} {new.content_hash[:12]}"
            )
        for each in found:
            typer.echo("\n".join(_change_lines(each)))
        tell(f"{len(found)} places differ" if found else f"equal: {new.content_hash[:12]}")
    if found:
        raise typer.Exit(DIFFERENT)


def _change_lines(change: Change) -> list[str]:
    values = (("-", change.old), ("+", change.new))
    return [f"{sign} {change.place}: {json.dumps(value)}" for sign, value in values if value is not None]


def _two(names: list[str], where: Places) -> tuple[Definition, Definition]:
    """The older and the newer definition that are meant."""
    from headstream.published import is_file, version, versions

    if len(names) > 2:
        raise CommandError(f"--diff compares two definitions, not {len(names)}")
    files = {name: _definition(Path(name)) for name in names if is_file(name)}
    if len(names) == 2 and len(files) == len(set(names)):
        return files[names[0]], files[names[1]]
    published = versions(where)
    found = [files[name] if name in files else version(published, name) for name in names]
    if len(found) == 2:
        return found[0], found[1]
    others = [
        each.definition
        for each in published
        if each.definition.workflow == found[0].workflow
        and (found[0] is files.get(names[0]) or each.definition.content_hash != found[0].content_hash)
    ]
    if not others:
        raise CommandError(f"no other version of {found[0].workflow!r} is published to compare with")
    return others[-1], found[0]


def _definition(file: Path) -> Definition:
    from headstream.publish import read_documents
    from headstream.schemas.definition import Definition
    from headstream.schemas.documents import content

    read = read_documents(file)
    found = content(read[0]) if len(read) == 1 else None
    if not isinstance(found, Definition):
        raise CommandError(f"{file} holds no definition, so there is nothing to compare")
    return found
