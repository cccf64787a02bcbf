"""The product's topics as code: one table, and the difference between it and a cluster.

Here live the names, partition counts and settings of design section 3, `plan` and `apply` over Kafka's admin client,
and how long a topic keeps what is in it. Who may read or write a topic is the platform's business, and so is deleting
one: nothing here can.

The idea: `plan` compares and changes nothing, `apply` carries out only the changes that create a topic. A topic that
is there but differs is told to a person, because more partitions would move keys to other tasks, and the settings of
inputs and outputs belong to whoever runs them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

DEFAULT_PARTITIONS = 6
"""N of the design: how many tasks there are, fixed when the state and reroute topics are created."""

_WANTED_REPLICAS = 3
_ADMIN_SECONDS = 10.0
_VISIBLE_TRIES = 500
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_IN_SYNC = "min.insync.replicas"
_NO_BOUND = (1 << 63) - 1


class TopicsFailed(Exception):
    """The cluster did not answer or refused; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """What each topic is called; every name is a setting."""

    plug_in: str = "ev.plug-in.v1"
    user_boost: str = "ev.user-boost.v1"
    consent_withdrawn: str = "ev.consent-withdrawn.v1"
    modified_schedule: str = "ev.modified-schedule.v1"
    enrolment_status: str = "ev.enrolment-status.v1"
    outcomes: str = "axle-processor.outcomes.v1"
    state: str = "axle-processor.state.v1"
    reroute: str = "axle-processor.reroute.v1"
    dead_letter: str = "axle-processor.dead-letter.v1"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be. `config` holds only what matters to the product; all else is the cluster's choice."""

    name: str
    partitions: int
    config: Mapping[str, str]
    why: Mapping[str, str] = field(default_factory=dict)
    """What a setting of `config` is for, where that is not plain."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what is wanted and what is there.

    `create` is carried out by `apply`. The other kinds are for a person: `partitions` and `replicas` are counts that
    differ, `config` is one setting that differs (named in `setting`).
    """

    kind: Literal["create", "partitions", "replicas", "config"]
    topic: TopicSpec
    replicas: int
    setting: str = ""
    there: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        """The change as a sentence."""
        if self.kind == "create":
            return f"{self.topic.name}: create with {self.topic.partitions} partitions and {self.replicas} replicas."
        what = {"partitions": "the number of partitions", "replicas": "the number of replicas"}.get(
            self.kind, self.setting
        )
        why = self.topic.why.get(self.setting)
        wanted = f"{self.wanted}, because {why}" if why else self.wanted
        return f"{self.topic.name}: {what} is {self.there}, wanted {wanted}. Left as it is: yours to decide."


@dataclass(frozen=True, slots=True)
class Kept:
    """Until when a topic keeps what it has, in UTC milliseconds and at the latest; None: nobody can say."""

    topic: str
    until_ms: int | None
    id_until_ms: int | None
    """Where a tombstone takes its place: until when that one is there, with the record's key."""
    why: str


_EVERYWHERE = MappingProxyType(
    {
        # Ages and orders count from the broker's clock, which the producers upstream cannot set wrongly.
        "message.timestamp.type": "LogAppendTime",
        _IN_SYNC: "2",
        "unclean.leader.election.enable": "false",
    }
)
_SETTINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "plug_in": {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
        "user_boost": {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
        "consent_withdrawn": {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
        "modified_schedule": {"cleanup.policy": "compact,delete", "retention.ms": str(7 * _DAY_MS)},
        # A household that is erased leaves a tombstone; the compaction lag bounds how long what it replaces stays.
        "enrolment_status": {
            "cleanup.policy": "compact",
            "max.compaction.lag.ms": str(_DAY_MS),
            "delete.retention.ms": str(7 * _DAY_MS),
        },
        "outcomes": {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
        # Restores read all of it, so it is compacted eagerly; the compaction lag bounds how long erased data stays.
        "state": {
            "cleanup.policy": "compact",
            "segment.ms": str(6 * _HOUR_MS),
            "min.cleanable.dirty.ratio": "0.2",
            "max.compaction.lag.ms": str(_DAY_MS),
            "delete.retention.ms": str(7 * _DAY_MS),
            "max.message.bytes": str(1024 * 1024),
        },
        # A record on its way to its task must outlast a processor that is down, be it for a long weekend.
        "reroute": {"cleanup.policy": "delete", "retention.ms": str(7 * _DAY_MS)},
        "dead_letter": {"cleanup.policy": "delete", "retention.ms": str(14 * _DAY_MS)},
    }
)


_WHY: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "reroute": {"retention.ms": "records on their way to their task must outlast a processor that is down"},
        "state": {
            "cleanup.policy": "a state that nothing happens to must stay",
            "max.compaction.lag.ms": "it bounds how long erased data stays",
            "delete.retention.ms": "a restore must see what was erased",
        },
        "enrolment_status": {"max.compaction.lag.ms": "it bounds how long erased data stays"},
    }
)


