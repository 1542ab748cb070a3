"""Ranks: how the processes of one launch agree, without a word between them, on whose run they tell.

All ranks of a launch see the same variables of their launcher, and those of one machine have the
same launcher among their ancestors. What neither shows cannot be agreed on: each such process tells
a run of its own, which is a warning. What a rank starts inherits its variables and is no rank:
the first run of a rank notes in the environment which process the variables are about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from headstream.capture import environment
from headstream.capture.errors import WARNINGS
from headstream.capture.settings import PER_RANK, ZERO, Settings

MARK: Final = "HEADSTREAM_RANK_PROCESS"
# How many ranks there are, and how many of them on this machine, by the variable of the rank.
_SIZES: Final = {
    "RANK": ("WORLD_SIZE", "LOCAL_WORLD_SIZE"),
    "OMPI_COMM_WORLD_RANK": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    "PMI_RANK": ("PMI_SIZE", "MPI_LOCALNRANKS"),
}
# What tells the launches of one launcher apart where its ranks are on several machines.
_NAMES: Final = {
    "RANK": ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"),
    "OMPI_COMM_WORLD_RANK": ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
    "PMI_RANK": (),
}
_RESTARTS: Final = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
_taken: dict[tuple[str, str], count[int]] = {}


@dataclass(frozen=True, slots=True)
class Part:
    """How a process takes part: as which rank, in which execution. None: as the only one, in a new one."""

    rank: str | None = None
    execution: str | None = None


def silent(environ: Mapping[str, str], settings: Settings) -> bool:
    """Tell whether another rank captures for this process, and for all that it starts."""
    return settings.ranks == ZERO and environment.rank(environ, settings.rank) not in (None, "0")


def part(environ: MutableMapping[str, str], settings: Settings, workflow: str, given: str | None) -> Part:
    """The part of this process in a run of this workflow; `given` is the execution id if there is one."""
    if settings.rank != "auto":
        return Part(environment.rank(environ, settings.rank), given)
    variable = environment.rank_variable(environ)
    if variable is None or environ.get(MARK, str(os.getpid())) != str(os.getpid()):
        return Part(None, given)
    agreed = launch(environ, variable, lambda: _launcher(variable))
    if agreed is not None:
        environ[MARK] = str(os.getpid())
    if given is None and agreed is None:
        WARNINGS.add(
            "execution-not-shared", message=f"{variable}={environ[variable]}: set HEADSTREAM_EXECUTION"
        )
        return Part()
    return Part(environ[variable], given or _next(agreed or "", workflow))


def per_rank(settings: Settings, taken: Part) -> bool:
    """Tell whether each rank is a run of its own."""
    return settings.ranks == PER_RANK and taken.rank is not None and taken.execution is not None


def launch(environ: Mapping[str, str], variable: str, launcher: Callable[[], str | None]) -> str | None:
    """An id that all ranks of this launch see and no other launch has; None if there is none.

    A launch that is restarted, by its scheduler or by torchrun, is another one.
    """
    restarts = [f".{environ[name]}" for name in _RESTARTS if environ.get(name, "0") != "0"]
    job, step = environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_ID")
    if variable == "SLURM_PROCID":
        return f"slurm-{job}.{step}{''.join(restarts)}" if job and step else None
    kind = "torch" if variable == "RANK" else "mpi"
    size, local = (environ.get(name) for name in _SIZES[variable])
    if size is not None and size == local:
        started_by = launcher()
        if started_by is not None:
            return f"{kind}-{_digest(started_by, *restarts)}"
    named = [environ[name] for name in _NAMES[variable] if environ.get(name) not in (None, "", "none")]
    where = [found for found in (environment.job(environ), step) if found]
    # The address of a master alone is that of the next launch too.
    alone = not where and variable == "RANK" and environ.get("TORCHELASTIC_RUN_ID") in (None, "", "none")
    return f"{kind}-{_digest(*where, *named, *restarts)}" if named and not alone else None


def _next(agreed: str, workflow: str) -> str:
    """Ranks that run the same script begin the same runs in the same order."""
    number = next(_taken.setdefault((agreed, workflow), count(1)))
    return agreed if number == 1 else f"{agreed}-{number}"


def _digest(*parts: str) -> str:
    import hashlib  # Imported late, like all that only some scripts need.

    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _launcher(variable: str) -> str | None:
    """The nearest ancestor that has no rank, whatever shells and wrappers stand between."""
    process, name = os.getppid(), f"{variable}=".encode()
    try:
        while process > 0:
            with open(f"/proc/{process}/stat", "rb") as source:
                fields = source.read().rpartition(b")")[2].split()
            with open(f"/proc/{process}/environ", "rb") as source:
                ranked = any(entry.startswith(name) for entry in source.read().split(b"\0"))
            if not ranked:
                with open("/proc/sys/kernel/random/boot_id") as source:
                    return f"{os.uname().nodename} {source.read()} {process} {fields[19].decode()}"
            process = int(fields[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
