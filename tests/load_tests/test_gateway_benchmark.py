"""The benchmark of the gateway runs, and holds its bags against what bounds them."""

from __future__ import annotations

from .running import run


def test_every_bag_is_answered_and_compared() -> None:
    quick = ("--where", "spool", "--rate", "20", "--seconds", "1", "--rounds", "1")
    found = run("load_tests.gateway_rate", *quick)["places"]["spool"]
    assert found["bags"] == 20 and found["cpu_ms_a_bag"] > 0
    assert set(found["rows"]) == {"bag of 50", "empty bag", "fsync of a bag"}
    assert all(0 < row["p50_ms"] <= row["p95_ms"] for row in found["rows"].values())
