"""What survives: turns that a script was told are captured, and are there afterwards, each once.

    python -m load_tests.survival [--quick] [--json] [--no-peers] [--no-kafka] [--situation break ...]

Run it in the checkout's root. The situations are those of the survival benchmark: every way a script
can end, a broker that is away, consumers that die, and forked ranks; headstream beside FlowCept, with
real processes, a real broker and real stores. Without a broker FlowCept writes its file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from load_tests import peers
from load_tests.survival.counting import Outcome
from load_tests.survival.scripts import OURS, PEERS
from load_tests.survival.with_broker import WITH_BROKER
from load_tests.survival.without_broker import WITHOUT_BROKER

from headstream.services.errors import ServicesError

Table = dict[str, dict[str, Outcome]]
TITLES = {name: title for name, (title, _) in (*WITHOUT_BROKER.items(), *WITH_BROKER.items())}


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--situation", action="append", choices=list(TITLES), help="default: all of them")
    options.add_argument("--kills", type=int, default=100, help="runs of ours that are killed")
    options.add_argument("--patience", type=float, default=60.0, help="seconds until a script is killed")
    options.add_argument("--quick", action="store_true", help="15 kills")
    options.add_argument("--json", action="store_true")
    options.add_argument("--no-peers", action="store_true", help="only headstream")
    options.add_argument("--no-kafka", action="store_true")
    options.add_argument("--venv", type=Path, help="environment of the peers (default: in HEADSTREAM_CACHE)")
    chosen = options.parse_args()
    python = Path(sys.executable) if chosen.no_peers else peers.interpreter(chosen.venv)
    who = [OURS] if chosen.no_peers else [OURS, *PEERS]
    table: Table = {}
    for name in chosen.situation or TITLES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        if name in WITHOUT_BROKER:
            run = WITHOUT_BROKER[name][1]
            kills = 15 if chosen.quick else chosen.kills
            table[name] = {each.name: run(python, each, kills) for each in who}
        elif not chosen.no_kafka:
            try:
                found = WITH_BROKER[name][1](python, who, chosen.patience)
            except ServicesError as missing:
                print(f"without {name}: {missing}", file=sys.stderr)
                continue
            table[name] = {each.name: outcome for each, outcome in zip(who, found, strict=True)}
    if chosen.json:
        shown = {name: {each: asdict(row[each]) for each in row} for name, row in table.items()}
        print(json.dumps(shown))
    else:
        print(_markdown(table))
    lost = [name for name, row in table.items() if row[OURS.name].distinct != row[OURS.name].captured]
    if lost:
        print(f"headstream lost turns in: {', '.join(lost)}", file=sys.stderr)
    return 1 if lost else 0


def _markdown(table: Mapping[str, Mapping[str, Outcome]]) -> str:
    """Captured turns, and for each contender: percent there under an identifier of their own (+ repeats)."""
    names = list(next(iter(table.values()), {}))
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    lines = [["situation", "captured by headstream", *names], ["---", "---:", *("---:" for _ in names)]]
    notes = []
    for situation, row in table.items():
        lines.append(
            [TITLES[situation], f"{row[OURS.name].captured:,}", *(_percent(row[name]) for name in names)]
        )
        notes += [f"* {TITLES[situation]}, {name}: {row[name].note}" for name in names if row[name].note]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join(
        [
            f"Turns that are there with an identifier of their own, of those captured (load average {load}):",
            "",
            rows,
            "",
            "`+n %`: further records under an identifier that is taken: a repeat that a store by identifier",
            "absorbs, or another turn that it loses.",
            *notes,
        ]
    )


def _percent(found: Outcome) -> str:
    if not found.captured:
        return "nothing captured"
    text = f"{found.distinct / found.captured * 100:.1f} %"
    return text if not found.duplicates else f"{text} +{found.duplicates / found.captured * 100:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
