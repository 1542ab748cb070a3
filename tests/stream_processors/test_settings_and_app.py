"""Settings name what is wrong, keep secrets, and reach both Kafka clients."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from headstream.schemas.exposition import serve
from headstream.stream_processors.app import credentials, make_app
from headstream.stream_processors.definitions import DefinitionReader
from headstream.stream_processors.errors import InvalidSetting
from headstream.stream_processors.metrics import Metrics
from headstream.stream_processors.settings import Settings
from headstream.stream_processors.tracker import describe, track

SASL = {
    "HEADSTREAM_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "HEADSTREAM_KAFKA_SASL_MECHANISM": "PLAIN",
    "HEADSTREAM_KAFKA_SASL_USERNAME": "u",
    "HEADSTREAM_KAFKA_SASL_PASSWORD": "canary",
}


def test_the_environment_is_read_once_and_defaults_fill_the_rest() -> None:
    assert Settings.from_env({}) == Settings()
    settings = Settings.from_env({"HEADSTREAM_BOOTSTRAP": "k:1", "HEADSTREAM_TOPIC_PREFIX": "lab"})
    assert (settings.bootstrap, settings.topics.events, settings.group) == (
        "k:1",
        "lab.events",
        "lab.tracker",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEADSTREAM_PARTITIONS", "0"),
        ("HEADSTREAM_PARTITIONS", "many"),
        ("HEADSTREAM_DEFINITION_WAIT", "-1"),
        ("HEADSTREAM_DRAIN_SECONDS", "inf"),
        ("HEADSTREAM_CREATE_TOPICS", "perhaps"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name} is '{value}'"):
        Settings.from_env({name: value})


def test_security_options_reach_both_clients_and_are_never_shown() -> None:
    settings = Settings.from_env({**SASL, "HEADSTREAM_KAFKA_PORT": "19092"})
    assert settings.kafka()["sasl.password"] == "canary"
    assert "port" not in settings.kafka()
    assert "canary" not in repr(settings)
    given = credentials(settings)
    assert (given.username, given.password) == ("u", "canary")
    assert credentials(Settings()) is None


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(InvalidSetting, match="KERBEROS"):
        credentials(Settings.from_env({"HEADSTREAM_KAFKA_SECURITY_PROTOCOL": "kerberos"}))


def test_the_app_keeps_to_the_pattern_that_lost_nothing(tmp_path) -> None:
    settings, metrics = Settings(), Metrics(CollectorRegistry())
    app = make_app(
        settings,
        DefinitionReader(settings, metrics),
        metrics,
        datadir=str(tmp_path),
        track=track,
        describe=describe,
    )
    assert {agent.concurrency for agent in app.agents.values()} == {1}
    assert app.conf.producer_acks == -1
    assert not app.conf.web_enabled
    assert not app.tables


def test_a_port_in_use_costs_the_metrics_and_not_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        assert serve(CollectorRegistry(), "127.0.0.1", taken.getsockname()[1], lambda: None) is None
    assert "metrics are not offered" in caplog.text
