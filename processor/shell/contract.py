"""The start contract: what must hold of a cluster before we work on it, and a sentence for each thing that does not.

Here live the partition counts, the rights that we need, the cleanup of the state topic, and the comparison of a
checkpoint with the topics that it was made from. How topics should be made is in `topics.py`; where a task's inputs
go on is in `restore.py`. The one idea: what can be known before the first record is asked for before it, because a
refusal at the start is a sentence, and one in the middle is a night's work. What we have no right to ask is not held
against anybody: it is said, and we go on.
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AclOperation,
    AdminClient,
    ClusterMetadata,
)

from processor.shell.records import KafkaRefused, RestoreFailed
from processor.shell.topics import TopicNames, topic_configs
from processor.wire.state import Checkpoint

METADATA_SECONDS = 3.0
"""Whoever starts us hears within 5 s, all told, that no broker is there."""
DESCRIBE_SECONDS = 3.0
_SETTING = "AXLE_PROCESSOR_TOPICS__"
_NO_ID = "A" * 22
"""How a broker without topic ids writes one."""
_INPUTS = ("plug_in", "user_boost", "consent_withdrawn")
_OUTPUTS = ("modified_schedule", "enrolment_status", "outcomes", "dead_letter")
_INTERNAL = ("state", "reroute")
_NO_TRANSACTIONS = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"
_NO_GROUP = "GROUP_AUTHORIZATION_FAILED"
log = structlog.get_logger(__name__)


class KafkaUnreachable(Exception):
    """No broker answered. One sentence for the operator."""


class ConnectionWrong(Exception):
    """The brokers, or librdkafka, do not take the settings of the connection. One sentence for the operator."""


class TopicsUnfit(Exception):
    """A topic is missing, or is not as it must be. One sentence for the operator."""


class RightsMissing(Exception):
    """The brokers do not allow us what we need. One sentence that names each resource and the right to it."""


@dataclass(frozen=True, slots=True)
class Right:
    """One right that the processor's principal needs. In Apache Kafka READ and WRITE each bring DESCRIBE along."""

    kind: Literal["topic", "group", "transactional id"]
    name: str
    operation: Literal["READ", "WRITE"]
    is_prefix: bool = False
    """Whether it is about every name that begins with `name`."""

    def __str__(self) -> str:
        """The right as it is asked for."""
        return f"{self.operation} the {self.kind}{'s that begin with' if self.is_prefix else ''} {self.name}"


@dataclass(frozen=True, slots=True)
class Ground:
    """What we stand on: the topics as they were at the start."""

    partitions: Mapping[str, int]
    topic_ids: Mapping[str, str]
    """Of what is read: inputs, reroute and state. Kafka never gives a topic's id to another one; empty: not known."""


def needed_rights(names: TopicNames, group_id: str) -> tuple[Right, ...]:
    """All that the processor's principal needs and nothing more: no right on the cluster, none to make or change.

    Nobody else should be given WRITE on the state topic (who has it owns our state) or on our transactional ids (who
    has that can fence us off). Source: reliability research, section 4.
    """
    return (
        *(Right("topic", getattr(names, field), "READ") for field in (*_INPUTS, *_INTERNAL)),
        *(Right("topic", getattr(names, field), "WRITE") for field in (*_INTERNAL, *_OUTPUTS)),
        Right("group", group_id, "READ"),
        Right("transactional id", f"{group_id}.", "WRITE", is_prefix=True),
    )


def check_cluster(connection: Mapping[str, Any], names: TopicNames, group_id: str) -> Ground:
    """What the start contract says of the cluster, looked at before anything else is done. Takes at most 7 s.

    Raises ConnectionWrong, KafkaUnreachable, RightsMissing, TopicsUnfit.
    """
    admin, metadata = _reach(connection)
    if metadata.controller_id not in metadata.brokers:
        log.warning("no broker here can describe topics (a mock cluster?); rights and topic ids are not checked")
        return Ground(_counts(metadata, names), {})
    ids, forbidden = _describe(admin, names, group_id)
    if forbidden:
        raise RightsMissing(_in_words(forbidden))
    counts = _counts(metadata, names)
    _check_compacted(admin, names.state)
    return Ground(counts, ids)


