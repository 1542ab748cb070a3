"""`headstream questions`, `query` and `sparql`: ask the graph."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from headstream.cli.telling import Data, Json, answers, places, tell
from headstream.errors import CommandError, Unreadable

if TYPE_CHECKING:
    from headstream.query_api.catalogue import Question


class Format(StrEnum):
    """How an answer is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    nt = "nt"
    ttl = "ttl"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="table, json or csv for rows; ttl or nt for triples."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="HEADSTREAM_STORE_URL",
        help="Ask this store instead of what is up: oxigraph:PATH or the URL of a SPARQL endpoint.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(questions)
    app.command()(query)
    app.command()(sparql)


def questions(as_json: Json = False) -> None:
    """List the questions of the catalogue with their parameters."""
    from headstream.query_api.catalogue import catalogue  # Imported late: other commands need no SPARQL.

    if as_json:
        typer.echo(json.dumps([_facts(each) for each in catalogue()]))
        return
    table = Table(show_lines=False)
    for heading in ("id", "question", "parameters (required in bold)"):
        table.add_column(heading, overflow="fold")
    for each in catalogue():
        wanted = ", ".join(f"[bold]{p.name}[/bold]" if p.required else p.name for p in each.parameters)
        table.add_row(each.id, each.title, wanted)
    answers().print(table)


def _complete_question(incomplete: str) -> list[tuple[str, str]]:
    from headstream.query_api.catalogue import catalogue

    return [
        (each.id.lower(), each.title)
        for each in catalogue()
        if each.id.lower().startswith(incomplete.lower())
    ]


def query(
    question: Annotated[
        str, typer.Argument(help="q1 to q6, x01 to x11, e01, e02.", autocompletion=_complete_question)
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="NAME=VALUE; an IRI may be relative, as ref/gpfs1/models/m.pt."),
    ] = None,
    data: Data = None,
    form: FormatOption = None,
    store: StoreOption = None,
) -> None:
    """Answer a question of the catalogue; `headstream questions` lists them."""
    from headstream.asking import asker

    values = parameters(param or [])
    with asker(places(data), store, tell) as someone:
        typer.echo(someone.question(question, values, None if form is None else form.value), nl=False)


def sparql(
    file: Annotated[str, typer.Argument(help="A file with a query, or - for standard input.")],
    data: Data = None,
    form: FormatOption = None,
    store: StoreOption = None,
) -> None:
    """Run a SPARQL query that only reads: SELECT, ASK, CONSTRUCT or DESCRIBE."""
    from headstream.asking import asker

    text = _read(file)
    with asker(places(data), store, tell) as someone:
        typer.echo(someone.sparql(text, None if form is None else form.value), nl=False)


def parameters(given: Sequence[str]) -> dict[str, list[str]]:
    """`NAME=VALUE` texts as lists by name: a name given twice has two values."""
    values: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--param {text!r}: write it as NAME=VALUE")
        values.setdefault(name, []).append(value)
    return values


def _read(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"the query {file} cannot be read: {error}") from error


def _facts(question: Question) -> dict[str, Any]:
    return {
        "id": question.id,
        "title": question.title,
        "columns": list(question.columns),
        "parameters": [
            {
                "name": each.name,
                "type": each.type.value,
                "required": each.required,
                "repeatable": each.repeatable,
                "default": each.default,
            }
            for each in question.parameters
        ],
    }
