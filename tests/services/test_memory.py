from pathlib import Path

import psutil
import pytest

from headstream.services.memory import collector, direct, heap, usable
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


@pytest.mark.parametrize("small", ["4294967296", "4194304k", "512m", "4096M", "4g", heap(1 << 40)])
def test_a_heap_up_to_4_gb_is_collected_in_parallel(small: str) -> None:
    assert collector(small) == ("-XX:+UseParallelGC",)


@pytest.mark.parametrize("other", ["4294967297", "4097m", "5g", "1t", "nonsense"])
def test_a_larger_heap_is_collected_as_java_likes_it(other: str) -> None:
    assert collector(other) == ()


def test_a_heap_that_is_told_wins() -> None:
    assert Settings.from_env({"HEADSTREAM_BLAZEGRAPH_HEAP": "3g"}).blazegraph_heap == "3g"
    assert Settings.from_env({}).blazegraph_heap is None
