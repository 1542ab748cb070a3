"""The script's side of a shipper in a process of its own: start it, name spools to it, and drain.

A shipper thread holds the interpreter lock for most of what it does: at 10,000 events/s it slowed a
CPU-bound loop by half and more. A process of its own does not. There is one for a script and all
that it forks, and it is no child of the script: `os.wait` there never sees it. It lives as long as
somebody holds the other end of its pipe, so it ends with the script, whatever ends that; what it
has not shipped by then stays in the spool.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from headstream.capture.errors import LOSSES, WARNINGS
from headstream.capture.pipes import readable
from headstream.capture.settings import Settings

# A shell starts it in the background and ends at once: so it is nobody's child.
_START = '"$0" "$@" <&3 3<&- &'
_GRACE = 1.0


class Delegate:
    """A shipper process, as the script sees it."""

    def __init__(self, settings: Settings) -> None:
        """Start it. OSError where there is no shell or no interpreter to start."""
        self.process = os.getpid()  # That of the script; what it forks may tell, and leaves draining to it.
        self.spool = settings.spool
        self._seconds = settings.exit_seconds
        if not sys.executable:
            raise FileNotFoundError("sys.executable names no interpreter")
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()
        try:
            _start(theirs, answers)
        except BaseException:
            os.close(self._to)
            os.close(self._from)
            raise
        finally:
            os.close(theirs)
            os.close(answers)
        os.set_blocking(self._to, False)  # A shipper that hangs must not make the script wait.
        self._write(_shared(settings))

    def tell(self, directory: Path) -> None:
        """Name a spool that is to be shipped. OSError if the shipper has gone."""
        self._write({"spool": os.path.abspath(directory)})

    def drain(self, spent: float = 0.0) -> int:
        """Have all shipped that is spooled, within the time that there is at exit, less what is `spent`.

        Returns how many messages are not acknowledged: they stay in the spool. -1: nobody knows.
        """
        try:
            seconds = max(0.0, self._seconds - spent)
            self._write({"drain": seconds})
            answer = self._answer(time.monotonic() + seconds + _GRACE)
        except (OSError, ValueError):
            return -1
        finally:
            os.close(self._to)
            os.close(self._from)
        for tally, found in ((LOSSES, answer["losses"]), (WARNINGS, answer["warnings"])):
            for reason, (number, message) in found.items():
                tally.add(reason, number, message)
        waiting: int = answer["waiting"]
        return waiting

    def _write(self, message: Any) -> None:
        # Asked first whether it has gone: a script may have SIGPIPE as its end, as shell tools do.
        if readable(self._from, 0.0):
            raise BrokenPipeError("the shipper process has gone")
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._to, data) :]

    def _answer(self, deadline: float) -> Any:
        found = b""
        while not found.endswith(b"\n"):
            ready = readable(self._from, max(0.0, deadline - time.monotonic()))
            more = os.read(self._from, 1 << 16) if ready else b""
            if not more:
                raise TimeoutError("the shipper process did not answer in time")
            found += more
        return json.loads(found)


def _start(stdin: int, stdout: int) -> None:
    import headstream

    roots = {str(Path(place).absolute().parent) for place in headstream.__path__}
    path = os.pathsep.join([*sorted(roots), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "headstream.capture.helper"]
    # The pipe is the third file: a shell gives /dev/null to what it starts in the background.
    actions = [
        (os.POSIX_SPAWN_DUP2, stdin, 3),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    # A group of its own: a Ctrl-C is for the script.
    shell = os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", _START, *command],
        {**os.environ, "PYTHONPATH": path},
        file_actions=actions,
        setpgroup=0,
    )
    _, status = os.waitpid(shell, 0)
    if status:
        raise OSError(f"/bin/sh could not start {command[0]} (status {status})")


def _shared(settings: Settings) -> dict[str, Any]:
    """What a shipper has to know; by the pipe and not the command line, for there may be secrets in it."""
    shared = dataclasses.asdict(settings)
    return {**shared, "spool": None if settings.spool is None else os.path.abspath(settings.spool)}
