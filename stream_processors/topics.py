"""The four topics: make them with settings that keep the promise, and say what is wrong with them.

events           delete, kept for good: the source of truth that a replay rebuilds the graph from
definitions      compact, one partition: every version is kept, and a reader sees one order
identified       delete, short: it can be made again from the two above
dead-letters     delete, long: what was refused, until somebody has mended the cause
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported, but not by __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from headstream.stream_processors import bounded
from headstream.stream_processors.errors import BrokerUnreachable, TopicsUnusable
from headstream.stream_processors.settings import Settings

_TIMEOUT = 30.0
_SEEN_SECONDS = 10.0
_PAUSE = 0.05

# Kafka's default limit of a message (1 MiB with its overhead), which a broker may have lowered. A dead
# letter is an original message and headers, so its topic must take more, or a refusal would block
# its partition.
_MESSAGE_BYTES = 1_048_588
DEAD_LETTER_BYTES = 2 * _MESSAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one topic is made."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a topic is: its partitions, and the replicas of the one that has fewest."""

    partitions: int
    replicas: int


def plans(settings: Settings) -> tuple[Plan, ...]:
    """The topics of these settings."""
    names = settings.topics
    # What is acknowledged is on two brokers where there are three, and one of them may be away.
    safe = {"min.insync.replicas": str(max(1, settings.replication - 1))}

    def kept(name: str, retention_ms: int, largest: int = _MESSAGE_BYTES) -> Plan:
        config = {"cleanup.policy": "delete", "retention.ms": str(retention_ms), "retention.bytes": "-1"}
        sizes = {"max.message.bytes": str(largest)}
        return Plan(name=name, partitions=settings.partitions, config={**config, **sizes, **safe})

    compacted = {"cleanup.policy": "compact", "max.message.bytes": str(_MESSAGE_BYTES)}
    return (
        kept(names.events, settings.events_retention_ms),
        Plan(name=names.definitions, partitions=1, config={**compacted, **safe}),
        kept(names.identified, settings.identified_retention_ms),
        kept(names.dead_letters, settings.dead_letters_retention_ms, DEAD_LETTER_BYTES),
    )


def create(settings: Settings) -> list[str]:
    """Make the topics that are missing and return their names; one that exists is left as it is.

    Safe to call from several workers at once.
    """
    admin, existing = _existing(settings)
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
    _await(admin, made)
    return made


def check(settings: Settings) -> list[str]:
    """What is wrong with the topics, in sentences; empty when a worker can keep its promise."""
    admin, existing = _existing(settings)
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


def _problems(settings: Settings, plan: Plan, found: Found, config: Mapping[str, str]) -> list[str]:
    """What a topic that exists lacks, each in a sentence that says what comes of it."""
    return [
        *_policy_problems(settings, plan, found, config),
        *_retention_problems(settings, plan, config),
        *_replica_problems(settings, plan, found, config),
        *_size_problems(plan, config),
    ]


def _policy_problems(
    settings: Settings, plan: Plan, found: Found, config: Mapping[str, str]
) -> Iterator[str]:
    policy = config["cleanup.policy"]
    if policy != plan.config["cleanup.policy"]:
        yield (
            f"{plan.name} has cleanup.policy={policy}, but needs {plan.config['cleanup.policy']}: "
            "otherwise Kafka deletes messages that are still wanted."
        )
    if plan.name == settings.topics.definitions:
        if found.partitions != 1:
            yield f"{plan.name} has {found.partitions} partitions, but needs exactly 1 to have one order."
    elif found.partitions < plan.partitions:
        yield (
            f"{plan.name} has {found.partitions} partitions, not {plan.partitions} (HEADSTREAM_PARTITIONS): "
            "no more workers than that have work."
        )


def _retention_problems(settings: Settings, plan: Plan, config: Mapping[str, str]) -> Iterator[str]:
    names = settings.topics
    lost = {
        names.events: "what is older cannot be replayed",
        names.identified: "a sink that is away for longer misses events until they are replayed",
        names.dead_letters: "what was refused is gone after that",
    }.get(plan.name)
    if lost is None:
        return
    kept, wanted = int(config["retention.ms"]), int(plan.config["retention.ms"])
    if kept != -1 and (wanted == -1 or kept < wanted):
        yield f"{plan.name} keeps messages for {kept / 86_400_000:g} days only (retention.ms={kept}): {lost}."
    if int(config["retention.bytes"]) != -1:
        yield (
            f"{plan.name} is cut at {config['retention.bytes']} bytes a partition (retention.bytes), "
            f"however short that takes: {lost}."
        )


def _replica_problems(
    settings: Settings, plan: Plan, found: Found, config: Mapping[str, str]
) -> Iterator[str]:
    in_sync = int(config["min.insync.replicas"])
    if found.replicas < settings.replication:
        yield (
            f"{plan.name} has {found.replicas} replicas, not {settings.replication} "
            "(HEADSTREAM_REPLICATION): a broker that is lost takes messages with it."
        )
    if in_sync > found.replicas:
        yield (
            f"{plan.name} wants {in_sync} replicas in sync (min.insync.replicas) and has {found.replicas}: "
            "it cannot be written."
        )
    elif found.replicas > 2 and in_sync < 2:
        yield (
            f"{plan.name} has min.insync.replicas={in_sync} with {found.replicas} replicas: what one broker "
            "alone has acknowledged is lost with it. Set it to 2."
        )


def _size_problems(plan: Plan, config: Mapping[str, str]) -> Iterator[str]:
    largest, needed = int(config["max.message.bytes"]), int(plan.config["max.message.bytes"])
    if largest >= needed:
        return
    if needed == DEAD_LETTER_BYTES:
        reason = "a refused message of full size would not fit with its headers"
    else:
        reason = "a message of full size would be refused"
    yield (
        f"{plan.name} takes messages of {largest} bytes at most (max.message.bytes), but needs {needed}: "
        f"{reason}."
    )


def _existing(settings: Settings) -> tuple[AdminClient, dict[str, Found]]:
    admin, trouble = bounded.admin(settings)
    try:
        found = bounded.metadata(admin, trouble, timeout=_TIMEOUT)
    except BrokerUnreachable as error:
        said = trouble.refused or trouble.last or "no answer"
        what = "does not let us in" if trouble.refused else "does not answer"
        raise TopicsUnusable(f"Kafka at {settings.bootstrap} {what} ({said}); {trouble.remedy()}") from error
    return admin, {
        name: Found(
            partitions=len(topic.partitions),
            replicas=min((len(each.replicas) for each in topic.partitions.values()), default=0),
        )
        for name, topic in found.items()
        if topic.error is None
    }


def _await(admin: AdminClient, made: list[str]) -> None:
    """Wait a little until the broker that is asked tells of topics which the controller has made.

    It learns of them a moment later, and until then a check would say that they do not exist.
    """
    deadline = time.monotonic() + _SEEN_SECONDS
    while made and time.monotonic() < deadline:
        with suppress(KafkaException):  # Whoever needs them next says so better.
            found = admin.list_topics(timeout=_SEEN_SECONDS).topics
            if all(name in found and found[name].error is None for name in made):
                return
        time.sleep(_PAUSE)


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
