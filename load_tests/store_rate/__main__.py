"""How fast facts get into a store beside a client that does nothing but write, in one run.

    python -m load_tests.store_rate [--rounds 4] [--size 500000] [--kind block] [--quick] [--json]
    python -m load_tests.store_rate --store oxigraph
    python -m load_tests.store_rate --triples 30000000 [--data FOLDER]

Run it in the checkout's root. Blazegraph: a bare client POSTs prepared bodies as large as the sink's
batches, N-Triples or the binary form that the sink sends, and a sink worker, a process behind a real
Kafka, gets the same facts as messages; each in an empty namespace of the same server, in turns. Of the
worker everything counts, from the first message handed to Kafka to the last triple confirmed. Oxigraph
on disk: `extend` and `bulk_extend` of prepared quads and `bulk_load` of prepared bodies beside our way
from facts, as many triples a call. Then: what rendering costs an event, and how large the batches and
how fresh the events are when the stream is slow (--trickle). --store measures one of the two only.

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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from load_tests import broker, tracker_core
from load_tests.store_rate import oxigraph
from load_tests.store_rate.blazegraph import Rate, Silent, Worker, bare, load, namespace, through_the_sink
from load_tests.store_rate.stream import BINARY, Body, Made, bodies, messages, upto
from load_tests.store_rate.sustained import STEP, sustained

from headstream.services.blazegraph import BlazegraphService
from headstream.services.errors import ServicesError
from headstream.services.kafka import KafkaService
from headstream.services.ports import free_ports

BARE, BARE_BINARY, SINK = "bare client, N-Triples", "bare client, binary", "sink worker"
Rates = dict[str, list[Rate]]


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--size", type=int, default=500_000, help="triples a round")
    options.add_argument("--kind", choices=list(tracker_core.KINDS), default="block")
    options.add_argument("--store", choices=("blazegraph", "oxigraph"), help="measure this store only")
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
    rounds, size = (1, 60_000) if chosen.quick else (chosen.rounds, chosen.size)
    made = upto(size, messages(chosen.kind))
    found: dict[str, Any] = {}
    if chosen.store != "oxigraph":
        found |= _through_kafka(chosen, rounds, made, place)
    if chosen.store != "blazegraph":
        found["oxigraph"] = _oxigraph(rounds, made, place)
    rendering = tracker_core.measure(2 if chosen.quick else 20)
    return found | {
        "render_us_an_event": {
            form: {kind: row[f"render, {form} (sink)"] for kind, row in rendering.items()}
            for form in ("N-Triples", "binary")
        },
        # The clock of a core depends on what the others do: of two runs compare the quotients.
        "empty_turn_ns": min(tracker_core.yardstick() for _ in range(9)),
        "load": load(),
    }


def _through_kafka(
    chosen: argparse.Namespace, rounds: int, made: Sequence[Made], place: Path
) -> dict[str, Any]:
    """Blazegraph under load and beside slow streams, through a sink worker."""
    prepared = {BARE: bodies(made), BARE_BINARY: bodies(made, form=BINARY)}
    trickle = 2.0 if chosen.quick else chosen.trickle
    with ExitStack() as stack:
        kafka = stack.enter_context(broker.service())
        store = BlazegraphService(place / "blazegraph", *free_ports(1))
        stack.callback(store.stop)
        store.start()
        with namespace(store) as url:
            for each in prepared.values():  # The JVM compiles what it runs often.
                bare(url, each[: max(1, len(each) // 2)])
        blazegraph = _blazegraph(rounds, made, prepared, kafka, store, place)
        slow = {
            f"{rate} events/s": _trickle(rate, trickle, chosen.kind, kafka, store, place)
            for rate in (20, 1_000)
        }
    return {"blazegraph": _summary(blazegraph, SINK, [BARE, BARE_BINARY]), "slow": slow}


def _blazegraph(
    rounds: int,
    made: Sequence[Made],
    prepared: Mapping[str, Sequence[Body]],
    kafka: KafkaService,
    store: BlazegraphService,
    place: Path,
) -> Rates:
    found: Rates = {name: [] for name in (*prepared, SINK)}
    for number in range(rounds):
        for name in found if number % 2 == 0 else reversed(found):
            _tell(f"round {number + 1} of {rounds}: Blazegraph, {name}")
            with namespace(store) as url:
                if name in prepared:
                    found[name].append(bare(url, prepared[name]))
                    continue
                with Worker(kafka.bootstrap, url, place) as worker:
                    found[name].append(through_the_sink(worker, made))
    return found


def _oxigraph(rounds: int, made: Sequence[Made], place: Path) -> dict[str, Any]:
    work = oxigraph.contenders(made)
    triples = sum(one.triples for one in made)
    found: Rates = {name: [] for name in work}
    for number in range(rounds):
        for name in sorted(work, reverse=bool(number % 2)):
            _tell(f"round {number + 1} of {rounds}: Oxigraph, {name}")
            found[name].append(oxigraph.measure(work[name], place / f"oxigraph-{number}", triples))
    return _summary(found, oxigraph.OURS, [name for name in found if name != oxigraph.OURS])


def _summary(found: Rates, ours: str, others: Sequence[str]) -> dict[str, Any]:
    """Medians, and the median over the rounds of ours by the best other, and by each, of the same round."""
    rows = {
        name: {
            "per_second": statistics.median(rate.per_second for rate in rates),
            "best": max(rate.per_second for rate in rates),
            "requests": rates[0].requests,
            "cpu_us_a_triple": min(rate.cpu / rate.triples for rate in rates) * 1e6,
        }
        for name, rates in found.items()
    }
    by_each = {
        other: [mine.per_second / its.per_second for mine, its in zip(found[ours], found[other], strict=True)]
        for other in others
    }
    ratios = [min(of_round) for of_round in zip(*by_each.values(), strict=True)]
    best = rows[ours]["best"] / max(rows[other]["best"] for other in others)
    return {
        "rows": rows,
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "ratio_of_best": best,
        "ratio_by": {other: statistics.median(ratio) for other, ratio in by_each.items()},
    }


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
    if "load" not in found:
        return _long_run(found)
    stores = [store for store in ("blazegraph", "oxigraph") if store in found]
    lines = [
        "| store | contender | triples/s, median | best | ours by it | requests | its CPU us a triple |",
        "|---|---|---|---|---|---|---|",
    ]
    for store in stores:
        ratio_by = found[store]["ratio_by"]
        lines += [
            f"| {store} | {name} | {row['per_second']:,.0f} | {row['best']:,.0f} "
            f"| {f'{ratio_by[name]:.2f}' if name in ratio_by else ''} "
            f"| {row['requests']} | {row['cpu_us_a_triple']:.1f} |"
            for name, row in found[store]["rows"].items()
        ]
    for store in stores:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in found[store]["ratios"])
        lines.append(
            f"\n{store}: ours is {found[store]['ratio']:.2f} of the best bare one (by the round: {ratios}; "
            f"best by best: {found[store]['ratio_of_best']:.2f})"
        )
    for name, row in found.get("slow", {}).items():
        lines.append(
            f"\n{name}: {row['triples_a_batch']:,.0f} triples a batch, "
            f"{row['batches_per_second']:.1f} batches/s; in the graph after Kafka had it: "
            f"half within {row['p50_below']:g} s, 95 % within {row['p95_below']:g} s"
        )
    costs = "; ".join(
        f"{form}: {', '.join(f'{kind} {cost:.1f}' for kind, cost in each.items())}"
        for form, each in found["render_us_an_event"].items()
    )
    lines.append(
        f"\nrendering, us of CPU an event, by load_tests.tracker_core: {costs}; an empty turn of a loop took "
        f"{found['empty_turn_ns']:.0f} ns (some 15 while the other cores rest; all figures go with it); "
        f"load average {found['load']}"
    )
    return "\n".join(lines)


def _long_run(found: dict[str, Any]) -> str:
    ours = found["triples"] / found["seconds"]
    said = (
        f"{found['triples']:,} triples in {found['seconds']:,.0f} s: {ours:,.0f} triples/s, "
        f"from {found['slowest']:,.0f} to {found['fastest']:,.0f} by the million"
    )
    if found["bare_triples"]:
        bare_rate = found["bare_triples"] / found["bare_seconds"]
        said += f"; the bare client {bare_rate:,.0f}: {ours / bare_rate:.2f}"
    return said


if __name__ == "__main__":
    sys.exit(main())
