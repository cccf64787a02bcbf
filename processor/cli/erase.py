"""`axle-processor erase SITE`: the order to forget a household, and what became of it.

Here live the writing of the order, the wait for what follows from it, and what is said of both. Offboarding and
forgetting are the processor's work. The one idea: the verb believes only what is committed. A household is forgotten
when the order has its outcome and the last record of the enrolment-status topic about it is a tombstone.
"""

import secrets
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import astuple, dataclass
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.cli.wiring import connection, topic_names
from processor.core.events import Source
from processor.core.outputs import ConsentState, EnrolmentStatus, Outcome, Result
from processor.settings import Settings, SettingsWrong, load
from processor.shell.contract import ConnectionWrong, KafkaUnreachable, TopicsUnfit, topic_partitions
from processor.shell.intake import order_to_erase, read_order
from processor.shell.kafka_errors import is_refusal
from processor.shell.log_ends import LATEST, list_ends
from processor.shell.partition import task_of
from processor.shell.records import Produce
from processor.shell.schema_files import schema_texts
from processor.shell.topics import Kept, TopicNames, kept_until, topic_configs
from processor.wire.avro import Codec, Undecodable
from processor.wire.inputs import InputLimits, Rejected
from processor.wire.instants import iso_z
from processor.wire.state import BadState, decode_site

EXIT_FAILURE, EXIT_USAGE, EXIT_CONFIGURATION, EXIT_UNREACHABLE = 1, 2, 3, 4
WRITE_MS = 10_000
ASK_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.1
READ_STATE_SECONDS = 30.0
PROGRESS_EVERY_SECONDS = 5.0
POLL_SECONDS = 0.2


class _Failed(Exception):
    """Kafka did not do its part after all. One sentence for the operator."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Where to ask: librdkafka's settings, the topics, and how many partitions each has."""

    where: dict[str, Any]
    group_id: str
    names: TopicNames
    partitions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Told:
    """What is said in the end. `outcome` is None while there is none."""

    says: str
    code: int
    outcome: Result | None = None
    is_forgotten: bool = False
    consented_at_ms: int | None = None


