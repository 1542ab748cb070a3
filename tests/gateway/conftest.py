"""A gateway as users run it, the real client, and the graph of what was spooled."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyoxigraph as ox
import pytest

from headstream.capture.shipper import ship
from headstream.capture.transports.memory import MemoryTransport
from headstream.embedded import Pipeline, Shelf
from headstream.gateway.app import create_app
from headstream.gateway.desk import Desk
from headstream.gateway.intake import Intake
from headstream.gateway.keeping import Keeper, Through
from headstream.gateway.metrics import Metrics
from headstream.gateway.reading import Reading
from headstream.gateway.remembering import Notes
from headstream.gateway.settings import Settings
from headstream.query_api.store import Limits, QueryStore
from headstream.schemas.events import Event
from headstream.schemas.identifiers import DEFAULT_BASE
from headstream.services.ports import free_ports
from headstream.sinks.dead_letters import FileDeadLetters, MemoryDeadLetters
from headstream.sinks.stores.oxigraph import OxigraphStore

from ..asgi import Client
from ..awaiting import until
from ..environment import without_settings

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
PROVML = "https://w3id.org/provml/ns#"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Gateway:
    """A gateway on a data directory and a port of its own, that can be killed and started again."""

    data: Path
    port: int
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def token(self) -> str | None:
        return self.env.get("HEADSTREAM_GATEWAY_TOKEN")

    @property
    def url(self) -> str:
        """As a client is given it that can send no header: a token stands in it."""
        who = "" if self.token is None else f"anybody:{self.token}@"
        return f"http://{who}127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.data.parent / "gateway.log"

    def start(self) -> None:
        kept = without_settings()
        env = {**kept, "HEADSTREAM_CONFIG": "off", "HEADSTREAM_DATA": str(self.data), **self.env}
        command = [sys.executable, "-m", "headstream", "gateway", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        self.until(self.ready, "the gateway is ready")

    def ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/readyz").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Tell it to stop, and await that it has kept everything and ended well."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0, self.log.read_text()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            if self.token is not None:
                headers["Authorization"] = f"Bearer {self.token}"
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def post(self, messages: Any, validate: bool = True) -> Any:
        answer = self.ask("POST", f"/retrospective-provenance?with_validation={validate}", messages)
        assert answer.status == 200, answer.body
        return answer.json["error"]

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        begin = f"{name}{{{shown}}} " if labels else f"{name} "
        text = self.ask("GET", "/metrics").body.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(begin))

    def ingest(self, source: Path, *more: str, kind: str = "provlake") -> dict[str, Any]:
        """`headstream ingest` on this data directory, which has no service up."""
        kept = without_settings()
        env = {**kept, "HEADSTREAM_CONFIG": "off", "HEADSTREAM_DATA": str(self.data)}
        command = [sys.executable, "-m", "headstream", "ingest", kind, str(source), "--json", *more]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @staticmethod
    def until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        until(condition, what, seconds)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that spools: no broker is set. It is not started yet."""
    made = Gateway(tmp_path / "data", *free_ports(1))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


@dataclass(slots=True)
class Within:
    """A gateway in this process over the doubles that we ship: what it kept lies in lists."""

    desk: Desk
    http: Client
    transport: MemoryTransport
    letters: MemoryDeadLetters

    def post(self, messages: Any, validate: bool = True, status: int = 200) -> Any:
        body = messages if isinstance(messages, bytes) else json.dumps(messages).encode()
        answer = self.http.post(f"/retrospective-provenance?with_validation={validate}", content=body)
        assert answer.status_code == status, answer.text
        return answer.json()["error"]

    @property
    def events(self) -> list[Event]:
        return [event for bag in self.transport.bags for event in bag.events]


@pytest.fixture
def within(tmp_path: Path) -> Iterator[Callable[..., Within]]:
    """Makes such gateways, with settings, over a store to be asked."""
    made: list[Within] = []

    def make(store: QueryStore | None = None, host: str = "127.0.0.1", **settings: Any) -> Within:
        chosen, metrics = Settings(**settings), Metrics()
        notes = Notes(tmp_path / f"runs-{len(made)}")
        intake = Intake(chosen, metrics, notes, now=lambda: 7, producer="test")
        transport, letters = MemoryTransport(), MemoryDeadLetters()
        keeper = Keeper(Through("spool", transport, letters, seconds=0.1), metrics)
        keeper.start()
        desk = Desk(chosen, metrics, intake, keeper, Reading(lambda: store, DEFAULT_BASE, Limits()))
        http = Client(create_app(desk), host)
        made.append(Within(desk, http, transport, letters))
        return made[-1]

    yield make
    for each in made:
        each.desk.keeper.close()


@pytest.fixture(scope="session")
def graph_of() -> Callable[[Path, Path], set[ox.Quad]]:
    """The graph of everything in a spool, by the pipeline of the embedded mode; the spool stays as it is."""

    def graph(spool: Path, folder: Path) -> set[ox.Quad]:
        folder.mkdir(exist_ok=True)
        copied = folder / "copied"
        shutil.copytree(spool, copied)  # What has been shipped is not shipped again.
        store = OxigraphStore()
        letters = FileDeadLetters(folder / "letters")
        pipeline = Pipeline(store, Shelf(folder / "documents"), letters)
        assert ship(copied, pipeline).waiting == 0
        assert list(letters.read()) == []
        found = set(store.graph)
        pipeline.close()
        return found

    return graph


@pytest.fixture(scope="session")
def client_source() -> Path:
    """IBM's client as it is (README of shared/peers): none of its code is ours to bring along."""
    given = os.environ.get("PROVLAKE_CLIENT")
    places = [Path(given)] if given else [ROOT.parent / "shared" / "peers" / "provlake-client"]
    for place in places:
        if (place / "src" / "provlake").is_dir():
            return place / "src"
    pytest.skip(f"the client of ProvLake is not at {places[0]}; set PROVLAKE_CLIENT to its folder")
