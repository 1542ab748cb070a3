"""How many events a tracker worker handles a second, with a real broker, beside what bounds it.

    python -m load_tests.tracker_rate [--bags 1000] [--rounds 3] [--kind steps ...] [--quick] [--json]
    python -m load_tests.tracker_rate --scaling [--bags 4000] [--rounds 5]     one worker and two, no others

Run it in the checkout's root. The whole chain (decode, join, identify, derive, encode) in bags of
50 events through Faust, with one worker and with two on two partitions, beside a Faust agent that
only decodes and sends on, and beside a plain confluent-kafka loop. An event is one StepStarted,
ValuesAdded or StepEnded; in a block a row counts as two, a start and an end (see tracker_core).

All contenders work off the same bags, in turns. What counts is events a CPU second of the workers:
it is what one core gives, and others may load the machine. The best round of each is shown; the
start of a worker and its first bags are not measured. Two cores of one machine slow each other, so
beside the scaling stands that of two processes which share nothing and only call the pure functions.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from load_tests import broker, tracker_core
from load_tests.tracker_rate.running import Contender, Rate, Silent, measure

from headstream.services.errors import ServicesError

_TRACKER: Final = "headstream.stream_processors"
_AGENT: Final = "load_tests.tracker_rate.bare_agent"
_LOOP: Final = "load_tests.tracker_rate.plain_loop"
ONE: Final = Contender(name="tracker, 1 worker", module=_TRACKER, more=1)
TWO: Final = Contender(name="tracker, 2 workers", module=_TRACKER, workers=2, more=1)
BARE_AGENT: Final = Contender(name="bare Faust agent", module=_AGENT)
CONTENDERS: Final = (
    ONE,
    TWO,
    BARE_AGENT,
    Contender(name="plain loop, decode and forward", module=_LOOP, arguments=("bare",)),
    Contender(name="plain loop, whole chain", module=_LOOP, arguments=("whole",)),
)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--bags", type=int, default=1000, help="bags of 50 events a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--kind", action="append", choices=list(tracker_core.KINDS), help="default: steps")
    options.add_argument("--quick", action="store_true", help="100 bags, one round")
    options.add_argument("--scaling", action="store_true", help="only the tracker, with one worker and two")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    contenders = (ONE, TWO) if chosen.scaling else CONTENDERS
    bags, rounds = (100, 1) if chosen.quick else (chosen.bags, chosen.rounds)
    kinds = chosen.kind or ["steps"]
    try:
        with (
            broker.service() as kafka,
            tempfile.TemporaryDirectory(prefix="headstream-rate-", ignore_cleanup_errors=True) as place,
        ):
            rates = _rates(contenders, kinds, bags, rounds, kafka.bootstrap, Path(place))
    except (ServicesError, Silent) as error:
        print(f"tracker_rate: {error}", file=sys.stderr)
        return 1
    found = {
        "kinds": {kind: _summary(each) for kind, each in rates.items()},
        "pure": {
            kind: row["decode, track, encode"]
            for kind, row in tracker_core.measure(3 if chosen.quick else 20).items()
            if kind in kinds
        },
        "scaling_of_the_machine": tracker_core.scaling(3 if chosen.quick else 10),
        "bags": bags,
        "rounds": rounds,
        "load": os.getloadavg(),
        "empty_turn_ns": min(tracker_core.yardstick() for _ in range(9)),
    }
    print(json.dumps(found) if chosen.json else _table(found))
    return 0


def _rates(
    contenders: Sequence[Contender], kinds: list[str], bags: int, rounds: int, bootstrap: str, place: Path
) -> dict[str, dict[str, list[Rate]]]:
    """Every round of every contender, in turns."""
    found: dict[str, dict[str, list[Rate]]] = {kind: {} for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            for contender in contenders:
                print(f"round {number + 1} of {rounds}: {kind}, {contender.name}", file=sys.stderr)
                rate = measure(contender, kind, bags, bootstrap, place)
                found[kind].setdefault(contender.name, []).append(rate)
    return found


def _summary(rates: dict[str, list[Rate]]) -> dict[str, Any]:
    """The best round of each, by what a CPU second gave, and the ratios that are promised."""
    best = {name: max(each, key=lambda rate: rate.per_cpu_second) for name, each in rates.items()}
    rows = {
        name: {
            **asdict(rate),
            "per_second": max(each.per_second for each in rates[name]),
            "per_cpu_second": rate.per_cpu_second,
            "of_bare_agent": (
                rate.per_cpu_second / best[BARE_AGENT.name].per_cpu_second
                if BARE_AGENT.name in best
                else None
            ),
        }
        for name, rate in best.items()
    }
    return {
        "rows": rows,
        "scaling_wall": rows[TWO.name]["per_second"] / rows[ONE.name]["per_second"],
        "scaling_cpu": 2 * rows[TWO.name]["per_cpu_second"] / rows[ONE.name]["per_cpu_second"],
    }


def _table(found: dict[str, Any]) -> str:
    lines = [
        "| bags | contender | events/CPU s | events/s, wall | of the bare agent, by CPU |",
        "|---|---|---|---|---|",
    ]
    for kind, summary in found["kinds"].items():
        lines += [
            f"| {kind} | {name} | {row['per_cpu_second']:,.0f} | {row['per_second']:,.0f} "
            f"| {'' if row['of_bare_agent'] is None else format(row['of_bare_agent'], '.2f')} |"
            for name, row in summary["rows"].items()
        ]
        lines.append(f"| {kind} | pure functions, no broker | {1e6 / found['pure'][kind]:,.0f} | | |")
    for kind, summary in found["kinds"].items():
        lines.append(
            f"\n{kind}: two workers are {summary['scaling_cpu']:.2f} times one by CPU, "
            f"{summary['scaling_wall']:.2f} times by the wall clock ({os.cpu_count()} cores, shared with "
            "the broker and whatever else runs); two processes of pure functions "
            f"{found['scaling_of_the_machine']:.2f} times one by CPU"
        )
    load = " ".join(f"{average:.1f}" for average in found["load"])
    lines.append(
        f"\n{found['bags']} bags of 50 events, best of {found['rounds']} rounds; load average {load}; "
        f"an empty turn of a Python loop takes {found['empty_turn_ns']:.1f} ns"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
