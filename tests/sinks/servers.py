"""SPARQL servers of others, as real processes: Oxigraph's own and Apache Jena Fuseki."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from headstream.services import ports
from headstream.services.artefacts import find_java
from headstream.services.locks import locked
from headstream.services.ports import HOST
from headstream.services.processes import Child
from headstream.services.service import Service
from headstream.services.settings import Settings

from ..maven import bring

FUSEKI = "org.apache.jena:jena-fuseki-server:5.6.0"
FUSEKI_SHA256 = "d28c1eaf703122ee628895a460c20fa4aa60a892f435d403ea8c036f241da1f8"


@dataclass(frozen=True, slots=True)
class SparqlServer(Service):
    """A store whose dataset stays in `data`; the same `data` started again has the same graph."""

    data: Path
    port: int

    @property
    def base(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def graph_store(self) -> str:
        raise NotImplementedError

    @property
    def query(self) -> str:
        raise NotImplementedError

    @property
    def update(self) -> str:
        raise NotImplementedError

    @property
    def argv(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> Child:
        self.data.mkdir(parents=True, exist_ok=True)
        return Child(
            name=type(self).__name__,
            argv=self.argv,
            ready=self.ready,
            log=self.data / "log",
            cwd=self.data,
            start_seconds=120,
        )

    def ready(self) -> bool:
        if not ports.accepts(self.port):
            return False
        try:
            return httpx.get(self.query, params={"query": "ASK {}"}, timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def clear(self) -> None:
        """Empty the dataset: headstream itself never deletes."""
        httpx.post(self.update, data={"update": "DROP ALL"}, timeout=60, trust_env=False).raise_for_status()


class OxigraphServer(SparqlServer):
    __slots__ = ()

    @property
    def graph_store(self) -> str:
        return f"{self.base}/store"

    @property
    def query(self) -> str:
        return f"{self.base}/query"

    @property
    def update(self) -> str:
        return f"{self.base}/update"

    @property
    def argv(self) -> list[str]:
        program = Path(sysconfig.get_path("scripts")) / "oxigraph"
        return [str(program), "serve", "--location", "graph", "--bind", f"{HOST}:{self.port}"]


class Fuseki(SparqlServer):
    __slots__ = ()

    @property
    def graph_store(self) -> str:
        return f"{self.base}/ds"

    @property
    def query(self) -> str:
        return f"{self.base}/ds/query"

    @property
    def update(self) -> str:
        return f"{self.base}/ds/update"

    @property
    def argv(self) -> list[str]:
        (self.data / "tdb2").mkdir(exist_ok=True)
        settings = Settings.from_env(os.environ)
        command = [str(find_java(settings)), "-Xmx512m", "-jar", str(fuseki_jar(settings))]
        return [*command, f"--port={self.port}", "--localhost", "--tdb2", "--loc=tdb2", "--update", "/ds"]


def fuseki_jar(settings: Settings) -> Path:
    """The pinned jar in the cache, brought by Maven the first time; raises ServicesError."""
    name = "-".join(FUSEKI.split(":")[1:])
    jar = settings.cache / "services" / name / f"{name}.jar"
    jar.parent.mkdir(parents=True, exist_ok=True)
    with locked(jar.parent / "lock"):
        if not jar.exists():
            with tempfile.TemporaryDirectory(dir=jar.parent) as work:
                bring(settings, FUSEKI, FUSEKI_SHA256, Path(work)).replace(jar)
    return jar
