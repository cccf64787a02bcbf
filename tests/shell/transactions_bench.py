"""What tests of transactions share: a member of the group, and transactions with an independent reader beside them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.shell.clock import Clock, SystemClock
from processor.shell.kafka_errors import Rebuilt
from processor.shell.leases import Leases
from processor.shell.metrics import Metrics
from processor.shell.producer_config import producer_config
from processor.shell.records import Part, Partition, Produce
from processor.shell.topics import TopicNames
from processor.shell.transaction import Transactions
from tests.broker import produce, read_committed


class Member:
    """A member of the group, which makes transactions possible; not the product's own poll thread."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 100,
        }
        self.consumer = Consumer(config)
        self.consumer.subscribe([topic])

    def join(self, others: "tuple[Member, ...]" = (), partitions: int = 1) -> object:
        """Poll until so many partitions are ours, others polling too; tells our metadata."""
        for _ in range(400):
            for member in (self, *others):
                member.consumer.poll(0.05)
            if len(self.consumer.assignment()) >= partitions:
                return self.metadata()
        raise AssertionError("the group did not settle in time")

    def metadata(self) -> object:
        return self.consumer.consumer_group_metadata()

    def leave(self) -> None:
        self.consumer.close()


@dataclass
class Bench:
    """Transactions with a membership, and what an independent reader sees of them."""

    bootstrap: str
    topics: TopicNames
    metadata: object = None
    leases: Leases = field(default_factory=Leases)
    metrics: Metrics = field(default_factory=Metrics)
    asked: int = 0
    before_metadata: Callable[[int], None] = lambda _: None
    settings: dict[str, Any] = field(default_factory=lambda: {"socket.timeout.ms": 20_000})
    """Further ones for the producer; a machine that is busy does not make an end slow."""

    def __post_init__(self) -> None:
        self.group = f"{self.topics.state}.group"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.member = Member(self.bootstrap, self.group, self.topics.reroute)
        self.metadata = self.member.join()
        self.transactions = self.new_transactions()
        self.transactions.open()

    def new_transactions(
        self,
        timeout_ms: int = 30_000,
        producer: Callable[[dict[str, Any]], Producer] = Producer,
        *,
        heeds_suspicion: bool = True,
        clock: Clock | None = None,
    ) -> Transactions:
        config = {
            "bootstrap.servers": self.bootstrap,
            **producer_config(f"{self.group}.member", timeout_ms),
            **self.settings,
        }
        return Transactions(
            config,
            self.leases,
            self._group_metadata,
            clock or SystemClock(),
            self.metrics,
            producer,
            uniform=lambda low, _: low,
            heeds_suspicion=heeds_suspicion,
        )

    def part(self, task: int, *values: bytes, offset: int = 1) -> Part:
        lease = self.leases.current(self.topics.reroute, task) or self.leases.open(self.topics.reroute, task)
        produces = [Produce(self.topics.outcomes, b"k", value) for value in values]
        return Part(task, {lease}, {(self.topics.reroute, task): offset}, produces)

    def close(self, task: int) -> None:
        self.leases.close([(self.topics.reroute, task)], 0)

    def values(self, count: int) -> list[bytes]:
        """What a read_committed reader sees; a mark at the end makes sure that nothing comes after it."""
        produce(self.bootstrap, self.topics.outcomes, [(b"k", b"end", None)])
        messages = read_committed(self.bootstrap, self.topics.outcomes, count + 1)
        return [bytes(message.value() or b"") for message in messages if message.value() != b"end"]

    def offsets(self) -> dict[Partition, int]:
        asked = ConsumerGroupTopicPartitions(self.group, [TopicPartition(self.topics.reroute, p) for p in (0, 1)])
        for _ in range(200):
            found = self.admin.list_consumer_group_offsets([asked], require_stable=True)[self.group].result(10)
            if not any(p.error for p in found.topic_partitions):
                return {(p.topic, p.partition): p.offset for p in found.topic_partitions if p.offset >= 0}
        raise AssertionError("the group's offsets did not become stable")

    def count(self, outcome: str) -> float:
        return float(self.metrics.transactions.labels(outcome)._value.get())  # noqa: SLF001 - it has no public reader

    def rebuilds(self) -> dict[str, int]:
        """How often the producer was built anew, by reason, without those that never were."""
        counts = {why.value: int(self.metrics.producer_rebuilds.labels(why.value)._value.get()) for why in Rebuilt}  # noqa: SLF001 - it has no public reader
        return {why: count for why, count in counts.items() if count}

    def end(self) -> None:
        self.transactions.close()
        self.transactions.thread.shutdown()
        self.member.leave()

    def _group_metadata(self) -> object:
        self.asked += 1
        self.before_metadata(self.asked)
        return self.metadata


def left_behind(metadata: object) -> bytes:
    """The same membership in a generation that the group never had: brokers refuse it as they refuse a stale one."""
    assert isinstance(metadata, bytes)
    return metadata[:7] + (0x7FFF_0000).to_bytes(4, sys.byteorder) + metadata[11:]
