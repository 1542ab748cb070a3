"""Events for the tests of the sink, and ways to wait for them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from headstream.schemas.facts import Fact, Identified, Origin

BASE = "https://provml.example.org/id/"


@pytest.fixture
def base() -> str:
    return BASE


@pytest.fixture
def steps() -> Callable[..., Identified]:
    """Make a message with the facts of some steps, with every kind of literal that stores rewrite."""
    return message


@pytest.fixture
def until() -> Callable[..., float]:
    """Wait for a condition and return how long that took; fails when it takes too long."""

    def wait(condition: Callable[[], object], seconds: float = 30.0) -> float:
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < seconds, f"not within {seconds} s"
            time.sleep(0.02)
        return time.monotonic() - started

    return wait


def message(number: int, events: int = 5, run: str = "run-1", poison: str | None = None) -> Identified:
    facts: list[Fact] = []
    for event in range(events):
        step = f"dte/w/{run}/train/{number}-{event}"
        value = f"val/w/{run}/train/{number}-{event}/out/loss"
        facts += [
            (step, "rdf:type", "term", "provml:LearningStageExecution"),
            (step, "prov:startedAtTime", "dateTime", f"2026-11-23T15:12:54.{number:06d}Z"),
            (step, "provml:index", "integer", str(number * events + event)),
            (step, "rdfs:label", "string", f'Época {event} 😀 \x01\u202e"\\\n'),
            (step, "provml:parameters", "JSON", f'{{"a":[{event},null],"é":"😀"}}'),
            (value, "prov:value", "double", repr(1e-5 / (event + 1))),
            (value, "provml:final", "boolean", "true" if event % 2 else "false"),
            (value, "rdfs:comment", "@en-GB", "colour"),
            (poison if poison and event == events // 2 else value, "prov:wasGeneratedBy", "id", step),
            (step, "prov:used", "iri", f"http://example.org/é/{event}"),
        ]
    return Identified(
        workflow="w",
        execution=run,
        origin=Origin(topic="headstream.events", partition=0, offset=number),
        facts=tuple(facts),
        counts=(10,) * events,
        event_times=tuple(int(time.time() * 1e6) for _ in range(events)),
    )
