"""What NVML says of the NVIDIA GPUs that this process may use.

`Device` is the seam: what a sample asks of a GPU. Each question may fail at any time (a GPU that
falls off the bus, a reading that MIG does not have), which is for whoever asks (gauges.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Device(Protocol):
    """One GPU."""

    @property
    def index(self) -> int:
        """Its number on this host, in the order of the bus, as `nvidia-smi` counts."""

    def memory_bytes(self) -> int:
        """Memory that is in use on it, by whichever process."""

    def utilization_percent(self) -> float:
        """Share of the last moments in which it computed something."""

    def power_watts(self) -> float:
        """What it draws."""


class Nvml:
    """A GPU as NVML has it."""

    def __init__(self, nvml: Any, index: int) -> None:
        self.index = index
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)

    @property
    def uuid(self) -> str:
        return str(self._nvml.nvmlDeviceGetUUID(self._handle))

    def memory_bytes(self) -> int:
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def utilization_percent(self) -> float:
        return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)

    def power_watts(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1000


def devices(nvml: Any, environ: Mapping[str, str]) -> Sequence[Device]:
    """The GPUs that this process may use, by the module `pynvml`; raises what it raises if there is none."""
    nvml.nvmlInit()  # Never shut down: another library of this process may use NVML as well.
    every = [Nvml(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    chosen = visible(environ.get("CUDA_VISIBLE_DEVICES"), [device.uuid for device in every])
    return [every[index] for index in chosen]


def visible(given: str | None, uuids: Sequence[str]) -> list[int]:
    """Indices of the GPUs that CUDA_VISIBLE_DEVICES leaves to this process.

    As CUDA reads it: numbers or beginnings of UUIDs, up to the first that is no device. Of a MIG
    device (`MIG-...`), which NVML does not list here, all GPUs are told.
    """
    if given is None or "MIG-" in given:
        return list(range(len(uuids)))
    found: list[int] = []
    for part in (part.strip() for part in given.split(",")):
        if part.isdecimal() and int(part) < len(uuids):
            found.append(int(part))
            continue
        same = [index for index, uuid in enumerate(uuids) if part and uuid.startswith(part)]
        if len(same) != 1:
            break
        found += same
    return sorted(set(found))