def topic_partitions(
    connection: Mapping[str, Any], names: TopicNames, needed: Collection[str] | None = None
) -> dict[str, int]:
    """Partition counts of the topics that are `needed`, by default all.

    Raises ConnectionWrong, KafkaUnreachable, TopicsUnfit.
    """
    metadata = _reach(connection)[1]
    if needed is None:
        return _counts(metadata, names)
    missing = [name for name in needed if name not in metadata.topics]
    if missing:
        raise TopicsUnfit(
            f"topics are missing, or we have no right to see them: {', '.join(missing)}; name yours with {_SETTING}*, "
            "ask for the right to DESCRIBE, or create them with `axle-processor topics apply`"
        )
    return {name: len(metadata.topics[name].partitions) for name in needed}


def explained(
    refused: KafkaRefused, connection: Mapping[str, Any], names: TopicNames, group_id: str
) -> KafkaRefused | RightsMissing:
    """What a broker refused in the middle of the work, as the right that is missing, where one is. Never raises."""
    rights = needed_rights(names, group_id)
    if _NO_TRANSACTIONS in str(refused):
        return RightsMissing(_in_words([right for right in rights if right.is_prefix]))
    if _NO_GROUP in str(refused):
        return RightsMissing(_in_words([right for right in rights if right.kind == "group"]))
    try:
        _, forbidden = _describe(_reach(connection)[0], names, group_id)
    except (ConnectionWrong, KafkaUnreachable):
        return refused
    return RightsMissing(_in_words(forbidden)) if forbidden else refused


def check_checkpoint(task: int, checkpoint: Checkpoint, ground: Ground, names: TopicNames) -> None:
    """Whether the topics are still those that the checkpoint was made from. Raises RestoreFailed.

    A checkpoint of an older release does not say, and a topic that got another name is another topic: it is read from
    its beginning.
    """
    tasks = ground.partitions[names.state]
    if checkpoint.tasks is not None and checkpoint.tasks != tasks:
        raise RestoreFailed(
            f"task {task}: its state was written for {checkpoint.tasks} tasks, but {names.state} and {names.reroute} "
            f"have {tasks} partitions now, so households would be looked for in the wrong one. Copy both, partition by "
            f"partition, to new topics with {checkpoint.tasks}, and name those with {_SETTING}STATE and "
            f"{_SETTING}REROUTE"
        )
    for name, topic_id in sorted(checkpoint.topic_ids.items()):
        if ground.topic_ids.get(name, topic_id) != topic_id:
            raise RestoreFailed(f"task {task}: {_made_anew(name, names)}")


def _made_anew(name: str, names: TopicNames) -> str:
    variable = next(_SETTING + field.name.upper() for field in fields(names) if getattr(names, field.name) == name)
    if name == names.state:
        return (
            f"the topic {name} was made anew since the state in it was written. If it is a full copy, give it another "
            f"name and set {variable}; else start anew with another group id and empty internal topics"
        )
    return (
        f"the topic {name} was deleted and made anew since the state was written: the offsets that we know are those "
        f"of other records. Give the new topic another name and set {variable}: then it is read from its beginning"
    )


def _reach(connection: Mapping[str, Any]) -> tuple[AdminClient, ClusterMetadata]:
    """A client that has heard from a broker, and what it heard."""
    heard: list[KafkaError] = []
    settings: dict[str, Any] = {**connection, "socket.timeout.ms": 4000, "log_level": 0, "error_cb": heard.append}
    try:
        admin = AdminClient(settings)
    except KafkaException as failure:
        raise ConnectionWrong(
            f"librdkafka does not take the settings of AXLE_PROCESSOR_KAFKA__*: {failure.args[0].str()}"
        ) from failure
    try:
        return admin, admin.list_topics(timeout=METADATA_SECONDS)
    except KafkaException as failure:
        admin.poll(0)
        servers, error = connection["bootstrap.servers"], failure.args[0]
        # What the last connection died of says more than that the time is over.
        why = next((each for each in heard if each.name() != "_ALL_BROKERS_DOWN"), error)
        if why.code() == KafkaError._AUTHENTICATION:
            raise ConnectionWrong(
                f"the brokers at {servers} do not let us in: {why.str()}; check AXLE_PROCESSOR_KAFKA__SASL_USERNAME, "
                "__SASL_PASSWORD and __SASL_MECHANISM"
            ) from failure
        raise KafkaUnreachable(
            f"no Kafka broker answered at {servers} within {METADATA_SECONDS:g} s ({why.str()}); "
            "check AXLE_PROCESSOR_KAFKA__BOOTSTRAP_SERVERS and __SECURITY_PROTOCOL"
        ) from failure


