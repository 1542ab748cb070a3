"""Settings of capture: read once from the environment by whoever starts a run, and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headstream.schemas.clients import RegistryOptions, client_options, registry_options
from headstream.schemas.configuration import OFF

DEFAULT_BAG_SIZE = 50
ALL, ZERO, PER_RANK = RANKS = ("all", "zero", "per-rank")
SILENT_SECONDS = 86_400.0
# What happens to a record for which there is no room.
BLOCK, DROP_OLDEST, DROP_NEWEST = "block", "drop_oldest", "drop_newest"
_POLICIES = (BLOCK, DROP_OLDEST, DROP_NEWEST)
# What says how a run computes: devices, threads, environments, and what a scheduler says of its job.
NOTED_VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "PYTORCH_*", "TORCH_*", "XLA_*", "JAX_*", "NCCL_*",
    "OMP_*", "MKL_*", "KMP_*", "OPENBLAS_*", "NUMEXPR_*", "BLIS_NUM_THREADS",
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
    "PYTHONHASHSEED", "PYTHONPATH", "CONDA_DEFAULT_ENV", "CONDA_PREFIX", "VIRTUAL_ENV",
    "LOADEDMODULES", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "LANG", "TZ",
    "SLURM_*", "SLURMD_NODENAME", "PBS_*", "LSB_*", "LS_SUBCWD",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process captures. `spool` None is diskless: what does not fit into memory is counted.

    `bootstrap` None leaves the spool for `headstream up`, a relay or `headstream ship`; so does
    `online` False. `spool_full` says what gives way where there is no room. `shipper`: "process"
    ships from a process of its own, "thread" from one of the script's. `rank`: "auto" takes the
    scheduler's, "none" takes none, else the text itself. `ranks`: "all" tell one run together, only
    "zero" captures, or "per-rank" each tells a run of its own.
    `budget`: the most that capture may take of the time of a loop, as a fraction; beyond it not every
    turn is kept as a row. None: all are.
    `environment`: names and patterns of the variables that are noted. `telemetry_seconds` 0 is off.
    """

    spool: Path | None = None
    spool_bytes: int = 8 << 30
    spool_full: str = DROP_NEWEST
    block_seconds: float = 1.0
    free_bytes: int = 256 << 20
    silent_seconds: float = SILENT_SECONDS
    memory_bytes: int = 2 << 20
    segment_bytes: int = 2 << 20
    value_bytes: int = 256 << 10
    digest_bytes: int = 64 << 20
    event_bytes: int = 640 << 10
    bag_size: int = DEFAULT_BAG_SIZE
    bootstrap: str | None = None
    online: bool = True
    topic_prefix: str = "headstream"
    shipper: str = "process"
    exit_seconds: float = 5.0
    execution: str | None = None
    rank: str = "auto"
    ranks: str = ALL
    keep_shipped: bool = False
    budget: float | None = None
    git: bool = True
    file_facts: bool = True
    checksum: str | None = None
    packages: bool = True
    environment: tuple[str, ...] = NOTED_VARIABLES
    telemetry_seconds: float = 0.0
    kafka: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # May hold passwords.
    registry: RegistryOptions | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read HEADSTREAM_* variables; a number that is none falls back to its default."""
        default = cls()
        return cls(
            spool=spool_root(environ),
            spool_bytes=_number(environ, "HEADSTREAM_SPOOL_BYTES", default.spool_bytes),
            spool_full=_policy(environ, default.spool_full),
            block_seconds=_seconds(environ, "HEADSTREAM_BLOCK_SECONDS", default.block_seconds),
            free_bytes=_number(environ, "HEADSTREAM_SPOOL_FREE_BYTES", default.free_bytes),
            silent_seconds=_seconds(environ, "HEADSTREAM_SILENT_SECONDS", default.silent_seconds),
            memory_bytes=_number(environ, "HEADSTREAM_MEMORY_BYTES", default.memory_bytes),
            segment_bytes=_number(environ, "HEADSTREAM_SEGMENT_BYTES", default.segment_bytes),
            value_bytes=_number(environ, "HEADSTREAM_VALUE_BYTES", default.value_bytes),
            digest_bytes=_number(environ, "HEADSTREAM_DIGEST_BYTES", default.digest_bytes),
            bag_size=max(1, _number(environ, "HEADSTREAM_BAG_SIZE", default.bag_size)),
            bootstrap=environ.get("HEADSTREAM_BOOTSTRAP") or None,
            online=environ.get("HEADSTREAM_TRANSPORT", "online").lower() != "offline",
            topic_prefix=environ.get("HEADSTREAM_TOPIC_PREFIX") or default.topic_prefix,
            shipper="thread"
            if environ.get("HEADSTREAM_SHIPPER", "").lower() == "thread"
            else default.shipper,
            exit_seconds=_seconds(environ, "HEADSTREAM_EXIT_SECONDS", default.exit_seconds),
            execution=environ.get("HEADSTREAM_EXECUTION") or None,
            rank=environ.get("HEADSTREAM_RANK") or default.rank,
            ranks=_one_of(environ, "HEADSTREAM_RANKS", RANKS, default.ranks),
            keep_shipped=environ.get("HEADSTREAM_KEEP_SHIPPED", "off").lower() not in OFF,
            budget=_fraction(environ, "HEADSTREAM_BUDGET"),
            git=(environ.get("HEADSTREAM_GIT") or "on").lower() not in OFF,
            file_facts=(environ.get("HEADSTREAM_FILE_FACTS") or "on").lower() not in OFF,
            checksum=_checksum(environ.get("HEADSTREAM_CHECKSUM", "")),
            packages=(environ.get("HEADSTREAM_PACKAGES") or "on").lower() not in OFF,
            environment=patterns(environ.get("HEADSTREAM_ENV") or "default"),
            telemetry_seconds=_seconds(environ, "HEADSTREAM_TELEMETRY_SECONDS", default.telemetry_seconds),
            kafka=tuple(sorted(client_options(environ).items())),
            registry=registry_options(environ),
        )


def spool_root(environ: Mapping[str, str]) -> Path | None:
    """Where spools lie: HEADSTREAM_SPOOL ("off" for none), else `spool` in the data folder."""
    given = environ.get("HEADSTREAM_SPOOL")
    if given:
        return None if given.lower() in OFF else Path(os.path.abspath(given))
    data = environ.get("HEADSTREAM_DATA")
    if not data:
        from platformdirs import user_data_dir  # Imported late: an import of capture stays light.

        data = user_data_dir("headstream", appauthor=False)
    return Path(os.path.abspath(data)) / "spool"


def _policy(environ: Mapping[str, str], default: str) -> str:
    given = environ.get("HEADSTREAM_SPOOL_FULL", "").lower().replace("-", "_")
    return given if given in _POLICIES else default


def _checksum(given: str) -> str | None:
    return None if given.lower() in OFF else given.lower()


def patterns(text: str) -> tuple[str, ...]:
    """Names and patterns between commas; `default` among them stands for those that are noted anyway."""
    if text.lower() in OFF:
        return ()
    given = [part.strip() for part in text.split(",")]
    return tuple(
        name for part in given if part for name in (NOTED_VARIABLES if part == "default" else (part,))
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environ[name])
    except (KeyError, ValueError):
        return default


def _fraction(environ: Mapping[str, str], name: str) -> float | None:
    """A part of the whole, as `0.01` or `1%`; None for what is none."""
    text = environ.get(name, "").strip()
    try:
        part = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return part if 0 < part < 1 else None


def _one_of(environ: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    given = environ.get(name, "").lower()
    return given if given in allowed else default


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        seconds = float(environ[name])
    except (KeyError, ValueError):
        return default
    return seconds if 0 <= seconds < float("inf") else default
