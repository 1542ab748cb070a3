"""What each property of Blazegraph that we set is worth: loads with and without it, in turns.

    python -m load_tests.store_rate.properties [--triples 1000000] [--only NAME ...] [--json]

Run it in the checkout's root. For each line of VARIANTS two servers stand side by side: one with our
property set, one with the same set but for the property named, which has Blazegraph's own default or a
value that was thought of. Each body goes to both, in alternating order, so that what else the machine
does hits both alike. Shown is the other one by ours: seconds of a request (median over pairs, without
the first tenth), processor seconds of the server, bytes of the journal. Above 1 ours is better.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import psutil
from load_tests.store_rate.blazegraph import bare, load
from load_tests.store_rate.stream import BINARY, Body, bodies, messages, upto
from load_tests.tracker_core import KINDS

from headstream.services.blazegraph import (
    JOURNAL,
    NAMESPACE,
    BlazegraphService,
    as_properties,
    namespace_properties,
)
from headstream.services.errors import ServicesError
from headstream.services.ports import free_ports
from headstream.services.processes import Child

_STORE: Final = "com.bigdata.rdf.store.AbstractTripleStore"
_JOURNAL: Final = "com.bigdata.journal.AbstractJournal"
_RELEASE: Final = "com.bigdata.service.AbstractTransactionService.minReleaseAge"
_COLLATOR: Final = "com.bigdata.btree.keys.KeyBuilder.collator"
_BTREE: Final = "com.bigdata.btree.BTree.branchingFactor"
_INDEX: Final = f"com.bigdata.namespace.{NAMESPACE}"


@dataclass(frozen=True, slots=True)
class Variant:
    """How the other server differs: properties (None: left out) and arguments of Java."""

    properties: Mapping[str, str | None]
    java: tuple[str, ...] = ()


def _branching(factor: int) -> Variant:
    return Variant({f"{_INDEX}.{index}.{_BTREE}": str(factor) for index in ("lex", "spo")})


VARIANTS: Final[Mapping[str, Variant]] = {
    "the same (how much is noise)": Variant({}),
    "all defaults": Variant({"*": None}),
    "writeRetentionQueue.capacity 500": Variant({"com.bigdata.btree.writeRetentionQueue.capacity": "500"}),
    "writeRetentionQueue.capacity 8000": Variant({"com.bigdata.btree.writeRetentionQueue.capacity": "8000"}),
    "branching factors 128 everywhere": _branching(128),
    "branching factors 512 everywhere": _branching(512),
    "branching factors as they were, 330 to 1024": Variant(
        {
            f"{_INDEX}.{index}{_BTREE}": factor
            for index, factor in (
                ("lex.", "400"),
                ("lex.ID2TERM.", "600"),
                ("lex.TERM2ID.", "330"),
                ("spo.", "1024"),
                ("spo.OSP.", "900"),
                ("spo.SPO.", "900"),
            )
        }
    ),
    "collator.strength as it comes": Variant({f"{_COLLATOR}.strength": None}),
    "collator of the JDK": Variant({_COLLATOR: "JDK"}),
    "sail.bufferCapacity 10000": Variant({"com.bigdata.rdf.sail.bufferCapacity": "10000"}),
    "textIndex on": Variant({f"{_STORE}.textIndex": "true"}),
    "axioms, truth maintenance, justify on": Variant(
        {
            f"{_STORE}.axiomsClass": None,
            f"{_STORE}.justify": None,
            "com.bigdata.rdf.sail.truthMaintenance": None,
        }
    ),
    "quads on": Variant({f"{_STORE}.quads": "true"}),
    "statementIdentifiers on": Variant({f"{_STORE}.statementIdentifiers": "true"}),
    "enableRawRecordsSupport on": Variant({f"{_STORE}.enableRawRecordsSupport": "true"}),
    "inlineDateTimes on": Variant({f"{_STORE}.inlineDateTimes": "true"}),
    "bloomFilter off": Variant({f"{_STORE}.bloomFilter": "false"}),
    "termCache.capacity 500000": Variant({f"{_STORE}.termCache.capacity": "500000"}),
    "writeCacheBufferCount 6": Variant({f"{_JOURNAL}.writeCacheBufferCount": "6"}),
    "writeCacheBufferCount 500": Variant({f"{_JOURNAL}.writeCacheBufferCount": "500"}),
    "smallSlotType off": Variant({"com.bigdata.rwstore.RWStore.smallSlotType": None}),
    "groupCommit on": Variant({"com.bigdata.journal.Journal.groupCommit": "true"}),
    "extents of 10 MB": Variant(
        {
            f"{_JOURNAL}.initialExtent": None,
            f"{_JOURNAL}.maximumExtent": None,
        }
    ),
    "historicalIndexCache as it comes": Variant(
        {
            f"{_JOURNAL}.historicalIndexCacheCapacity": None,
            f"{_JOURNAL}.historicalIndexCacheTimeout": None,
        }
    ),
    "minReleaseAge 0": Variant({_RELEASE: "0"}),
    "minReleaseAge 1 h": Variant({_RELEASE: "3600000"}),
    "collector G1": Variant({}, ("-XX:-UseParallelGC", "-XX:+UseG1GC")),
    "serial collector": Variant({}, ("-XX:-UseParallelGC", "-XX:+UseSerialGC")),
    "heap of 512 MB": Variant({}, ("-Xmx512m",)),
    "heap of 4 GB": Variant({}, ("-Xmx4g",)),
}


def varied(variant: Variant) -> dict[str, str]:
    """Our property set with what the variant changes."""
    ours = namespace_properties(NAMESPACE)
    if "*" in variant.properties:
        kept = ("AbstractJournal.file", "bufferMode", "quads")
        return {name: value for name, value in ours.items() if name.endswith(kept)}
    changed = {name: value for name, value in ours.items() if name not in variant.properties}
    return changed | {name: value for name, value in variant.properties.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied(BlazegraphService):
    """A server that differs from ours by a variant."""

    variant: Variant

    def prepare(self) -> Child:
        child = BlazegraphService.prepare(self)
        (self.data / "RWStore.properties").write_text(as_properties(varied(self.variant)), encoding="latin-1")
        place = child.argv.index("-cp")
        return replace(child, argv=[*child.argv[:place], *self.variant.java, *child.argv[place:]])

    def cpu(self) -> float:
        identity = self.identity()
        assert identity is not None
        times = psutil.Process(identity.pid).cpu_times()
        return float(times.user + times.system)

    def journal(self) -> int:
        return (self.data / JOURNAL).stat().st_blocks * 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The other server by ours."""

    seconds: float
    cpu: float
    journal: float
    ours_per_second: float
    ours_cpu: float
    ours_journal: int


