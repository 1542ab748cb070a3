"""How fast facts get into a store beside a client that does nothing but write, in one run.

    python -m load_tests.store_rate [--rounds 4] [--size 500000] [--kind block] [--quick] [--json]
    python -m load_tests.store_rate --triples 30000000 [--data FOLDER]

Run it in the checkout's root. Blazegraph: a bare client POSTs prepared N-Triples bodies, as large as
the sink's batches, and a sink worker, a process behind a real Kafka, gets the same facts as messages;
each in an empty namespace of the same server, in turns. Of the worker everything counts, from the
first message handed to Kafka to the last triple confirmed. Oxigraph on disk: `extend` and `bulk_extend`
of prepared quads beside our way from facts. Then: what rendering costs an event, and how large the
batches and how fresh the events are when the stream is slow (--trickle).

--triples writes so many through the sink, million by million, every fifth by the bare client, and
shows each; with --data a run that was stopped goes on where it was. Everybody else on the machine
shows in the absolute figures: the ratios are of rounds side by side, and the load average stands below.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from load_tests import broker, tracker_core
from load_tests.store_rate import oxigraph
from load_tests.store_rate.blazegraph import Rate, Silent, Worker, bare, load, namespace, through_the_sink
from load_tests.store_rate.stream import Body, Made, bodies, messages, upto
from load_tests.store_rate.sustained import STEP, sustained

from headstream.services.blazegraph import BlazegraphService
from headstream.services.errors import ServicesError
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports

BARE, SINK = "bare client", "sink worker"
Rates = dict[str, list[Rate]]


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--size", type=int, default=500_000, help="triples a round")
    options.add_argument("--kind", choices=list(tracker_core.KINDS), default="block")
    options.add_argument("--trickle", type=float, default=10.0, help="seconds of each slow stream")
    options.add_argument("--triples", type=int, help="write so many through the sink, and nothing else")
    options.add_argument("--step", type=int, default=STEP, help="of --triples: shown and noted after so many")
    options.add_argument("--data", type=Path, help="of --triples: kept, and gone on with")
    options.add_argument("--quick", action="store_true", help="one small round of everything")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="headstream-load-", ignore_cleanup_errors=True) as temporary:
            place = Path(temporary)
            if chosen.triples:
                found = asdict(
                    sustained(chosen.data or place, chosen.kind, chosen.triples, _tell, chosen.step)
                )
            else:
                found = _compare(chosen, place)
    except (ServicesError, Silent) as error:
        print(f"store_rate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found) if chosen.json else _table(found))
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _compare(chosen: argparse.Namespace, place: Path) -> dict[str, Any]:
    rounds, size, trickle = (1, 60_000, 2.0) if chosen.quick else (chosen.rounds, chosen.size, chosen.trickle)
    made = upto(size, messages(chosen.kind))
    prepared = bodies(made)
    with ExitStack() as stack:
        kafka = stack.enter_context(broker.service())
        store = BlazegraphService(place / "blazegraph", *free_ports(1))
        stack.callback(store.stop)
        store.start()
        with namespace(store) as url:
            bare(url, prepared[: max(1, len(prepared) // 2)])  # The JVM compiles what it runs often.
        blazegraph = _blazegraph(rounds, made, prepared, kafka, store, place)
        slow = {
            f"{rate} events/s": _trickle(rate, trickle, chosen.kind, kafka, store, place)
            for rate in (20, 1_000)
        }
    return {
        "blazegraph": _summary(blazegraph, SINK, [BARE]),
        "oxigraph": _oxigraph(rounds, made, prepared, place),
        "slow": slow,
        "render_us_an_event": {
            kind: row["render (sink)"]
            for kind, row in tracker_core.measure(2 if chosen.quick else 10).items()
        },
        "load": load(),
    }


def _blazegraph(
    rounds: int,
    made: Sequence[Made],
    prepared: Sequence[Body],
    kafka: KafkaService,
    store: BlazegraphService,
    place: Path,
) -> Rates:
    found: Rates = {BARE: [], SINK: []}
    for number in range(rounds):
        for name in (BARE, SINK) if number % 2 == 0 else (SINK, BARE):
            _tell(f"round {number + 1} of {rounds}: Blazegraph, {name}")
            with namespace(store) as url:
                if name == BARE:
                    found[name].append(bare(url, prepared))
                    continue
                with Worker(kafka.bootstrap, url, place) as worker:
                    found[name].append(through_the_sink(worker, made))
    return found


def _oxigraph(rounds: int, made: Sequence[Made], prepared: Sequence[Body], place: Path) -> dict[str, Any]:
    work = oxigraph.contenders(prepared, made)
    triples = sum(one.triples for one in made)
    found: Rates = {name: [] for name in work}
    for number in range(rounds):
        for name in sorted(work, reverse=bool(number % 2)):
            _tell(f"round {number + 1} of {rounds}: Oxigraph, {name}")
            found[name].append(oxigraph.measure(work[name], place / f"oxigraph-{number}", triples))
    ours = "headstream, from facts"
    return _summary(found, ours, [name for name in found if name != ours])


def _summary(found: Rates, ours: str, others: Sequence[str]) -> dict[str, Any]:
    """Medians, and the median over the rounds of ours by the best other of the same round."""
    rows = {
        name: {
            "per_second": statistics.median(rate.per_second for rate in rates),
            "best": max(rate.per_second for rate in rates),
            "requests": rates[0].requests,
            "cpu_us_a_triple": min(rate.cpu / rate.triples for rate in rates) * 1e6,
        }
        for name, rates in found.items()
    }
    ratios = [
        rate.per_second / max(found[other][number].per_second for other in others)
        for number, rate in enumerate(found[ours])
    ]
    best = rows[ours]["best"] / max(rows[other]["best"] for other in others)
    return {"rows": rows, "ratios": ratios, "ratio": statistics.median(ratios), "ratio_of_best": best}


def _trickle(
    rate: int, seconds: float, kind: str, kafka: KafkaService, store: BlazegraphService, place: Path
) -> dict[str, float]:
    """A stream of so many events a second: how large its batches are, and how fresh its events."""
    made = upto(int(rate * seconds) * 20, messages(kind))
    gap = sum(len(one.identified.counts) for one in made) / len(made) / rate
    with namespace(store) as url, Worker(kafka.bootstrap, url, place) as worker:
        sent = 0
        began = time.monotonic()
        for number, one in enumerate(made):
            time.sleep(max(0.0, began + number * gap - time.monotonic()))
            if time.monotonic() > began + seconds and sent:
                break
            worker.send([one])
            sent += one.triples
        worker.flush()
        worker.until(sent)
        count = worker.metric("batch_triples_count")
        buckets = worker.buckets("stored")
        events = max(buckets.values())
        return {
            "batches_per_second": count / (time.monotonic() - began),
            "triples_a_batch": worker.metric("batch_triples_sum") / count,
            "p50_below": min(end for end, number in buckets.items() if number >= events / 2),
            "p95_below": min(end for end, number in buckets.items() if number >= events * 0.95),
        }


def _table(found: dict[str, Any]) -> str:
    if "blazegraph" not in found:
        ours = found["triples"] / found["seconds"]
        said = (
            f"{found['triples']:,} triples in {found['seconds']:,.0f} s: {ours:,.0f} triples/s, "
            f"from {found['slowest']:,.0f} to {found['fastest']:,.0f} by the million"
        )
        if found["bare_triples"]:
            bare_rate = found["bare_triples"] / found["bare_seconds"]
            said += f"; the bare client {bare_rate:,.0f}: {ours / bare_rate:.2f}"
        return said
    lines = [
        "| store | contender | triples/s, median | best | requests | its CPU us a triple |",
        "|---|---|---|---|---|---|",
    ]
    for store in ("blazegraph", "oxigraph"):
        lines += [
            f"| {store} | {name} | {row['per_second']:,.0f} | {row['best']:,.0f} | {row['requests']} "
            f"| {row['cpu_us_a_triple']:.1f} |"
            for name, row in found[store]["rows"].items()
        ]
    for store in ("blazegraph", "oxigraph"):
        ratios = ", ".join(f"{ratio:.2f}" for ratio in found[store]["ratios"])
        lines.append(
            f"\n{store}: ours is {found[store]['ratio']:.2f} of bare (by the round: {ratios}; "
            f"best by best: {found[store]['ratio_of_best']:.2f})"
        )
    for name, row in found["slow"].items():
        lines.append(
            f"\n{name}: {row['triples_a_batch']:,.0f} triples a batch, "
            f"{row['batches_per_second']:.1f} batches/s; in the graph after Kafka had it: "
            f"half within {row['p50_below']:g} s, 95 % within {row['p95_below']:g} s"
        )
    costs = ", ".join(f"{kind} {cost:.1f}" for kind, cost in found["render_us_an_event"].items())
    lines.append(f"\nrendering, us of CPU an event: {costs}; load average {found['load']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
