"""Situations that need no broker: the script writes to this machine, and dies in one way or another."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from load_tests.survival.counting import Outcome, in_files, in_spools
from load_tests.survival.scripts import Contender, Script, folder

TURNS: Final = 1000
STOP: Final = 600
RANK_TURNS: Final = 35
LIFE_TURNS: Final = 5000
PEER_KILLS: Final = 10


def _left(script: Script, note: str = "") -> Outcome:
    return script.outcome(in_spools(script.spool) if script.who.ours else in_files(script.place), note)


def ends(situation: str, turns: int = TURNS, stop: int = STOP) -> Callable[[Path, Contender, int], Outcome]:
    """A situation in which the script ends by itself."""

    def run(python: Path, who: Contender, kills: int) -> Outcome:
        with folder() as place:
            script = Script(python=python, who=who, place=place, situation=situation, turns=turns, stop=stop)
            return _left(script.start().wait())

    return run


def killed(python: Path, who: Contender, kills: int) -> Outcome:
    """kill -9 at random moments, all runs taken together; FlowCept offline has nothing to lose twice."""
    moments = random.Random(7)
    total: Outcome | None = None
    for _ in range(kills if who.ours else 2):
        with folder() as place:
            script = Script(
                python=python, who=who, place=place, situation="kill", turns=100_000, pause=0.0001
            )
            script.start().reach(moments.randrange(1, 1500)).kill()
            found = _left(script)
        total = found if total is None else total.and_(found)
    assert total is not None
    return total


def at_any_moment(python: Path, who: Contender, kills: int) -> Outcome:
    """kill -9 at moments spread over the whole life, from the start of the interpreter to its exit."""
    moments = random.Random(11)
    life, total = 0.0, None
    ends = 0
    for number in range((kills if who.ours else PEER_KILLS) + 1):
        with folder() as place:
            script = Script(
                python=python,
                who=who,
                place=place,
                situation="moments",
                turns=LIFE_TURNS,
                more={"HEADSTREAM_SEGMENT_BYTES": str(16 << 10)},
            ).start()
            if number == 0:  # How long a life is.
                life = script.wait().seconds
                continue
            found = _left(script.last(moments.uniform(0, life)).kill())
        ends += found.exit_code == 0
        total = found if total is None else total.and_(found)
    assert total is not None
    return replace(
        total, note=f"of {number} runs {ends} had ended before they were killed" if who.ours else ""
    )


WITHOUT_BROKER: Final = {
    "end": ("normal end", ends("end", stop=-1)),
    "break": ("`break` out of the loop", ends("break")),
    "exception": ("an exception inside `with`", ends("exception")),
    "by-hand": ("an exception, run begun by hand", ends("by-hand")),
    "os-exit": ("`os._exit`", ends("os-exit")),
    "kill": ("kill -9 in mid loop", killed),
    "moments": ("kill -9 at any moment of the whole life", at_any_moment),
    "fork": ("four forked ranks", ends("fork", turns=RANK_TURNS, stop=-1)),
}
