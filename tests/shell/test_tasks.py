"""The life of a task on a real broker: taken over whole, given up whole, and refused where its state is not sound."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.core.decide import decide
from processor.core.events import Answer
from processor.core.intents import Intent
from processor.core.rules import Rules
from processor.core.site import Site
from processor.demo.kafka import Broker
from processor.shell.axle_client import Retry
from processor.shell.clock import SystemClock
from processor.shell.consumer import PollThread, consumer_config
from processor.shell.desk import Desk
from processor.shell.leases import Leases
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.records import Partition, Record, RestoreFailed
from processor.shell.restore import Restorer
from processor.shell.store import Store
from processor.shell.tasks import Tasks
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.shell.changelog import Writer, few_topics, home, set_offsets
from tests.shell.parts import CODEC, plug_in, until

pytestmark = pytest.mark.anyio
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

    def __init__(self, broker: Broker, topics: TopicNames) -> None:
        self.loop = asyncio.get_running_loop()
        self.began_at = self.loop.time()
        self.topics = topics
        self.group = f"{topics.state}.group"
        self.metrics = Metrics()
        self.leases = Leases()
        self.axle = Axle()
        self.failures: list[Exception] = []
        self.records: list[Record] = []
        self.ready = 0
        rules, clock = Rules(), SystemClock()
        self.store = Store(rules)
        connection: dict[str, str | int | float | bool] = {"bootstrap.servers": broker.bootstrap_servers}
        inputs = [topics.plug_in, topics.user_boost, topics.reroute]
        config = {**connection, **consumer_config(self.group, None, 6000)}
        self.poll = PollThread(config, inputs, self.leases, self)
        self.desk = Desk(self.axle, self.store.get, self._hear, clock, lambda *_: 0.0, rules, self.metrics, 10)
        admin = AdminClient(connection)
        counts = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
        own = [topic for topic in inputs if counts[topic] == counts[topics.reroute]]
        # For one task, so that the tests need not look for sites that belong to it.
        restorer = Restorer(connection, self.group, topics.state, 1, "earliest")
        self.tasks = Tasks(
            self.poll,
            restorer,
            self.leases,
            self.store,
            self.desk,
            clock,
            self.metrics,
            own,
            topics.reroute,
            HOLD_MS,
            self._nudge,
            self.failures.append,
        )

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.loop.call_soon_threadsafe(self.tasks.take, partitions)

    def on_gone(self, partitions: list[Partition]) -> None:
        self.loop.call_soon_threadsafe(self.tasks.give_up, partitions)

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

    def _nudge(self) -> None:
        self.ready += 1

    def _hear(self, *_: object) -> None:
        raise AssertionError("nobody answered")


@asynccontextmanager
async def running(broker: Broker, topics: TopicNames) -> AsyncIterator[Bench]:
    bench = Bench(broker, topics)
    bench.poll.start()
    try:
        yield bench
    finally:
        assert await asyncio.to_thread(bench.poll.stop, 20)
        await until(lambda: not bench.tasks.restoring)
        bench.tasks.give_up(list(bench.tasks.assigned))
        await until(lambda: bench.desk.in_flight == 0)


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that these tasks stand on."""
    return few_topics(broker, "plug_in", "user_boost", "reroute", "state")


def owing() -> Site:
    """A home whose onboarding is owed."""
    now_ms = SystemClock().now_ms()
    return decide(Site("s-1"), plug_in("s-1", "c-1", at_ms=now_ms), now_ms, Rules()).site


async def test_what_is_assigned_is_taken_over(broker: Broker, topics: TopicNames) -> None:
    """Each task is at work with its state, its positions and its lease, and its inputs are delivered."""
    bootstrap = broker.bootstrap_servers
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, home("s-1"), checkpoint={(topics.plug_in, 0): 1})
    await asyncio.to_thread(set_offsets, bootstrap, f"{topics.state}.group", {(topics.plug_in, 0): 1})
    await asyncio.to_thread(produce, bootstrap, topics.plug_in, [(f"k{i}", b"v", None) for i in range(20)])
    async with running(broker, topics) as bench:
        await bench.both_ready()
        assert (bench.tasks.restoring, len(bench.tasks.assigned)) == ([], 6)
        assert (bench.store.get(0, "s-1"), bench.store.tasks) == (home("s-1"), [0, 1])
        assert bench.tasks.positions(0) == {**dict.fromkeys(bench.inputs(0), 0), (topics.plug_in, 0): 1}
        anchor = bench.tasks.anchor(1)
        assert anchor is not None
        assert (anchor[0], anchor[1], anchor[2].is_open) == ((topics.reroute, 1), 0, True)
        await until(lambda: len(bench.records) == 19)
        bench.tasks.advance(0, {(topics.plug_in, 0): 5})
        assert bench.tasks.positions(0)[topics.plug_in, 0] == 5
        assert bench.metrics.checkpoint_mismatches._value.get() == 0  # noqa: SLF001 - it has no public reader


async def test_what_goes_is_forgotten_whole(broker: Broker, topics: TopicNames) -> None:
    """When its partitions go a task has no state, no position, no lease and no calls left."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        await until(lambda: bench.desk.in_flight == 1)
        bench.tasks.give_up(bench.inputs(0))
        assert (bench.tasks.ready, bench.tasks.positions(0), bench.store.tasks) == ([1], {}, [1])
        assert bench.tasks.anchor(0) is None
        await until(lambda: bench.desk.in_flight == 0)


@pytest.mark.parametrize("released", [False, True])
async def test_calls_wait_for_the_predecessors_unless_it_had_none(
    broker: Broker, topics: TopicNames, *, released: bool
) -> None:
    """What was owed is owed again at once after an orderly end, and after the longest life of a call otherwise."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    checkpoint = Outbox(topics, CODEC, Rules(), "/test").checkpoint(0, {}, released=released)
    await asyncio.to_thread(writer.raw, 0, checkpoint.key or b"", checkpoint.value)
    async with running(broker, topics) as bench:
        await bench.both_ready()
        ready_at = bench.loop.time()
        await until(lambda: bench.axle.calls)
        waited = bench.axle.calls[0][0] - ready_at
        assert (waited > HOLD_MS / 1000 - 0.15) is not released


