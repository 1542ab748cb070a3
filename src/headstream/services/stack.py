"""Several processes started in order and stopped in reverse, by whichever command comes later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from headstream.services import processes, state
from headstream.services.errors import AlreadyRunning
from headstream.services.processes import Child
from headstream.services.state import Mode, Running, State


class Startable(Protocol):
    """What a stack is made of: a `Child`, or a `Service` that has files to write first."""

    def prepare(self) -> Child:
        """Make ready what the process needs, and say how to start it."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """The processes of one data directory."""

    data: Path

    def up(
        self, mode: Mode, parts: Sequence[Startable], tell: Callable[[str], None] = lambda line: None
    ) -> State:
        """Start the parts in order, each once the one before is ready, and return what runs.

        Raises AlreadyRunning if anything of an earlier `up` still runs. If one part fails, or the command is
        interrupted, those that were started are stopped again.
        """
        with state.lock(self.data):
            self._refuse_if_running()
            now = State(mode=mode, started_at=datetime.now(UTC), processes=())
            try:
                for part in parts:
                    child = part.prepare()
                    tell(f"starting {child.name}")
                    now = self._start(child, now)
                    tell(f"{child.name} is ready" + (f" at {child.url}" if child.url else ""))
            except BaseException:  # A Ctrl-C too must leave nothing behind.
                self._stop(tell)
                raise
        return now

    def down(self, tell: Callable[[str], None] = lambda line: None) -> tuple[str, ...]:
        """Stop everything in reverse order and forget it; return the names of what had still run.

        Only data and logs are left. When it is interrupted, what is left running is still recorded.
        """
        with state.lock(self.data):
            return self._stop(tell)

    def _refuse_if_running(self) -> None:
        found = state.read(self.data)
        if found is not None and found.alive:
            names = ", ".join(each.name for each in found.alive)
            raise AlreadyRunning(f"{names} already run in {self.data}; `headstream down` stops them")

    def _start(self, child: Child, now: State) -> State:
        identity = processes.spawn(child)
        running = Running(
            name=child.name,
            identity=identity,
            log=child.log,
            url=child.url,
            ports=dict(child.ports),
            grace=child.grace,
        )
        now = replace(now, processes=(*now.processes, running))
        state.write(self.data, now)  # Before it is ready: a `down` must find it whatever comes next.
        processes.wait_ready(child, identity)
        return now

    def _stop(self, tell: Callable[[str], None]) -> tuple[str, ...]:
        found = state.read(self.data)
        if found is None:
            return ()
        stopped = []
        for each in reversed(found.processes):
            if each.alive:
                tell(f"stopping {each.name}")
                clean = processes.stop(each.identity, each.grace)
                tell(f"{each.name} " + ("stopped" if clean else f"was killed after {each.grace:.0f} s"))
                stopped.append(each.name)
        state.clear(self.data)
        return tuple(stopped)


def answers(url: str) -> Callable[[], bool]:
    """Return a readiness probe: true once a GET of `url` is answered with 2xx."""
    import httpx  # Kept out of the import of the stack, which `status` needs and which should be quick.

    def probe() -> bool:
        try:
            return httpx.get(url, timeout=5.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return probe
