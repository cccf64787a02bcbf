"""The life of a task on a real broker: taken over whole, given up whole, and refused where its state is not sound."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.core.rules import Rules
from processor.demo.kafka import Broker
from processor.shell.outbox import Outbox
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.shell.changelog import Writer, few_topics, home, set_offsets
from tests.shell.parts import CODEC, until
from tests.shell.tasks_bench import HOLD_MS, Bench, owing, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that these tasks stand on."""
    return few_topics(broker, "plug_in", "user_boost", "reroute", "state")


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
        bench.tasks.give_up(bench.inputs(0), {})
        assert (bench.tasks.ready, bench.tasks.positions(0), bench.store.tasks) == ([1], {}, [1])
        assert bench.tasks.anchor(0) is None
        await until(lambda: bench.desk.in_flight == 0)


async def test_calls_wait_for_those_of_a_predecessor(broker: Broker, topics: TopicNames) -> None:
    """What was owed is owed again, but not before the longest life of a call that may be under way."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        ready_at = bench.loop.time()
        await until(lambda: bench.axle.calls)
        assert bench.axle.calls[0][0] - ready_at > HOLD_MS / 1000 - 0.15


async def test_the_word_that_no_call_is_under_way_is_replaced_before_the_first_call(
    broker: Broker, topics: TopicNames
) -> None:
    """After an orderly end nothing waits, but a checkpoint of ours comes before calls that a successor must expect."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    checkpoint = Outbox(topics, CODEC, Rules(), "/test").checkpoint(0, {}, released=True)
    await asyncio.to_thread(writer.raw, 0, checkpoint.key or b"", checkpoint.value)
    async with running(broker, topics) as bench:
        await bench.both_ready()
        assert (bench.tasks.unclaimed, bench.desk.in_flight) == ([0], 0)
        bench.tasks.advance(0, {})
        assert (bench.tasks.unclaimed, bench.desk.in_flight) == ([], 1)


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


async def test_partitions_that_a_topic_got_while_we_run_are_read_from_their_first_record(
    broker: Broker, topics: TopicNames
) -> None:
    """New partitions of an input are fed from their beginning, be it that the group begins at the end of the others."""
    bootstrap = broker.bootstrap_servers
    refresh: dict[str, Any] = {"topic.metadata.refresh.interval.ms": 300}
    async with running(broker, topics, start_from="latest", **refresh) as bench:
        await bench.both_ready()
        admin = AdminClient({"bootstrap.servers": bootstrap})
        await asyncio.to_thread(admin.create_partitions([NewPartitions(topics.plug_in, 5)])[topics.plug_in].result, 10)
        await asyncio.to_thread(produce, bootstrap, topics.plug_in, [(f"k{i}", b"v", None) for i in range(40)])
        await until(lambda: len(bench.records) >= 40 or bench.failures, 30, "40 records")
        assert bench.failures == []
        assert {record.partition for record in bench.records} == {0, 1, 2, 3, 4}
        assert len({(record.partition, record.offset) for record in bench.records}) == 40


async def test_more_tasks_than_there_were_are_refused(broker: Broker, topics: TopicNames) -> None:
    """A reroute topic that grows while we run is a sentence: the number of tasks cannot be changed."""
    bench = Bench(broker, topics)
    bench.tasks.take([(topics.reroute, 2)])
    assert f"{topics.reroute} got more partitions: it has 3 or more, and 2 when we started" in await bench.failed()
