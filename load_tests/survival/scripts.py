"""The scripts under test as processes: who they capture with, started, watched and killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from load_tests.peers import environment, flowcept_settings
from load_tests.survival.counting import Outcome, Turn, count

DRIVERS: Final = Path(__file__).with_name("drivers")
PREFIX: Final = "survival"
EXIT_SECONDS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """headstream, or FlowCept by one of its classes (`mode`)."""

    name: str
    driver: str
    mode: str = "-"

    @property
    def ours(self) -> bool:
        return self.driver == "ours"

    @property
    def channel(self) -> str:
        """The topic of FlowCept."""
        return f"flowcept-{self.mode}"


OURS: Final = Contender(name="headstream", driver="ours")
PEERS: Final = (
    Contender(name="FlowCept Task", driver="of_flowcept", mode="task"),
    Contender(name="FlowCept Loop", driver="of_flowcept", mode="loop"),
    Contender(name="FlowCept LightweightLoop", driver="of_flowcept", mode="light"),
)


@dataclass(slots=True, kw_only=True)
class Script:
    """One run of a script in a folder of its own."""

    python: Path
    who: Contender
    place: Path
    situation: str
    turns: int
    stop: int = -1
    pause: float = 0.0
    bootstrap: str | None = None
    more: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    seconds: float = 0.0
    exit_code: int | None = None

    @property
    def ledger(self) -> Path:
        return self.place / "ledger"

    @property
    def spool(self) -> Path:
        return self.place / "spool"

    def start(self) -> Script:
        given = [self.situation, self.ledger, self.turns, self.stop, self.pause, self.who.mode]
        command = [str(self.python), str(DRIVERS / f"{self.who.driver}.py"), *map(str, given)]
        self._began = time.monotonic()
        with (self.place / "said").open("wb") as said:
            self._process = subprocess.Popen(
                command, cwd=self.place, env=self._environment(), stdout=said, stderr=said
            )
        return self

    def reach(self, turns: int, seconds: float = 60.0) -> Script:
        """Wait until so many turns are captured."""
        assert self._process is not None
        await_(lambda: self._told() >= turns or self.over, seconds, f"{self.who.name} at turn {turns}")
        return self

    @property
    def over(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def last(self, seconds: float) -> Script:
        """Wait until it is so old, or over."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, self._began + seconds - time.monotonic()))
        return self

    def kill(self) -> Script:
        assert self._process is not None
        self._process.kill()
        return self.wait()

    def wait(self, seconds: float = 120.0) -> Script:
        """Wait for its end; one that does not end in time is killed, with exit code None."""
        assert self._process is not None
        left = self._began + seconds - time.monotonic()
        try:
            self.exit_code = self._process.wait(max(0.1, left))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.seconds = time.monotonic() - self._began
        return self

    def outcome(self, turns: Iterator[Turn], note: str = "") -> Outcome:
        captured, records, distinct = count(self.ledger, turns)
        return Outcome(
            captured=captured,
            records=records,
            distinct=distinct,
            seconds=self.seconds,
            exit_code=self.exit_code,
            note=note,
        )

    def _told(self) -> int:
        return self.ledger.read_bytes().count(b"\n") if self.ledger.exists() else 0

    def _environment(self) -> dict[str, str]:
        if not self.who.ours:
            settings = flowcept_settings(self.place, self.bootstrap, self.who.channel)
            return environment(self.place, FLOWCEPT_SETTINGS_PATH=str(settings), **self.more)
        ours = {
            "HEADSTREAM_SPOOL": str(self.spool),
            "HEADSTREAM_GIT": "off",
            "HEADSTREAM_PACKAGES": "off",
            "HEADSTREAM_TOPIC_PREFIX": PREFIX,
            "HEADSTREAM_EXIT_SECONDS": str(EXIT_SECONDS),
        }
        if self.bootstrap is not None:
            ours["HEADSTREAM_BOOTSTRAP"] = self.bootstrap
        return environment(self.place, **{**ours, **self.more})


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headstream-survival-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def await_(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; TimeoutError says what it was."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.01)


def product() -> Path:
    """The interpreter of headstream itself, with its workers."""
    return Path(sys.executable)
