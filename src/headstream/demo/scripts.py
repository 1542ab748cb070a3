"""Run the scripts of the use case as a scientist would: processes that know each other by paths only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import headstream
from headstream.demo.errors import DemoFailed, ScriptFailed

LAST_WORDS = 8

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """The scripts, the folder they write into, and the environment they run in."""

    folder: Path
    out: Path
    env: Mapping[str, str]

    def run(self, name: str, arguments: Sequence[str], say: Say) -> Path:
        """Run one script to its end and return the path it prints; its progress lines go to `say`."""
        command = [sys.executable, str(self.folder / f"{name}.py"), "--out", str(self.out), *arguments]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.env},
        ) as process:
            assert process.stdout is not None and process.stderr is not None
            last: deque[str] = deque(maxlen=LAST_WORDS)

            def listen(lines: object) -> None:
                for line in lines:  # type: ignore[attr-defined]
                    last.append(line.rstrip())
                    say(line.strip())

            # Both pipes are drained at once, so neither can fill up and stop the script.
            listener = threading.Thread(target=listen, args=(process.stderr,), daemon=True)
            listener.start()
            printed = process.stdout.read().split("\n")
            status = process.wait()
            listener.join()
        if status != 0:
            words = "\n  ".join(last) or "it said nothing"
            raise ScriptFailed(f"{name}.py ended with status {status}:\n  {words}")
        return Path([line for line in printed if line][-1])


def find_folder() -> Path:
    """The folder of the scripts in this checkout."""
    folder = Path(headstream.__file__).resolve().parents[2] / "examples" / "seismic"
    if not (folder / "learning.py").is_file():
        raise DemoFailed(
            f"the scripts of the use case are not at {folder}: the demo runs from a checkout of headstream, "
            "installed with `make setup`"
        )
    return folder
