"""The virtual environment of the peers: made on demand from requirements-peers.txt, in a cache folder.

headstream is never installed there: its drivers get the checkout by PYTHONPATH, so that what is
measured is always the working tree.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")
_READY = "ready"


class PeersUnavailable(Exception):
    """The peers could not be installed; the message has the end of what pip said."""


def folder(environ: Mapping[str, str]) -> Path:
    """Where the environment lies: one for each interpreter and content of the requirements."""
    cache = Path(environ.get("HEADSTREAM_CACHE") or user_cache_path("headstream", appauthor=False))
    kind = f"{sys.version_info.major}.{sys.version_info.minor}-{_content()}"
    return cache.absolute() / "peers" / kind


def interpreter(given: Path | None = None) -> Path:
    """The Python of the peers' environment, which is made the first time (about a minute)."""
    place = folder(os.environ) if given is None else given.absolute()
    python = place / "bin" / "python"
    ready = place / _READY
    if ready.exists() and ready.read_text() == _content():
        return python
    print(f"installing the peers into {place}", file=sys.stderr)
    venv.create(place, with_pip=True)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise PeersUnavailable(
            f"pip could not install {REQUIREMENTS.name} into {place}; "
            f"--no-peers measures without them:\n{said}"
        )
    ready.write_text(_content())
    return python


def _content() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]


# FlowCept at its cheapest: no enrichment, no telemetry, no logs, no copies of what it is given.
FLOWCEPT = """\
project:
  debug: false
  enrich_messages: false
  replace_non_json_serializable: false
  performance_logging: false
  db_flush_mode: {mode}
  dump_buffer:
    enabled: {dump}
    path: flowcept_buffer.jsonl
    append_workflow_id_to_path: false
    append_id_to_path: false
    delete_previous_file: true
log: {{log_file_level: disable, log_stream_level: disable}}
telemetry_capture: {{}}
instrumentation: {{enabled: true}}
experiment: {{}}
mq: {mq}
kv_db: {{enabled: false}}
web_server: {{}}
sys_metadata: {{}}
extra_metadata: {{}}
db_buffer: {{insertion_buffer_time_secs: 1, buffer_size: 50}}
databases: {{mongodb: {{enabled: false}}, lmdb: {{enabled: {lmdb}, path: flowcept_lmdb}}}}
adapters: {{}}
agent: {{}}
"""


def flowcept_settings(place: Path, bootstrap: str | None, channel: str, *, lmdb: bool = False) -> Path:
    """Write FlowCept's settings for a run in this folder: offline into a file, or with a broker."""
    mq = "{enabled: false}"
    if bootstrap is not None:
        host, port = bootstrap.rsplit(":", 1)
        mq = (
            f"{{enabled: true, type: kafka, host: {host}, port: {port}, channel: {channel}, "
            "buffer_size: 50, insertion_buffer_time_secs: 5, chunk_size: -1}"
        )
    path = place / "flowcept.yaml"
    path.write_text(
        FLOWCEPT.format(
            mode="offline" if bootstrap is None else "online",
            dump="true" if bootstrap is None else "false",
            mq=mq,
            lmdb="true" if lmdb else "false",
        )
    )
    return path


def environment(place: Path, **more: str) -> dict[str, str]:
    """What every driver runs with: nothing of the caller's own settings of headstream, BLAS quiet.

    FlowCept imports numpy, whose BLAS threads would spin and double the CPU time of the process.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADSTREAM_")}
    return {
        **kept,
        "HOME": str(place),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONWARNINGS": "ignore",
        **more,
    }
