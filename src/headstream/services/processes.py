"""A process that outlives the command that started it, and is known again later.

A process is named by its pid and the time it started, so that a recycled pid is never taken for ours.
Nothing here needs to be the parent: `headstream down` stops what another command started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from headstream.services.errors import StartFailed

LOG_BYTES = 20_000_000  # A log above this is set aside at the next start; one old log is kept.
SAME_START = 2.0  # Seconds: clock corrections move what the kernel reports by less than this.


@dataclass(frozen=True, slots=True)
class Identity:
    """One process of this machine, now or in the past."""

    pid: int
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """How to start one process, and how to tell that it is ready.

    `env` is added to the environment of the command that starts it; `ready` must answer within seconds,
    and may raise StartFailed when it sees that waiting is no use; `url` is what people are told; `grace` is
    how long it may take to stop.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    url: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    grace: float = 20.0
    start_seconds: float = 60.0

    def prepare(self) -> Child:
        """Return itself: there is nothing to make ready before this process."""
        return self


def headstream(*arguments: str) -> list[str]:
    """Return the argument list that runs a headstream command in this same Python."""
    return [sys.executable, "-m", "headstream", *arguments]


def spawn(child: Child) -> Identity:
    """Start the process in a session of its own, so that a Ctrl-C here does not reach it."""
    child.log.parent.mkdir(parents=True, exist_ok=True)
    if child.log.exists() and child.log.stat().st_size > LOG_BYTES:
        child.log.replace(child.log.with_name(child.log.name + ".1"))
    try:
        with child.log.open("ab") as log:
            process = subprocess.Popen(
                child.argv,
                cwd=child.cwd,
                env={**os.environ, **child.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as refused:
        reason = f"{child.argv[0]}: {refused.strerror}"
        raise StartFailed(f"{child.name} could not be started: {reason}") from refused
    # From here on the pid and start time stand for it: this keeps Popen from warning that it lives on.
    process.returncode = 0
    return identify(process.pid)


def identify(pid: int) -> Identity:
    """Name a process that lives now."""
    return Identity(pid, psutil.Process(pid).create_time())


def alive(identity: Identity) -> bool:
    """Tell whether this very process still runs (a zombie, or another with its pid, is not it)."""
    return _process(identity) is not None


def wait_ready(child: Child, identity: Identity) -> None:
    """Return once the process is ready; raise StartFailed at once if it dies, or when its time is up."""
    deadline = time.monotonic() + child.start_seconds
    while True:
        if not alive(identity):
            raise StartFailed(
                f"{child.name} died before it was ready. Its log, {child.log}, ends with:\n{tail(child.log)}"
            )
        try:
            if child.ready():
                return
        except StartFailed as hopeless:
            raise StartFailed(f"{hopeless}. Its log, {child.log}, ends with:\n{tail(child.log)}") from None
        if time.monotonic() > deadline:
            raise StartFailed(
                f"{child.name} was not ready within {child.start_seconds:.0f} s (HEADSTREAM_START_SECONDS "
                f"gives it more). Its log, {child.log}, ends with:\n{tail(child.log)}"
            )
        time.sleep(0.05)


def stop(identity: Identity, grace: float) -> bool:
    """End the process and its descendants: SIGTERM, then SIGKILL after `grace`; False if SIGKILL was needed.

    Returns when all of them are gone. A process that is gone already is a success.
    """
    process = _process(identity)
    if process is None:
        return True
    family = [process, *_descendants(process)]
    _signal([process], kill=False)
    clean = _wait_gone([process], grace)
    # A descendant that outlives its parent would be left behind: it has had the same time to stop.
    _signal(family, kill=True)
    _wait_gone(family, 10.0)
    return clean


def kill(identity: Identity) -> None:
    """End the process and its descendants with SIGKILL, as a power cut would; return when they are gone."""
    process = _process(identity)
    if process is None:
        return
    family = [process, *_descendants(process)]
    _signal(family, kill=True)
    _wait_gone(family, 10.0)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log without Java's stack frames, or a word on why there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            text = file.read().decode(errors="replace").strip()
    except OSError as unreadable:
        return f"(no log: {unreadable.strerror})"
    telling = [line for line in text.splitlines() if not line.startswith(("\tat ", "\t... "))]
    return "\n".join(telling[-lines:]) or "(the log is empty)"


def _process(identity: Identity) -> psutil.Process | None:
    try:
        process = psutil.Process(identity.pid)
        if abs(process.create_time() - identity.started) > SAME_START:
            return None
        if process.status() == psutil.STATUS_ZOMBIE:
            _reap(identity.pid)
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _wait_gone(family: Sequence[psutil.Process], seconds: float) -> bool:
    """Wait until none of them runs; False if one still does.

    A zombie is gone: in a container nobody may ever reap it, and `psutil.wait_procs` would wait for that.
    """
    deadline = time.monotonic() + seconds
    while any(_runs(process) for process in family):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        if not process.is_running():
            return False
        if process.status() != psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return False
    _reap(process.pid)
    return False


def _reap(pid: int) -> None:
    """Take the exit status of a dead child of ours, so that its pid does not stay taken."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # Another's child: its parent does it.


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _signal(family: Sequence[psutil.Process], *, kill: bool) -> None:
    for process in family:
        try:
            # psutil compares start times first: a recycled pid is not signalled.
            if kill:
                process.kill()
            else:
                process.terminate()
        except psutil.NoSuchProcess:
            continue
