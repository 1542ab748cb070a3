"""`headstream export`: one run, in the forms that other tools read."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from headstream.cli.advancing import advancing
from headstream.cli.questions import StoreOption
from headstream.cli.telling import Data, Json, places, tell
from headstream.errors import CommandError

if TYPE_CHECKING:
    from headstream.query_api.export.formats import ExportFormat

_IN_MEMORY = 8 * 1024 * 1024
_METADATA = "ro-crate-metadata.json"


class Form(StrEnum):
    """What an export is written in."""

    turtle = "turtle"
    json_ld = "json-ld"
    prov_n = "prov-n"
    prov_json = "prov-json"
    mls = "mls"
    ro_crate = "ro-crate"
    openlineage = "openlineage"


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    run: Annotated[
        str, typer.Argument(help="WORKFLOW/EXECUTION, an execution id that is there once, or the run's IRI.")
    ],
    form: Annotated[
        Form | None,
        typer.Option("--format", "-f", help="Without it: what the name of --output says, else turtle."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file; for ro-crate a folder or .zip. Standard output without."
        ),
    ] = None,
    lineage: Annotated[
        bool,
        typer.Option("--lineage", help="With the steps that made what the run used, up to the raw files."),
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="IRI",
            help="ro-crate: the licence of the crate, such as https://spdx.org/licenses/CC-BY-4.0.",
        ),
    ] = None,
    data: Data = None,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Write one run as Turtle, JSON-LD, PROV-N, PROV-JSON, ML Schema, RO-Crate or OpenLineage events."""
    from headstream.asking import asker

    chosen = _chosen(form, output, license)
    _check(chosen, output, as_json)
    with (
        _target(output, chosen) as out,
        # Nodes of the store, or bytes that the API sends: either way a number that grows.
        advancing(f"exporting {run}", unit="") as advance,
        asker(places(data), store, tell) as someone,
    ):
        name, found = someone.export(run, chosen, lineage=lineage, out=out, advance=advance)
        size = out.tell()
    if as_json:
        facts = {"run": str(name), "format": chosen.name, "output": str(output), "bytes": size}
        typer.echo(json.dumps({**facts, "nodes": found.nodes, "triples": found.triples}))
    elif output is not None:
        tell(f"{output}: run {name} as {chosen.name}, {found.triples} triples of {found.nodes} nodes")


def _chosen(form: Form | None, output: Path | None, license: str | None) -> ExportFormat:
    from headstream.query_api.errors import InvalidValue
    from headstream.query_api.export.formats import FORMATS, TURTLE, licensed, of_name

    if form is not None:
        found = of_name(form.value)
        assert found is not None
    else:
        suffix = "" if output is None else output.suffix.lower()
        found = next((each for each in FORMATS if each.suffix == suffix), TURTLE)
    if license is None:
        return found
    try:
        return licensed(found, license)
    except InvalidValue as error:
        raise CommandError(f"--license: {error}") from error


def _check(chosen: ExportFormat, output: Path | None, as_json: bool) -> None:
    if output is None and as_json:
        raise CommandError("--json tells of a file that was written: give --output FILE as well")
    if output is None and chosen.binary and sys.stdout.isatty():
        raise CommandError(f"{chosen.name} is no text for a terminal: give --output FILE.zip or a folder")
    if output is None or not _is_folder(output, chosen):
        return
    if output.exists() and not output.is_dir():
        raise CommandError(f"{output} is a file; give a folder, or a name that ends in .zip")
    if output.is_dir() and any(output.iterdir()) and not (output / _METADATA).exists():
        raise CommandError(f"{output} holds other things than a crate; give an empty or a new folder")


def _is_folder(output: Path, chosen: ExportFormat) -> bool:
    return chosen.binary and output.suffix.lower() != chosen.suffix


@contextmanager
def _target(output: Path | None, chosen: ExportFormat) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place only when all went well."""
    if output is not None and not _is_folder(output, chosen):
        part = output.with_name(f".{output.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as out:
                yield out
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as held:
        yield held
        held.seek(0)
        if output is None:
            shutil.copyfileobj(held, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        output.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(held) as archive:
            archive.extractall(output)
