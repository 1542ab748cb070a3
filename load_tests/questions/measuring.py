"""How long an answer takes, and whether two engines answer the same."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from datetime import datetime
from typing import Any

import rdflib
from load_tests.questions.cases import Asked
from load_tests.questions.engines import Engine
from pyoxigraph import Literal

from headstream.query_api.errors import StoreTimeout
from headstream.query_api.store import Table

XSD = "http://www.w3.org/2001/XMLSchema#"
_NUMBERS = {XSD + name for name in ("integer", "double", "decimal", "long", "int", "float")}


def times(engine: Engine, asked: Asked, *, repeat: int, seconds: float) -> tuple[list[float], Table | None]:
    """Seconds of each of `repeat` answers, the first of which warms the caches and is not counted.

    An answer that takes longer than `seconds` is given up: its time is infinite and it is the last.
    """
    found: list[float] = []
    table: Table | None = None
    for number in range(repeat + 1):
        begun = time.perf_counter()
        try:
            table = engine.ask(asked.text, best_as_written=asked.best_as_written, seconds=seconds)
        except StoreTimeout:
            return [math.inf], None
        spent = time.perf_counter() - begun
        if number or spent > seconds / 10:  # What takes so long gains nothing from being warm.
            found.append(spent)
        if sum(found) > seconds:
            break
    return found, table


def p95(found: list[float]) -> float:
    """The time that 19 of 20 answers keep."""
    return sorted(found)[math.ceil(len(found) * 0.95) - 1]


def bag(table: Table) -> Counter[Any]:
    """Rows as a bag by value; names that GROUP_CONCAT gives have no order."""
    hosts = table.columns.index("hosts") if "hosts" in table.columns else None
    found: Counter[Any] = Counter()
    for row in table.rows:
        values = [by_value(term) for term in row]
        if hosts is not None and values[hosts] is not None:
            values[hosts] = " ".join(sorted(str(values[hosts]).split()))
        found[tuple(values)] += 1
    return found


def by_value(term: Any) -> Any:
    """One value for one meaning: engines differ in how they write numbers and instants."""
    if term is None:
        return None
    if isinstance(term, Literal):
        text, datatype = term.value, term.datatype.value
    elif isinstance(term, rdflib.Literal):
        text, datatype = str(term), str(term.datatype or "")
    else:
        return str(term).strip("<>")
    if datatype in _NUMBERS:
        return float(f"{float(text):.9g}")  # Sums depend on their order.
    if datatype == XSD + "dateTime":
        return datetime.fromisoformat(text).timestamp()
    if datatype == XSD + "boolean":
        return text in ("true", "1")
    return json.dumps(json.loads(text)) if datatype.endswith("#JSON") else text
