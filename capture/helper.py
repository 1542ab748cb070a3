"""The shipper of a script as a process of its own (`python -m headstream.capture.helper`).

The script starts it (delegate.py), says its settings in the first line of standard input and then
`{"spool": directory}` for each spool, and `{"drain": seconds}` when it ends. The end of the input
is the end of the script and of all that it forked: then this ships what it can and goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstream.capture.errors import LOSSES, WARNINGS, Tally, swallow
from headstream.capture.owner import writer_lives
from headstream.capture.pipes import readable
from headstream.capture.reading import spools
from headstream.capture.settings import Settings
from headstream.capture.shipper import Shipper
from headstream.capture.transports.base import Transport
from headstream.schemas.clients import RegistryOptions

_POLL = 0.03
# While a script goes on, a round for a handful of events costs as much as one for hundreds.
_PACE = 0.08
_OTHERS_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
_NICE = 5


class Input:
    """Lines of a pipe, read without ever waiting for one."""

    def __init__(self, handle: int) -> None:
        self.over = False
        self._handle = handle
        self._rest = b""
        self._again: list[Any] = []

    def put_back(self, lines: list[Any]) -> None:
        """Give these again before anything else."""
        self._again = lines

    def ready(self, seconds: float = 0.0) -> bool:
        return bool(self._again) or readable(self._handle, seconds)

    def lines(self, seconds: float) -> list[Any]:
        """What has come, after waiting so long for something to come."""
        if self._again:
            again, self._again = self._again, []
            return again
        if not self.ready(seconds):
            return []
        found = os.read(self._handle, 1 << 16)
        self.over = not found
        *whole, self._rest = (self._rest + found).split(b"\n")
        return [json.loads(line) for line in whole]


class Helper:
    """Ships the spools that it is told of, and those of processes that have gone."""

    def __init__(self, settings: Settings, make: Callable[[Settings], Transport]) -> None:
        self._settings = settings
        self._make = make
        self._own: list[Path] = []
        self._others: list[Path] = []
        self._look_at = 0.0
        self._shipper: Shipper | None = None

    def serve(self, given: Input, answer: Callable[[Any], None]) -> None:
        """Ship until the input ends, then ship what is left within the time that there is."""
        wait = 0.0
        drained = False
        while not given.over:
            for message in given.lines(wait):
                if "spool" in message:
                    self._own.append(Path(message["spool"]))
                    drained = False
                elif "drain" in message:
                    answer(self._drained(message["drain"]))
                    drained = True
            if drained:
                # The script is about to go, and whoever comes next may have its spools. Only what it
                # forked can keep us.
                wait, drained = 0.0, given.ready(_OTHERS_SECONDS)
                continue
            try:
                moved = self._ships().round([*self._known(), *self._dead()], given.ready)
                wait = _PACE if moved else _POLL
            except Exception as error:
                swallow(error, "shipper")
                wait = _AGAIN_SECONDS
        if not drained:
            self._drained(self._settings.exit_seconds)

    def _drained(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        waiting = -1
        try:
            shipper = self._ships()
            waiting = shipper.drain(self._known, deadline)
            self._shipper = None
            shipper.close()
            shipper.transport.close()
        except Exception as error:
            swallow(error, "shipper")
        return {"waiting": waiting, "losses": _told(LOSSES), "warnings": _told(WARNINGS)}

    def _ships(self) -> Shipper:
        if self._shipper is None:
            settings = self._settings
            self._shipper = Shipper(
                self._make(settings),
                bag_size=settings.bag_size,
                keep=settings.keep_shipped,
                silent_seconds=settings.silent_seconds,
            )
        return self._shipper

    def _known(self) -> list[Path]:
        self._own = [directory for directory in self._own if directory.exists()]
        return self._own

    def _dead(self) -> list[Path]:
        """Spools of processes that have gone, looked for now and then: there may be many."""
        root = self._settings.spool
        if root is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _OTHERS_SECONDS
            self._others = [
                d
                for d in spools(root)
                if d not in self._own and not writer_lives(d, self._settings.silent_seconds)
            ]
        return self._others


def _told(tally: Tally) -> dict[str, tuple[int, str | None]]:
    return {reason: (number, tally.message(reason)) for reason, number in tally.counts().items()}


def settings_of(told: dict[str, Any]) -> Settings:
    """The settings that a script said (delegate.py)."""
    kafka = tuple((name, value) for name, value in told["kafka"])
    spool = None if told["spool"] is None else Path(told["spool"])
    registry = None if told["registry"] is None else RegistryOptions(**told["registry"])
    noted = tuple(told["environment"])
    return Settings(**{**told, "kafka": kafka, "spool": spool, "registry": registry, "environment": noted})


def _kafka(settings: Settings) -> Transport:
    from headstream.capture.transports.kafka import KafkaTransport

    return KafkaTransport.from_settings(settings)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends with the script and with nothing else.
    os.nice(_NICE)  # The script's work comes first where processors are short.
    given = Input(sys.stdin.fileno())
    first: list[Any] = []
    while not first and not given.over:
        first = given.lines(_AGAIN_SECONDS)
    if not first:
        return 0
    helper = Helper(settings_of(first[0]), _kafka)
    given.put_back(first[1:])

    def answer(said: Any) -> None:
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    with contextlib.suppress(BrokenPipeError):
        helper.serve(given, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
