"""What every script of the survival test does: a loop that keeps a ledger, and a way to end.

A turn is in the ledger once the call that captured it has returned. The ledger is a file of its
own, written with one system call a turn, so it is right after any death.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable

SITUATION, LEDGER = sys.argv[1], sys.argv[2]
TURNS, STOP = int(sys.argv[3]), int(sys.argv[4])
PAUSE = float(sys.argv[5])
MODE = sys.argv[6]
RANKS = 4
_ledger = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def turned(index: int, loss: int) -> bool:
    """A turn has been captured. True: leave the loop."""
    os.write(_ledger, b"%d\n" % loss)
    if PAUSE:
        time.sleep(PAUSE)
    if index != STOP:
        return False
    if SITUATION in ("exception", "by-hand"):
        raise RuntimeError("planned")
    if SITUATION == "os-exit":
        os._exit(3)
    return SITUATION == "break"


def ranks(body: Callable[[int], None]) -> None:
    """Run the body in four forked processes and wait for them."""
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=body, args=(number * TURNS,)) for number in range(RANKS)]
    for child in children:
        child.start()
    for child in children:
        child.join()
