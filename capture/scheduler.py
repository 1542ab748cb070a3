"""What Slurm, PBS and LSF tell a process of its job: functions of `environ` and a reader of small files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

Read = Callable[[str], str | None]

_MOST: Final = 16384  # Nodes of a list; a longer one stays compressed.
_PARTS: Final = re.compile(r",(?![^\[]*\])")
_BRACKETS: Final = re.compile(r"\[([^\]]*)\]")
_PBS_ARRAY: Final = re.compile(r"^(\d+)\[(\d+)\]")


class Job(NamedTuple):
    """A job as one of its processes sees it; `nodes` are those of the job, `step_nodes` of the step."""

    scheduler: str
    id: str
    name: str | None = None
    queue: str | None = None
    array_job: str | None = None  # The job that all elements of the array share.
    array_index: str | None = None
    step: str | None = None
    restarts: int | None = None
    nodes: tuple[str, ...] = ()
    step_nodes: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What the graph has no property for; nodes of the job are host names of the run."""
        told = {
            name: getattr(self, name)
            for name in ("scheduler", "id", "name", "queue", "array_job", "array_index", "step", "restarts")
        }
        if self.step_nodes and self.step_nodes != self.nodes:
            told["step_nodes"] = list(self.step_nodes)
        return {name: value for name, value in told.items() if value is not None}


def job(environ: Mapping[str, str], read: Read) -> Job | None:
    """The job that this process runs in; None outside of one. A name without a value counts as absent."""
    given = {name: value for name, value in environ.items() if value}
    return _slurm(given) or _pbs(given, read) or _lsf(given, read)


def _slurm(environ: Mapping[str, str]) -> Job | None:
    number = environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID")
    if number is None:
        return None
    nodes = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    return Job(
        scheduler="slurm",
        id=number,
        name=environ.get("SLURM_JOB_NAME"),
        queue=environ.get("SLURM_JOB_PARTITION"),
        array_job=environ.get("SLURM_ARRAY_JOB_ID"),
        array_index=environ.get("SLURM_ARRAY_TASK_ID"),
        step=environ.get("SLURM_STEP_ID") or environ.get("SLURM_STEPID"),
        restarts=_number(environ.get("SLURM_RESTART_COUNT")),
        nodes=expand_nodes(nodes) if nodes else (),
        step_nodes=expand_nodes(environ.get("SLURM_STEP_NODELIST", "")),
    )


def _pbs(environ: Mapping[str, str], read: Read) -> Job | None:
    """PBS Pro, OpenPBS and Torque. They name no step and no count of restarts in the environment."""
    number = environ.get("PBS_JOBID")
    if number is None:
        return None
    array = _PBS_ARRAY.match(number)
    return Job(
        scheduler="pbs",
        id=number,
        name=environ.get("PBS_JOBNAME"),
        queue=environ.get("PBS_QUEUE"),
        array_job=environ.get("PBS_ARRAY_ID") or (array[1] if array else None),
        array_index=environ.get("PBS_ARRAY_INDEX")
        or environ.get("PBS_ARRAYID")
        or (array[2] if array else None),
        nodes=_in_file(environ.get("PBS_NODEFILE"), read),
    )


def _lsf(environ: Mapping[str, str], read: Read) -> Job | None:
    """LSF names hosts in one of three ways, by the length of the list; a job without array has index 0."""
    number = environ.get("LSB_JOBID")
    if number is None:
        return None
    index = environ.get("LSB_JOBINDEX", "0")
    pairs = environ.get("LSB_MCPU_HOSTS", "").split()
    nodes = (
        _distinct(pairs[::2])
        or _distinct(environ.get("LSB_HOSTS", "").split())
        or _in_file(environ.get("LSB_DJOB_HOSTFILE"), read)
    )
    return Job(
        scheduler="lsf",
        id=number,
        name=environ.get("LSB_JOBNAME"),
        queue=environ.get("LSB_QUEUE"),
        array_job=None if index == "0" else number,
        array_index=None if index == "0" else index,
        nodes=nodes,
    )


def expand_nodes(text: str) -> tuple[str, ...]:
    """`rack[1-2]n[01-03,7],login` as its nodes, in order; a list that is not like that as it stands."""
    found: list[str] = []
    for part in _PARTS.split(text) if text else ():
        names = _expand(part)
        if names is None or len(found) + len(names) > _MOST:
            return (text,)
        found.extend(names)
    return _distinct(found)


def _expand(part: str) -> list[str] | None:
    """All names of one part: the product of its brackets, the first changing slowest."""
    names = [""]
    # Text outside and inside of brackets by turns.
    for place, piece in enumerate(_BRACKETS.split(part)):
        choices = _choices(piece) if place % 2 else None if set(piece) & set("[]") else [piece]
        if choices is None or len(names) * len(choices) > _MOST:
            return None
        names = [name + choice for name in names for choice in choices]
    return names


def _choices(ranges: str) -> list[str] | None:
    found: list[str] = []
    for piece in ranges.split(","):
        low, dash, high = piece.partition("-")
        last = high if dash else low
        if not (low.isdecimal() and last.isdecimal()) or not 0 <= int(last) - int(low) < _MOST:
            return None
        found.extend(f"{number:0{len(low)}d}" for number in range(int(low), int(last) + 1))
    return found


def _in_file(path: str | None, read: Read) -> tuple[str, ...]:
    """Hosts of a file with one a line, repeated for each slot."""
    text = None if path is None else read(path)
    return _distinct(line.split()[0] for line in (text or "").splitlines() if line.split())


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
