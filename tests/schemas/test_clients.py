"""Every Kafka client takes the same options from the environment."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from headstream.capture.settings import Settings as CaptureSettings
from headstream.schemas.clients import Trouble, client_options
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


@dataclass(frozen=True)
class Said:
    """An error as librdkafka gives it."""

    text: str
    code: str = "_SSL"

    def name(self) -> str:
        return self.code

    def str(self) -> str:
        return self.text


@pytest.mark.parametrize(
    "how_long",
    [
        "",
        " (after 28ms in state SSL_HANDSHAKE)",
        " (after 3ms in state CONNECT, 4 identical error(s) suppressed)",
    ],
)
def test_what_a_client_says_again_is_equal_however_long_it_took(how_long: str) -> None:
    trouble = Trouble()
    trouble(Said(f"ssl://broker/1: SSL handshake failed (see the manual){how_long}"))
    trouble(Said("2/2 brokers are down", "_ALL_BROKERS_DOWN"))
    assert trouble.last == trouble.refused == "ssl://broker/1: SSL handshake failed (see the manual)"


def test_a_cause_told_in_several_texts_by_turns_is_news_once_a_minute() -> None:
    now = 0.0
    trouble = Trouble(lambda: now)
    assert trouble.news() is None
    told = []
    for now in range(120):
        trouble(Said("broker/1: verify failed" if now % 2 else "broker/1: handshake failed: verify failed"))
        told.append(trouble.news())
    assert [(at, text) for at, text in enumerate(told) if text is not None] == [
        (0, "broker/1: handshake failed: verify failed"),
        (1, "broker/1: verify failed"),
        (60, "broker/1: handshake failed: verify failed"),
        (61, "broker/1: verify failed"),
    ]
    now = 1000.0
    assert trouble.news() is None, "nothing was said since"
