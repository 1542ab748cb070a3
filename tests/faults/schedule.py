"""Which worker is killed when, who joins and who leaves: a plan that one number makes and makes again."""

from __future__ import annotations

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kill:
    """`victim` gets `signal` when its stage has done a `share` of the turn's load, or after `patience`.

    It is started again `down` seconds after it is gone.
    """

    victim: str
    signal: signal.Signals
    share: float
    patience: float
    down: float

    def __str__(self) -> str:
        return f"{self.signal.name} {self.victim}, back {self.down:.1f} s later"


@dataclass(frozen=True, slots=True)
class Turn:
    """A part of the load comes, the guests come and go, a worker is killed amid its work."""

    kill: Kill
    joining: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [str(self.kill), *(f"{name} joins" for name in self.joining)]
        return "; ".join([*told, *(f"{name} leaves" for name in self.leaving)])


def plan(
    seed: int, kills: int, workers: Sequence[str], guests: Sequence[str], patience: float
) -> tuple[Turn, ...]:
    """A turn for each kill; every guest joins in the first half and leaves in the second."""
    chance = random.Random(seed)
    joins = {guest: chance.randrange(kills // 2) for guest in guests}
    leaves = {guest: chance.randrange(kills // 2, kills) for guest in guests}
    return tuple(
        Turn(
            Kill(
                victim=chance.choice(workers),
                signal=chance.choice((signal.SIGKILL, signal.SIGTERM)),
                share=0.8 * chance.random(),
                patience=patience * chance.random(),
                down=1.5 * chance.random(),
            ),
            tuple(guest for guest in guests if joins[guest] == turn),
            tuple(guest for guest in guests if leaves[guest] == turn),
        )
        for turn in range(kills)
    )
