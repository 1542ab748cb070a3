"""docs/reference/hooks.md names every public function with its parameters, and its code blocks run."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headstream.capture.reading import read, spools
from headstream.schemas.events import Bag, RunEnded, StepEnded

from ..environment import without_settings

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "hooks.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
HOOKS = ("torch", "sklearn", "lightning", "transformers", "segy", "hdf5")


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda block: re.findall(r"hooks[. ](?:import )?(\w+)", block)[0]
)
def test_a_code_block_runs_and_its_run_is_captured(block: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(block + "\nassert capture.losses() == {}\n")
    clean = without_settings()
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**clean, "HEADSTREAM_SPOOL": str(tmp_path / "spool")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and "provenance was lost" not in done.stderr, done.stderr
    bags = [bag for spool in spools(tmp_path / "spool") for bag in read(spool) if isinstance(bag, Bag)]
    told = [event for bag in bags for event in bag.events]
    assert any(isinstance(event, RunEnded) for event in told)
    assert {event.outcome for event in told if isinstance(event, StepEnded)} == {"FINISHED"}


def test_every_public_function_of_a_hook_is_in_the_page() -> None:
    named = dict(re.findall(r"^\| \[`(\w+)`\]\(.*?\) \| .*? \| (.*?) \|$", PAGE, flags=re.MULTILINE))
    assert tuple(named) == ("torch", "sklearn", "lightning", "transformers", "segy", "hdf5")
    for hook, names in named.items():
        module = importlib.import_module(f"headstream.capture.hooks.{hook}")
        public = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        }
        assert set(re.findall(r"`(\w+)`", names)) == public


def test_the_signatures_in_the_page_are_those_of_the_functions() -> None:
    found = 0
    for name, given in re.findall(r"^\| `([\w.]+)\((.*?)\)` \|", PAGE, flags=re.MULTILINE):
        owner, _, function = name.rpartition(".")
        modules = [importlib.import_module(f"headstream.capture.hooks.{hook}") for hook in HOOKS]
        (made,) = [
            getattr(module, function)
            for module in modules
            if hasattr(module, function) and module.__name__.endswith(owner or ("torch", "sklearn"))
        ][:1]
        said = [part.split("=")[0].strip().lstrip("*") for part in given.split(",")]
        if "_or_" not in given:
            assert [each for each in said if each] == list(inspect.signature(made).parameters)
        found += 1
    assert found >= 12
