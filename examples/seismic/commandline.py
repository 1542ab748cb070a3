"""What the three scripts say and ask on the command line, in one voice.

Progress goes to standard error, results (one path a line) to standard output, so that a shell can
chain the scripts: `curated=$(python curation.py --quiet ...)`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from errors import BadOption, SeismicError

HERE = Path(__file__).absolute().parent

Say = Callable[[str], None]


def parser(description: str, *, person: str) -> argparse.ArgumentParser:
    """The options that every script has."""
    options = argparse.ArgumentParser(description=description, allow_abbrev=False)
    options.add_argument("--out", type=absolute, default=absolute("seismic-out"), help="folder to write into")
    options.add_argument("--execution", help="identifier of this run (default: a new one)")
    options.add_argument("--person", default=person, help="who runs it (default: %(default)s)")
    options.add_argument("--file-store", default="gpfs1", help="store of the files (default: %(default)s)")
    options.add_argument("--quiet", action="store_true", help="print nothing but the results")
    return options


def absolute(path: str) -> Path:
    """An absolute path, with links left alone: a reference must not depend on the working directory."""
    return Path(os.path.abspath(path))


def span(text: str) -> tuple[int, int]:
    """Read `FIRST:LAST`, both included."""
    first, colon, last = text.partition(":")
    try:
        found = (int(first), int(last))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range; write it as 100:140") from None
    if not colon or found[0] > found[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no range; write it as 100:140")
    return found


def rates(text: str) -> tuple[float, ...]:
    """Read one or several learning rates, divided by commas."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write learning rates as 0.01,0.001") from None
    if any(rate <= 0 for rate in found) or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r}: learning rates must be positive and differ")
    return found


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def execution(given: str | None) -> str | None:
    """The identifier given for this run, if any: files are written into folders of that name."""
    given = given or os.environ.get("HEADSTREAM_EXECUTION") or None
    if given is not None and ("/" in given or not given.strip() or given in {".", ".."}):
        raise BadOption(f"--execution {given!r} cannot be a folder; use letters, digits and dashes")
    return given


def sayer(quiet: bool) -> Say:
    """Print progress to standard error at once, or nothing."""
    if quiet:
        return lambda text: None
    return lambda text: print(text, file=sys.stderr, flush=True)


def stores() -> list[dict[str, Any]]:
    """The catalogue of stores beside the scripts."""
    return list(yaml.safe_load((HERE / "stores.yaml").read_text(encoding="utf-8")))


def finish(script: str, work: Callable[[], Iterable[Path]]) -> int:
    """Do the work and print its results; bad input is one line on standard error and exit status 1.

    The step in which it happened has been captured as ERRORED by then: the error left its `with`.
    """
    try:
        results = list(work())
    except (SeismicError, OSError) as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        return 130
    for path in results:
        print(path)
    return 0
