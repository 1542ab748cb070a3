"""A sink that writes for long, million by million; stopped at any time it goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from load_tests.store_rate.blazegraph import Silent, Worker, load, through_the_sink
from load_tests.store_rate.stream import messages, upto

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


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far it has come: kept beside the data after each million."""

    messages: int = 0
    triples: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    fastest: float = 0.0

    @property
    def per_second(self) -> float:
        return self.triples / self.seconds if self.seconds else 0.0


def sustained(place: Path, kind: str, triples: int, tell: Callable[[str], None], step: int = STEP) -> State:
    """Fill the Blazegraph in `place` up to so many triples through a sink worker; what is there counts.

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
        with Worker(kafka.bootstrap, sparql_url(store.url, NAMESPACE), place) as worker:
            sent = 0
            while state.triples < triples:
                stream = messages(kind, state.messages)
                made = upto(min(step, triples - state.triples), stream)
                rate = through_the_sink(worker, made)
                state = _after(state, len(made), rate.triples, rate.seconds)
                file.write_text(json.dumps(asdict(state)))
                tell(_line(state, rate.per_second, store))
                sent += rate.triples
                if worker.metric("triples_total") != sent:
                    raise Silent(f"the sink has {worker.metric('triples_total'):,.0f} of {sent:,} triples")
    finally:
        store.stop()
        kafka.stop()
    return state


def _after(state: State, made: int, triples: int, seconds: float) -> State:
    rate = triples / seconds
    return State(
        messages=state.messages + made,
        triples=state.triples + triples,
        seconds=state.seconds + seconds,
        slowest=min(state.slowest or rate, rate),
        fastest=max(state.fastest, rate),
    )


def _line(state: State, rate: float, store: BlazegraphService) -> str:
    identity = store.identity()
    memory = psutil.Process(identity.pid).memory_info().rss if identity else 0
    journal = (store.data / JOURNAL).stat().st_blocks * 512
    return (
        f"{time.strftime('%H:%M:%S')}  {state.triples / 1e6:6.1f} million triples  "
        f"{rate:8,.0f}/s now  {state.per_second:8,.0f}/s in all  journal {journal / 1e9:.2f} GB  "
        f"store {memory / 1e9:.1f} GB of memory  load {load()}"
    )
