"""Every route and warning of the gateway is in docs/reference/gateway.md, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pyoxigraph
import pytest
from fastapi import FastAPI

from headstream.capture.transports.memory import MemoryTransport
from headstream.gateway.app import create_app
from headstream.gateway.desk import Desk
from headstream.gateway.intake import Intake
from headstream.gateway.keeping import Keeper, Through
from headstream.gateway.metrics import Metrics
from headstream.gateway.reading import Reading
from headstream.gateway.remembering import Notes
from headstream.gateway.settings import Settings
from headstream.query_api import auth
from headstream.query_api.store import Limits, OxigraphStore
from headstream.sinks.dead_letters import MemoryDeadLetters

PAGE = "reference/gateway.md"
Rows = Callable[[str, str], list[dict[str, str]]]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings, metrics = Settings(), Metrics()
    notes = Notes(tmp_path_factory.mktemp("notes"))
    intake = Intake(settings, metrics, notes, now=lambda: 0, producer="")
    way = Through("spool", MemoryTransport(), MemoryDeadLetters(), seconds=1.0)
    store = OxigraphStore(pyoxigraph.Store())
    return create_app(
        Desk(settings, metrics, intake, Keeper(way, metrics), Reading(lambda: store, "", Limits()))
    )


def test_every_route_is_in_the_page_and_no_other(rows: Rows, app: FastAPI) -> None:
    documented = {
        (method, row["path"]) for row in rows(PAGE, "Routes") for method in row["method"].split(", ")
    }
    served = {(method.upper(), path) for path, ways in app.openapi()["paths"].items() for method in ways}
    assert documented == served


def test_the_routes_that_need_no_token_are_marked(rows: Rows) -> None:
    # What describes the routes is no route of the protocol.
    described = {"/docs", "/openapi.json"}
    open_paths = {row["path"] for row in rows(PAGE, "Routes") if row["token"] == "no"}
    assert open_paths == auth.OPEN_PATHS - described


def test_every_warning_is_in_the_page_and_no_other(rows: Rows, root: Path) -> None:
    folder = root / "src" / "headstream" / "gateway"
    source = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    documented = {row["code"] for row in rows(PAGE, "What the client is told")}
    assert documented - {"E-..."} == set(re.findall(r'"(W\d{3})"', source))
