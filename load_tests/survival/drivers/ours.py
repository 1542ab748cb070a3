"""A script that captures with headstream."""

from script import SITUATION, TURNS, ranks, turned

from headstream import capture


def turns(base: int) -> None:
    for turn in run.loop("batch", range(TURNS)):
        turn.generated(loss=float(base + turn.index))
        if turned(turn.index, base + turn.index):
            break


def everything() -> None:
    """Short loops, turns that become general steps, and steps: rows are reserved, segments change."""
    for base in range(0, TURNS, SHORT):
        for turn in run.loop("batch", range(SHORT)):
            if turn.index % 7 == 3:
                turn.used(note="no row any more")
            turn.generated(loss=float(base + turn.index))
            turned(turn.index, base + turn.index)
        with run.task("check", used={"after": base}) as step:
            step.generated(passed=True)


SHORT = 20

if SITUATION == "by-hand":
    run = capture.workflow("survival", execution="run").begin()
    turns(0)
    run.end()
else:
    with capture.workflow("survival", execution="run") as run:
        if SITUATION == "fork":
            ranks(turns)
        elif SITUATION == "moments":
            everything()
        else:
            turns(0)
