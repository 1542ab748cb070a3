"""A script that captures with headstream."""

from script import SITUATION, TURNS, ranks, turned

from headstream import capture


def turns(base: int) -> None:
    for turn in run.loop("batch", range(TURNS)):
        turn.generated(loss=float(base + turn.index))
        if turned(turn.index, base + turn.index):
            break


if SITUATION == "by-hand":
    run = capture.workflow("survival", execution="run").begin()
    turns(0)
    run.end()
else:
    with capture.workflow("survival", execution="run") as run:
        if SITUATION == "fork":
            ranks(turns)
        else:
            turns(0)
