from pathlib import Path

import psutil
import pytest

from headstream.services.memory import direct, heap, usable
from headstream.services.settings import Settings

GB = 1 << 30


@pytest.mark.parametrize(
    ("memory", "heaped", "beside"),
    [
        (1 * GB, "512m", "256m"),
        (4 * GB, "1024m", "512m"),
        (10 * GB, "2560m", "1024m"),
        (64 * GB, "4096m", "1024m"),
    ],
)
def test_the_jvm_of_the_store_fits_the_memory(memory: int, heaped: str, beside: str) -> None:
    assert (heap(memory), direct(memory)) == (heaped, beside)


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_counts_by_its_own_limit(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{1 * GB}\n")
    assert usable(tmp_path) == GB
    file.write_text("max\n")
    assert usable(tmp_path) == psutil.virtual_memory().total
    file.write_text(f"{1 << 62}\n")  # What version 1 says for "no limit".
    assert usable(tmp_path) == psutil.virtual_memory().total


def test_a_heap_that_is_told_wins() -> None:
    assert Settings.from_env({"HEADSTREAM_BLAZEGRAPH_HEAP": "3g"}).blazegraph_heap == "3g"
    assert Settings.from_env({}).blazegraph_heap is None
