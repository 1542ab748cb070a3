"""The four topics: make them with settings that keep the promise, and say what is wrong with them.

events           delete, kept for good: the source of truth that a replay rebuilds the graph from
definitions      compact, one partition: every version is kept, and a reader sees one order
identified       delete, short: it can be made again from the two above
dead-letters     delete, long: what was refused, until somebody has mended the cause
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported, but not by __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from headstream.stream_processors.errors import TopicsUnusable
from headstream.stream_processors.settings import Settings

_TIMEOUT = 30.0

# Kafka's default limit of a message (1 MiB with its overhead). A dead letter is an original
# message and headers, so its topic must take more, or a refusal would block its partition.
_MESSAGE_BYTES = 1_048_588
DEAD_LETTER_BYTES = 2 * _MESSAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one topic is made."""

    name: str
    partitions: int
    config: Mapping[str, str]


def plans(settings: Settings) -> tuple[Plan, ...]:
    """The topics of these settings."""
    names = settings.topics

    def kept(name: str, retention_ms: int, **more: str) -> Plan:
        config = {"cleanup.policy": "delete", "retention.ms": str(retention_ms), "retention.bytes": "-1"}
        return Plan(name=name, partitions=settings.partitions, config={**config, **more})

    return (
        kept(names.events, settings.events_retention_ms),
        Plan(name=names.definitions, partitions=1, config={"cleanup.policy": "compact"}),
        kept(names.identified, settings.identified_retention_ms),
        kept(
            names.dead_letters,
            settings.dead_letters_retention_ms,
            **{"max.message.bytes": str(DEAD_LETTER_BYTES)},
        ),
    )


def create(settings: Settings) -> list[str]:
    """Make the topics that are missing and return their names; one that exists is left as it is.

    Safe to call from several workers at once.
    """
    admin = _admin(settings)
    existing = _existing(admin, settings)
    wanted = [
        NewTopic(
            plan.name,
            num_partitions=plan.partitions,
            replication_factor=settings.replication,
            config=dict(plan.config),
        )
        for plan in plans(settings)
        if plan.name not in existing
    ]
    made = []
    for name, future in (admin.create_topics(wanted, operation_timeout=_TIMEOUT) if wanted else {}).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was faster
                continue
            raise TopicsUnusable(
                f"topic {name} could not be made on {settings.bootstrap}: {error.args[0].str()}; "
                "make it by hand or with an account that may, and set HEADSTREAM_CREATE_TOPICS=false"
            ) from error
        made.append(name)
    return made


def check(settings: Settings) -> list[str]:
    """What is wrong with the topics, in sentences; empty when a worker can keep its promise."""
    admin = _admin(settings)
    existing = _existing(admin, settings)
    present = [plan for plan in plans(settings) if plan.name in existing]
    configs = _configs(admin, [plan.name for plan in present])
    problems = [
        f"{plan.name} does not exist on {settings.bootstrap}."
        for plan in plans(settings)
        if plan.name not in existing
    ]
    for plan in present:
        if plan.name in configs:
            problems += _problems(settings, plan, existing[plan.name], configs[plan.name])
        else:
            problems.append(f"The settings of {plan.name} cannot be read with this account.")
    return problems


def _problems(settings: Settings, plan: Plan, partitions: int, config: Mapping[str, str]) -> list[str]:
    problems = []
    policy = config["cleanup.policy"]
    if policy != plan.config["cleanup.policy"]:
        problems.append(
            f"{plan.name} has cleanup.policy={policy}, but needs {plan.config['cleanup.policy']}: "
            "otherwise Kafka deletes messages that are still wanted."
        )
    if plan.name == settings.topics.definitions and partitions != 1:
        problems.append(f"{plan.name} has {partitions} partitions, but needs exactly 1 to have one order.")
    if plan.name == settings.topics.events:
        kept, wanted = int(config["retention.ms"]), settings.events_retention_ms
        if kept != -1 and (wanted == -1 or kept < wanted):
            problems.append(
                f"{plan.name} keeps messages for {kept / 86_400_000:g} days only (retention.ms={kept}): "
                "what is older cannot be replayed."
            )
        if int(config["retention.bytes"]) != -1:
            problems.append(
                f"{plan.name} is cut at {config['retention.bytes']} bytes a partition (retention.bytes): "
                "what is older cannot be replayed."
            )
    if plan.name == settings.topics.dead_letters and int(config["max.message.bytes"]) < DEAD_LETTER_BYTES:
        problems.append(
            f"{plan.name} takes messages of {config['max.message.bytes']} bytes at most, but needs "
            f"{DEAD_LETTER_BYTES}: a refused message of full size would not fit with its headers."
        )
    return problems


def _admin(settings: Settings) -> AdminClient:
    return AdminClient(settings.kafka())


def _existing(admin: AdminClient, settings: Settings) -> dict[str, int]:
    try:
        found = admin.list_topics(timeout=_TIMEOUT).topics
    except KafkaException as error:
        raise TopicsUnusable(
            f"no Kafka broker answers at {settings.bootstrap} ({error.args[0].str()}); "
            "start one, or set HEADSTREAM_BOOTSTRAP"
        ) from error
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT)
    found = {}
    for resource, future in answers.items():
        with suppress(KafkaException):  # not allowed: the caller says so
            found[resource.name] = {name: entry.value for name, entry in future.result().items()}
    return found
