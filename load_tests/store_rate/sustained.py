"""A sink that writes for long, million by million; stopped at any time it goes on where it was.

Every fifth million is written by the bare client instead, into the same namespace: so there is a ratio
at every size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from load_tests.store_rate.blazegraph import Rate, Silent, Worker, bare, load, through_the_sink
from load_tests.store_rate.stream import bodies, messages, upto

from headstream.services.blazegraph import (
    JOURNAL,
    BlazegraphService,
    create_namespace,
    namespace_properties,
    sparql_url,
)
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports

STEP = 1_000_000
NAMESPACE = "sustained"
BARE_EVERY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far it has come, kept beside the data after each million; but for `bare`, all is of the sink."""

    messages: int = 0  # Of both.
    triples: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    fastest: float = 0.0
    bare_triples: int = 0
    bare_seconds: float = 0.0

    @property
    def written(self) -> int:
        return self.triples + self.bare_triples

    @property
    def per_second(self) -> float:
        return self.triples / self.seconds if self.seconds else 0.0

    @property
    def bare_per_second(self) -> float:
        return self.bare_triples / self.bare_seconds if self.bare_seconds else 0.0


def sustained(place: Path, kind: str, triples: int, tell: Callable[[str], None], step: int = STEP) -> State:
    """Fill the Blazegraph in `place` up to so many triples; what is there counts.

    The clock runs from the first message of a million handed to Kafka until its last triple is
    confirmed; making the messages is not part of it.
    """
    place.mkdir(parents=True, exist_ok=True)
    file = place / "state.json"
    state = State(**json.loads(file.read_text())) if file.exists() else State()
    kafka = KafkaService(place / "kafka", *free_ports(2))
    store = BlazegraphService(place / "blazegraph", *free_ports(1))
    kafka.start()
    try:
        store.start()
        create_namespace(store.url, NAMESPACE, namespace_properties(NAMESPACE))
        url = sparql_url(store.url, NAMESPACE)
        with Worker(kafka.bootstrap, url, place) as worker:
            sent = 0
            while state.written < triples:
                made = upto(min(step, triples - state.written), messages(kind, state.messages))
                alone = state.written // step % BARE_EVERY == BARE_EVERY - 1
                rate = bare(url, bodies(made)) if alone else through_the_sink(worker, made)
                state = (_after_bare if alone else _after)(state, len(made), rate)
                file.write_text(json.dumps(asdict(state)))
                tell(_line(state, rate.per_second, store, "bare" if alone else "sink"))
                sent += 0 if alone else rate.triples
                if worker.metric("triples_total") != sent:
                    raise Silent(f"the sink has {worker.metric('triples_total'):,.0f} of {sent:,} triples")
    finally:
        store.stop()
        kafka.stop()
    return state


def _after(state: State, made: int, rate: Rate) -> State:
    return replace(
        state,
        messages=state.messages + made,
        triples=state.triples + rate.triples,
        seconds=state.seconds + rate.seconds,
        slowest=min(state.slowest or rate.per_second, rate.per_second),
        fastest=max(state.fastest, rate.per_second),
    )


def _after_bare(state: State, made: int, rate: Rate) -> State:
    return replace(
        state,
        messages=state.messages + made,
        bare_triples=state.bare_triples + rate.triples,
        bare_seconds=state.bare_seconds + rate.seconds,
    )


def _line(state: State, rate: float, store: BlazegraphService, whose: str) -> str:
    identity = store.identity()
    memory = psutil.Process(identity.pid).memory_info().rss if identity else 0
    journal = (store.data / JOURNAL).stat().st_blocks * 512
    return (
        f"{time.strftime('%H:%M:%S')}  {state.written / 1e6:6.1f} million triples  "
        f"{whose} {rate:7,.0f}/s now  "
        f"sink {state.per_second:7,.0f}/s and bare {state.bare_per_second:7,.0f}/s in all  "
        f"journal {journal / 1e9:.2f} GB  store {memory / 1e9:.1f} GB of memory  load {load()}"
    )