def wanted_topics(names: TopicNames, partitions: int = DEFAULT_PARTITIONS) -> tuple[TopicSpec, ...]:
    """The table of design section 3 (settings of the changelog: reliability 2.7), in the order of `TopicNames`."""
    return tuple(
        TopicSpec(
            getattr(names, each.name), partitions, {**_EVERYWHERE, **_SETTINGS[each.name]}, _WHY.get(each.name, {})
        )
        for each in fields(names)
    )


def tasks_there(admin: AdminClient, names: TopicNames, timeout_seconds: float = _ADMIN_SECONDS) -> int | None:
    """How many tasks the cluster's topics are made for: partitions of the state topic, or else of the reroute topic.

    None while neither is there. A topic that is created beside them must fit. Raises TopicsFailed.
    """
    try:
        topics = admin.list_topics(timeout=timeout_seconds).topics
    except KafkaException as error:
        raise TopicsFailed(f"The topics of the cluster cannot be read: {error.args[0].str()}.") from error
    return next((len(topics[name].partitions) for name in (names.state, names.reroute) if name in topics), None)


def plan(admin: AdminClient, wanted: Sequence[TopicSpec], timeout_seconds: float = _ADMIN_SECONDS) -> list[Change]:
    """What differs between `wanted` and the cluster, in the order of `wanted`; changes nothing.

    Wanted replicas are 3, or as many as there are brokers; in-sync replicas are one fewer, but at least 1. Raises
    TopicsFailed when the cluster does not answer a question within `timeout_seconds`.
    """
    try:
        metadata = admin.list_topics(timeout=timeout_seconds)
        replicas = min(_WANTED_REPLICAS, len(metadata.brokers))
        wanted = [_fitted(spec, replicas) for spec in wanted]
        present = [spec for spec in wanted if spec.name in metadata.topics]
        configs = topic_configs(admin, [spec.name for spec in present], timeout_seconds)
    except KafkaException as error:
        raise TopicsFailed(f"The topics of the cluster cannot be read: {error.args[0].str()}.") from error
    changes: list[Change] = []
    for spec in wanted:
        if spec not in present:
            changes.append(Change("create", spec, replicas))
        else:
            changes.extend(_differences(spec, replicas, metadata.topics[spec.name], configs[spec.name]))
    return changes


def apply(admin: AdminClient, changes: Sequence[Change]) -> list[Change]:
    """Create the topics that `changes` ask for, wait until clients can see them, and return what is left to a person.

    A topic that somebody else created meanwhile is left as it is, and what differs in it is returned too. Raises
    TopicsFailed when a topic cannot be created.
    """
    left = [change for change in changes if change.kind != "create"]
    missing = {change.topic.name: change for change in changes if change.kind == "create"}
    if not missing:
        return left
    futures = admin.create_topics(
        [
            NewTopic(change.topic.name, change.topic.partitions, change.replicas, config=dict(change.topic.config))
            for change in missing.values()
        ],
        operation_timeout=_ADMIN_SECONDS,
        request_timeout=_ADMIN_SECONDS,
    )
    made_by_others: list[TopicSpec] = []
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsFailed(f"The topic {name} cannot be created: {error.args[0].str()}.") from error
            made_by_others.append(missing[name].topic)
    _wait_visible(admin, set(missing))
    return [*left, *plan(admin, made_by_others)] if made_by_others else left


