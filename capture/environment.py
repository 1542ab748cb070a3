"""What the surroundings of a process say about it: cluster, job, hosts, rank. Pure functions of `environ`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
_CLUSTERS = ("HEADSTREAM_CLUSTER", "SLURM_CLUSTER_NAME")
# Rank and size by launcher: torchrun, Slurm (which may have started torchrun), Open MPI, MPICH and Intel MPI.
_RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)
_BRACKETED = re.compile(r"^([^\[\],]*)\[([\d,\-]+)\]([^\[\],]*)$")
_PARTS = re.compile(r",(?![^\[]*\])")
_SECRET = re.compile(r"(?i)(passw|secret|token|api[-_]?key|credential)")
_MANY = 4096


def job(environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in _JOBS if environ.get(name)), None)


def cluster(environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in _CLUSTERS if environ.get(name)), None)


def hosts(environ: Mapping[str, str], own: str) -> tuple[str, ...]:
    """The nodes of the job where the scheduler names them, else this host."""
    text = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    nodes = expand_nodes(text) if text else ()
    return nodes or (own,)


def expand_nodes(text: str) -> tuple[str, ...]:
    """`n[01-03,7],login` as its nodes; a list that is not that simple as it stands."""
    found: list[str] = []
    for part in _PARTS.split(text):
        match = _BRACKETED.match(part)
        if match is None:
            found.append(part)
            continue
        head, ranges, tail = match.groups()
        for piece in ranges.split(","):
            low, dash, high = piece.partition("-")
            last = high if dash else low
            if not low.isdigit() or not last.isdigit() or int(last) - int(low) > _MANY:
                return (text,)
            found.extend(f"{head}{n:0{len(low)}d}{tail}" for n in range(int(low), int(last) + 1))
    return tuple(found)


def rank(environ: Mapping[str, str], policy: str) -> str | None:
    """The rank of this process among several of one run; None if it is the only one, or none is wanted."""
    if policy == "none":
        return None
    if policy != "auto":
        return policy
    name = rank_variable(environ)
    return None if name is None else environ[name]


def rank_variable(environ: Mapping[str, str]) -> str | None:
    """The variable that has the rank of this process, if it is one of several."""
    for name, size in _RANKS:
        if environ.get(name) and environ.get(size, "2") != "1":
            return name
    return None


def redacted(arguments: list[str]) -> list[str]:
    """A command line without what looks like a secret in it."""
    shown: list[str] = []
    hide = False
    for argument in arguments:
        if hide:
            shown.append("***")
            hide = False
            continue
        name, equals, _ = argument.partition("=")
        secret = bool(_SECRET.search(name)) and (bool(equals) or argument.startswith("-"))
        hide = secret and not equals
        shown.append(f"{name}=***" if secret and equals else argument)
    return shown
