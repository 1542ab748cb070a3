"""docs/reference/stores.md says of locations and outcomes what the code does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from headstream.sinks import errors
from headstream.sinks.stores import (
    BlazegraphStore,
    MemoryStore,
    OxigraphStore,
    SparqlStore,
    SparqlUpdateStore,
    open_store,
)
from headstream.sinks.stores.http import Answer
from headstream.sinks.stores.oxigraph import _BULK

PAGE = "reference/stores.md"
URL = "http://127.0.0.1:1/sparql"
STORES = {
    "Blazegraph": BlazegraphStore,
    "Oxigraph": OxigraphStore,
    "any": SparqlStore,
    "the same": SparqlStore,
    "the other": SparqlUpdateStore,
    "a": MemoryStore,
}
Rows = Callable[[str, str], list[dict[str, str]]]


def test_every_location_opens_the_store_that_the_page_says(rows: Rows, tmp_path: Path) -> None:
    for row in rows(PAGE, "Locations"):
        location = (
            row["location"]
            .replace("PATH", str(tmp_path / "store"))
            .replace(":URL", f":{URL}")
            .replace(",QUERY_URL", f",{URL}")
        )
        store = open_store(location.replace("HOST", "127.0.0.1"))
        words = row["store"].split()
        kind = STORES[" ".join(words[:2]).rstrip(",") if words[0] == "the" else words[0].rstrip(",")]
        assert isinstance(store, kind), location
        store.close()


def test_every_outcome_of_a_write_is_in_the_page(rows: Rows) -> None:
    said = {row["outcome"] for row in rows(PAGE, "Outcomes of a write")}
    kinds = {*errors.StoreUnavailable.__subclasses__(), errors.StoreRefused}
    assert said == {kind.__name__ for kind in kinds}


@pytest.mark.parametrize("outcome", ["StoreBusy", "StoreRefused"])
def test_a_status_in_the_page_has_its_outcome(outcome: str, rows: Rows) -> None:
    (row,) = (row for row in rows(PAGE, "Outcomes of a write") if row["outcome"] == outcome)
    statuses = [int(text) for text in re.findall(r"\b[45]\d\d\b", row["when"].partition(", 400")[0])]
    assert statuses
    for status in statuses:
        answer = Answer(httpx.Response(status, text="no"), URL, 0.0)
        assert type(answer.refusal() or answer.unavailable()).__name__ == outcome, status


def test_the_page_has_the_size_from_which_oxigraph_loads_in_bulk(page: Callable[[str], str]) -> None:
    assert f"{_BULK:,} bytes" in page(PAGE)
