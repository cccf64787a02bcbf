"""`axle-processor erase SITE`: the order to forget a household, and what became of it.

Here live the writing of the order, the wait for what follows from it, and what is said of both. Offboarding and
forgetting are the processor's work. The one idea: the verb believes only what is committed. A household is forgotten
when the order has its outcome and the last record of the enrolment-status topic about it is a tombstone.
"""

import secrets
import sys
import time
from contextlib import closing
from dataclasses import astuple, dataclass

import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.cli.cluster import (
    ASK_SECONDS,
    POLL_SECONDS,
    Cluster,
    Failed,
    ends,
    exit_code,
    now_ms,
    reached,
    reader,
    state_of,
    words,
    write,
)
from processor.cli.schema_registry import codec_of
from processor.core.events import Source
from processor.core.outputs import ConsentState, EnrolmentStatus, Outcome, Result
from processor.settings import load
from processor.shell.exits import EXIT_FAILURE, EXIT_USAGE
from processor.shell.intake import order_to_erase, read_order
from processor.shell.kafka_errors import is_refusal
from processor.shell.schema_files import schema_texts
from processor.shell.topics import Kept, TopicNames, kept_until, topic_configs
from processor.wire.avro import OUTPUT_RECORDS, Codec, Undecodable
from processor.wire.inputs import InputLimits, Rejected
from processor.wire.instants import iso_z
from processor.wire.state import BadState

READ_STATE_SECONDS = 30.0
PROGRESS_EVERY_SECONDS = 5.0


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
    event_id = f"erase.{secrets.token_hex(8)}"
    problem = _problem_of(site_id, event_id, Codec(schema_texts()))
    if problem:
        print(f"usage: {problem}", file=sys.stderr)
        return EXIT_USAGE
    stopped = "stopped waiting; an order that was written stands, and the processor goes on by itself"

    def work() -> int:
        settings = load()
        cluster = reached(settings)
        codec = codec_of(settings, [OUTPUT_RECORDS[Outcome], OUTPUT_RECORDS[EnrolmentStatus]])
        told = _erase(cluster, codec, site_id, event_id, timeout_seconds if wait else 0)
        topics = _kept(cluster) if told.is_forgotten else None
        _print(site_id, event_id, told, topics, as_json=as_json)
        return told.code

    return exit_code(work, stopped)


def _problem_of(site_id: str, event_id: str, codec: Codec) -> str | None:
    """Why the processor would refuse this order; None when it would not."""
    value = order_to_erase("", 1, site_id, event_id, now_ms()).value
    read = read_order(value, Source("", 0, 0), now_ms(), codec, InputLimits())
    return f"SITE: {read.reason}" if isinstance(read, Rejected) else None


def _erase(cluster: Cluster, codec: Codec, site_id: str, event_id: str, timeout_seconds: float) -> _Told:
    """Look at where records will be added, write the order, and read from there. No time to wait: only write it."""
    names = cluster.names
    order = order_to_erase(names.reroute, cluster.partitions[names.reroute], site_id, event_id, now_ms())
    asked = [*cluster.all_of(names.outcomes), *cluster.all_of(names.enrolment_status)]
    offsets = ends(cluster, asked, "nothing was ordered")  # what follows from the order stands there, or later
    source = write(cluster, order, "order")
    if not timeout_seconds:
        return _Told(f"ordered as {event_id}; the processor goes on by itself", 0)
    print(f"ordered as {event_id}; waiting for up to {timeout_seconds:g} s", file=sys.stderr)
    watch = _Watch(names, codec, site_id, source)
    try:
        with closing(reader(cluster)) as consumer:
            consumer.assign([TopicPartition(*partition, offset) for partition, offset in offsets.items()])
            _follow(consumer, watch, timeout_seconds)
    except KafkaException as failure:
        raise Failed(f"the order stands, but what becomes of it cannot be read: {words(failure)}") from failure
    return _told(cluster, watch, timeout_seconds)


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
    """Read until it is over, or the time is. Raises KafkaException where we may not read, and Failed."""
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
        raise Failed(
            f"the order stands, but a record about it cannot be read: {unread.reason}; "
            "use the command of the release that runs"
        ) from unread


def _told(cluster: Cluster, watch: _Watch, waited_seconds: float) -> _Told:
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


def _consented_at_ms(cluster: Cluster, site_id: str) -> int | None:
    """When the consent that stands was given, out of the state; None where it is not to be had."""
    try:
        site = state_of(cluster, site_id, time.monotonic() + READ_STATE_SECONDS)
    except (Failed, BadState):
        return None
    consent = site.consent if site else None
    return consent.at_ms if consent else None


def _kept(cluster: Cluster) -> list[Kept] | None:
    """How long each topic keeps what it has, by its settings."""
    try:
        configs = topic_configs(AdminClient(cluster.where), astuple(cluster.names), ASK_SECONDS)
    except KafkaException as failure:
        print(f"how long the topics keep their records cannot be read: {words(failure)}", file=sys.stderr)
        return None
    tombstones = {cluster.names.state, cluster.names.enrolment_status}
    at_ms = now_ms()
    return [kept_until(topic, config, at_ms, has_tombstone=topic in tombstones) for topic, config in configs.items()]


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
