"""The benchmark of writing runs, and every contender gets the same facts into the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .running import run

if TYPE_CHECKING:
    from headstream.services.artefacts import Artefacts


def test_bare_clients_and_ours_write_the_same_facts_in_one_run(artefacts: Artefacts) -> None:
    found = run("load_tests.store_rate", "--quick")
    for store, contenders in (("blazegraph", 3), ("oxigraph", 4)):
        rows = found[store]["rows"]
        assert len(rows) == contenders
        assert all(row["per_second"] > 0 and row["requests"] > 0 for row in rows.values())
        assert found[store]["ratio"] > 0
        # By each of the others, and by the best of them.
        assert len(found[store]["ratio_by"]) == contenders - 1
        assert found[store]["ratio"] <= min(found[store]["ratio_by"].values())
    assert set(found["render_us_an_event"]) == {"N-Triples", "binary"}
    for costs in found["render_us_an_event"].values():
        assert set(costs) == {"steps", "files", "batches", "block"}
    for row in found["slow"].values():
        assert 0 < row["triples_a_batch"] < 40_000 and row["p50_below"] <= row["p95_below"]


def test_a_long_run_that_was_stopped_goes_on_where_it_was(artefacts: Artefacts, tmp_path: Path) -> None:
    first = run("load_tests.store_rate", "--triples", "10000", "--data", str(tmp_path))
    assert first["triples"] >= 10_000
    second = run("load_tests.store_rate", "--triples", "20000", "--step", "2000", "--data", str(tmp_path))
    assert second["messages"] > first["messages"]
    assert 20_000 <= second["triples"] + second["bare_triples"] < 22_000
    assert second["bare_triples"], "every fifth part is the bare client's"