def _counts(metadata: ClusterMetadata, names: TopicNames) -> dict[str, int]:
    missing = [name for name in astuple(names) if name not in metadata.topics]
    if missing:
        raise TopicsUnfit(
            f"topics are missing: {', '.join(missing)}; create them with `axle-processor topics apply` "
            f"or name yours with {_SETTING}*"
        )
    counts = {name: len(metadata.topics[name].partitions) for name in astuple(names)}
    if counts[names.state] != counts[names.reroute]:
        raise TopicsUnfit(
            f"{names.state} has {counts[names.state]} partitions and {names.reroute} has {counts[names.reroute]}; "
            "both must have the same number, which is the number of tasks. Delete the one that was made wrongly, while "
            "it is empty, and create it with `axle-processor topics apply`"
        )
    return counts


def _describe(admin: AdminClient, names: TopicNames, group_id: str) -> tuple[dict[str, str], list[Right]]:
    """Ids of the topics that are read, and the rights that the brokers say are missing.

    A broker tells no rights to transactional ids, and the group's coordinator is never asked here, because librdkafka
    ends the whole process when that one dies meanwhile (confluentinc/librdkafka#4605): these are refused later, when
    they are used (`explained`). Likewise a topic that is not there is told by its count.
    """
    topics = admin.describe_topics(
        TopicCollection(list(astuple(names))), include_authorized_operations=True, request_timeout=DESCRIBE_SECONDS
    )
    ids: dict[str, str] = {}
    allowed: dict[str, set[str] | None] = {}
    for name, future in topics.items():
        allowed[name], topic_id = _operations(future)
        if topic_id:
            ids[name] = topic_id
    forbidden = [
        right
        for right in needed_rights(names, group_id)
        if right.kind == "topic" and (known := allowed[right.name]) is not None and right.operation not in known
    ]
    return {name: ids[name] for field in (*_INPUTS, *_INTERNAL) if (name := getattr(names, field)) in ids}, forbidden


def _operations(answer: "Future[Any]") -> tuple[set[str] | None, str | None]:
    """What we may do with what was described (None: not known), and its id, where it has one."""
    try:
        described = answer.result()
    except KafkaException as failure:
        return (set() if failure.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED else None), None
    operations: list[AclOperation] | None = described.authorized_operations
    topic_id = str(getattr(described, "topic_id", _NO_ID))
    return (
        None if operations is None else {operation.name for operation in operations},
        None if topic_id == _NO_ID else topic_id,
    )


def _in_words(missing: Sequence[Right]) -> str:
    what = " and may not ".join(map(str, missing))
    one = missing[0]
    each = f"{one.operation} on {'them' if one.is_prefix else 'it'}" if len(missing) == 1 else "each of these rights"
    return f"we may not {what}: give the principal {each}"


def _check_compacted(admin: AdminClient, state: str) -> None:
    try:
        policy = topic_configs(admin, [state], DESCRIBE_SECONDS)[state].get("cleanup.policy", "")
    except KafkaException as failure:
        log.warning(
            "whether the state topic is compacted is not checked: its settings are not told",
            topic=state,
            why=failure.args[0].str(),
            try_this="give the principal DESCRIBE_CONFIGS on it",
        )
        return
    if policy != "compact":
        raise TopicsUnfit(
            f"{state} has cleanup.policy={policy}, so Kafka would delete states that are still needed; set it to "
            f"compact: kafka-configs.sh --alter --entity-type topics --entity-name {state} "
            "--add-config cleanup.policy=compact"
        )
