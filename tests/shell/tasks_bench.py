"""Tasks on a real broker with everything that they stand on, and a household that owes a call."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from processor.core.decide import decide
from processor.core.events import Answer
from processor.core.intents import Intent
from processor.core.rules import Rules
from processor.core.site import Site
from processor.demo.kafka import Broker
from processor.shell.axle_client import Retry
from processor.shell.clock import SystemClock
from processor.shell.consumer import PollThread
from processor.shell.desk import Desk
from processor.shell.governor import Governor
from processor.shell.leases import Leases
from processor.shell.log_ends import LogEnds
from processor.shell.metrics import Metrics
from processor.shell.protocol import Spoken, consumer_config
from processor.shell.records import Partition, Record, RestoreFailed
from processor.shell.restore import Restorer
from processor.shell.store import Store
from processor.shell.tasks import Tasks
from processor.shell.topics import TopicNames
from tests.shell.parts import plug_in, until

HOLD_MS = 400


@dataclass
class Axle:
    """A caller that keeps what it was asked, and never answers."""

    calls: list[tuple[float, Intent]] = field(default_factory=list)

    async def perform(self, intent: Intent) -> Answer | Retry:
        self.calls.append((asyncio.get_running_loop().time(), intent))
        await asyncio.Event().wait()
        raise AssertionError


class Bench:
    """Tasks with everything that they stand on; it listens to its own poll thread as the loop does."""

    def __init__(
        self,
        broker: Broker,
        topics: TopicNames,
        protocol: Spoken = "classic",
        start_from: Literal["earliest", "latest"] = "earliest",
        **config: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.began_at = self.loop.time()
        self.topics = topics
        self.group = f"{topics.state}.group"
        self.metrics = Metrics()
        self.leases = Leases()
        self.axle = Axle()
        self.failures: list[Exception] = []
        self.records: list[Record] = []
        self.ready = self.reads = 0
        rules, clock = Rules(), SystemClock()
        self.store = Store(rules)
        connection: dict[str, str | int | float | bool] = {"bootstrap.servers": broker.bootstrap_servers}
        inputs = [topics.plug_in, topics.user_boost, topics.reroute]
        consumer = {**connection, **consumer_config(self.group, None, 6000, protocol), **config}
        admin = AdminClient(connection)
        counts = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
        own = [topic for topic in inputs if counts[topic] == counts[topics.reroute]]
        ends = LogEnds(connection, topics.state)
        self.poll = PollThread(consumer, inputs, self.leases, self, ends, own)
        self.desk = Desk(
            self.axle,
            self.store.get,
            self._hear,
            clock,
            lambda *_: 0.0,
            rules,
            self.metrics,
            Governor(10, lambda *_: 0.0),
        )
        # For one task, so that the tests need not look for sites that belong to it.
        self.restorer = Restorer(connection, self.group, topics.state, 1, start_from, self._reader)
        self.tasks = Tasks(
            self.poll,
            self.restorer,
            self.leases,
            self.store,
            self.desk,
            clock,
            self.metrics,
            own,
            counts,
            topics.reroute,
            HOLD_MS,
            self._nudge,
            self.failures.append,
        )

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.loop.call_soon_threadsafe(self.tasks.take, partitions)

    def on_gone(self, partitions: list[Partition], ends: Mapping[int, int]) -> None:
        self.loop.call_soon_threadsafe(self.tasks.give_up, partitions, ends)

    def on_records(self, records: list[Record]) -> None:
        self.records += records

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)

    async def both_ready(self) -> None:
        """Both tasks are at work."""
        await until(lambda: self.ready >= 2 or self.failures, 20, "two tasks at work")
        assert self.failures == []
        assert self.tasks.ready == [0, 1]

    async def failed(self) -> str:
        """What the first failure says."""
        await until(lambda: self.failures, 20, "a failure")
        assert isinstance(self.failures[0], RestoreFailed)
        return str(self.failures[0])

    def inputs(self, task: int) -> list[Partition]:
        return [(topic, task) for topic in (self.topics.plug_in, self.topics.user_boost, self.topics.reroute)]

    def end(self, task: int = 0) -> int:
        """Where the changelog of a task ends."""
        return self.restorer.end(task, lambda: True)

    def _reader(self, config: dict[str, Any]) -> Consumer:
        self.reads += 1
        return Consumer(config)

    def _nudge(self) -> None:
        self.ready += 1

    def _hear(self, *_: object) -> None:
        raise AssertionError("nobody answered")


@asynccontextmanager
async def running(
    broker: Broker, topics: TopicNames, protocol: Spoken = "classic", **more: Any
) -> AsyncIterator[Bench]:
    """A bench whose poll thread runs; `more` as `Bench` takes it, or librdkafka."""
    bench = Bench(broker, topics, protocol, **more)
    bench.poll.start()
    try:
        yield bench
    finally:
        assert await asyncio.to_thread(bench.poll.stop, 20)
        await until(lambda: not bench.tasks.restoring)
        bench.tasks.give_up(list(bench.tasks.assigned), {})
        await until(lambda: bench.desk.in_flight == 0)


def owing() -> Site:
    """A home whose onboarding is owed."""
    now_ms = SystemClock().now_ms()
    return decide(Site("s-1"), plug_in("s-1", "c-1", at_ms=now_ms), now_ms, Rules()).site
