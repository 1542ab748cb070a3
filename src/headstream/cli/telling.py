"""What the commands share: options that mean the same everywhere, and how things are told."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from headstream.errors import CommandError
from headstream.places import Places

# A table that goes into a pipe or a file is not cut to somebody's terminal.
_PIPE_WIDTH = 160

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


def answers() -> Console:
    """Where answers go."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def places(data: Path | None) -> Places:
    """The data directory of a command; what it starts inherits it."""
    if data is not None:
        os.environ["HEADSTREAM_DATA"] = str(data.absolute())
    found = Places.from_env(os.environ)
    if found.data.exists() and not found.data.is_dir():
        raise CommandError(f"{found.data} is no folder; give another with --data or HEADSTREAM_DATA")
    return found


def tell(line: str) -> None:
    """Say on standard error what is going on."""
    progress.print(line, highlight=False, markup=False, soft_wrap=True)


def instant(microseconds: int) -> str:
    """A moment in UTC, to the millisecond; what is no date that Python knows stays a number."""
    try:
        moment = datetime.fromtimestamp(microseconds / 1e6, UTC)
    except (ValueError, OverflowError, OSError):
        return str(microseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sentence(error: OSError) -> str:
    """What the operating system refused, on what."""
    names = [os.fspath(name) for name in (error.filename, error.filename2) if name is not None]
    what = " -> ".join(str(name) for name in names)
    reason = error.strerror or str(error) or type(error).__name__
    return f"{what}: {reason}" if what else reason


def is_ours(error: Exception) -> bool:
    """Tell whether an error is one that was foreseen, whose message is a sentence for the user."""
    from headstream.capture.errors import CaptureError
    from headstream.query_api.errors import QueryApiError
    from headstream.schemas.errors import RegistryUnavailable, RegistryUnusable, SchemaError
    from headstream.services.errors import ServicesError
    from headstream.sinks.errors import SinkError
    from headstream.stream_processors.errors import TrackerError

    ours = (
        CommandError, CaptureError, QueryApiError, RegistryUnavailable, RegistryUnusable,
        SchemaError, ServicesError, SinkError, TrackerError,
    )  # fmt: skip
    return isinstance(error, ours)
