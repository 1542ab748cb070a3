"""What an outage costs: memory of a script and of its shipper, time of its calls, and what is lost.

    python -m load_tests.outage [--events N] [--json] [--no-kafka] [--case closed ...]

Run it in the checkout's root. Each case runs one script that captures as fast as it can, small
values and now and then one of 100 kB, while its broker is away. Memory is what comes on top of the
same script without capture, and for the shipper process on top of one that has nothing to do. The
ledger of each case has to be exact: captured = delivered + kept in the spool + counted as lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from load_tests import broker
from load_tests.outage.running import PREFIX, Peak, Ran, run
from load_tests.survival.scripts import folder

from headstream.capture.reading import read, spools
from headstream.capture.shipper import ship
from headstream.capture.transports.kafka import KafkaTransport
from headstream.schemas.codec import decode_bag
from headstream.schemas.documents import Document
from headstream.schemas.events import Bag, event_count
from headstream.schemas.topics import Topics
from headstream.services.errors import ServicesError
from headstream.stream_processors import topics as tracker_topics
from headstream.stream_processors.settings import Settings as TrackerSettings

NOBODY: Final = "127.0.0.1:9"
LIMIT: Final = 30 << 20
WITHOUT_KAFKA: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "closed": ("broker away, spool on disk", {}),
    "drop-oldest": (
        "broker away, spool of 4 MB, drop_oldest",
        {"HEADSTREAM_SPOOL_BYTES": str(4 << 20), "HEADSTREAM_SPOOL_FULL": "drop_oldest"},
    ),
    "drop-newest": ("broker away, spool of 4 MB, drop_newest", {"HEADSTREAM_SPOOL_BYTES": str(4 << 20)}),
    "block": (
        "broker away, spool of 4 MB, block",
        {"HEADSTREAM_SPOOL_BYTES": str(4 << 20), "HEADSTREAM_SPOOL_FULL": "block"},
    ),
    "thread": ("broker away, shipped by a thread", {"HEADSTREAM_SHIPPER": "thread"}),
    "diskless": ("broker away, no disk", {"HEADSTREAM_SPOOL": "off"}),
}
STOPPED: Final = "stopped"
CASES: Final = {
    **{name: title for name, (title, _) in WITHOUT_KAFKA.items()},
    STOPPED: "broker stopped in mid run, back later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a case cost. Memory in bytes on top of the baseline; `p99` in microseconds, by thirds."""

    captured: int
    delivered: int
    kept: int
    lost: dict[str, int]
    script: Peak
    shipper: Peak
    p50: list[float]
    p99: list[float]
    seconds: float

    @property
    def missing(self) -> int:
        return self.captured - self.delivered - self.kept - sum(self.lost.values())

    @property
    def sound(self) -> bool:
        return self.missing == 0 and max(self.script.resident, self.shipper.resident) < LIMIT


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--case", action="append", choices=list(CASES), help="default: all of them")
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--no-kafka", action="store_true")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    steps = chosen.events // 2
    names = [name for name in chosen.case or CASES if not (chosen.no_kafka and name == STOPPED)]
    with folder() as place:
        bare = run(place, "none", steps)
    idle = _idle(bare)
    rows: dict[str, Row] = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows[name] = _case(name, steps, bare, idle)
        except ServicesError as missing:
            print(f"without {name}: {missing}", file=sys.stderr)
    if chosen.json:
        shown = {name: {**asdict(row), "missing": row.missing} for name, row in rows.items()}
        print(json.dumps({"baseline": asdict(bare.script), "idle": asdict(idle.shipper), "cases": shown}))
    else:
        print(_markdown(rows, bare, idle))
    failed = [name for name, row in rows.items() if not row.sound]
    if failed:
        print(
            f"memory above {LIMIT >> 20} MB, or events that nobody knows of: {', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _idle(bare: Ran) -> Ran:
    """What a shipper takes that has nothing to do: less than a bare script, and it had not started yet."""
    for milliseconds in (3000, 10_000, 30_000):
        with folder() as place:
            idle = run(place, "idle", milliseconds, HEADSTREAM_BOOTSTRAP=NOBODY)
        if idle.shipper.resident >= bare.script.resident:
            return idle
    raise TimeoutError("no shipper has started within 30 s")


def _case(name: str, steps: int, bare: Ran, idle: Ran) -> Row:
    with ExitStack() as stack:
        place = stack.enter_context(folder())
        if name == STOPPED:
            kafka = stack.enter_context(broker.service())
            given = {"HEADSTREAM_BOOTSTRAP": kafka.bootstrap, "HEADSTREAM_TOPIC_PREFIX": PREFIX}
            tracker_topics.create(TrackerSettings.from_env(given))
            ran = run(
                place, "pause", steps, {1: kafka.stop, 2: kafka.start}, HEADSTREAM_BOOTSTRAP=kafka.bootstrap
            )
            _recover(kafka.bootstrap, place / "spool")
            values = broker.values(kafka.bootstrap, Topics(PREFIX).events)
            delivered = len(set(_identified(map(decode_bag, values))))
        else:
            ran = run(place, "capture", steps, HEADSTREAM_BOOTSTRAP=NOBODY, **WITHOUT_KAFKA[name][1])
            delivered = 0
        return Row(
            captured=ran.told["captured"],
            delivered=delivered,
            kept=len(list(_identified(_bags(place / "spool")))),
            lost=ran.counted,
            script=_above(ran.script, bare.script),
            shipper=_above(ran.shipper, idle.shipper),
            p50=ran.told["p50"],
            p99=ran.told["p99"],
            seconds=ran.seconds,
        )


def _recover(bootstrap: str, spool: Path) -> None:
    transport = KafkaTransport(bootstrap, Topics(PREFIX))
    shipped = ship(spool, transport, timeout=120)
    transport.close()
    if shipped.waiting:
        raise TimeoutError(f"{shipped.waiting} messages of {spool} are not acknowledged after 120 s")


def _bags(root: Path) -> Iterator[Bag]:
    for directory in spools(root):
        for content in read(directory):
            if not isinstance(content, Document):
                yield content


def _identified(bags: Iterable[Bag]) -> Iterator[tuple[Any, ...]]:
    """Each event by what it is about: what was sent twice is one."""
    for bag in bags:
        for event in bag.events:
            assert event_count(event) == 1
            yield type(event).__name__, getattr(event, "step", None)


def _above(found: Peak, base: Peak) -> Peak:
    return Peak(max(0, found.resident - base.resident), max(0, found.private - base.private))


def _markdown(rows: dict[str, Row], bare: Ran, idle: Ran) -> str:
    lines = [
        [
            "case",
            "captured",
            "delivered",
            "kept",
            "counted as lost",
            "missing",
            "script MB",
            "shipper MB",
            "p99 us by thirds",
            "ratio",
        ],
        ["---", *["---:"] * 9],
    ]
    for name, row in rows.items():
        lost = ", ".join(f"{number:,} {reason}" for reason, number in row.lost.items()) or "0"
        numbers = [f"{row.captured:,}", f"{row.delivered:,}", f"{row.kept:,}", lost, f"{row.missing:,}"]
        memory = [
            f"{each.resident / 2**20:.1f} ({each.private / 2**20:.1f})" for each in (row.script, row.shipper)
        ]
        ratio = f"{row.p99[1] / row.p99[0]:.2f}" if name == STOPPED else ""
        lines.append([CASES[name], *numbers, *memory, " / ".join(f"{each:.0f}" for each in row.p99), ratio])
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"Peak memory on top of the same script without capture ({_megabytes(bare.script)}), and of a\n"
        f"shipper that has nothing to do ({_megabytes(idle.shipper)}): resident, in brackets private;\n"
        f"load average {load}. The ratio is the p99 of a call during the outage to that before it.\n\n{table}"
    )


def _megabytes(peak: Peak) -> str:
    return f"{peak.resident / 2**20:.1f} MB resident, {peak.private / 2**20:.1f} private"


if __name__ == "__main__":
    sys.exit(main())
