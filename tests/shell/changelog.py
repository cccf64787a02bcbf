"""A predecessor's hand: transactions on a task's changelog and inputs, written without the product's own producer."""

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS
from processor.core.site import Charger, Enrolling, Site, Stamp
from processor.demo.kafka import Broker
from processor.shell.outbox import Outbox
from processor.shell.records import Partition, Produce
from processor.shell.topics import TopicNames
from tests.broker import prefixed
from tests.shell.parts import CODEC, NOW_MS


def home(site_id: str, since_ms: int = NOW_MS) -> Site:
    """A site that owes an onboarding's end and wants to be woken a day later."""
    return Site(site_id, Stamp(since_ms, "e"), chargers=(Charger("c-1", enrolling=Enrolling(since_ms)),))


DUE_MS = NOW_MS + 24 * HOUR_MS


class Writer:
    """A transactional producer and what a task's owner would write with it."""

    def __init__(self, broker: Broker, topics: TopicNames, name: str = "predecessor") -> None:
        self._topics = topics
        self._outbox = Outbox(topics, CODEC, Rules(), "/test")
        self.producer = Producer(
            {
                "bootstrap.servers": broker.bootstrap_servers,
                "transactional.id": f"{topics.state}.{name}",
                "transaction.timeout.ms": 30_000,
                "linger.ms": 0,
                "retry.backoff.ms": 5,
            }
        )
        self.producer.list_topics(timeout=10)
        self.producer.init_transactions(10)

    def begin(self, task: int, *sites: Site, checkpoint: Mapping[Partition, int] | None = None) -> None:
        """Begin a transaction and write these states, and a checkpoint; they are at the broker when this returns."""
        self.producer.begin_transaction()
        for site in sites:
            self.send(self._outbox.state(task, site, NOW_MS))
        if checkpoint is not None:
            self.send(self._outbox.checkpoint(task, checkpoint, released=False))
        assert self.producer.flush(10) == 0

    def send(self, produce: Produce) -> None:
        """Write one record."""
        partition = -1 if produce.partition is None else produce.partition
        self.producer.produce(produce.topic, produce.value, produce.key, partition, headers=produce.headers)

    def raw(self, task: int, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Commit one record as it is."""
        self.producer.begin_transaction()
        self.producer.produce(self._topics.state, value, key, task, headers=list(headers))
        self.producer.commit_transaction(10)

    def commit(self, task: int, *sites: Site, checkpoint: Mapping[Partition, int] | None = None) -> None:
        """One whole transaction."""
        self.begin(task, *sites, checkpoint=checkpoint)
        self.producer.commit_transaction(10)

    def send_offsets(self, group: str, offsets: Mapping[Partition, int], bootstrap: str) -> None:
        """Add the group's offsets to the transaction at hand, as a member of an empty group may."""
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
        try:
            positions = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
            # Asked first, because librdkafka waits for ever where a new broker has no coordinator yet (measured).
            consumer.committed(positions, timeout=10)
            self.producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 10)
        finally:
            consumer.close()


def few_topics(broker: Broker, *fields: str) -> TopicNames:
    """Only these topics, two partitions each, which is quicker than all; under names that no other test has."""
    names = prefixed(TopicNames(), f"{time.time_ns():x}.")
    wanted = [getattr(names, field) for field in fields]
    own_time = {"message.timestamp.type": "LogAppendTime"}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for future in admin.create_topics([NewTopic(name, 2, 1, config=own_time) for name in wanted]).values():
        future.result(10)
    return names


def set_offsets(bootstrap: str, group: str, offsets: Mapping[Partition, int]) -> None:
    """Set the offsets of a group without members."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    positions = [TopicPartition(*partition, offset) for partition, offset in offsets.items()]
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, positions)]).values():
        future.result(10)