def kept_until(topic: str, config: Mapping[str, str], now_ms: int, *, has_tombstone: bool) -> Kept:
    """Until when a topic with these settings has a record from before `now_ms`.

    By age it goes with its whole segment, which is rolled after `segment.ms`, `retention.ms` after its newest record.
    Where a tombstone replaced it, it is compacted away within `max.compaction.lag.ms`, and the tombstone by the pass
    that follows `delete.retention.ms`. Source: Kafka's topic configuration.
    """
    policy = config.get("cleanup.policy", "").split(",")
    retention_ms, segment_ms = _bound_ms(config, "retention.ms"), _bound_ms(config, "segment.ms")
    if "delete" in policy and retention_ms is not None and segment_ms is not None:
        return Kept(topic, now_ms + retention_ms + segment_ms, None, "retention.ms and segment.ms")
    if "compact" not in policy or not has_tombstone:
        return Kept(topic, None, None, "without end: no setting bounds how long it keeps records")
    lag_ms, tombstone_ms = _bound_ms(config, "max.compaction.lag.ms"), _bound_ms(config, "delete.retention.ms")
    if lag_ms is None or tombstone_ms is None:
        return Kept(topic, None, None, "until it is compacted: max.compaction.lag.ms sets no time for that")
    id_until_ms = now_ms + 2 * lag_ms + tombstone_ms
    return Kept(topic, now_ms + lag_ms, id_until_ms, "max.compaction.lag.ms and delete.retention.ms")


def _bound_ms(config: Mapping[str, str], setting: str) -> int | None:
    """Kafka writes no bound as -1, or as the largest number there is."""
    text = config.get(setting, "")
    return int(text) if text.isdecimal() and int(text) < _NO_BOUND else None


def _wait_visible(admin: AdminClient, names: set[str]) -> None:
    """Creation is agreed by the controllers; the brokers that clients ask learn of it a moment later."""
    for _ in range(_VISIBLE_TRIES):
        try:
            topics = admin.list_topics(timeout=_ADMIN_SECONDS).topics
        except KafkaException as error:
            raise TopicsFailed(f"The new topics cannot be read back: {error.args[0].str()}.") from error
        if all(
            name in topics and all(partition.leader >= 0 for partition in topics[name].partitions.values())
            for name in names
        ):
            return
        time.sleep(0.02)
    raise TopicsFailed(f"The new topics have no leaders yet ({', '.join(sorted(names))}): look at the brokers' logs.")


def _differences(spec: TopicSpec, replicas: int, there: TopicMetadata, config: Mapping[str, str]) -> Iterator[Change]:
    if len(there.partitions) != spec.partitions:
        yield Change("partitions", spec, replicas, "", str(len(there.partitions)), str(spec.partitions))
    fewest = min((len(partition.replicas) for partition in there.partitions.values()), default=0)
    if fewest < replicas:
        yield Change("replicas", spec, replicas, "", str(fewest), str(replicas))
    for setting, value in spec.config.items():
        has = config.get(setting, "unknown")
        # Lists count as sets: brokers give `compact,delete` back in either order.
        if set(has.split(",")) != set(value.split(",")):
            yield Change("config", spec, replicas, setting, has, value)


def _fitted(spec: TopicSpec, replicas: int) -> TopicSpec:
    """On a small cluster fewer replicas can be in sync, or nothing could be written while one broker restarts."""
    if _IN_SYNC not in spec.config:
        return spec
    in_sync = min(int(spec.config[_IN_SYNC]), max(1, replicas - 1))
    return replace(spec, config={**spec.config, _IN_SYNC: str(in_sync)})


def topic_configs(
    admin: AdminClient, names: Sequence[str], timeout_seconds: float = _ADMIN_SECONDS
) -> dict[str, dict[str, str]]:
    """The settings in force of each topic, defaults included. Raises KafkaException."""
    return configs_of(admin, ResourceType.TOPIC, names, timeout_seconds) if names else {}


def configs_of(
    admin: AdminClient, kind: ResourceType, names: Sequence[str], timeout_seconds: float
) -> dict[str, dict[str, str]]:
    """The settings in force of each topic, broker or group, as far as they are told. Raises KafkaException."""
    futures = admin.describe_configs([ConfigResource(kind, name) for name in names], request_timeout=timeout_seconds)
    return {
        resource.name: {
            entry.name: str(entry.value)
            for entry in future.result(2 * timeout_seconds).values()
            if entry.value is not None
        }
        for resource, future in futures.items()
    }
