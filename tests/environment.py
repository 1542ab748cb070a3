"""The environment in which a test runs a command."""

from __future__ import annotations

import os


def without_settings() -> dict[str, str]:
    """That of somebody who has set nothing of ours, whatever the developer at this machine has set."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADSTREAM_")}
