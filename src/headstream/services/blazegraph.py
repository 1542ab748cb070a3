"""A real Blazegraph 2.1.5 on the loopback, and its namespaces over REST."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from urllib.request import pathname2url

import httpx

from headstream.services import memory, ports
from headstream.services.artefacts import fetch
from headstream.services.errors import NamespaceRefused, StartFailed
from headstream.services.ports import HOST
from headstream.services.processes import Child
from headstream.services.service import Service
from headstream.services.settings import Settings

JOURNAL = "blazegraph.jnl"  # As RWStore.properties names it.
NAMESPACE = "kb"  # What the server makes at its first start.
TEMPLATE_NAMESPACE = "com.bigdata.namespace.kb."


@dataclass(frozen=True, slots=True)
class BlazegraphService(Service):
    """One server with its journal in `data`; the same `data` started again has the same graph."""

    data: Path
    port: int
    settings: Settings = field(default_factory=lambda: Settings.from_env(os.environ), kw_only=True)

    @property
    def url(self) -> str:
        """Where its REST interface begins."""
        return f"http://{HOST}:{self.port}/blazegraph"

    @property
    def sparql(self) -> str:
        """The SPARQL endpoint of the namespace that is there from the start."""
        return sparql_url(self.url, NAMESPACE)

    def prepare(self) -> Child:
        """Write `RWStore.properties` and say how to start the server."""
        artefacts = fetch(self.settings)
        ports.demand(self.port, "Blazegraph", "HEADSTREAM_BLAZEGRAPH_PORT")
        self.data.mkdir(parents=True, exist_ok=True)
        configuration = self.data / "RWStore.properties"
        configuration.write_text(as_properties(namespace_properties(NAMESPACE)), encoding="latin-1")
        # `java -jar` looks for the war folder inside java.base on Java 9 and later; this class does not.
        usable = memory.usable()
        heap = self.settings.blazegraph_heap or memory.heap(usable)
        war = f"jar:file:{pathname2url(str(artefacts.blazegraph))}!/war"
        return Child(
            name="blazegraph",
            argv=[
                str(artefacts.java),
                f"-Xmx{heap}",
                *memory.collector(heap),
                f"-XX:MaxDirectMemorySize={memory.direct(usable)}",
                "-Djava.awt.headless=true",
                f"-Djetty.host={HOST}",
                f"-Djetty.start.timeout={self.settings.start_seconds:.0f}",
                f"-Djetty.home={war}",
                f"-Djetty.resourceBase={war}",
                "-cp",
                str(artefacts.blazegraph),
                "com.bigdata.rdf.sail.webapp.NanoSparqlServer",
                str(self.port),
                NAMESPACE,
                configuration.name,
            ],
            ready=self._opened,
            log=self.data / "blazegraph.log",
            cwd=self.data,
            url=self.url,
            ports={"blazegraph": self.port},
            start_seconds=self.settings.start_seconds,
        )

    def ready(self) -> bool:
        """Tell whether the store answers a query."""
        return self._ask() == 200

    def _opened(self) -> bool:
        """As `ready` while it starts: the server takes no connections until it has tried its journal."""
        status = self._ask()
        if status == 503:  # It will say so for ever; the process lives on.
            raise StartFailed(f"blazegraph runs but could not open {self.data / JOURNAL}")
        return status == 200

    def _ask(self) -> int | None:
        if not ports.accepts(self.port):
            return None
        try:
            return httpx.get(
                self.sparql, params={"query": "ASK {}"}, timeout=5.0, trust_env=False
            ).status_code
        except httpx.HTTPError:
            return None


def namespace_properties(name: str) -> dict[str, str]:
    """Return the whole property set of a namespace: what a REST call leaves out takes bad defaults."""
    text = resources.files("headstream.services").joinpath("RWStore.properties").read_text(encoding="ascii")
    pairs = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {key.replace(TEMPLATE_NAMESPACE, f"com.bigdata.namespace.{name}."): value for key, value in pairs}


def as_properties(properties: Mapping[str, str]) -> str:
    """Write properties as the text that Java reads."""
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def sparql_url(base_url: str, name: str) -> str:
    """Return the SPARQL endpoint of a namespace."""
    return f"{base_url.rstrip('/')}/namespace/{name}/sparql"


def create_namespace(base_url: str, name: str, properties: Mapping[str, str]) -> None:
    """Make a namespace; one that is there already is left as it is. Raises NamespaceRefused."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,62}", name):
        raise NamespaceRefused(f"{name!r} cannot name a namespace: use letters, digits, - and _, at most 63")
    body = as_properties({**properties, "com.bigdata.rdf.sail.namespace": name})
    answer = _send("POST", f"{base_url.rstrip('/')}/namespace", body)
    if answer.status_code not in (201, 409):
        raise NamespaceRefused(_refusal("make", name, base_url, answer))


def drop_namespace(base_url: str, name: str) -> None:
    """Drop a namespace with all that is in it, if it is there. Raises NamespaceRefused."""
    answer = _send("DELETE", f"{base_url.rstrip('/')}/namespace/{name}", "")
    if answer.status_code not in (200, 404):
        raise NamespaceRefused(_refusal("drop", name, base_url, answer))


def _send(method: str, url: str, body: str) -> httpx.Response:
    headers = {"Content-Type": "text/plain"} if body else {}
    try:
        # No proxies from the environment: the store is near, and its data are nobody else's.
        return httpx.request(method, url, content=body, headers=headers, timeout=60.0, trust_env=False)
    except httpx.HTTPError as unreachable:
        raise NamespaceRefused(f"{url} did not answer: {unreachable}; is Blazegraph up?") from unreachable


def _refusal(verb: str, name: str, base_url: str, answer: httpx.Response) -> str:
    first = (answer.text.strip().splitlines() or ["nothing"])[0][:300]
    return f"Blazegraph at {base_url} would not {verb} namespace {name!r} ({answer.status_code}): {first}"
