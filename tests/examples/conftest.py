"""The scripts of the seismic example find their modules beside themselves; so do these tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEISMIC = ROOT / "examples" / "seismic"
sys.path.insert(0, str(SEISMIC))


@pytest.fixture
def f3() -> Path:
    """A real survey: a crop of the F3 block (tests/data/README.md)."""
    return ROOT / "tests" / "data" / "f3.sgy"


@pytest.fixture(scope="session")
def synthetic_survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic survey."""
    import synthetic

    return synthetic.write_survey(tmp_path_factory.mktemp("survey") / "netherlands.sgy")


@pytest.fixture
def deterministic_torch() -> Iterator[None]:
    """PyTorch as the learning script sets it, and as it was afterwards."""
    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(2)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
