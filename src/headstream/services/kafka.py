"""A real Kafka broker (KRaft, one node) on the loopback."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headstream.services import ports
from headstream.services.artefacts import Artefacts, fetch
from headstream.services.errors import StartFailed
from headstream.services.ports import HOST
from headstream.services.processes import Child
from headstream.services.service import Service
from headstream.services.settings import Settings

LOGS = "topics"  # Relative to the data folder, which is the working directory: the data can be moved.


@dataclass(frozen=True, slots=True)
class KafkaService(Service):
    """One broker with its data in `data`; the same `data` started again has the same topics."""

    data: Path
    port: int
    controller_port: int
    settings: Settings = field(default_factory=lambda: Settings.from_env(os.environ), kw_only=True)

    @property
    def bootstrap(self) -> str:
        """What clients take as `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> Child:
        """Write `server.properties`, format the storage the first time, and say how to start the broker."""
        artefacts = fetch(self.settings)
        ports.demand(self.port, "Kafka", "HEADSTREAM_KAFKA_PORT")
        ports.demand(self.controller_port, "Kafka's controller", "HEADSTREAM_KAFKA_CONTROLLER_PORT")
        self.data.mkdir(parents=True, exist_ok=True)
        configuration = self.data / "server.properties"
        configuration.write_text(server_properties(self.port, self.controller_port), encoding="latin-1")
        if not (self.data / LOGS / "meta.properties").exists():
            self._format(artefacts)
        return Child(
            name="kafka",
            argv=[
                str(artefacts.java),
                "-Xms256m",
                f"-Xmx{self.settings.kafka_heap}",
                "-XX:+UseG1GC",
                "-Djava.awt.headless=true",
                "-Dlog4j2.level=WARN",
                "-cp",
                f"{artefacts.kafka}/*",
                "kafka.Kafka",
                configuration.name,
            ],
            ready=self.ready,
            log=self.data / "kafka.log",
            cwd=self.data,
            url=self.bootstrap,
            ports={"kafka": self.port, "kafka_controller": self.controller_port},
            start_seconds=self.settings.start_seconds,
        )

    def ready(self) -> bool:
        """Tell whether the broker answers and has joined its own cluster, so that topics can be made."""
        if not ports.accepts(self.port):  # Cheap, and librdkafka would log each refused connection.
            return False
        try:
            client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            return bool(client.list_topics(timeout=5.0).brokers)
        except KafkaException:
            return False

    def _format(self, artefacts: Artefacts) -> None:
        command = [str(artefacts.java), "-Dlog4j2.level=WARN", "-cp", f"{artefacts.kafka}/*"]
        command += ["kafka.tools.StorageTool", "format", "-t", self._cluster(), "-c", "server.properties"]
        done = subprocess.run(
            [*command, "--ignore-formatted"],
            cwd=self.data,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise StartFailed(f"Kafka could not format its storage in {self.data}:\n{done.stdout.strip()}")

    def _cluster(self) -> str:
        """Return the id of this cluster: one for good, so that an interrupted formatting can be repeated."""
        file = self.data / "cluster.id"
        if not file.exists():
            fresh = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            # A leading dash would read as an option of the storage tool.
            file.write_text(f"h{fresh[1:]}" if fresh.startswith("-") else fresh, encoding="ascii")
        return file.read_text(encoding="ascii")


def server_properties(port: int, controller_port: int) -> str:
    """Return the configuration of a broker that is its own controller and listens on the loopback only.

    After a kill the broker is let in again when its old session has run out: with 3 s instead of 9 s it is
    back in 5 s instead of 12 s (measured). There is no second broker to lead in the meantime.
    """
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{controller_port}
listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}
advertised.listeners=PLAINTEXT://{HOST}:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={LOGS}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""
