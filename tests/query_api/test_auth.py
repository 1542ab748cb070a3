"""Who may ask: the start matrix and the request matrix (faults rows 42 and 43)."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyoxigraph
import pytest

from headstream.query_api.app import create_app
from headstream.query_api.errors import ConfigurationError
from headstream.query_api.settings import Settings
from headstream.query_api.store import OxigraphStore

from ..environment import without_settings

TOKEN = "correct-horse-battery-staple"
PATH = "/api/v1/questions"


@pytest.mark.parametrize(
    ("host", "token", "starts"),
    [
        ("127.0.0.1", None, True),
        ("127.8.8.8", None, True),
        ("::1", None, True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("::", None, False),
        ("10.0.0.1", None, False),
        ("api.example.org", None, False),
        ("127.0.0.1.example.org", None, False),
        ("0.0.0.0", TOKEN, True),
        ("127.0.0.1", TOKEN, True),
    ],
)
def test_beyond_loopback_it_starts_only_with_a_token(
    host: str, token: str | None, starts: bool, example_store: OxigraphStore
) -> None:
    settings = Settings(host=host, token=token)
    if starts:
        create_app(settings, example_store)
        return
    with pytest.raises(ConfigurationError, match="HEADSTREAM_API_TOKEN"):
        create_app(settings, example_store)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("Authorization", TOKEN)], 401),
        ([("Authorization", "Bearer ")], 401),
        ([("Authorization", f"Basic {TOKEN}")], 401),
        ([("Authorization", f"Bearer {TOKEN}x")], 401),
        ([("Authorization", f"Bearer {TOKEN[:-1]}")], 401),
        ([("Authorization", "Bearer \u00e9".encode())], 401),
        ([("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")], 401),
        ([("Authorization", f"Bearer {TOKEN}")], 200),
        ([("Authorization", f"bearer {TOKEN}")], 200),
    ],
)
def test_a_token_opens_and_nothing_else_does(
    headers: list[tuple[str, Any]], status: int, client_of: Callable[..., Any], example_store: OxigraphStore
) -> None:
    client = client_of(example_store, host="api.example.org", token=TOKEN)
    for path in (PATH, "/api/v1/runs", "/metrics", "/nowhere"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == (404 if (status, path) == (200, "/nowhere") else status)
        assert TOKEN not in answer.text
        if status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert client.post("/api/v1/sparql", content="ASK {}").status_code == 401


def test_probes_and_the_description_need_no_token(
    client_of: Callable[..., Any], example_store: OxigraphStore
) -> None:
    client = client_of(example_store, host="api.example.org", token=TOKEN)
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.get("/openapi.json").json()["security"] == [{"token": []}]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_without_a_token_a_rebound_host_name_is_refused(host: str, status: int, client: Any) -> None:
    assert client.get(PATH, headers={"Host": host}).status_code == status


def test_settings_never_show_the_token() -> None:
    settings = Settings.from_env({"HEADSTREAM_API_TOKEN": TOKEN, "HEADSTREAM_API_PORT": "8123"})
    assert settings.token == TOKEN and settings.port == 8123
    assert TOKEN not in repr(settings) and TOKEN not in str(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEADSTREAM_API_PORT", "x"),
        ("HEADSTREAM_API_MAX_ROWS", "0"),
        ("HEADSTREAM_API_TIMEOUT_SECONDS", "nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.from_env({name: value})


def environment(**settings: str) -> dict[str, str]:
    kept = without_settings()
    return {**kept, **settings}


def test_the_command_refuses_to_start_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headstream.query_api"],
        env=environment(HEADSTREAM_API_HOST="0.0.0.0", HEADSTREAM_STORE_PATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "HEADSTREAM_API_TOKEN" in done.stderr


def test_the_command_serves_a_store_on_disk_and_ends_when_told(tmp_path: Path) -> None:
    store = pyoxigraph.Store(str(tmp_path / "graph"))
    node = pyoxigraph.NamedNode("urn:a")
    store.add(pyoxigraph.Quad(node, node, node))
    store.flush()
    del store
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "headstream.query_api"],
        env=environment(HEADSTREAM_API_PORT=str(port), HEADSTREAM_STORE_PATH=str(tmp_path / "graph")),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while True:
            try:
                assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
                break
            except httpx.ConnectError:
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.1)
        answer = httpx.post(f"{url}/api/v1/sparql", json={"query": "ASK { ?s ?p ?o }"}, trust_env=False)
        assert answer.json()["boolean"] is True
    finally:
        process.terminate()
        assert process.wait(15) is not None


def test_a_store_on_disk_may_be_named_as_the_sink_names_it() -> None:
    settings = Settings.from_env({"HEADSTREAM_STORE_URL": "oxigraph:/data/graph"})
    assert (settings.store_url, settings.store_path) == (None, "/data/graph")
