"""What a sample of telemetry reads: this process and its host through psutil, GPUs through NVML.

Counters only grow; what they grew by between two samples is what happened in between. All else is
as it stood at the moment. A reading that fails is left out of the sample and counted; one that has
failed three times is not asked again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from headstream.capture.clock import now
from headstream.capture.errors import WARNINGS
from headstream.capture.gpus import Device

Number = int | float
Reading = Callable[[], Mapping[str, Number]]

GPU_SECONDS: Final = "gpu_seconds"
GPU_MEMORY: Final = "gpu_memory_bytes"
COUNTERS: Final = ("disk_read_bytes", "disk_write_bytes", "network_received_bytes", "network_sent_bytes")
_CPU: Final = "cpu_seconds"
_HOST_BUSY: Final = "host_busy_seconds"
_HOST_ALL: Final = "host_seconds"
_FAILURES: Final = 3


class Sample(NamedTuple):
    """What was read at a moment, in microseconds since the epoch."""

    at: int
    read: Mapping[str, Number]

    def grown(self, before: Sample, name: str) -> Number | None:
        """What a counter grew by; None if either sample lacks it."""
        if name not in self.read or name not in before.read:
            return None
        return max(self.read[name] - before.read[name], 0)


class Gauges:
    """Takes samples; from one thread."""

    def __init__(self, readings: Mapping[str, Reading], gpus: Sequence[Device] = ()) -> None:
        self._readings = {**readings, **{name: reading for gpu in gpus for name, reading in _of_gpu(gpu)}}
        self._gpus = [gpu.index for gpu in gpus]
        self._failures = dict.fromkeys(self._readings, 0)
        self._gpu_seconds = 0.0
        self._at: int | None = None

    @property
    def watches_gpus(self) -> bool:
        """There are values that say nothing of the time since the last sample: they must be taken often."""
        return bool(self._gpus)

    def sample(self) -> Sample:
        """Read all there is. Never raises for a reading that fails."""
        read: dict[str, Number] = {}
        for name, reading in list(self._readings.items()):
            try:
                read.update(reading())
                self._failures[name] = 0
            except Exception as error:  # Whatever psutil and NVML raise: the script must not notice.
                self._failed(name, error)
        at = now()
        if self._gpus:
            self._sum_up(read, at)
        self._at = at
        return Sample(at, read)

    def _failed(self, name: str, error: Exception) -> None:
        WARNINGS.add("telemetry-reading", message=f"{name}: {type(error).__name__}: {error}")
        self._failures[name] += 1
        if self._failures[name] == _FAILURES:
            del self._readings[name]

    def _sum_up(self, read: dict[str, Number], at: int) -> None:
        """All GPUs together: memory in use, and seconds of work as far as their utilization tells."""
        used = [read[name] for i in self._gpus if (name := f"gpu{i}_memory_bytes") in read]
        if used:
            read[GPU_MEMORY] = sum(used)
        busy = [read[name] for i in self._gpus if (name := f"gpu{i}_utilization_percent") in read]
        if busy:
            if self._at is not None:
                self._gpu_seconds += sum(busy) / 100 * (at - self._at) / 1e6
            read[GPU_SECONDS] = self._gpu_seconds


def row(before: Sample, after: Sample) -> dict[str, Number]:
    """What is told of the time between two samples."""
    told: dict[str, Number] = {}
    seconds = (after.at - before.at) / 1e6
    cpu = after.grown(before, _CPU)
    if cpu is not None and seconds > 0:
        told["cpu_percent"] = round(100 * cpu / seconds, 2)
    busy, all_of_it = after.grown(before, _HOST_BUSY), after.grown(before, _HOST_ALL)
    if busy is not None and all_of_it:
        told["host_cpu_percent"] = round(100 * busy / all_of_it, 2)
    for name in COUNTERS:
        grown = after.grown(before, name)
        if grown is not None:
            told[name] = grown
    others = {*COUNTERS, _CPU, _HOST_BUSY, _HOST_ALL, GPU_SECONDS, GPU_MEMORY}
    return {**told, **{name: value for name, value in after.read.items() if name not in others}}


def of_process() -> dict[str, Reading]:
    """Readings of this process and its host. Without psutil processor time is all there is."""
    try:
        import psutil  # type: ignore[import-untyped]  # An optional package.
    except ImportError as error:
        WARNINGS.add("telemetry-without-psutil", message=str(error))
        return {"cpu": lambda: {_CPU: time.process_time()}}
    me = psutil.Process(os.getpid())
    return {
        "cpu": lambda: {_CPU: time.process_time()},
        "memory": lambda: {"memory_bytes": me.memory_info().rss},
        "disk": lambda: _disk(me),
        "network": lambda: _network(psutil.net_io_counters(pernic=True)),
        "host": lambda: _host(psutil.cpu_times()._asdict()),
        "host-memory": lambda: {"host_memory_bytes": _in_use(psutil.virtual_memory())},
    }


def _disk(process: Any) -> dict[str, Number]:
    found = process.io_counters()
    return {"disk_read_bytes": found.read_bytes, "disk_write_bytes": found.write_bytes}


def _network(cards: Mapping[str, Any]) -> dict[str, Number]:
    """All cards of the host but the loopback: the kernel does not count by process."""
    real = [found for name, found in cards.items() if not name.startswith("lo")]
    return {
        "network_received_bytes": sum(found.bytes_recv for found in real),
        "network_sent_bytes": sum(found.bytes_sent for found in real),
    }


def _host(times: Mapping[str, float]) -> dict[str, Number]:
    """Processor time of the whole host; that of guests is already in that of users."""
    spent = sum(value for name, value in times.items() if not name.startswith("guest"))
    idle = times.get("idle", 0.0) + times.get("iowait", 0.0)
    return {_HOST_BUSY: spent - idle, _HOST_ALL: spent}


def _in_use(memory: Any) -> int:
    return int(memory.total - memory.available)


def _of_gpu(gpu: Device) -> Iterator[tuple[str, Reading]]:
    memory, busy, power = (
        f"gpu{gpu.index}_{what}" for what in ("memory_bytes", "utilization_percent", "power_watts")
    )
    yield memory, lambda: {memory: gpu.memory_bytes()}
    yield busy, lambda: {busy: gpu.utilization_percent()}
    yield power, lambda: {power: gpu.power_watts()}
