"""The benchmarks of capture run, and what they say of headstream is that nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .running import run

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts

QUICK = ("--quick", "--no-peers")


def quick(module: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark of ours beside others prints."""
    return run(module, *QUICK, *arguments)


def all_distinct(table: dict[str, Any]) -> None:
    for situation, row in table.items():
        found = row["headstream"]
        assert found["captured"] > 0, situation
        assert found["distinct"] == found["captured"], (situation, found)


def test_the_cost_benchmark_measures_every_case() -> None:
    found = quick("load_tests.capture_cost", "--no-kafka")
    assert set(found["cases"]) == {"loop", "loop4", "step", "import", "settings", "pace"}
    for case, rows in found["cases"].items():
        assert len(rows) >= 2, case
        assert all(row["rss_mb"] > 0 for row in rows.values())


def test_the_cost_benchmark_measures_with_a_broker(artefacts: Artefacts) -> None:
    rows = quick("load_tests.capture_cost", "--case", "loop", "--case", "settings")["cases"]
    assert {"headstream", "headstream + Kafka", "headstream diskless + Kafka"} <= rows["loop"].keys()
    assert {name[0] for name in rows["settings"]} == {"e", "A", "B", "C", "D", "E", "F"}


def test_every_captured_turn_survives_what_ends_a_script() -> None:
    table = quick("load_tests.survival", "--no-kafka")
    assert set(table) == {"end", "break", "exception", "by-hand", "os-exit", "kill", "moments", "fork"}
    all_distinct(table)
    assert all(row["headstream"]["records"] == row["headstream"]["distinct"] for row in table.values())


def test_every_captured_turn_survives_what_happens_to_a_broker(artefacts: Artefacts) -> None:
    given = [part for name in ("down", "bounced", "consumer") for part in ("--situation", name)]
    table = quick("load_tests.survival", *given)
    assert set(table) == {"down", "bounced", "consumer"}
    all_distinct(table)


def test_no_outage_costs_more_memory_than_is_promised_nor_an_event_that_is_not_counted() -> None:
    done = run("load_tests.outage", "--no-kafka", "--events", "40000")
    assert set(done["cases"]) == {"closed", "drop-oldest", "drop-newest", "block", "thread", "diskless"}
    for case, row in done["cases"].items():
        assert row["missing"] == 0, (case, row)
        assert max(row["script"]["resident"], row["shipper"]["resident"]) < 30 << 20, (case, row)


def test_a_broker_that_is_stopped_in_mid_run_costs_neither_events_nor_memory(artefacts: Artefacts) -> None:
    row = run("load_tests.outage", "--case", "stopped", "--events", "60000")["cases"]["stopped"]
    assert row["delivered"] == row["captured"] and row["lost"] == {}
    assert max(row["script"]["resident"], row["shipper"]["resident"]) < 30 << 20, row
