"""Who may speak, how much at once, how fast; and what a gateway says that cannot keep something."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstream.gateway.pace import Pace
from headstream.gateway.settings import Settings
from headstream.query_api.errors import ConfigurationError

BEGIN = {"prov_obj": {"wf_execution": "r", "startTime": 1.5}, "dataflow_name": "W", "act_type": "workflow"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway.example.org"])
def test_a_gateway_does_not_bind_beyond_loopback_without_a_token(host: str) -> None:
    with pytest.raises(ConfigurationError, match="HEADSTREAM_GATEWAY_TOKEN"):
        Settings(host=host).check_exposure()
    Settings(host=host, token="t").check_exposure()
    Settings(host="127.0.0.1").check_exposure()


def test_the_command_refuses_too_in_one_sentence(tmp_path) -> None:
    command = [sys.executable, "-m", "headstream", "gateway", "--host", "0.0.0.0", "--data", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "beyond loopback, without a token; set HEADSTREAM_GATEWAY_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer secret", 200),
        ("bearer secret", 200),
        ("Bearer wrong", 401),
        ("Basic " + base64.b64encode(b"anybody:secret").decode(), 200),
        ("Basic " + base64.b64encode(b"secret:wrong").decode(), 401),
        ("Basic secret", 401),
        ("Digest secret", 401),
    ],
)
def test_with_a_token_it_is_demanded_as_bearer_or_as_the_password_of_a_url(
    within, header: str | None, status: int
) -> None:
    gateway = within(token="secret", host="gateway.example.org")
    headers = {} if header is None else {"Authorization": header}
    answer = gateway.http.post("/retrospective-provenance", json=[BEGIN], headers=headers)
    assert answer.status_code == status
    assert len(gateway.events) == (status == 200)
    assert gateway.http.get("/healthz").status_code == 200
    assert gateway.http.get("/metrics", headers=headers).status_code == status


def test_without_a_token_only_loopback_names_are_answered(within) -> None:
    gateway = within(host="rebound.example.org")
    assert gateway.http.post("/retrospective-provenance", json=[BEGIN]).status_code == 421


def test_a_body_that_is_too_long_is_refused_and_nothing_of_it_taken(within) -> None:
    gateway = within(max_bytes=1000)
    answer = gateway.http.post("/retrospective-provenance", content=b" " * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, "BodyTooLarge")
    assert gateway.transport.bags == []


def test_a_bag_of_too_many_messages_is_refused(within) -> None:
    gateway = within(max_messages=2)
    answer = gateway.http.post("/retrospective-provenance", json=[BEGIN] * 3)
    assert answer.status_code == 400
    assert "HEADSTREAM_GATEWAY_MAX_MESSAGES" in answer.json()["what_to_do"]
    assert gateway.post([BEGIN] * 2) == []


def test_a_message_that_is_too_long_is_a_dead_letter_and_the_rest_of_the_bag_kept(within) -> None:
    gateway = within(max_message_bytes=500)
    long = json.loads(json.dumps(BEGIN))
    long["prov_obj"]["stdout"] = "x" * 500
    ((error,),) = gateway.post([long, BEGIN])
    assert error["type"] == "too-long"
    assert len(gateway.events) == 1
    assert json.loads(gateway.letters.letters[0].value) == long


def test_more_requests_at_once_than_allowed_are_told_to_come_again(within) -> None:
    gateway = within(max_concurrent=1)
    gateway.desk.under_way = 1
    answer = gateway.http.post("/retrospective-provenance", json=[BEGIN])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    gateway.desk.under_way = 0
    assert gateway.post([BEGIN]) == []
    assert gateway.desk.under_way == 0


def test_a_body_that_does_not_come_to_its_end_gives_its_place_back(within) -> None:
    gateway = within()
    gateway.desk.body_seconds = 0.05

    async def endless():
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    answer = gateway.http.post("/retrospective-provenance", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (408, "TooSlow")
    assert gateway.desk.under_way == 0


def test_whoever_is_far_over_its_rate_is_refused(within) -> None:
    gateway = within(rate=100)
    gateway.desk.pace.charge("127.0.0.1", 1000, 1e18)  # It owes for ages.
    answer = gateway.http.post("/retrospective-provenance", json=[BEGIN])
    assert (answer.status_code, answer.json()["code"]) == (429, "TooFast")
    assert gateway.events == []


def test_what_cannot_be_kept_is_never_answered_as_if_it_were(within) -> None:
    gateway = within()
    gateway.transport.up = False
    answer = gateway.http.post("/retrospective-provenance", json=[BEGIN])
    assert (answer.status_code, answer.json()["code"]) == (503, "NotKept")
    assert "ingest provlake" in answer.json()["what_to_do"]
    gateway.transport.up = True
    gateway.letters.broken = True
    assert gateway.http.post("/retrospective-provenance", json=[{}]).status_code == 503


@given(
    st.floats(1, 1000),
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 500)), min_size=1, max_size=30),
)
def test_whoever_waits_as_long_as_it_is_told_keeps_its_rate(
    rate: float, sent: list[tuple[float, int]]
) -> None:
    pace, now = Pace(rate), 1000.0
    begin, total = now, 0
    for pause, messages in sent:
        now += pause
        total += messages
        now += pace.charge("a", messages, now)
    # A second may be used at once, and the last bag is answered when it is paid for.
    assert total <= rate * (now - begin + 1.0) * (1 + 1e-9) + 1e-6


def test_no_rate_is_no_limit_and_clients_do_not_pay_for_each_other() -> None:
    free, bound = Pace(0), Pace(10)
    assert free.charge("a", 10**9, 5.0) == free.owed("a", 5.0) == 0.0
    assert bound.charge("a", 1000, 5.0) > 90
    assert bound.owed("b", 5.0) == 0.0
