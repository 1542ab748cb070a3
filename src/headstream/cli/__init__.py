"""The `headstream` command: one file for each family of commands."""

from __future__ import annotations

import sys

import typer

from headstream import __version__
from headstream.cli import lifecycle, publishing, questions, rebuilding, running, showcase
from headstream.cli.telling import OUR_ERRORS

app = typer.Typer(
    name="headstream",
    help="Provenance of running workflows, streamed into a graph that answers questions while they run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for family in (showcase, lifecycle, questions, publishing, rebuilding, running):
    family.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"headstream {__version__}")
        raise typer.Exit


@app.callback()
def _headstream(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Provenance of running workflows, streamed into a graph that answers questions while they run."""


def main() -> None:
    """Run the command line; an error of ours is one plain sentence and exit status 1, never a trace."""
    try:
        app()
    except OUR_ERRORS as error:
        print(f"headstream: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("headstream: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has seen enough; what is left in the buffer has nowhere to go.
        sys.stderr.close()
        sys.exit(141)
