"""What `headstream up` leaves in the data directory, so that `status` and `down` find it again."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from headstream.services import processes, records
from headstream.services.errors import StateUnreadable
from headstream.services.locks import locked_or_refused
from headstream.services.processes import Identity

Mode = Literal["embedded", "full"]
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One started process: what it is, which process, where its log is, and how long it may take to stop."""

    name: str
    identity: Identity
    log: Path
    url: str | None
    ports: dict[str, int]
    grace: float

    @property
    def alive(self) -> bool:
        """Tell whether this very process still runs; a recycled pid is not it."""
        return processes.alive(self.identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is up: the mode, since when, and the processes in the order they were started."""

    mode: Mode
    started_at: datetime
    processes: tuple[Running, ...]

    @property
    def alive(self) -> tuple[Running, ...]:
        """The processes that run now."""
        return tuple(each for each in self.processes if each.alive)

    @property
    def dead(self) -> tuple[Running, ...]:
        """The processes that were started and have died since."""
        return tuple(each for each in self.processes if not each.alive)

    @property
    def urls(self) -> dict[str, str]:
        """Where to reach what has an address, by name."""
        return {each.name: each.url for each in self.processes if each.url is not None}

    @property
    def ports(self) -> dict[str, int]:
        """The ports in use, by name."""
        return {name: port for each in self.processes for name, port in each.ports.items()}


def read(data: Path) -> State | None:
    """Return what was last started in this data directory and not stopped, or None.

    Ask each process whether it is alive: after a power cut the state is there and all of them are dead.
    """
    path = _path(data)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as broken:
        raise StateUnreadable(f"{path} is not JSON ({broken}); stop what it names and remove it") from None
    try:
        return _from_json(found)
    except (KeyError, TypeError, ValueError) as broken:
        raise StateUnreadable(
            f"{path} was not written by this version of headstream ({broken!r}); stop what it names with the "
            "version that wrote it, or by hand, and remove it"
        ) from None


def write(data: Path, state: State) -> None:
    """Record the state in one step: a reader sees the old one or the new one."""
    records.write_json(_path(data), _to_json(state))


def clear(data: Path) -> None:
    """Forget the state, once nothing of it runs."""
    records.drop(_path(data))


def lock(data: Path) -> AbstractContextManager[None]:
    """Hold the data directory while starting or stopping; raises AlreadyRunning if another command does."""
    return locked_or_refused(data / "services.lock", "starting or stopping services in")


def _path(data: Path) -> Path:
    return data / "services.json"


def _to_json(state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "mode": state.mode,
        "started_at": state.started_at.isoformat(),
        "processes": [
            {
                "name": each.name,
                "pid": each.identity.pid,
                "started": each.identity.started,
                "log": str(each.log),
                "url": each.url,
                "ports": each.ports,
                "grace": each.grace,
            }
            for each in state.processes
        ],
    }


def _from_json(found: Any) -> State:
    if found["format"] != FORMAT or found["mode"] not in ("embedded", "full"):
        raise ValueError(f"format {found['format']!r}, mode {found['mode']!r}")
    return State(
        mode=cast(Mode, found["mode"]),
        started_at=datetime.fromisoformat(found["started_at"]),
        processes=tuple(
            Running(
                name=each["name"],
                identity=Identity(int(each["pid"]), float(each["started"])),
                log=Path(each["log"]),
                url=each["url"],
                ports={name: int(port) for name, port in each["ports"].items()},
                grace=float(each["grace"]),
            )
            for each in found["processes"]
        ),
    )
