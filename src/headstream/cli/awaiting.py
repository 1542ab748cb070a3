"""Whether what a command left in the spool is taken by what is up: awaited, told, and what it ends with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from headstream import live
from headstream.cli.advancing import advancing
from headstream.cli.telling import tell
from headstream.errors import CommandError
from headstream.places import Places

WAIT_SECONDS: Final = 30.0
_PAUSE: Final = 0.02

Wait = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until what is up has taken it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """The service that takes the spool, as it was when the waiting was over."""

    name: str
    log: Path
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """How the waiting ended: how many of the spools are not wholly taken, and whether anything of them is."""

    data: Path
    spools: tuple[Path, ...]
    waiting: int
    begun: bool
    taker: Taker | None
    seconds: float

    @property
    def taken(self) -> bool:
        return not self.waiting

    @property
    def up(self) -> bool:
        return self.taker is not None and self.taker.alive

    @property
    def failed(self) -> bool:
        """Something is up, or was, that should have taken it by now and took nothing.

        What merely takes longer, what nobody was to wait for and what waits for the next start is safe in
        the spool, so that is no failure.
        """
        if self.taken or self.taker is None:
            return False
        return not self.taker.alive or (self.seconds > 0 and not self.begun)

    @property
    def sentence(self) -> str:
        """What became of it, and what to do about what is left."""
        if self.taken:
            return f"taken by {self.taker.name}" if self.taker is not None else "taken"
        if len(self.spools) == 1:
            what = "it waits"
        elif self.begun:
            what = f"{self.waiting} of {len(self.spools)} spools wait"
        else:
            what = f"{self.waiting} spools wait"
        left = f"{what} in {self.spools[0].parent}"
        if self.taker is None:
            return f"nothing is up in {self.data}: {left} until `headstream up` or `ship`"
        name, log = self.taker.name, self.taker.log
        if not self.taker.alive:
            return f"{name} has died (its log is {log}): {left} until `headstream up` starts it again"
        if self.failed:
            return f"{name} has taken nothing within {self.seconds:g} s: {left}; its log, {log}, may say why"
        return f"{name} takes it in: {left} still, and `headstream spool ls` shows how far it is"


def await_taken(where: Places, spools: Sequence[Path], seconds: float) -> Awaited:
    """Wait until whoever has all of this acknowledged has removed or archived it, or the time is over.

    With nothing up, or once that has died, it is not waited any longer. Progress goes to standard error.
    """
    taker = live.taker(live.up_for(where))
    deadline = time.monotonic() + seconds
    with advancing("waiting until it is taken", "spools") as advance:
        while waiting := [spool for spool in spools if spool.exists()]:
            advance(len(spools) - len(waiting), len(spools))
            if taker is None or not taker.alive or time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE)
    return Awaited(
        data=where.data,
        spools=tuple(spools),
        waiting=len(waiting),
        begun=len(waiting) < len(spools) or any(map(_begun, waiting)),
        taker=None if taker is None else Taker(name=taker.name, log=taker.log, alive=taker.alive),
        seconds=seconds,
    )


def tell_awaited(awaited: Awaited) -> None:
    """Say on standard error what became of it; CommandError if it failed, so that the exit status is 1."""
    if awaited.failed:
        raise CommandError(awaited.sentence)
    if awaited.spools:
        tell(awaited.sentence)


def _begun(spool: Path) -> bool:
    from headstream.capture.checkpoint import START, load_checkpoint

    return load_checkpoint(spool) != START
