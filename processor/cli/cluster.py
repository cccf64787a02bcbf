"""The cluster as the verbs meet it: where it is, how it is read and written, and what is said when that fails.

What a verb wants of it is the verb's own business. The one idea: a verb is no member of the processor's group. It names
the group, for whoever grants rights by it, but never joins it nor commits, so nothing that it does moves a partition.
"""

import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its stubs omit it

from processor.cli.wiring import connection, topic_names
from processor.core.events import Source
from processor.core.site import Site
from processor.settings import Settings, SettingsWrong
from processor.shell.contract import ConnectionWrong, KafkaUnreachable, TopicsUnfit, topic_partitions
from processor.shell.exits import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_UNREACHABLE
from processor.shell.kafka_errors import is_refusal
from processor.shell.log_ends import LATEST, list_ends
from processor.shell.partition import task_of
from processor.shell.records import Partition, Produce
from processor.shell.schema_registry import RegistryFailed, RegistryWrong
from processor.shell.topics import TopicNames
from processor.wire.state import decode_site

WRITE_MS = 10_000
ASK_SECONDS = 5.0
ENDS_SECONDS = 15.0
ASK_AGAIN_SECONDS = 0.1
POLL_SECONDS = 0.2
BATCH = 1000
PROGRESS_EVERY_SECONDS = 2.0


class Failed(Exception):
    """Kafka did not do its part after all. One sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to ask: librdkafka's settings, the topics, and how many partitions each has that was asked for."""

    where: dict[str, Any]
    group_id: str
    names: TopicNames
    partitions: Mapping[str, int]

    def all_of(self, topic: str) -> list[Partition]:
        """The partitions of a topic."""
        return [(topic, partition) for partition in range(self.partitions[topic])]


def reached(settings: Settings, needed: Collection[str] | None = None) -> Cluster:
    """The cluster of the settings, once it has answered and has the topics that are `needed`, by default all.

    Raises ConnectionWrong, KafkaUnreachable, TopicsUnfit.
    """
    where: dict[str, Any] = {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        **connection(settings),
        "log_level": 0,
    }
    names = topic_names(settings)
    return Cluster(where, settings.kafka.group_id, names, topic_partitions(where, names, needed))


