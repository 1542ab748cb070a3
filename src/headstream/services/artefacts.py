"""The jars of Kafka and Blazegraph, fetched once by Maven into a cache outside the clone.

`pom.xml` names the versions and `artefacts.sha256` pins every file. After a change of the first, make
the second anew in an empty folder:

    mvn -q -B -f pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$PWD
    sha256sum *.jar > artefacts.sha256
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from headstream.services.errors import DownloadFailed, ToolMissing
from headstream.services.locks import locked
from headstream.services.settings import Settings

JAVA_AT_LEAST = 17  # Kafka 4 brokers need it.
MAVEN_SECONDS = 1800.0
INSTEAD = "or use `--services embedded`, which needs neither Java nor Maven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefacts:
    """A Java to run, the folder of Kafka's jars, and Blazegraph's one jar."""

    java: Path
    kafka: Path
    blazegraph: Path


def fetch(settings: Settings) -> Artefacts:
    """Return the pinned jars and a Java that runs them, downloading what the cache lacks.

    Two processes never download at once, and a folder under its final name is complete: Maven writes
    into a temporary one, which is renamed once every file has the pinned checksum.
    """
    java = find_java(settings)
    checksums = pinned()
    home = settings.cache / "services" / version()
    if not _complete(home, checksums):
        home.parent.mkdir(parents=True, exist_ok=True)
        with locked(home.parent / f"{home.name}.lock"):
            if not _complete(home, checksums):
                _download(home, checksums, find_maven(settings), settings)
    (blazegraph,) = (home / name for name in checksums if name.startswith("blazegraph/"))
    return Artefacts(java=java, kafka=home / "kafka", blazegraph=blazegraph)


def version() -> str:
    """Name the set of files: other versions in `pom.xml` are another folder of the cache."""
    pom = _data("pom.xml")
    names = (re.search(rf"<{part}\.version>([^<]+)<", pom) for part in ("kafka", "blazegraph"))
    digest = hashlib.sha256((pom + _data("artefacts.sha256")).encode()).hexdigest()
    return "-".join([*(found[1] for found in names if found), digest[:8]])


def pinned() -> Mapping[str, str]:
    """Return the SHA-256 of each file by its place in the cache (`kafka/…`, `blazegraph/…`)."""
    checksums = {}
    for line in _data("artefacts.sha256").splitlines():
        digest, name = line.split()
        # Apart, for Kafka runs with its whole folder on the class path and Blazegraph bundles old libraries.
        folder = "blazegraph" if name.startswith("blazegraph-") else "kafka"
        checksums[f"{folder}/{name}"] = digest
    return checksums


def find_java(settings: Settings) -> Path:
    """Return the Java of JAVA_HOME or PATH if it is recent enough, else say what to install."""
    found = _find("java", settings)
    if found is None:
        raise ToolMissing(
            f"Kafka and Blazegraph run on Java {JAVA_AT_LEAST} or later, but no `java` was found in "
            f"JAVA_HOME ({settings.java_home or 'unset'}) or on PATH; install one (Debian: apt install "
            f"openjdk-17-jre-headless; macOS: brew install openjdk@17) {INSTEAD}"
        )
    banner = subprocess.run([found, "-version"], capture_output=True, text=True, check=False, timeout=60)
    major = java_major(banner.stderr + banner.stdout)
    if major is None or major < JAVA_AT_LEAST:
        said = "does not say its version" if major is None else f"is Java {major}"
        raise ToolMissing(
            f"{found} {said}, and Kafka needs Java {JAVA_AT_LEAST} or later; "
            f"install one and point JAVA_HOME at it, {INSTEAD}"
        )
    return found


def find_maven(settings: Settings) -> Path:
    """Return `mvn`, needed once for the download, else say what to install."""
    found = shutil.which("mvn", path=settings.path)
    if found is None:
        raise ToolMissing(
            "Kafka and Blazegraph are fetched by Maven, but no `mvn` was found on PATH; install it (Debian: "
            f"apt install maven; macOS: brew install maven) {INSTEAD}"
        )
    return Path(found)


def java_major(banner: str) -> int | None:
    """Read the major version from what `java -version` prints (`1.8.0_402` is 8, `17.0.15` is 17)."""
    found = re.search(r'version "(\d+)(?:\.(\d+))?', banner)
    if found is None:
        return None
    return int(found[2]) if found[1] == "1" and found[2] else int(found[1])


def _find(tool: str, settings: Settings) -> Path | None:
    homes = [str(Path(settings.java_home) / "bin")] if settings.java_home else []
    for path in [*homes, settings.path]:
        found = shutil.which(tool, path=path)
        if found:
            return Path(found)
    return None


def _complete(home: Path, checksums: Mapping[str, str]) -> bool:
    """Tell whether every pinned file is there; contents were checked before the folder got its name."""
    return all((home / name).is_file() for name in checksums)


def _download(home: Path, checksums: Mapping[str, str], maven: Path, settings: Settings) -> None:
    for left_over in home.parent.glob(f".{home.name}.*"):  # An interrupted download; we hold the lock.
        shutil.rmtree(left_over, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
    try:
        _run_maven(maven, work, settings)
        _arrange(work, checksums)
        shutil.rmtree(home, ignore_errors=True)  # Files are missing in it, or we would not be here.
        (work / "files").rename(home)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_maven(maven: Path, work: Path, settings: Settings) -> None:
    (work / "pom.xml").write_text(_data("pom.xml"), encoding="utf-8")
    command = [str(maven), "-q", "-B", "-f", str(work / "pom.xml"), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={work / 'all'}"]
    environ = {**os.environ, "PATH": settings.path}
    try:
        done = subprocess.run(
            command,
            cwd=work,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=MAVEN_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        raise DownloadFailed(
            f"Maven did not finish in {MAVEN_SECONDS:.0f} s; check the network and run it again"
        ) from late
    if done.returncode != 0:
        log = work.parent / "maven.log"
        log.write_text(done.stdout, encoding="utf-8")
        first = "\n".join(done.stdout.strip().splitlines()[:12])
        raise DownloadFailed(
            f"Maven could not fetch Kafka and Blazegraph (exit status {done.returncode}); check the network, "
            f"or the mirror in ~/.m2/settings.xml, and run it again. All it said is in {log}; it began "
            f"with:\n{first}"
        )


def _arrange(work: Path, checksums: Mapping[str, str]) -> None:
    """Move each pinned file to its place under `files/`, once its checksum was found right."""
    for name, digest in checksums.items():
        source, target = work / "all" / Path(name).name, work / "files" / name
        if not source.is_file():
            raise DownloadFailed(f"Maven brought no {source.name}, which artefacts.sha256 pins")
        with source.open("rb") as jar:
            found = hashlib.file_digest(jar, "sha256").hexdigest()
        if found != digest:
            raise DownloadFailed(
                f"{source.name} came with SHA-256 {found}, not the pinned {digest}: do not use it; look at "
                "the mirror it came from, delete it from ~/.m2/repository, and run again"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _data(name: str) -> str:
    return resources.files("headstream.services").joinpath(name).read_text(encoding="utf-8")
