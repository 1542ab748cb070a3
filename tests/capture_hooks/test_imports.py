"""A hook is imported only when it is asked for, and says what to install if its library is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARIES = {
    "torch": "torch",
    "lightning": "lightning",
    "transformers": "transformers",
    "sklearn": "scikit-learn",
    "segy": "segyio",
    "hdf5": "h5py",
}


def test_importing_capture_imports_no_hook() -> None:
    body = "import sys, headstream.capture; print([m for m in sys.modules if '.hooks' in m])"
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("hook", "package"), LIBRARIES.items())
def test_a_missing_library_is_named_at_the_import_of_its_hook(hook: str, package: str) -> None:
    body = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"lightning", "transformers", "sklearn", "segyio", "h5py", {hook!r}}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from headstream import capture
try:
    import headstream.capture.hooks.{hook}
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", body], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("this hook needs ") and f"pip install {package}" in done.stdout
