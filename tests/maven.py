"""Servers that only the tests need, brought by Maven as Kafka's jars are."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from headstream.services.artefacts import find_maven
from headstream.services.errors import DownloadFailed
from headstream.services.settings import Settings

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def bring(settings: Settings, artefact: str, sha256: str, work: Path) -> Path:
    """Fetch one pinned file into an empty folder; raises ServicesError."""
    command = [str(find_maven(settings)), "-q", "-B", _COPY, f"-Dartifact={artefact}"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={work}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    if done.returncode:
        raise DownloadFailed(f"Maven could not fetch {artefact}:\n{done.stdout[-2000:]}")
    (found,) = work.iterdir()
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != sha256:
        raise DownloadFailed(f"{artefact} came with SHA-256 {digest}, not the pinned {sha256}")
    return found
