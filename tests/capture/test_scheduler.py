"""What Slurm, PBS and LSF say of a job: jobs, arrays, steps, nodes and restarts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.capture.scheduler import Job, expand_nodes, job

FILES = {"/nodes": "n2\nn2\nn1\n\n", "/hosts": "h1 4\nh2 4\n"}

SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_JOB_PARTITION": "gpu",
    "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "11", "SLURM_STEP_ID": "0",
    "SLURM_RESTART_COUNT": "2",
    "SLURM_JOB_NODELIST": "n[01-03],login1", "SLURM_STEP_NODELIST": "n02",
}  # fmt: skip
PBS = {"PBS_JOBID": "17[3].server", "PBS_JOBNAME": "sweep", "PBS_QUEUE": "long", "PBS_NODEFILE": "/nodes"}
LSF = {"LSB_JOBID": "99", "LSB_JOBINDEX": "5", "LSB_JOBNAME": "a[1-9]", "LSB_QUEUE": "q"}


def found(environ: Mapping[str, str]) -> Job:
    answer = job(environ, FILES.get)
    assert answer is not None
    return answer


def test_slurm_says_job_array_step_restarts_and_nodes() -> None:
    told = found(SLURM)
    assert told.nodes == ("n01", "n02", "n03", "login1")
    assert told.facts() == {
        "scheduler": "slurm", "id": "4711", "name": "train", "queue": "gpu", "array_job": "4700",
        "array_index": "11", "step": "0", "restarts": 2, "step_nodes": ["n02"],
    }  # fmt: skip


def test_pbs_says_job_array_and_nodes_of_its_file() -> None:
    told = found(PBS)
    assert told.nodes == ("n2", "n1")
    assert told.facts() == {
        "scheduler": "pbs", "id": "17[3].server", "name": "sweep", "queue": "long",
        "array_job": "17", "array_index": "3",
    }  # fmt: skip
    assert found({"PBS_JOBID": "17.server", "PBS_ARRAYID": "4"}).array_index == "4"
    assert found({"PBS_JOBID": "17.server", "PBS_NODEFILE": "/gone"}).nodes == ()


@pytest.mark.parametrize(
    "hosts",
    [
        {"LSB_HOSTS": "h1 h1 h2"},
        {"LSB_MCPU_HOSTS": "h1 4 h2 4", "LSB_HOSTS": ""},
        {"LSB_DJOB_HOSTFILE": "/hosts"},
    ],
)
def test_lsf_says_job_array_and_hosts_in_three_ways(hosts: dict[str, str]) -> None:
    told = found({**LSF, **hosts})
    assert told.nodes == ("h1", "h2")
    assert (told.array_job, told.array_index) == ("99", "5")


def test_a_job_without_array_has_no_index() -> None:
    assert found({"LSB_JOBID": "99", "LSB_JOBINDEX": "0"}).array_index is None
    assert found({"SLURM_JOB_ID": "1"}) == Job(scheduler="slurm", id="1")
    assert found({"PBS_JOBID": "1.s"}).array_job is None


def test_outside_of_a_job_there_is_none() -> None:
    assert job({"SLURM_JOB_ID": "", "PATH": "/bin"}, FILES.get) is None


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("n1", ("n1",)),
        ("a[01-03,7],b", ("a01", "a02", "a03", "a7", "b")),
        ("rack[1-2]n[01-02]", ("rack1n01", "rack1n02", "rack2n01", "rack2n02")),
        ("n[1-2]-ib0,n[2-3]-ib0", ("n1-ib0", "n2-ib0", "n3-ib0")),
        ("n[099-101]", ("n099", "n100", "n101")),
        ("", ()),
        ("n[1-", ("n[1-",)),
        ("n[3-1]", ("n[3-1]",)),
        ("n[x-y]", ("n[x-y]",)),
        ("n[1-999999999]", ("n[1-999999999]",)),
        ("a[1-999]b[1-999]", ("a[1-999]b[1-999]",)),
    ],
)
def test_a_compressed_list_is_its_nodes_or_stays_as_it_is(text: str, nodes: tuple[str, ...]) -> None:
    assert expand_nodes(text) == nodes


@given(st.text(alphabet="ab1290[],-", max_size=20))
def test_no_list_is_too_odd_to_be_told(text: str) -> None:
    assert all(expand_nodes(text)) or "," in text or not text


@given(st.integers(0, 900), st.integers(0, 90), st.integers(1, 4))
def test_a_range_has_each_of_its_nodes_once_and_in_order(low: int, more: int, width: int) -> None:
    first = f"{low:0{width}d}"
    nodes = expand_nodes(f"n[{first}-{low + more}]")
    assert [int(node[1:]) for node in nodes] == list(range(low, low + more + 1))
    assert all(len(node) - 1 >= len(first) for node in nodes)
