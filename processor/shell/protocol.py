"""Which of Kafka's two group protocols we speak, why, and what librdkafka is told for it.

Here live `kafka.protocol` and the group consumer's settings; polling is in `consumer.py`. The one idea (design 6.2):
under `consumer` (KIP-848) tasks that stay are not touched when members come and go, but how soon a dead member is
noticed is the brokers' choice, 45 s on stock ones. So `auto` takes it where they notice within 15 s, and `classic`,
whose session is ours to choose, everywhere else. Both share partitions by `range`, which keeps what belongs to one
task together (pitfall P8).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ResourceType  # type: ignore[attr-defined] # as its stubs

from processor.shell.topics import configs_of

Asked: TypeAlias = Literal["auto", "classic", "consumer"]
Spoken: TypeAlias = Literal["classic", "consumer"]
SESSION_MAX_MS = 15_000
"""A group that notices a death later than this is better off with the classic protocol."""
ASK_SECONDS = 2.0
BROKERS_SESSION, GROUPS_SESSION = "group.consumer.session.timeout.ms", "consumer.session.timeout.ms"
ENABLED = "group.coordinator.rebalance.protocols"
"""Which protocols the brokers speak; brokers of before 4.0, or without the setting, tell nothing here."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The protocol that is spoken, its session timeout, and a phrase that says why."""

    protocol: Spoken
    session_ms: int
    why: str


def choose_protocol(
    asked: Asked, instance_id: str | None, session_ms: int, connection: Mapping[str, Any], group_id: str
) -> Choice:
    """What to speak. Asks the brokers, for 3 times 2 s at most; what they do not tell makes it `classic`.

    `session_ms`: the session under `classic`. With `consumer` asked for, brokers that tell nothing are taken at their
    word that they speak it; a consumer that is refused says so itself.
    """
    check_protocol(asked, instance_id)
    if instance_id:
        return Choice("classic", session_ms, "an instance id keeps its tasks through a restart only under it")
    if asked == "classic":
        return Choice("classic", session_ms, "it was asked for")
    found, why = _brokers_session_ms(connection, group_id)
    if asked == "consumer":
        return Choice("consumer", found or session_ms, "it was asked for")
    if found is None:
        return Choice("classic", session_ms, why)
    if found > SESSION_MAX_MS:
        return Choice("classic", session_ms, f"under `consumer` the brokers notice a death after {found / 1000:g} s")
    return Choice("consumer", found, f"the brokers notice a death within {found / 1000:g} s")


def check_protocol(asked: Asked, instance_id: str | None) -> None:
    """Raises ValueError, in one sentence, where the protocol and the instance id contradict each other."""
    if asked == "consumer" and instance_id:
        raise ValueError(
            "kafka.protocol=consumer cannot be had with kafka.instance_id: under it a restarted process would wait for "
            "its own session to end; take kafka.protocol=auto or classic, or no instance id"
        )


def consumer_config(
    group_id: str, instance_id: str | None, session_timeout_ms: int, protocol: Spoken = "classic"
) -> dict[str, Any]:
    """librdkafka's settings for the group consumer, without those that say where the brokers are.

    Under `consumer` librdkafka refuses `partition.assignment.strategy`, `session.timeout.ms` and
    `heartbeat.interval.ms`: they are the brokers' there.
    """
    config: dict[str, Any] = {
        "group.id": group_id,
        "group.protocol": protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "max.poll.interval.ms": 60_000,
        "fetch.max.bytes": 8 * 1024 * 1024,
        "max.partition.fetch.bytes": 1024 * 1024,
        "receive.message.max.bytes": 16 * 1024 * 1024,
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 1_000,
        "fetch.error.backoff.ms": 100,
        # A partition that is begun or resumed joins the next fetch, and the one under way lasts so long.
        "fetch.wait.max.ms": 100,
        "check.crcs": True,
        "allow.auto.create.topics": False,
    }
    if protocol == "consumer":
        return {**config, "group.remote.assignor": "range"}
    classic: dict[str, Any] = {
        "partition.assignment.strategy": "range",
        "session.timeout.ms": session_timeout_ms,
        "heartbeat.interval.ms": max(session_timeout_ms // 4, 100),
    }
    return {**config, **classic, **({"group.instance.id": instance_id} if instance_id else {})}


def _brokers_session_ms(connection: Mapping[str, Any], group_id: str) -> tuple[int | None, str]:
    """After how long the brokers take a member of this group for dead; None, and why, where they do not tell."""
    admin = AdminClient({**connection, "log_level": 0})
    try:
        brokers = admin.list_topics(timeout=ASK_SECONDS).brokers
        values = _configs(admin, ResourceType.BROKER, str(min(brokers, default=0)))
    except KafkaException as failure:
        return None, f"the brokers do not tell their settings ({failure.args[0].name()})"
    if BROKERS_SESSION not in values or "consumer" not in values.get(ENABLED, "consumer"):
        return None, "the brokers do not speak `consumer`"
    with suppress(KafkaException):
        # A group may have a session of its own, which counts then; older brokers know no such thing.
        values |= _configs(admin, ResourceType.GROUP, group_id)
    return int(values.get(GROUPS_SESSION, values[BROKERS_SESSION])), ""


def _configs(admin: AdminClient, kind: ResourceType, name: str) -> dict[str, str]:
    return configs_of(admin, kind, [name], ASK_SECONDS)[name]