async def test_all_tasks_can_be_restored_again(broker: Broker, topics: TopicNames) -> None:
    """After a lost transaction every task begins anew, from what Kafka holds, under new leases."""
    writer = Writer(broker, topics)
    async with running(broker, topics) as bench:
        await bench.both_ready()
        before = [bench.leases.current(*partition) for partition in bench.inputs(0)]
        await asyncio.to_thread(writer.commit, 0, home("s-9"), checkpoint={(topics.plug_in, 0): 0})
        await bench.tasks.retake()
        assert bench.tasks.ready == []
        bench.ready = 0
        await bench.both_ready()
        assert bench.store.get(0, "s-9") == home("s-9")
        assert all(lease is not None and not lease.is_open for lease in before)
        await asyncio.to_thread(produce, broker.bootstrap_servers, topics.plug_in, [(b"k", b"v", None)])
        await until(lambda: bench.records)
        assert bench.records[0].lease.is_open


async def test_a_task_that_goes_while_it_is_restored_is_no_failure(broker: Broker, topics: TopicNames) -> None:
    """A take-over that waits for a foreign transaction ends quietly when its partitions go."""
    foreign = Writer(broker, topics, "foreign")
    await asyncio.to_thread(foreign.begin, 0, home("s-1"), checkpoint={})
    async with running(broker, topics) as bench:
        await until(lambda: bench.tasks.ready == [1], 20)
        await until(lambda: bench.tasks.restoring == [0])
        await asyncio.to_thread(bench.poll.stop, 20)
        await until(lambda: bench.tasks.restoring == [])
        assert (bench.failures, bench.tasks.ready, bench.tasks.assigned) == ([], [], set())


async def test_a_state_that_is_gone_stops_the_process(broker: Broker, topics: TopicNames) -> None:
    """A group with offsets but without a changelog is refused with a sentence, not begun anew."""
    await asyncio.to_thread(set_offsets, broker.bootstrap_servers, f"{topics.state}.group", {(topics.plug_in, 1): 5})
    async with running(broker, topics) as bench:
        assert "task 1: the group has offsets but the changelog is empty" in await bench.failed()


async def test_an_offset_that_differs_is_counted_and_the_checkpoint_counts(broker: Broker, topics: TopicNames) -> None:
    """A torn transaction is seen at take-over, told, and mended by starting from the checkpoint."""
    source = (topics.plug_in, 0)
    await asyncio.to_thread(
        produce, broker.bootstrap_servers, topics.plug_in, [(f"k{i}", b"", None) for i in range(40)]
    )
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, checkpoint={source: 3})
    await asyncio.to_thread(set_offsets, broker.bootstrap_servers, f"{topics.state}.group", {source: 2})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        assert bench.tasks.positions(0)[source] == 3
        assert bench.metrics.checkpoint_mismatches._value.get() == 1  # noqa: SLF001 - it has no public reader
        assert bench.metrics.input_gaps._value.get() == 0  # noqa: SLF001 - as above


async def test_records_that_were_deleted_unread_are_counted(broker: Broker, topics: TopicNames) -> None:
    """When retention was faster than we were, the task goes on at what is left, and says so."""
    source = (topics.plug_in, 0)
    bootstrap = broker.bootstrap_servers
    await asyncio.to_thread(produce, bootstrap, topics.plug_in, [(f"k{i}", b"v", None) for i in range(40)])
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, checkpoint={source: 3})
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(*source, 5)]).values():
        await asyncio.to_thread(future.result, 10)
    async with running(broker, topics) as bench:
        await bench.both_ready()
        assert bench.tasks.positions(0)[source] == 5
        assert bench.metrics.input_gaps._value.get() == 1  # noqa: SLF001 - it has no public reader


async def test_inputs_of_other_sizes_are_fed_from_the_groups_offsets(broker: Broker, topics: TopicNames) -> None:
    """An input with other partitions than there are tasks is read from where the group was, all of it."""
    bootstrap = broker.bootstrap_servers
    other = replace(topics, plug_in=f"{topics.plug_in}.wide")
    admin = AdminClient({"bootstrap.servers": bootstrap})
    await asyncio.to_thread(admin.create_topics([NewTopic(other.plug_in, 3, 1)])[other.plug_in].result, 10)
    await asyncio.to_thread(produce, bootstrap, other.plug_in, [(f"k{i}", b"v", None) for i in range(30)])
    await asyncio.to_thread(
        set_offsets, bootstrap, f"{topics.state}.group", {(other.plug_in, partition): 2 for partition in range(3)}
    )
    async with running(broker, other) as bench:
        await until(lambda: bench.ready >= 3 or bench.failures, 20)
        assert bench.failures == []
        await until(lambda: len(bench.records) == 24)
        assert {record.topic for record in bench.records} == {other.plug_in}
        assert min(record.offset for record in bench.records) == 2


async def test_partitions_that_are_no_task_of_ours_are_told_at_once(broker: Broker, topics: TopicNames) -> None:
    """A topic that got more partitions while we ran is a sentence, not partitions that nobody reads."""
    bench = Bench(broker, topics)
    bench.tasks.take([(topics.plug_in, 2)])
    assert f"{topics.plug_in} [2] was given to us, but not the task 2" in await bench.failed()