def erase_verb(site_id: str, *, as_json: bool, timeout_seconds: float, wait: bool) -> int:
    """Order it, wait for what becomes of it, and say so. Returns the exit code."""
    codec = Codec(schema_texts())
    event_id = f"erase.{secrets.token_hex(8)}"
    problem = _problem_of(site_id, event_id, codec)
    if problem:
        print(f"usage: {problem}", file=sys.stderr)
        return EXIT_USAGE
    try:
        cluster = _cluster(load())
        told = _erase(cluster, codec, site_id, event_id, timeout_seconds if wait else 0)
    except (SettingsWrong, ConnectionWrong, TopicsUnfit) as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (KafkaUnreachable, _Failed) as failure:
        print(f"kafka: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except KeyboardInterrupt:
        print("stopped waiting; an order that was written stands, and the processor goes on by itself", file=sys.stderr)
        return EXIT_FAILURE
    topics = _kept(cluster) if told.is_forgotten else None
    _print(site_id, event_id, told, topics, as_json=as_json)
    return told.code


def _problem_of(site_id: str, event_id: str, codec: Codec) -> str | None:
    """Why the processor would refuse this order; None when it would not."""
    value = order_to_erase("", 1, site_id, event_id, _now_ms()).value
    read = read_order(value, Source("", 0, 0), _now_ms(), codec, InputLimits())
    return f"SITE: {read.reason}" if isinstance(read, Rejected) else None


def _cluster(settings: Settings) -> _Cluster:
    where: dict[str, Any] = {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        **connection(settings),
        "log_level": 0,
    }
    names = topic_names(settings)
    return _Cluster(where, settings.kafka.group_id, names, topic_partitions(where, names))


def _erase(cluster: _Cluster, codec: Codec, site_id: str, event_id: str, timeout_seconds: float) -> _Told:
    """Look at where records will be added, write the order, and read from there. No time to wait: only write it."""
    names = cluster.names
    order = order_to_erase(names.reroute, cluster.partitions[names.reroute], site_id, event_id, _now_ms())
    ends = _ends(cluster)
    source = _written(cluster, order)
    if not timeout_seconds:
        return _Told(f"ordered as {event_id}; the processor goes on by itself", 0)
    print(f"ordered as {event_id}; waiting for up to {timeout_seconds:g} s", file=sys.stderr)
    watch = _Watch(names, codec, site_id, source)
    try:
        with closing(_consumer(cluster)) as consumer:
            consumer.assign(ends)
            _follow(consumer, watch, timeout_seconds)
    except KafkaException as failure:
        raise _Failed(f"the order stands, but what becomes of it cannot be read: {_words(failure)}") from failure
    return _told(cluster, watch, timeout_seconds)


def _ends(cluster: _Cluster) -> list[TopicPartition]:
    """Where everything that follows from the order will stand: at these offsets, or later."""
    asked = [
        (topic, partition)
        for topic in (cluster.names.outcomes, cluster.names.enrolment_status)
        for partition in range(cluster.partitions[topic])
    ]
    admin = AdminClient(cluster.where)  # by name: one that nobody holds is gone before it answers
    deadline = time.monotonic() + ASK_SECONDS
    while True:
        found, why = list_ends(admin, asked, LATEST, ASK_SECONDS)
        if why is None:
            return [TopicPartition(*partition, offset) for partition, offset in found.items()]
        # A partition whose leader is about to change answers again a moment later.
        if is_refusal(why) or time.monotonic() > deadline:
            sentence = f"{why.str()} ({why.name()})"
            raise _Failed(f"the ends of the outcomes cannot be read, so nothing was ordered: {sentence}")
        time.sleep(ASK_AGAIN_SECONDS)


def _written(cluster: _Cluster, order: Produce) -> Source:
    """The order's place, once it is acknowledged by all in-sync replicas."""
    reports: list[tuple[KafkaError | None, Message]] = []
    limits = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": WRITE_MS}
    partition = -1 if order.partition is None else order.partition
    try:
        producer = Producer({**cluster.where, **limits})
        producer.produce(
            order.topic,
            order.value,
            order.key,
            partition,
            on_delivery=lambda error, message: reports.append((error, message)),
            headers=list(order.headers),
        )
        producer.flush(WRITE_MS / 1000 + 1)
    except KafkaException as failure:
        raise _Failed(f"the order was not written: {_words(failure)}") from failure
    error, message = reports[0] if reports else (KafkaError(KafkaError._TIMED_OUT), None)
    if error is not None or message is None:
        why = error.str() if error else "no answer"
        raise _Failed(f"no broker acknowledged the order: {why}; give it again, twice does no harm")
    return Source(order.topic, message.partition() or 0, message.offset() or 0)


def _consumer(cluster: _Cluster, **more: object) -> Consumer:
    """A reader on its own: it names the group, for whoever grants rights by it, but never joins it nor commits."""
    return Consumer(
        {
            **cluster.where,
            "group.id": cluster.group_id,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            **more,
        }
    )


class _Watch:
    """What is committed about one household since just before its order."""

    def __init__(self, names: TopicNames, codec: Codec, site_id: str, source: Source) -> None:
        self._names = names
        self._codec = codec
        self._site_key = site_id.encode()
        self.site_id = site_id
        self.source = source
        self.outcome: Outcome | None = None
        self.is_taken = False
        """Whether a processor has read the order: from then on it cannot be lost."""
        self.is_forgotten = False
        self._consented_as_of_ms = 0
        """When it was last said that a consent stands."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will follow from the order."""
        if self.outcome is None:
            return False
        # What was said before the outcome is from before the order: topics are not read in step.
        has_consent = self._consented_as_of_ms >= self.outcome.settled_at_ms
        return self.outcome.result in {Result.STALE, Result.INVALID} or self.is_forgotten or has_consent

    def take(self, message: Message) -> None:
        """One committed record. Raises Undecodable."""
        key, value = message.key(), message.value()
        if message.topic() == self._names.outcomes:
            place = f"{self.source.topic}-{self.source.partition}-{self.source.offset}".encode()
            if key in {self._site_key, place} and value is not None:
                self._take_outcome(self._codec.decode_output(Outcome, value))
        elif key == self._site_key:
            self._take_status(None if value is None else self._codec.decode_output(EnrolmentStatus, value))

    def _take_outcome(self, outcome: Outcome) -> None:
        if outcome.source == self.source:
            self.outcome, self.is_taken = outcome, True

    def _take_status(self, status: EnrolmentStatus | None) -> None:
        self.is_forgotten = status is None
        if status is None or status.consent is ConsentState.WITHDRAWN:
            self.is_taken = True
        else:
            self._consented_as_of_ms = status.changed_at_ms


def _follow(consumer: Consumer, watch: _Watch, timeout_seconds: float) -> None:
    """Read until it is over, or the time is. Raises KafkaException where we may not read, and _Failed."""
    began = time.monotonic()
    next_word = PROGRESS_EVERY_SECONDS
    while not watch.is_over and (waited := time.monotonic() - began) < timeout_seconds:
        if waited >= next_word:
            next_word += PROGRESS_EVERY_SECONDS
            state = "Axle has not confirmed yet" if watch.is_taken else "no processor has taken the order yet"
            print(f"{waited:.0f} s: {state}", file=sys.stderr)
        message = consumer.poll(POLL_SECONDS)
        if message is None:
            continue
        error = message.error()
        if error is None:
            _take(watch, message)
        elif is_refusal(error):
            raise KafkaException(error)


def _take(watch: _Watch, message: Message) -> None:
    try:
        watch.take(message)
    except Undecodable as unread:
        raise _Failed(
            f"the order stands, but a record about it cannot be read: {unread.reason}; "
            "use the command of the release that runs"
        ) from unread


def _told(cluster: _Cluster, watch: _Watch, waited_seconds: float) -> _Told:
    """In words what the watch saw."""
    result = watch.outcome.result if watch.outcome else None
    if not watch.is_taken:
        says = (
            f"no processor has taken the order in {waited_seconds:g} s; it waits in {cluster.names.reroute} for as "
            "long as that topic keeps records. Is `axle-processor run` at work?"
        )
        return _Told(says, EXIT_FAILURE)
    if result is None or not watch.is_over:
        says = f"still owed after {waited_seconds:g} s: Axle has not confirmed; the processor goes on by itself"
        return _Told(says, EXIT_FAILURE, result)
    if result is Result.INVALID:
        says = f"the order was refused; see {cluster.names.dead_letter}, and whether every processor is of this release"
        return _Told(says, EXIT_FAILURE, result)
    if result is Result.STALE or not watch.is_forgotten:
        at_ms = _consented_at_ms(cluster, watch.site_id)
        was_stale = result is Result.STALE
        done = "nothing was erased" if was_stale else "what was at Axle has left it, nothing was forgotten here"
        says = f"a newer consent stands: {done}" + (f" (consented {_minute(at_ms)})" if at_ms else "")
        return _Told(says, EXIT_FAILURE, result, consented_at_ms=at_ms)
    how = {Result.OFFBOARDED: "offboarded at Axle, ", Result.NOTHING_TO_OFFBOARD: "nothing was at Axle, "}
    return _Told(f"{how.get(result, '')}forgotten here", 0, result, is_forgotten=True)


def _consented_at_ms(cluster: _Cluster, site_id: str) -> int | None:
    """When the consent that stands was given, out of the state; None where it is not to be had."""
    topic = cluster.names.state
    partition = task_of(site_id, cluster.partitions[topic])
    last: bytes | None = None
    deadline = time.monotonic() + READ_STATE_SECONDS
    try:
        with closing(_consumer(cluster, **{"enable.partition.eof": True})) as consumer:
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
            while time.monotonic() < deadline:
                message = consumer.poll(POLL_SECONDS)
                if message is None:
                    continue
                if message.error() is not None:
                    break
                if message.key() == site_id.encode():
                    last = message.value()
        consent = decode_site(last).consent if last else None
    except (KafkaException, BadState):
        return None
    return consent.at_ms if consent else None


def _kept(cluster: _Cluster) -> list[Kept] | None:
    """How long each topic keeps what it has, by its settings."""
    try:
        configs = topic_configs(AdminClient(cluster.where), astuple(cluster.names), ASK_SECONDS)
    except KafkaException as failure:
        print(f"how long the topics keep their records cannot be read: {_words(failure)}", file=sys.stderr)
        return None
    tombstones = {cluster.names.state, cluster.names.enrolment_status}
    now_ms = _now_ms()
    return [kept_until(topic, config, now_ms, has_tombstone=topic in tombstones) for topic, config in configs.items()]


def _print(site_id: str, event_id: str, told: _Told, topics: list[Kept] | None, *, as_json: bool) -> None:
    if as_json:
        result = {
            "site_id": site_id,
            "event_id": event_id,
            "outcome": told.outcome,
            "forgotten": told.is_forgotten,
            "says": told.says,
            "consented_at_ms": told.consented_at_ms,
            "topics": topics or [],
        }
        print(orjson.dumps(result).decode())
        return
    print(f"{site_id}: {told.says}")
    if topics:
        print("These topics may hold records of before, until at the latest:")
        width = max(len(each.topic) for each in topics)
        for each in topics:
            print(f"  {each.topic:{width}}  {_until(each)}")


def _until(each: Kept) -> str:
    if each.until_ms is None:
        return each.why
    tombstone = f"; the id alone, as a tombstone, {_minute(each.id_until_ms)}" if each.id_until_ms else ""
    return f"{_minute(each.until_ms)}{tombstone} ({each.why})"


def _minute(at_ms: int) -> str:
    return iso_z(at_ms)[:16].replace("T", " ") + " UTC"


def _words(failure: KafkaException) -> str:
    return str(failure.args[0].str())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
