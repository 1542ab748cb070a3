"""How soon a captured event is in the graph: the paper needed 5 s (section V-A), we promise 2 (p95)."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from headstream import modes
from headstream.asking import Asker, asker
from headstream.demo.errors import GraphIncomplete, ScriptFailed
from headstream.demo.load import EXECUTION, WORKFLOW
from headstream.demo.seismic import demo_env, demo_settings, rows
from headstream.modes import Mode
from headstream.places import Places
from headstream.schemas import identifiers as ids
from headstream.services import ports
from headstream.services.ports import HOST
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
    # The p95 of each stage as the pipeline itself measured it: the bucket that it is in, interpolated.
    stages: Mapping[str, float] = field(default_factory=dict)

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
            "p95_seconds_by_stage": dict(self.stages),
        }

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.mode}: {self.stored} of {self.turns} turns ({2 * self.stored} events at {self.rate:g} a "
            f"second for {self.seconds:g} s) are in the graph; event to queryable: p50 {self.p50:.3f} s, "
            f"p95 {self.p95:.3f} s, p99 {self.p99:.3f} s, max {self.most:.3f} s; p95 by the pipeline's own "
            f"histograms: {', '.join(f'{stage} {p95:.3f} s' for stage, p95 in self.stages.items())}"
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
    api, tracker, sink = ports.free_ports(3)
    shown = {"HEADSTREAM_TRACKER_METRICS_PORT": str(tracker), "HEADSTREAM_METRICS_PORT": str(sink)}
    options = modes.Options(
        api_port=api, env={**demo_env(places), **shown, "HEADSTREAM_FRESHNESS_LOG": str(log)}
    )
    stage(f"start {mode} services")
    stack.up(mode, modes.parts(mode, places, settings, options), say)
    try:
        stage(f"capture {rate:g} events a second for {seconds:g} s")
        turns = _capture(places, rate, seconds)
        stage("wait until the graph has it all")
        with asker(places) as answers:
            stored = _wait_for(answers, turns)
        stages = _stages([tracker, sink] if mode == "full" else [api])
    finally:
        stack.down(say)
    return replace(_summary(mode, rate, seconds, turns, stored, log), stages=stages)


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


def _stages(shown_at: Sequence[int]) -> dict[str, float]:
    """The p95 of every stage that somebody has measured, in the order of the stages."""
    buckets: dict[str, dict[float, float]] = {}
    for port in shown_at:
        text = httpx.get(f"http://{HOST}:{port}/metrics", timeout=10.0, trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.endswith("_freshness_seconds_bucket"):
                    stage = buckets.setdefault(sample.labels["stage"], {})
                    stage[float(sample.labels["le"])] = sample.value
    return {stage: quantile(0.95, counts) for stage, counts in buckets.items() if max(counts.values())}


def quantile(share: float, buckets: Mapping[float, float]) -> float:
    """As Prometheus' `histogram_quantile`: from the limit of each bucket and how many are within it."""
    limits = sorted(buckets)
    wanted = share * buckets[limits[-1]]
    low, before = 0.0, 0.0
    for limit in limits:
        if buckets[limit] >= wanted:
            if limit == float("inf"):
                return low
            return low + (limit - low) * (wanted - before) / max(buckets[limit] - before, 1e-9)
        low, before = limit, buckets[limit]
    return low


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