def compare(variant: Variant, prepared: Sequence[Body], folder: Path) -> Compared:
    """Load the same bodies into both servers, in turns."""
    with ExitStack() as stack:
        servers = []
        for name, each in (("ours", Variant({})), ("other", variant)):
            server = Varied(folder / name, *free_ports(1), variant=each)
            stack.callback(shutil.rmtree, server.data, ignore_errors=True)
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        warm = len(prepared) // 10
        spent: list[list[float]] = [[], []]
        before = [0.0, 0.0]
        for number, body in enumerate(prepared):
            if number == warm:
                before = [server.cpu() for server in servers]
            for one in (0, 1) if number % 2 else (1, 0):
                rate = bare(servers[one].sparql, [body])
                if number >= warm:
                    spent[one].append(rate.seconds)
        cpu = [server.cpu() - start for server, start in zip(servers, before, strict=True)]
        journals = [server.journal() for server in servers]
    triples = sum(body.triples for body in prepared[warm:])
    return Compared(
        seconds=statistics.median(other / ours for ours, other in zip(*spent, strict=True)),
        cpu=cpu[1] / cpu[0],
        journal=journals[1] / journals[0],
        ours_per_second=triples / sum(spent[0]),
        ours_cpu=cpu[0] / triples * 1e6,
        ours_journal=journals[0],
    )


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--triples", type=int, default=1_000_000)
    options.add_argument("--request", type=int, default=40_000, help="triples in a request, at least")
    options.add_argument("--only", action="append", help="variants whose name holds this")
    options.add_argument("--kind", choices=list(KINDS), default="block")
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    prepared = bodies(upto(chosen.triples, messages(chosen.kind)), chosen.request, BINARY)
    found: dict[str, Compared] = {}
    with tempfile.TemporaryDirectory(prefix="headstream-load-", ignore_cleanup_errors=True) as place:
        for name, variant in VARIANTS.items():
            if chosen.only and not any(part in name for part in chosen.only):
                continue
            try:
                found[name] = compare(variant, prepared, Path(place))
            except ServicesError as error:
                print(f"properties: {name}: {error}", file=sys.stderr)
                return 1
            if not chosen.json:
                _tell(name, found[name])
    if chosen.json:
        print(json.dumps({name: asdict(each) for name, each in found.items()}))
    return 0


def _tell(name: str, one: Compared) -> None:
    print(
        f"{name:42} seconds x {one.seconds:.2f}  processor x {one.cpu:.2f}  journal x {one.journal:.2f}   "
        f"(ours: {one.ours_per_second:,.0f} triples/s, {one.ours_cpu:.1f} us of processor a triple, "
        f"{one.ours_journal / 1e6:,.0f} MB; load {load()})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
