"""`up`, `status`, `down`: what is started is found, shown and stopped, whatever has happened to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from headstream.services.ports import free_ports


def kill(cli: Any, name: str) -> None:
    os.kill(cli.services()[name]["pid"], signal.SIGKILL)
    cli.until(lambda: cli.services()[name]["state"] == "dead", f"{name} dead")


def test_up_status_and_down_show_one_and_the_same_service(cli: Any) -> None:
    started = cli("up", "--detach", "--json")
    assert started.status == 0, started.err
    assert started.json["up"] is True and started.json["mode"] == "embedded"
    shown = cli("status")
    assert shown.status == 0
    assert "embedded" in shown.out and "running" in shown.out
    assert f"http://127.0.0.1:{cli.port}" in shown.out

    stopped = cli("down")
    assert stopped.status == 0 and "stopped embedded" in stopped.said
    assert cli.processes() == []
    left = {path.name for path in cli.data.iterdir()}
    assert not left & {"services.json", "run"}, "down leaves nothing behind but data"
    assert cli("status").status == 3


def test_nothing_up_is_said_with_a_status_of_its_own(cli: Any) -> None:
    told = cli("status")
    assert told.status == 3 and "nothing is up" in told.said and "headstream up" in told.said
    machine = cli("status", "--json")
    assert machine.status == 3 and machine.json["up"] is False
    assert cli("down").status == 0


def test_a_second_up_finds_the_first(up: Any) -> None:
    first = up.services()["embedded"]["pid"]
    again = up("up", "--detach")
    assert again.status == 0 and "already up since" in again.said
    assert up.services()["embedded"]["pid"] == first
    refused = up("up", "--services", "full", "--detach")
    assert refused.status == 1 and "headstream down" in refused.said


def test_a_killed_service_is_told_and_the_next_up_mends_it(filled: Any) -> None:
    kill(filled, "embedded")
    told = filled("status")
    assert told.status == 1
    assert "embedded has died; its log is" in told.said and "headstream up" in told.said
    assert filled("status", "--json").json["up"] is False
    waiting = filled("define", "tiny.yaml")
    assert waiting.status == 1 and "has died" in waiting.said

    assert filled("up", "--detach").status == 0
    assert filled("status").status == 0
    assert filled.runs() == 1, "what was in the graph is there again"


def test_a_service_that_runs_but_does_not_answer_is_told(up: Any) -> None:
    pid = up.services()["embedded"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        told = up("status")
        assert told.status == 1 and "runs but does not answer" in told.said
    finally:
        os.kill(pid, signal.SIGCONT)


def test_up_with_a_gateway_takes_what_clients_send_into_the_graph_and_down_stops_it(cli: Any) -> None:
    (port,) = free_ports(1)
    started = cli("up", "--gateway", "--gateway-port", str(port), "--detach")
    assert started.status == 0, started.err
    url = f"http://127.0.0.1:{port}"
    assert f"service_url='{url}'" in started.said
    assert set(cli.services()) == {"embedded", "gateway"}
    assert cli.services()["gateway"] | {"pid": 0, "log": ""} == {
        "name": "gateway", "state": "running", "running": True, "pid": 0, "url": url,
        "ports": {"gateway": port}, "log": "",
    }  # fmt: skip
    run = {"wf_execution": "r1", "startTime": 1.0}
    bag = [
        {"prov_obj": each, "dataflow_name": "W", "act_type": "workflow"}
        for each in (run, {**run, "endTime": 2})
    ]
    assert httpx.post(f"{url}/retrospective-provenance", json=bag).json() == {"error": []}
    cli.until(lambda: cli.runs() == 1, "what a client sent is in the graph")
    (shown,) = httpx.get(f"{url}/workflow-executions").json()
    assert (shown["workflow_name"], shown["execution_id"]) == ("W", "r1")

    again = cli("up", "--gateway", "--detach")
    assert again.status == 0 and "already up since" in again.said
    os.kill(cli.services()["gateway"]["pid"], signal.SIGSTOP)
    told = cli("status")
    assert told.status == 1 and "gateway runs but does not answer" in told.said
    os.kill(cli.services()["gateway"]["pid"], signal.SIGCONT)
    stopped = cli("down")
    assert stopped.status == 0 and "stopped gateway, embedded" in stopped.said
    assert cli.processes() == []


def test_a_gateway_that_cannot_be_started_is_told_before_anything_is(cli: Any) -> None:
    same = cli("up", "--gateway", "--gateway-port", str(cli.port), "--detach")
    assert same.status == 1 and "--api-port and --gateway-port are both" in same.said
    exposed = cli("up", "--gateway", "--detach", env={"HEADSTREAM_GATEWAY_HOST": "0.0.0.0"})
    assert exposed.status == 1 and "HEADSTREAM_GATEWAY_TOKEN" in exposed.said
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        used = cli(
            "up", "--detach", env={"HEADSTREAM_WITH_GATEWAY": "1", "HEADSTREAM_GATEWAY_PORT": str(port)}
        )
    assert used.status == 1 and f"port {port}" in used.said and "--gateway-port" in used.said
    assert not (cli.data / "services.json").exists()


def test_services_that_are_up_without_a_gateway_are_not_taken_for_ones_with_it(up: Any) -> None:
    refused = up("up", "--gateway", "--detach")
    assert refused.status == 1
    assert "without the gateway" in refused.said and "headstream gateway" in refused.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_in_the_foreground_stops_everything_when_it_is_ended(cli: Any, number: int) -> None:
    process = cli.start("up")
    try:
        cli.until(lambda: cli("status").status == 0, "up")
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said and "stopping embedded" in said
    assert not (cli.data / "services.json").exists()
    assert cli.processes() == []


def test_up_in_the_foreground_ends_when_another_command_says_down(cli: Any) -> None:
    process = cli.start("up")
    try:
        cli.until(lambda: cli("status").status == 0, "up")
        assert cli("down").status == 0
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and "stopped by another command" in said and "has died" not in said


def test_an_up_that_is_ended_before_it_is_ready_leaves_nothing(cli: Any) -> None:
    process = cli.start("up", "--detach")
    cli.until(lambda: (cli.data / "services.json").exists(), "a process started")
    second = cli("up", "--detach")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    if process.returncode == 0:  # It was ready first: then it was not ended, and `down` must find all of it.
        assert cli("down").status == 0
    else:
        assert process.returncode == 130 and "Traceback" not in said
        assert second.status == 1 and "wait for it" in second.said
    assert not (cli.data / "services.json").exists()
    assert cli.processes() == []


def test_what_is_captured_just_before_down_is_in_the_graph_after_it(up: Any) -> None:
    up.capture("r1")
    assert up("down").status == 0
    assert up.runs() == 1


def test_a_port_in_use_is_one_sentence_and_starts_nothing(cli: Any) -> None:
    with socket.create_server(("127.0.0.1", cli.port)):
        for services in ("embedded", "full"):
            refused = cli("up", "--services", services, "--detach")
            assert refused.status == 1
            assert f"port {cli.port}" in refused.said and "--api-port" in refused.said
    assert not (cli.data / "services.json").exists()


def test_a_missing_java_is_one_sentence(cli: Any, tmp_path: Path) -> None:
    refused = cli("up", "--services", "full", "--detach", env={"PATH": str(tmp_path), "JAVA_HOME": ""})
    assert refused.status == 1
    assert "no `java` was found" in refused.said and "--services embedded" in refused.said
    assert not (cli.data / "services.json").exists()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("HEADSTREAM_API_PORT", "eighty", 2),
        ("HEADSTREAM_API_PORT", "99999", 2),
        ("HEADSTREAM_KAFKA_PORT", "-1", 2),
        ("HEADSTREAM_SERVICES", "partial", 2),
        ("HEADSTREAM_API_MAX_ROWS", "many", 1),
        ("HEADSTREAM_START_SECONDS", "soon", 1),
        ("HEADSTREAM_SPOOL", "off", 1),
        ("HEADSTREAM_API_HOST", "0.0.0.0", 1),
    ],
)
def test_a_broken_setting_is_named_and_nothing_is_started(
    cli: Any, name: str, value: str, status: int
) -> None:
    refused = cli("up", "--detach", env={name: value})
    assert refused.status == status
    assert name in refused.said or name in refused.said.replace("│", ""), refused.said
    assert not (cli.data / "services.json").exists()


def test_broken_settings_of_the_workers_are_told_before_kafka_starts(cli: Any) -> None:
    refused = cli("up", "--services", "full", env={"HEADSTREAM_PARTITIONS": "none"})
    assert refused.status == 1 and "HEADSTREAM_PARTITIONS" in refused.said
    twice = cli("up", "--services", "full", "--kafka-port", str(cli.port))
    assert twice.status == 1 and "--api-port and --kafka-port" in twice.said


def test_a_data_directory_that_is_a_file_is_one_sentence(cli: Any) -> None:
    cli.data.write_text("no folder")
    for command in (["up", "--detach"], ["status"], ["down"], ["sparql", "-"]):
        refused = cli(*command)
        assert refused.status == 1 and "is no folder" in refused.said


def test_a_state_file_that_cannot_be_read_is_one_sentence(cli: Any) -> None:
    cli.data.mkdir()
    (cli.data / "services.json").write_text("{")
    assert cli("status").status == 1
    (cli.data / "services.json").unlink()


def test_a_token_is_demanded_by_the_api_and_sent_by_the_commands(cli: Any) -> None:
    token = {"HEADSTREAM_API_TOKEN": "not-to-be-told"}
    started = cli("up", "--detach", env=token)
    assert started.status == 0 and "not-to-be-told" not in started.said
    asked = cli("sparql", "-", stdin="ASK {}", env=token)
    assert asked.status == 0 and asked.out == "true\n"
    for wrong in ({}, {"HEADSTREAM_API_TOKEN": "another"}):
        refused = cli("sparql", "-", stdin="ASK {}", env=wrong)
        assert refused.status == 1 and "token" in refused.said
        assert "another" not in refused.said
    assert cli("status").status == 0, "readiness needs no token"


def test_completion_and_help_come_fast_and_whole() -> None:
    program = Path(os.sys.executable).with_name("headstream")  # type: ignore[attr-defined]
    assert program.exists(), "install headstream (make setup): its command is what is tested here"
    env = {**os.environ, "_HEADSTREAM_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    found = subprocess.run(
        [str(program)],
        env={**env, "COMP_WORDS": "headstream query q"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"q1", "q2", "q3", "q4", "q5", "q6"} <= set(found.stdout.split())
    shown = subprocess.run([str(program), "--help"], capture_output=True, text=True, check=True).stdout
    for command in (
        "up",
        "status",
        "down",
        "query",
        "sparql",
        "define",
        "replay",
        "verify",
        "ship",
        "topics",
    ):
        assert command in shown
