"""What the commands share: options that mean the same everywhere, and how things are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headstream.capture.errors import CaptureError
from headstream.errors import CommandError
from headstream.places import Places
from headstream.query_api.errors import QueryApiError
from headstream.schemas.errors import SchemaError
from headstream.services.errors import ServicesError
from headstream.sinks.errors import SinkError
from headstream.stream_processors.errors import TrackerError

OUR_ERRORS = (
    CommandError,
    CaptureError,
    QueryApiError,
    SchemaError,
    ServicesError,
    SinkError,
    TrackerError,
)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="HEADSTREAM_DATA",
        help="Folder for data, logs and the record of what is up.",
        show_default="the platform's folder for user data",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

# People read progress on standard error; answers go to standard output.
progress = Console(stderr=True)


def places(data: Path | None) -> Places:
    """The data directory of a command; what it starts inherits it."""
    if data is not None:
        os.environ["HEADSTREAM_DATA"] = str(data.absolute())
    return Places.from_env(os.environ)


def tell(line: str) -> None:
    """Say on standard error what is going on."""
    progress.print(line, highlight=False, markup=False)
