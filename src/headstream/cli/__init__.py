"""The `headstream` command: one file for each family of commands."""

from __future__ import annotations

import os
import sys

import typer

from headstream import __version__
from headstream.cli import (
    configuration,
    exporting,
    ingesting,
    letters,
    lifecycle,
    publishing,
    questions,
    rebuilding,
    running,
    showcase,
    spool,
)
from headstream.cli.telling import is_ours, sentence
from headstream.schemas.configuration import configured

# Exit statuses: 0 done, 1 failed or not equal, 2 wrong usage, 3 nothing is up (`status`), and as usual
# 70 for an error of our own, 130 after Ctrl-C, 141 when the reader of a pipe has gone.
FAILED = 1
UNFORESEEN = 70
INTERRUPTED = 130
PIPE_CLOSED = 141

app = typer.Typer(
    name="headstream",
    help="Provenance of running workflows, streamed into a graph that answers questions while they run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (
    showcase,
    lifecycle,
    questions,
    exporting,
    publishing,
    ingesting,
    rebuilding,
    letters,
    running,
    spool,
    configuration,
):
    family.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headstream {__version__}")
        raise typer.Exit


@app.callback()
def _headstream(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Provenance of running workflows, streamed into a graph that answers questions while they run."""
    given = dict(os.environ)
    # What a command starts inherits it, so the file of the folder where it was called counts for all.
    os.environ.update(configured(given))
    context.obj = given


def main() -> None:
    """Run the command line; an error is one plain sentence and an exit status, never a trace.

    HEADSTREAM_TRACE=1 lets a trace through, for those who mend headstream itself.
    """
    try:
        app(prog_name="headstream")
    except KeyboardInterrupt:
        _end(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    except Exception as error:
        if is_ours(error):
            _end(FAILED, str(error))
        if os.environ.get("HEADSTREAM_TRACE"):
            raise
        if isinstance(error, OSError):
            _end(FAILED, sentence(error))
        _end(
            UNFORESEEN,
            f"an error that nobody foresaw, {type(error).__name__}: {error}; "
            "HEADSTREAM_TRACE=1 shows where; please report it",
        )


def _end(status: int, line: str) -> None:
    print(f"headstream: {line}", file=sys.stderr)
    sys.exit(status)
