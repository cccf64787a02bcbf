"""Tasks that go and come back, and members that come and go: what is kept, what is restored, what is forgotten."""

import asyncio

import pytest
from structlog.testing import capture_logs

from processor.demo.kafka import Broker
from processor.shell.protocol import Spoken
from processor.shell.restore import Restored, start_offsets
from processor.shell.topics import TopicNames
from processor.wire.state import Checkpoint
from tests.broker import produce
from tests.shell.changelog import Writer, few_topics, home, set_offsets
from tests.shell.parts import until
from tests.shell.tasks_bench import owing, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that these tasks stand on."""
    return few_topics(broker, "plug_in", "user_boost", "reroute", "state")


async def test_a_task_that_comes_back_untouched_is_kept(broker: Broker, topics: TopicNames) -> None:
    """A task that went and came back with its changelog as it was goes on without a restore, and so do its calls."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={(topics.plug_in, 0): 0})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        await until(lambda: bench.desk.in_flight == 1)
        bench.tasks.give_up(bench.inputs(0), {0: await asyncio.to_thread(bench.end)})
        assert (bench.tasks.ready, bench.tasks.keeps(0)) == ([1], True)
        bench.tasks.take(bench.inputs(0))
        await until(lambda: bench.tasks.ready == [0, 1], 20)
        assert (bench.reads, bench.desk.in_flight, len(bench.axle.calls)) == (1, 1, 1)
        await asyncio.to_thread(
            produce, broker.bootstrap_servers, topics.plug_in, [(f"k{i}", b"v", None) for i in "ab"]
        )
        await until(lambda: len(bench.records) == 2)


async def test_offsets_are_missed_only_where_there_were_some(broker: Broker, topics: TopicNames) -> None:
    """A task that never had any comes back without a word; one with a checkpoint and no offsets is told of once."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 1, checkpoint={(topics.plug_in, 1): 0})
    with capture_logs() as said:
        async with running(broker, topics) as bench:
            await bench.both_ready()
            for task in (0, 1):
                bench.tasks.give_up(bench.inputs(task), {task: await asyncio.to_thread(bench.end, task)})
                bench.tasks.take(bench.inputs(task))
                await until(lambda: bench.tasks.ready == [0, 1], 20)
            assert bench.reads == 1
    assert [line["task"] for line in said if line["event"] == "kept a task"] == [0, 1]
    assert [line["task"] for line in said if "offsets are gone" in line["event"]] == [1]


async def test_a_task_that_somebody_wrote_for_meanwhile_is_restored(broker: Broker, topics: TopicNames) -> None:
    """One transaction on the changelog between going and coming back is enough: what was kept is not trusted."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={(topics.plug_in, 0): 0})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        await until(lambda: bench.desk.in_flight == 1)
        bench.tasks.give_up(bench.inputs(0), {0: await asyncio.to_thread(bench.end)})
        await asyncio.to_thread(writer.commit, 0, home("s-9"), checkpoint={(topics.plug_in, 0): 0})
        bench.tasks.take(bench.inputs(0))
        await until(lambda: bench.tasks.ready == [0, 1], 20)
        assert (bench.reads, bench.store.get(0, "s-9")) == (2, home("s-9"))


async def test_a_task_whose_offsets_are_not_ours_any_more_is_restored(broker: Broker, topics: TopicNames) -> None:
    """Where the group's offset is another than ours, something of ours is not settled yet, and is read back."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(set_offsets, broker.bootstrap_servers, f"{topics.state}.group", {(topics.plug_in, 0): 0})
    await asyncio.to_thread(writer.commit, 0, home("s-1"), checkpoint={(topics.plug_in, 0): 0})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        bench.tasks.advance(0, {(topics.plug_in, 0): 7})
        bench.tasks.give_up(bench.inputs(0), {0: await asyncio.to_thread(bench.end)})
        bench.tasks.take(bench.inputs(0))
        await until(lambda: bench.tasks.ready == [0, 1], 20)
        assert (bench.reads, bench.tasks.positions(0)[topics.plug_in, 0]) == (2, 0)


async def test_a_task_that_does_not_come_back_is_forgotten(broker: Broker, topics: TopicNames) -> None:
    """What may return is dropped as soon as the group says that it did not."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    async with running(broker, topics) as bench:
        await bench.both_ready()
        await until(lambda: bench.desk.in_flight == 1)
        bench.tasks.give_up(bench.inputs(0), {0: 2})
        assert bench.store.tasks == [0, 1]
        bench.tasks.take([])
        assert (bench.tasks.keeps(0), bench.store.tasks) == (False, [1])
        await until(lambda: bench.desk.in_flight == 0)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_who_joins_takes_a_task_and_leaves_the_others_work_alone(
    broker: Broker, topics: TopicNames, protocol: Spoken
) -> None:
    """Under both protocols a member that joins costs the others no restore, and no call of a task that they keep."""
    writer = Writer(broker, topics)
    await asyncio.to_thread(writer.commit, 0, owing(), checkpoint={})
    async with running(broker, topics, protocol, **{"client.id": "a"}) as first:
        await first.both_ready()
        await until(lambda: first.desk.in_flight == 1)
        async with running(broker, topics, protocol, **{"client.id": "b"}) as second:
            await until(lambda: len(first.tasks.ready) == 1 and len(second.tasks.ready) == 1, 30, "a task each")
            kept = first.tasks.ready
            assert sorted(kept + second.tasks.ready) == [0, 1]
            assert first.reads == 1
            assert (first.desk.in_flight, len(first.axle.calls)) == ((1, 1) if kept == [0] else (0, 1))
            assert (first.failures, second.failures) == ([], [])


@pytest.mark.parametrize(
    ("committed", "checkpoint", "start"),
    [
        pytest.param(9, 5, 9, id="read elsewhere after the checkpoint"),
        pytest.param(5, 9, 9, id="read here since, and that commit was torn"),
        pytest.param(9, None, 9, id="read elsewhere alone, before its task did anything"),
    ],
)
def test_an_input_that_was_read_without_its_task_goes_on_where_it_was_read_to(
    committed: int, checkpoint: int | None, start: int
) -> None:
    """Whoever only sends records on writes no checkpoint; the later of the two words is the true one then."""
    source = ("plug-in", 0)
    restored = Restored(
        0,
        checkpoint=None if checkpoint is None else Checkpoint({source: checkpoint}),
        was_written=checkpoint is not None,
        committed={source: committed},
        hopped={source},
        beginnings={source: 0},
        lows={source: 0},
    )
    assert start_offsets(restored) == {source: start}
