"""What capture costs: headstream beside FlowCept, MLflow, OpenTelemetry and an empty loop, in one run.

    python -m load_tests.capture_cost [--quick] [--json] [--no-peers] [--case loop ...] [--rounds 5]

Run it in the checkout's root. Every measurement is a process of its own; contenders take turns in a
new order each round, and medians are shown, because the machine may do other things meanwhile (its
load average is printed). Cases with a broker start a real Kafka and are left out where that needs
Java that is not there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from load_tests import broker, peers
from load_tests.capture_cost import contenders, report
from load_tests.capture_cost.running import Rows, Size, measure, note

from headstream.schemas.topics import Topics
from headstream.services.errors import ServicesError

QUICK = Size(epochs=20, batches=35, rounds=1, pace_turns=500, pace_pairs=2)


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--case", action="append", choices=contenders.CASES, help="default: all of them")
    options.add_argument(
        "--driver", action="append", help="only these beside headstream, such as of_flowcept"
    )
    options.add_argument("--rounds", type=int, default=Size().rounds)
    options.add_argument("--quick", action="store_true", help="one small round: that it runs, no figures")
    options.add_argument("--json", action="store_true")
    options.add_argument("--no-peers", action="store_true", help="only headstream and the empty loop")
    options.add_argument("--no-kafka", action="store_true")
    options.add_argument("--venv", type=Path, help="environment of the peers (default: in HEADSTREAM_CACHE)")
    chosen = options.parse_args()
    size = QUICK if chosen.quick else Size(rounds=chosen.rounds)
    with ExitStack() as stack:
        python = Path(sys.executable) if chosen.no_peers else peers.interpreter(chosen.venv)
        bootstrap = None if chosen.no_kafka else _broker(stack)
        before = os.getloadavg()
        found: dict[str, Rows] = {}
        for case in chosen.case or contenders.CASES:
            who = [
                each
                for each in contenders.WHO[case]
                if not (each.peer and (chosen.no_peers or not _wanted(each.driver, chosen.driver)))
                and not (each.kafka and bootstrap is None)
            ]
            note(f"{case}: {len(who)} contenders, {size.rounds} rounds")
            found[case] = measure(python, case, who, size, bootstrap)
    facts = _facts(size, before)
    if chosen.json:
        print(json.dumps({"facts": facts, "cases": found}))
        return 0
    print(f"{json.dumps(facts)}\n")
    for case, rows in found.items():
        print(f"{report.table(case, rows)}\n")
    return 0


def _wanted(driver: str, chosen: list[str] | None) -> bool:
    return chosen is None or driver in chosen


def _broker(stack: ExitStack) -> str | None:
    try:
        kafka = stack.enter_context(broker.service())
    except ServicesError as missing:
        note(f"without Kafka: {missing}")
        return None
    topics = Topics(contenders.PREFIX)
    broker.make_topics(kafka.bootstrap, topics.events, topics.definitions, contenders.CHANNEL)
    return kafka.bootstrap


def _facts(size: Size, before: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average_before": [round(each, 2) for each in before],
        "load_average_after": [round(each, 2) for each in os.getloadavg()],
        "rounds": size.rounds,
        "statistic": "median of interleaved rounds, one process each",
    }


if __name__ == "__main__":
    sys.exit(main())
