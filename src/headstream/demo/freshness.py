"""How soon a captured event is in the graph: the paper needed 5 s (section V-A), we promise 2 (p95)."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstream import modes
from headstream.asking import Asker, asker
from headstream.demo.errors import GraphIncomplete, ScriptFailed
from headstream.demo.load import EXECUTION, WORKFLOW
from headstream.demo.seismic import demo_env, demo_settings, rows
from headstream.modes import Mode
from headstream.places import Places
from headstream.schemas import identifiers as ids
from headstream.services import ports
from headstream.services.stack import Stack

GRAPH_SECONDS = 60.0

Say = Callable[[str], None]

_TURNS = """PREFIX provml: <https://w3id.org/provml/ns#>
SELECT (COUNT(?turn) AS ?turns) WHERE {{ ?turn provml:wasPartOf {step} ; provml:durationSeconds ?s }}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Seconds from an event to its facts being queryable, over all turns of a steady run."""

    mode: Mode
    rate: float
    seconds: float
    turns: int
    stored: int
    p50: float
    p95: float
    p99: float
    most: float

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {
            "services": self.mode,
            "events_per_second": self.rate,
            "turns": self.turns,
            "stored": self.stored,
            "p50_seconds": self.p50,
            "p95_seconds": self.p95,
            "p99_seconds": self.p99,
            "max_seconds": self.most,
        }

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.mode}: {self.stored} of {self.turns} turns ({2 * self.stored} events at {self.rate:g} a "
            f"second for {self.seconds:g} s) are in the graph; event to queryable: p50 {self.p50:.3f} s, "
            f"p95 {self.p95:.3f} s, p99 {self.p99:.3f} s, max {self.most:.3f} s"
        )


def measure(mode: Mode, home: Places, rate: float, seconds: float, stage: Say, say: Say) -> Freshness:
    """Start the services, capture at `rate` from a process of its own, and read when each turn was stored."""
    places = Places(home.data / "freshness")
    stack = Stack(places.data)
    stack.down(say)
    shutil.rmtree(places.data, ignore_errors=True)
    places.data.mkdir(parents=True)
    log = places.data / "freshness.log"
    settings = demo_settings(places)
    options = modes.Options(
        api_port=ports.free_ports(1)[0], env={**demo_env(places), "HEADSTREAM_FRESHNESS_LOG": str(log)}
    )
    stage(f"start {mode} services")
    stack.up(mode, modes.parts(mode, places, settings, options), say)
    try:
        stage(f"capture {rate:g} events a second for {seconds:g} s")
        turns = _capture(places, rate, seconds)
        stage("wait until the graph has it all")
        with asker(places) as answers:
            stored = _wait_for(answers, turns)
    finally:
        stack.down(say)
    return _summary(mode, rate, seconds, turns, stored, log)


def _capture(places: Places, rate: float, seconds: float) -> int:
    command = [sys.executable, "-m", "headstream.demo.load", str(rate), str(seconds)]
    env = {**os.environ, **demo_env(places)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ScriptFailed(f"the load ended with status {done.returncode}: {done.stderr[-500:]}")
    return int(done.stdout)


def _wait_for(answers: Asker, turns: int) -> int:
    base = os.environ.get("HEADSTREAM_BASE_IRI") or ids.DEFAULT_BASE
    step = f"<{base}{ids.step(WORKFLOW, EXECUTION, 'training', '0')}>"
    deadline = time.monotonic() + GRAPH_SECONDS
    while True:
        (row,) = rows(answers.sparql(_TURNS.format(step=step), "json"))
        if int(row["turns"]) >= turns:
            return int(row["turns"])
        if time.monotonic() > deadline:
            raise GraphIncomplete(
                f"{row['turns']} of {turns} turns are in the graph after {GRAPH_SECONDS:.0f} s"
            )
        time.sleep(0.2)


def _summary(mode: Mode, rate: float, seconds: float, turns: int, stored: int, log: Path) -> Freshness:
    pairs = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
    delays = sorted((written - event) / 1e6 for event, written in pairs)
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return Freshness(
        mode=mode,
        rate=rate,
        seconds=seconds,
        turns=turns,
        stored=stored,
        p50=cuts[49],
        p95=cuts[94],
        p99=cuts[98],
        most=delays[-1],
    )
