"""What the surroundings of a process say about it: cluster, job and rank. Pure functions of `environ`."""

from __future__ import annotations

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


def job(environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in _JOBS if environ.get(name)), None)


def cluster(environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in _CLUSTERS if environ.get(name)), None)


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
