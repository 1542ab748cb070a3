"""The benchmarks of the tracker run, and every contender gets all bags through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .running import run

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts


def test_reading_a_bag_into_events_costs_no_more_than_twice_a_bare_read_by_fastavro() -> None:
    table = run("load_tests.tracker_core", "--rounds", "5")
    for kind in ("steps", "files", "batches"):
        assert table[kind]["decode"] < 2 * table[kind]["bare decode (fastavro)"], table[kind]


def test_every_contender_gets_all_bags_through_a_real_broker(artefacts: Artefacts) -> None:
    found = run("load_tests.tracker_rate", "--quick")["kinds"]["steps"]
    assert len(found["rows"]) == 5
    for name, row in found["rows"].items():
        assert row["events"] >= 0.5 * 100 * 50 and row["cpu"] > 0, (name, row)
    assert found["scaling_cpu"] > 0


def test_a_replay_and_what_is_live_get_all_events_through(artefacts: Artefacts) -> None:
    found = run("load_tests.replay_rate", "--events", "2000", "--store", "oxigraph", "--workers", "1")
    assert found["published"] > 0 and found["target"] == 1000
    assert set(found["rates"]) == {"loops into oxigraph", "steps into oxigraph"}
    for row in found["rates"].values():
        assert set(row) == {"saturated live chain", "replay, 1 workers"}
        assert row["replay, 1 workers"]["events"] > 0 and all(rate["cpu"] > 0 for rate in row.values())
