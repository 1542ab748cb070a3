"""Where headstream keeps things: one data directory, the same for every command (HEADSTREAM_DATA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from headstream.capture.settings import spool_root

NAMESPACE = "headstream"
DEFAULT_API_PORT = 8080
DEFAULT_GATEWAY_PORT = 5000


@dataclass(frozen=True, slots=True)
class Places:
    """The paths under one data directory; the spool alone may lie elsewhere.

    `namespace` is where the graph lies in the Blazegraph of the full mode: one a project or tenant.
    """

    data: Path
    spool_elsewhere: Path | None = None
    namespace: str = NAMESPACE

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Places:
        """HEADSTREAM_DATA, or the platform's folder for user data; the spool as capture has it."""
        data = Path(environ.get("HEADSTREAM_DATA") or user_data_path("headstream")).absolute()
        return cls(
            data,
            spool_root({**environ, "HEADSTREAM_DATA": str(data)}),
            environ.get("HEADSTREAM_NAMESPACE") or NAMESPACE,
        )

    @property
    def spool(self) -> Path:
        """What scripts captured and nobody has taken yet (HEADSTREAM_SPOOL)."""
        return self.spool_elsewhere or self.data / "spool"

    @property
    def archive(self) -> Path:
        """Spool directories that the embedded pipeline has taken in: its source of truth for replay."""
        return self.data / "archive"

    @property
    def store(self) -> Path:
        """The Oxigraph store of the embedded mode."""
        return self.data / "store"

    @property
    def documents(self) -> Path:
        """Definitions and other documents that the embedded pipeline knows."""
        return self.data / "documents"

    @property
    def dead_letters(self) -> Path:
        """What the embedded pipeline refused."""
        return self.data / "dead-letters"

    @property
    def settlements(self) -> Path:
        """What became of the letters since: sent again, or dropped."""
        return self.data / "dead-letters-settled"

    @property
    def gateway(self) -> Path:
        """What the gateway knows across a restart: documents, and the scope of runs."""
        return self.data / "gateway"

    @property
    def gateway_letters(self) -> Path:
        """What the gateway could not translate, where no broker has it. A file has one writer."""
        return self.data / "gateway-dead-letters"

    @property
    def gateway_settlements(self) -> Path:
        """What became of those letters since."""
        return self.data / "gateway-dead-letters-settled"

    @property
    def logs(self) -> Path:
        """Logs of started services."""
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """What started services say of themselves while they run; gone when nothing is up."""
        return self.data / "run"

    @property
    def store_location(self) -> str:
        """The embedded store as `sinks.open_store` and `--store` name it."""
        return f"oxigraph:{self.store}"
