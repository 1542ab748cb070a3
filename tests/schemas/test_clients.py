"""Every Kafka client takes the same options from the environment."""

from __future__ import annotations

from headstream.capture.settings import Settings as CaptureSettings
from headstream.schemas.clients import client_options
from headstream.sinks.settings import Settings as SinkSettings
from headstream.stream_processors.settings import Settings as TrackerSettings

ENVIRON = {
    "HEADSTREAM_KAFKA_SASL_USERNAME": "u",
    "HEADSTREAM_KAFKA_SECURITY_PROTOCOL": "SSL",
    "HEADSTREAM_KAFKA_PORT": "19092",
    "HEADSTREAM_KAFKA_ACKS": "0",
    "HEADSTREAM_STORE_URL": "http://h",
    "SASL_USERNAME": "other",
}


def test_options_of_the_way_to_the_broker_are_passed_on_and_durability_is_not() -> None:
    expected = {"sasl.username": "u", "security.protocol": "SSL"}
    assert client_options(ENVIRON) == expected
    assert dict(CaptureSettings.from_env(ENVIRON).kafka) == expected
    assert dict(SinkSettings.from_env(ENVIRON).kafka) == expected
    assert dict(TrackerSettings.from_env(ENVIRON).security) == expected


def test_the_wait_at_exit_may_be_a_fraction() -> None:
    assert CaptureSettings.from_env({"HEADSTREAM_EXIT_SECONDS": "0.5"}).exit_seconds == 0.5
    assert CaptureSettings.from_env({"HEADSTREAM_EXIT_SECONDS": "soon"}).exit_seconds == 5.0
