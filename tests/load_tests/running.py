"""A benchmark as users run it, and what it printed for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def ended(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m module` in the checkout, however it ended."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def run(module: str, *arguments: str) -> dict[str, Any]:
    """What `python -m module --json` prints; it must end well."""
    done = ended(module, "--json", *arguments)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found
