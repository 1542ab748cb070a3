"""The checkout that the code of a run lies in: commit, branch, and whether it has changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from headstream.capture.wire import clean

_GIT_SECONDS = 30.0


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


def dirty(folder: Path, environ: Mapping[str, str]) -> Callable[[], bool | None]:
    """What asks git whether tracked files differ from the commit; it may take long, and None is no answer."""
    # Imported late: an import of capture stays light. Here and not where it is asked: a child that is
    # forked while a thread imports would wait for that module for ever.
    import subprocess

    def ask() -> bool | None:
        try:
            done = subprocess.run(
                ["git", "status", "--porcelain", "--untracked-files=no"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_GIT_SECONDS,
                check=False,
                env={**environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return bool(done.stdout.strip()) if done.returncode == 0 else None

    return ask
