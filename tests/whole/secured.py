"""A real Kafka that lets nobody in without TLS and a password; certificates of an authority of our own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from headstream.services.kafka import KafkaService
from headstream.services.ports import HOST, free_ports
from headstream.services.processes import Child

USER, PASSWORD = "headstream", "s3cret-canary"


def authority(folder: Path) -> Path:
    """Make an authority; its certificate."""
    ca = folder / "ca.pem"
    _openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority",
        "-keyout", "ca.key", "-out", ca.name,
    )  # fmt: skip
    return ca


def keystore(folder: Path) -> Path:
    """Key and certificate of a server on the loopback, signed by the authority in the folder."""
    (folder / "san").write_text(f"subjectAltName=IP:{HOST}\n")
    _openssl(
        folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=broker",
        "-keyout", "server.key", "-out", "server.csr",
    )  # fmt: skip
    _openssl(
        folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "san", "-out", "server.pem",
    )  # fmt: skip
    found = folder / "keystore.pem"
    found.write_text("".join((folder / name).read_text() for name in ("server.key", "server.pem", "ca.pem")))
    return found


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@dataclass(frozen=True, slots=True)
class SecuredKafka(KafkaService):
    """As the local one, which stays reachable for the test, with a second listener that is secured."""

    secured_port: int
    keystore: Path

    @classmethod
    def in_folder(cls, folder: Path) -> SecuredKafka:
        folder.mkdir()
        authority(folder)
        made = keystore(folder)
        plain, controller, secured = free_ports(3)
        return cls(folder / "kafka", plain, controller, secured, made)

    def prepare(self) -> Child:
        child = KafkaService.prepare(self)
        configuration = self.data / "server.properties"
        lines = configuration.read_text("latin-1").splitlines()
        secured = f"SASL_SSL://{HOST}:{self.secured_port}"
        for number, line in enumerate(lines):
            if line.startswith(("listeners=", "advertised.listeners=")):
                lines[number] = f"{line},{secured}"
            elif line.startswith("listener.security.protocol.map="):
                lines[number] = f"{line},SASL_SSL:SASL_SSL"
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        lines += [
            "listener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            f'listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required user_{USER}="{PASSWORD}";',
            f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;",
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={self.keystore}",
            # Everybody may do everything, until a rule says otherwise; the test itself whatever it says.
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "allow.everyone.if.no.acl.found=true",
        ]
        configuration.write_text("\n".join(lines) + "\n", encoding="latin-1")
        return replace(child, ready=self.ready)

    def add_scram_user(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, how, PASSWORD.encode())
        for future in admin.alter_user_scram_credentials([change]).values():
            future.result(20)

    @contextmanager
    def may_not_write(self, topic: str) -> Iterator[None]:
        """The user of the secured listener may do everything with a topic but write."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        rules = [
            AclBinding(
                ResourceType.TOPIC,
                topic,
                ResourcePatternType.LITERAL,
                f"User:{USER}",
                "*",
                operation,
                permission,
            )
            for operation, permission in (
                (AclOperation.ALL, AclPermissionType.ALLOW),
                (AclOperation.WRITE, AclPermissionType.DENY),
            )
        ]
        for made in admin.create_acls(rules).values():
            made.result(20)
        try:
            yield
        finally:
            every = AclBindingFilter(
                ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, None, None,
                AclOperation.ANY, AclPermissionType.ANY,
            )  # fmt: skip
            for gone in admin.delete_acls([every]).values():
                gone.result(20)

    def environ(self, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """What a client is told to get in."""
        return {
            "HEADSTREAM_BOOTSTRAP": f"{HOST}:{self.secured_port}",
            "HEADSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "HEADSTREAM_KAFKA_SASL_MECHANISM": mechanism,
            "HEADSTREAM_KAFKA_SASL_USERNAME": USER,
            "HEADSTREAM_KAFKA_SASL_PASSWORD": PASSWORD,
            "HEADSTREAM_KAFKA_SSL_CA_LOCATION": str(self.keystore.parent / "ca.pem"),
        }
