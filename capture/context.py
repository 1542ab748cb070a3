"""Execution data of a run: where, by whom, how and from which code it was started (paper section V-B)."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from headstream.capture import environment, masking, scheduler, wire
from headstream.capture.settings import Settings
from headstream.capture.values import clean
from headstream.schemas.values import canonical_json


def hostname() -> str:
    return os.uname().nodename


def of_run(environ: Mapping[str, str], code: Mapping[str, Any] | None, settings: Settings) -> wire.Wire:
    """What is known at the start; reads a few small files and starts no process."""
    job = scheduler.job(environ, _read)
    nodes = job.nodes if job is not None else ()
    return wire.context(
        cluster=_clean(environment.cluster(environ)),
        job=_clean(environment.job(environ) if job is None else job.id),
        hosts=tuple(clean(host) for host in nodes or (hostname(),)),
        metadata=metadata(
            command=masking.arguments(sys.argv),
            environment=masking.variables(environ, settings.environment) or None,
            folder=_folder(),
            git=dict(code) if code else None,
            headstream=_version(),
            host=_host(),
            interpreter=sys.executable or None,
            job=None if job is None else {k: _shown(v) for k, v in job.facts().items()},
            pid=os.getpid(),
            python=sys.version.split()[0],
            user=_user(environ),
        ),
    )


def late(**facts: Any) -> wire.Wire:
    """What becomes known of a run while it runs; said beside what was known at the start."""
    return wire.context(metadata=metadata(**facts))


def metadata(**facts: Any) -> str:
    """Facts that have no property of their own, as canonical JSON; None is absent."""
    # A name or variable need not be UTF-8.
    return clean(canonical_json({name: value for name, value in facts.items() if value is not None}))


def _host() -> dict[str, Any]:
    system = os.uname()
    found: dict[str, Any] = {
        "name": system.nodename,
        "system": f"{system.sysname} {system.release}",
        "machine": system.machine,
        "cpus": os.cpu_count(),
    }
    if hasattr(os, "sched_getaffinity"):
        found["cpus_usable"] = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # Not every system counts its pages.
        found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return found


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # Somebody has removed it.
        return None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return None


def _shown(value: Any) -> Any:
    return masking.masked(value) if isinstance(value, str) else value


def _clean(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _user(environ: Mapping[str, str]) -> str | None:
    named = environ.get("LOGNAME") or environ.get("USER")
    try:
        return clean(named or pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return None


def _version() -> str:
    import headstream

    return str(getattr(headstream, "__version__", "unknown"))
