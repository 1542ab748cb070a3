"""Execution data of a run: where, by whom and from which code it was started (paper section V-B)."""

from __future__ import annotations

import os
import pwd
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstream.capture import environment, wire
from headstream.capture.values import clean
from headstream.schemas.values import canonical_json

_GIT_SECONDS = 1.0


def hostname() -> str:
    return os.uname().nodename


def of_run(environ: Mapping[str, str], code: Mapping[str, Any] | None) -> wire.Wire:
    """What is known at the start; reads a few small files and starts no process."""
    facts: dict[str, Any] = {
        "command": [clean(a) for a in environment.redacted(list(sys.argv))],
        "python": sys.version.split()[0],
        "headstream": _version(),
        "pid": os.getpid(),
        "user": _user(environ),
    }
    if code:
        facts["git"] = dict(code)
    return wire.context(
        cluster=_clean(environment.cluster(environ)),
        job=_clean(environment.job(environ)),
        hosts=tuple(clean(host) for host in environment.hosts(environ, hostname())),
        metadata=canonical_json({key: value for key, value in facts.items() if value is not None}),
    )


def code_folder() -> Path:
    """The folder of the script that runs, else the working directory."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(os.path.abspath(script)).parent if script else Path.cwd()


def git_head(folder: Path) -> dict[str, str] | None:
    """Commit and branch of the checkout around a folder, read from its files; None if there is none."""
    git = next((p / ".git" for p in (folder, *folder.parents) if (p / ".git").exists()), None)
    if git is None:
        return None
    try:
        if git.is_file():  # A worktree or submodule: the file names the directory.
            git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return {"commit": head}
        ref = head.removeprefix("ref:").strip()
        common = git / "commondir"
        shared = (git / common.read_text().strip()).resolve() if common.exists() else git
        commit = _ref(git, shared, ref)
    except (OSError, ValueError):
        return None
    branch = clean(ref.removeprefix("refs/heads/"))
    return {"branch": branch} if commit is None else {"commit": commit, "branch": branch}


def _ref(git: Path, shared: Path, ref: str) -> str | None:
    for folder in (git, shared):
        if (folder / ref).is_file():
            return (folder / ref).read_text().strip()
    packed = shared / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == ref:
                return commit
    return None


class DirtyCheck:
    """Asks git in the background whether the checkout has changes; the answer is there at the end or not."""

    def __init__(self, folder: Path) -> None:
        # Imported late: an import of capture stays light. Here and not in the thread: a child that is
        # forked in the middle of an import would wait for that module for ever.
        import subprocess

        self.answer: bool | None = None
        self._process = subprocess
        self._folder = folder
        self._thread = threading.Thread(target=self._ask, name="headstream-git", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        subprocess = self._process
        try:
            done = subprocess.run(
                ["git", "status", "--porcelain", "--untracked-files=no"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_GIT_SECONDS,
                check=False,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.SubprocessError):
            return
        if done.returncode == 0:
            self.answer = bool(done.stdout.strip())


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
