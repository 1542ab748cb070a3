"""The jars: pinned, fetched once, never half; and plain sentences where a tool is missing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstream.services import artefacts as subject
from headstream.services.artefacts import Artefacts, fetch, java_major
from headstream.services.errors import DownloadFailed, ServicesError, ToolMissing
from headstream.services.settings import Settings

# A Maven that, instead of the network, brings what its folder `jars` holds, and counts its calls.
FAKE_MAVEN = """#!/bin/sh
set -e
here=$(dirname "$0")
echo called >> "$here/calls"
for argument in "$@"; do case "$argument" in -DoutputDirectory=*) target=${argument#*=};; esac; done
mkdir -p "$target"
cp "$here"/jars/* "$target"
"""
FAKE_JAVA = """#!/bin/sh
echo 'openjdk version "VERSION" 2024-01-01' >&2
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A cache of its own, two small pinned files, and stand-ins for the two programs (not for the code)."""
    tools = tmp_path / "bin"
    program(tools / "java", FAKE_JAVA.replace("VERSION", "17.0.15"))
    program(tools / "mvn", FAKE_MAVEN)
    jars = {"blazegraph-jar-2.1.5.jar": b"store", "kafka-clients-4.1.1.jar": b"broker"}
    (tools / "jars").mkdir()
    lines = []
    for name, content in jars.items():
        (tools / "jars" / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    real = subject._data
    monkeypatch.setattr(
        subject, "_data", lambda name: "".join(lines) if name == "artefacts.sha256" else real(name)
    )
    path = f"{tools}:{os.environ['PATH']}"
    return Settings.from_env({"HEADSTREAM_CACHE": str(tmp_path / "cache"), "PATH": path})


def calls(settings: Settings) -> int:
    log = Path(settings.path.split(":")[0]) / "calls"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_jars_are_fetched_once_and_kept_apart(settings: Settings) -> None:
    found = fetch(settings)
    assert [jar.name for jar in found.kafka.iterdir()] == ["kafka-clients-4.1.1.jar"]
    assert found.blazegraph.read_bytes() == b"store"
    assert fetch(settings) == found
    assert calls(settings) == 1


def test_an_incomplete_folder_is_not_taken_for_the_jars(settings: Settings) -> None:
    home = settings.cache / "services" / subject.version()
    (home / "kafka").mkdir(parents=True)
    (home / "kafka" / "kafka-clients-4.1.1.jar").write_bytes(b"bro")
    found = fetch(settings)
    assert calls(settings) == 1
    assert (found.kafka / "kafka-clients-4.1.1.jar").read_bytes() == b"broker"


def test_what_an_interrupted_download_left_is_cleared_away(settings: Settings) -> None:
    left_over = settings.cache / "services" / f".{subject.version()}.abc" / "all"
    left_over.mkdir(parents=True)
    fetch(settings)
    names = {path.name for path in (settings.cache / "services").iterdir()}
    assert names == {subject.version(), f"{subject.version()}.lock"}


def test_a_jar_that_is_not_the_pinned_one_is_refused(settings: Settings) -> None:
    jar = Path(settings.path.split(":")[0]) / "jars" / "kafka-clients-4.1.1.jar"
    jar.write_bytes(b"evil")
    with pytest.raises(DownloadFailed, match=r"kafka-clients-4\.1\.1\.jar came with SHA-256"):
        fetch(settings)
    assert not (settings.cache / "services" / subject.version()).exists()


def test_what_maven_said_is_in_the_error(settings: Settings) -> None:
    program(Path(settings.path.split(":")[0]) / "mvn", "#!/bin/sh\necho '[ERROR] no route to host'\nexit 1\n")
    with pytest.raises(DownloadFailed, match="no route to host") as failed:
        fetch(settings)
    assert "maven.log" in str(failed.value)


def test_two_processes_download_once(settings: Settings, tmp_path: Path) -> None:
    """Both start at once with an empty cache; the second waits and finds the files."""
    tools = Path(settings.path.split(":")[0])
    program(tools / "mvn", FAKE_MAVEN.replace("set -e", "set -e\nsleep 0.5"))
    script = tmp_path / "two.py"
    script.write_text(
        "import os\n"
        "from headstream.services import artefacts\n"
        "from headstream.services.settings import Settings\n"
        "real = artefacts._data\n"
        f"pins = {subject._data('artefacts.sha256')!r}\n"
        "artefacts._data = lambda name: pins if name == 'artefacts.sha256' else real(name)\n"
        "print(artefacts.fetch(Settings.from_env(os.environ)).kafka)\n"
    )
    environ = {**os.environ, "PATH": settings.path, "HEADSTREAM_CACHE": str(settings.cache)}
    environ.pop("JAVA_HOME", None)
    both = [
        subprocess.Popen([sys.executable, str(script)], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = {process.communicate(timeout=60)[0] for process in both}
    assert outputs == {f"{settings.cache}/services/{subject.version()}/kafka\n"}
    assert calls(settings) == 1


def test_without_java_a_sentence_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings.from_env({"HEADSTREAM_CACHE": str(tmp_path), "PATH": ""})
    with pytest.raises(ToolMissing, match=r"no `java` was found.*install.*--services embedded"):
        fetch(settings)


def test_without_maven_a_sentence_says_what_to_do(settings: Settings) -> None:
    (Path(settings.path.split(":")[0]) / "mvn").unlink()
    alone = Settings.from_env(
        {"HEADSTREAM_CACHE": str(settings.cache), "PATH": settings.path.split(":")[0] + ":/bin/none"}
    )
    # The stand-in for java needs a shell, which is found by its own absolute path.
    with pytest.raises(ToolMissing, match=r"no `mvn` was found.*install.*--services embedded"):
        fetch(alone)


def test_an_old_java_is_named_with_its_version(settings: Settings) -> None:
    program(Path(settings.path.split(":")[0]) / "java", FAKE_JAVA.replace("VERSION", "1.8.0_402"))
    with pytest.raises(ToolMissing, match=r"is Java 8, and Kafka needs Java 17"):
        fetch(settings)


def test_maven_is_not_needed_once_the_jars_are_there(settings: Settings) -> None:
    fetch(settings)
    (Path(settings.path.split(":")[0]) / "mvn").unlink()
    fetch(settings)


@pytest.mark.parametrize(
    ("banner", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_402"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Dx\nopenjdk version "21" 2023-09-19', 21),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_major_version_is_read_from_the_banner(banner: str, major: int | None) -> None:
    assert java_major(banner) == major


def test_the_real_jars_are_all_there(artefacts: Artefacts) -> None:
    assert (artefacts.kafka / "kafka_2.13-4.1.1.jar").is_file()
    assert artefacts.blazegraph.name == "blazegraph-jar-2.1.5.jar"
    assert not list(artefacts.kafka.glob("blazegraph*"))


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1", "9.5"])
def test_a_port_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ServicesError, match="HEADSTREAM_KAFKA_PORT="):
        Settings.from_env({"HEADSTREAM_KAFKA_PORT": text})
