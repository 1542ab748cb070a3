"""A schema registry of others, as a real process: Apicurio, which speaks Confluent's protocol."""

from __future__ import annotations

import os
import signal
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from headstream.services import ports
from headstream.services.artefacts import find_java
from headstream.services.errors import StartFailed
from headstream.services.locks import locked
from headstream.services.ports import HOST, free_ports
from headstream.services.processes import Child
from headstream.services.service import Service
from headstream.services.settings import Settings
from headstream.services.stack import answers

from ..maven import bring

RELEASE = "2.6.13.Final"  # The last that runs on Java 17.
ARTEFACT = f"io.apicurio:apicurio-registry-app:{RELEASE}:tar.gz:all"
SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
START_SECONDS = 80.0  # It takes 5 to 20, the latter while others begin theirs.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RegistryServer(Service):
    """A registry that keeps all in memory, and can be made to hang and to go on."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def prepare(self) -> Child:
        settings = Settings.from_env(os.environ)
        self.data.mkdir(parents=True, exist_ok=True)
        address = (f"-Dquarkus.http.port={self.port}", f"-Dquarkus.http.host={HOST}")
        return Child(
            name="the schema registry",
            argv=[str(find_java(settings)), "-Xmx300m", *address, "-jar", str(registry_jar(settings))],
            ready=self.ready,
            log=self.data / "log",
            cwd=self.data,
            start_seconds=START_SECONDS,
        )

    def ready(self) -> bool:
        return ports.accepts(self.port) and answers(f"{self.url}/subjects")()

    def register(self, subject: str, schema: str) -> int:
        answer = httpx.post(
            f"{self.url}/subjects/{subject}/versions", json={"schema": schema}, trust_env=False, timeout=30
        )
        assert answer.is_success, answer.text
        return int(answer.json()["id"])

    def text(self, number: int) -> str:
        return str(httpx.get(f"{self.url}/schemas/ids/{number}", trust_env=False).json()["schema"])

    @contextmanager
    def hanging(self) -> Iterator[None]:
        identity = self.identity()
        assert identity is not None
        os.kill(identity.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(identity.pid, signal.SIGCONT)


def started(folder: Path) -> RegistryServer:
    """A registry that answers. One that does not come up (seen once in CI) is tried elsewhere.

    Raises ServicesError with what each left in its log.
    """
    refused = []
    for attempt in range(ATTEMPTS):
        server = RegistryServer(folder / str(attempt), *free_ports(1))
        try:
            server.start()
        except StartFailed as failed:
            refused.append(str(failed))
        else:
            return server
    raise StartFailed("\n\n".join(refused))


def registry_jar(settings: Settings) -> Path:
    """The jar among its libraries in the cache, brought by Maven the first time."""
    home = settings.cache / "services" / f"apicurio-{RELEASE}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent / f"{home.name}.lock"):
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=home.parent) as work:
                with tarfile.open(bring(settings, ARTEFACT, SHA256, Path(work))) as archive:
                    archive.extractall(Path(work) / "files", filter="data")
                (Path(work) / "files").rename(home)
    return home / f"apicurio-registry-app-{RELEASE}-runner.jar"