def exit_code(work: Callable[[], int], stopped: str) -> int:
    """Do a verb's work, and turn what may go wrong into one line on stderr and an exit code.

    `stopped` is what is said, with exit code 1, when the operator ends it with Ctrl-C.
    """
    try:
        return work()
    except (SettingsWrong, ConnectionWrong, TopicsUnfit, RegistryWrong) as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (KafkaUnreachable, Failed) as failure:
        print(f"kafka: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except RegistryFailed as failure:
        print(f"schema registry: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return EXIT_FAILURE


def ends(
    cluster: Cluster, partitions: Collection[Partition], what_now: str, spec: OffsetSpec = LATEST
) -> dict[Partition, int]:
    """Where these partitions end for a reader of what is committed. Raises Failed, which ends in `what_now`."""
    admin = AdminClient(cluster.where)  # by name: one that nobody holds is gone before it answers
    deadline = time.monotonic() + ENDS_SECONDS
    while True:
        found, why = list_ends(admin, partitions, spec, ASK_SECONDS)
        if why is None:
            return found
        # A partition whose leader is about to change answers again a moment later.
        if is_refusal(why) or time.monotonic() > deadline:
            topics = ", ".join(sorted({topic for topic, _ in partitions}))
            raise Failed(f"the ends of {topics} cannot be read, so {what_now}: {why.str()} ({why.name()})")
        time.sleep(ASK_AGAIN_SECONDS)


def write(cluster: Cluster, record: Produce, what: str) -> Source:
    """The record's place, once it is acknowledged by all in-sync replicas. Raises Failed, which calls it `what`.

    Without a partition its key chooses one, as in the Java client.
    """
    return write_all(cluster, [record], what)[0]


def write_all(cluster: Cluster, records: Collection[Produce], what: str) -> list[Source]:
    """As `write`, for up to 100,000 records. Raises Failed unless all of them are acknowledged; some may stand then."""
    reports: list[tuple[KafkaError | None, Message]] = []
    limits = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": WRITE_MS}
    try:
        producer = Producer({**cluster.where, "partitioner": "murmur2_random", **limits})
        for record in records:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                on_delivery=lambda error, message: reports.append((error, message)),
                headers=list(record.headers),
            )
        producer.flush(WRITE_MS / 1000 + 1)
    except KafkaException as failure:
        raise Failed(f"the {what} was not written: {words(failure)}") from failure
    errors = [error.str() for error, _ in reports if error] + ["no answer"] * (len(records) - len(reports))
    if errors:
        raise Failed(f"no broker acknowledged the {what}: {errors[0]}; give it again, twice does no harm")
    return [Source(message.topic() or "", message.partition() or 0, message.offset() or 0) for _, message in reports]


def reader(cluster: Cluster, **more: object) -> Consumer:
    """A reader of what is committed, on its own."""
    return Consumer(
        {
            **cluster.where,
            "group.id": cluster.group_id,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 5,
            **more,
        }
    )


def arrivals(consumer: Consumer) -> list[Message]:
    """What is there, or comes next within 0.2 s: records, and errors that pass by themselves.

    Raises Failed where we may not read.
    """
    first = consumer.poll(POLL_SECONDS)
    found = [] if first is None else [first, *consumer.consume(BATCH, 0)]
    for message in found:
        error = message.error()
        # The group is never joined, so a right to it is not needed, though librdkafka looks for its coordinator.
        if error is not None and error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED and is_refusal(error):
            raise Failed(f"we may not read {message.topic()}: {error.str()}; ask for the right to READ it")
    return found


def read_all(
    cluster: Cluster, partitions: Collection[Partition], take: Callable[[Message], None], deadline: float
) -> None:
    """Hand over all that is committed in these partitions, and say on stderr every other second how far it is.

    `deadline` is monotonic. Raises Failed when it passes before everything was read, and where we may not read.
    """
    goals = ends(cluster, partitions, "nothing was read")
    left = {partition for partition, goal in goals.items() if goal}
    topics = ", ".join(sorted({topic for topic, _ in partitions}))
    began, next_word, count = time.monotonic(), PROGRESS_EVERY_SECONDS, 0
    with closing(reader(cluster, **{"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(*partition, OFFSET_BEGINNING) for partition in left])
        while left:
            now = time.monotonic()
            so_far = f"{count:,} records of {topics}, {len(left)} of {len(goals)} partitions not to their end"
            if now > deadline:
                raise Failed(f"the time is over after {so_far}; give it more with --timeout-seconds")
            if now - began > next_word:
                next_word += PROGRESS_EVERY_SECONDS
                print(f"{now - began:.0f} s: read {so_far}", file=sys.stderr)
            for message in arrivals(consumer):
                count += _taken(message, goals, left, take)


def _taken(
    message: Message, goals: Mapping[Partition, int], left: set[Partition], take: Callable[[Message], None]
) -> bool:
    """Whether it was a record. What has reached its goal is not left any more."""
    place, error = (message.topic() or "", message.partition() or 0), message.error()
    if error is None:
        take(message)
        if (message.offset() or 0) >= goals[place] - 1:
            left.discard(place)
        return True
    if error.code() == KafkaError._PARTITION_EOF:
        left.discard(place)
    return False


def state_of(cluster: Cluster, site_id: str, deadline: float) -> Site | None:
    """What the processor's state holds of a household. Raises Failed, and BadState."""
    key, values = site_id.encode(), list[bytes | None]()

    def take(message: Message) -> None:
        if message.key() == key:
            values[:] = [message.value()]

    topic = cluster.names.state
    read_all(cluster, [(topic, task_of(site_id, cluster.partitions[topic]))], take, deadline)
    return decode_site(values[0]) if values and values[0] else None


def words(failure: KafkaException) -> str:
    """What librdkafka says of a failure."""
    return str(failure.args[0].str())


def now_ms() -> int:
    """UTC now."""
    return time.time_ns() // 1_000_000
