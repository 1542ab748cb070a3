"""One script in a folder of its own, and the memory that it and its shipper process take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from load_tests.peers import environment

SCRIPT: Final = Path(__file__).with_name("script.py")
PREFIX: Final = "outage"
SECONDS: Final = 300.0
_SHIPPER: Final = b"headstream.capture.helper"


@dataclass(slots=True)
class Peak:
    """The most that a process has taken so far, in bytes: all that is resident, and what is its alone."""

    resident: int = 0
    private: int = 0

    def look(self, pid: int) -> bool:
        """Look at a process; False if it has gone."""
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        found = {name: int(kb) << 10 for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
        # A process that is on its way out has no memory any more.
        self.resident = max(self.resident, found.get("VmHWM", 0))
        self.private = max(self.private, found.get("RssAnon", 0) + found.get("RssShmem", 0))
        return bool(found.get("VmHWM"))


@dataclass(slots=True, kw_only=True)
class Ran:
    """What came of a script."""

    told: dict[str, Any]
    said: str
    script: Peak = field(default_factory=Peak)
    shipper: Peak = field(default_factory=Peak)
    seconds: float = 0.0

    @property
    def counted(self) -> dict[str, int]:
        """The losses of the line at the end."""
        lost = self.said.partition("lost: ")[2].partition("; not all")[0]
        return {name: int(number) for number, name in re.findall(r"(?:^|; )(\d+) ([a-z-]+)", lost)}


def run(
    place: Path,
    mode: str,
    steps: int,
    at: dict[int, Callable[[], None]] | None = None,
    **settings: str,
) -> Ran:
    """Run the script to its end; `at` has what to do when it has come to a third, and to two."""
    env = environment(
        place,
        HEADSTREAM_SPOOL=settings.pop("HEADSTREAM_SPOOL", str(place / "spool")),
        HEADSTREAM_TOPIC_PREFIX=PREFIX,
        HEADSTREAM_GIT="off",
        HEADSTREAM_PACKAGES="off",
        HEADSTREAM_EXIT_SECONDS="2",
        OUTAGE_PLACE=str(place),
        **settings,
    )
    began = time.monotonic()
    with (place / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, SCRIPT, mode, str(steps), str(place)], env=env, stdout=said, stderr=said
        )
    ran = Ran(told={}, said="")
    shipper: int | None = None
    waiting = dict(at or {})
    while process.poll() is None:
        ran.script.look(process.pid)
        shipper = shipper or _shipper(place)
        if shipper is not None:
            ran.shipper.look(shipper)
        for third in [each for each in waiting if (place / f"at-{each}").exists()]:
            waiting.pop(third)()
            (place / f"on-{third}").touch()
        if time.monotonic() - began > SECONDS:
            process.kill()
            raise TimeoutError(f"the script did not end within {SECONDS:g} s: {place}/said")
        time.sleep(0.01)
    while shipper is not None and ran.shipper.look(shipper):
        time.sleep(0.01)
    ran.seconds = time.monotonic() - began
    ran.said = (place / "said").read_text()
    if process.returncode != 0:
        raise RuntimeError(f"the script ended with {process.returncode}: {ran.said[-2000:]}")
    ran.told = json.loads((place / "told.json").read_text())
    return ran


def _shipper(place: Path) -> int | None:
    """The shipper process of the script in this folder."""
    mark = f"OUTAGE_PLACE={place}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if _SHIPPER in (entry / "cmdline").read_bytes() and mark in (entry / "environ").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    return None
