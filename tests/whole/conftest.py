"""The whole pipeline: worker processes of ours around the real Kafka and Blazegraph of the session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstream.sinks.graph_hash import graph_hash
from headstream.sinks.stores import open_store
from headstream.stream_processors import topics
from headstream.stream_processors.settings import Settings

from ..awaiting import until


class Process:
    """One `headstream` process that can be killed and started again."""

    def __init__(self, folder: Path, name: str, command: list[str], env: dict[str, str]) -> None:
        self.name = name
        self._ready = folder / f"{name}.ready"
        self._log = folder / f"{name}.log"
        self._command = command
        self._env = {**os.environ, **env, "HEADSTREAM_READY_FILE": str(self._ready)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        until(self._is_ready, f"{self.name} ready (log {self._log})", 60)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self._log.read_text()[-3000:]
        return self._ready.exists()


class Pipeline:
    """Topics of its own, a namespace of its own, and the workers between them."""

    def __init__(self, bootstrap: str, store: str, prefix: str, folder: Path) -> None:
        self.store = store
        self.spool = folder / "spool"
        self.env = {
            "HEADSTREAM_DATA": str(folder),
            "HEADSTREAM_BOOTSTRAP": bootstrap,
            "HEADSTREAM_TOPIC_PREFIX": prefix,
            "HEADSTREAM_STORE_URL": store,
            "HEADSTREAM_SINK_GROUP": f"{prefix}.sink",
            "HEADSTREAM_PARTITIONS": "2",
        }
        self._folder = folder
        self.processes: list[Process] = []

    def start(self, name: str, *command: str, program: list[str] | None = None) -> Process:
        """Start `headstream NAME` (or COMMAND, or another program); return when it is ready."""
        program = program or [sys.executable, "-m", "headstream", *(command or (name,))]
        process = Process(self._folder, name, program, self.env)
        self.processes.append(process)
        process.start()
        return process

    @staticmethod
    def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Await a condition; fail with what was awaited when its time is over."""
        until(condition, what, seconds)

    def size(self) -> int:
        store = open_store(self.store)
        try:
            return store.size()
        finally:
            store.close()

    def hash(self) -> str:
        store = open_store(self.store)
        try:
            return graph_hash(store.dump())
        finally:
            store.close()

    def wait_for_hash(self, expected: str, seconds: float) -> None:
        """Bounded: the graph must become this one."""
        until(lambda: self.hash() == expected, f"graph {expected[:12]} in {self.store}", seconds)


@pytest.fixture
def pipeline(kafka: Any, namespace: Any, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline with nothing started yet; whatever a test starts is stopped after it."""
    made = Pipeline(kafka.bootstrap, namespace.url, topic_prefix, tmp_path)
    topics.create(Settings.from_env(made.env))
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            process.stop()
