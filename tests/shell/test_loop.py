"""The loop, on a log in memory: it ends when it has to, settles every record once, and tells nobody too early."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from processor.core.events import Onboarded
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.desk import Desk
from processor.shell.governor import Governor
from processor.shell.leases import Leases
from processor.shell.loop import LOSSES_MAX, SLOW_ROUND_SECONDS, Loop
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.records import Part, Partition, Record, TransactionLost
from processor.shell.store import Store
from tests.shell.desk_bench import Axle, waits
from tests.shell.parts import CODEC, NAMES, NOW_MS, TASKS, HandClock, intake, plug_in, record, until

pytestmark = pytest.mark.anyio
TASK = task_of("s-1", TASKS)
PLUGS = (NAMES.plug_in, TASK)
REROUTE = (NAMES.reroute, TASK)


class MemoryLog:
    """Stands where Kafka's transactions, poll thread and tasks stand; `on_commit` says what becomes of each commit."""

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.leases = Leases()
        self.lease = self.leases.open(*REROUTE)
        self.ready = [TASK]
        self.unclaimed: list[int] = []
        self.is_away = False
        self.offsets: dict[Partition, int] = {REROUTE: 0, PLUGS: 0}
        self.on_commit: Callable[[list[Part]], set[int]] = lambda parts: set(range(len(parts)))
        self.commits = self.opened = self.retakes = 0
        self.settled_records = self.settled_bytes = 0

    def commit(self, parts: list[Part]) -> set[int]:
        self.commits += 1
        return self.on_commit(parts)

    def open(self) -> None:
        self.opened += 1

    def idle(self) -> None:
        """Nothing to serve."""

    def settled(self, records: int, size_bytes: int) -> None:
        self.settled_records += records
        self.settled_bytes += size_bytes

    def anchor(self, task: int) -> Any:
        return (REROUTE, self.offsets[REROUTE], self.lease) if task == TASK and not self.is_away else None

    def positions(self, task: int) -> dict[Partition, int]:
        return self.offsets if task == TASK else {}

    def advance(self, task: int, offsets: dict[Partition, int]) -> None:
        assert task == TASK
        self.offsets.update(offsets)
        self.unclaimed.clear()

    def keeps(self, task: int) -> bool:
        return task in self.ready

    async def retake(self) -> None:
        self.retakes += 1


class Bench:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.clock = HandClock()
        rules, metrics = Rules(), Metrics()
        self.store = Store(rules)
        self.store.take_over(TASK, {}, {})
        self.axle = Axle()
        self.watched: list[Part] = []
        outbox = Outbox(NAMES, CODEC, rules, "/test")
        log: Any = self.log
        self.loop = Loop(self.clock, rules, self.store, intake(), outbox, log, metrics, self.watched.append)
        self.desk = Desk(
            self.axle,
            self.store.get,
            self.loop.hear,
            self.clock,
            waits(0),
            rules,
            metrics,
            Governor(10, waits(0)),
        )
        self.loop.attach(log, log, self.desk)
        self.sent = self.sent_bytes = 0

    def send(self, *values: bytes | None, open_lease: bool = True) -> None:
        """Records as the poll thread hands them over."""
        lease = self.log.leases.current(*PLUGS) or self.log.leases.open(*PLUGS)
        records: list[Record] = []
        for value in values:
            records.append(record(value, *PLUGS, self.sent, lease=lease))
            self.sent += 1
            self.sent_bytes += records[-1].size_bytes
        if not open_lease:
            self.log.leases.close([PLUGS], 0)
        self.loop.on_records(records)

    def wishes(self, count: int) -> list[bytes]:
        """So many plug-ins of one home."""
        return [CODEC.encode_input(plug_in(event_id=f"p-{i}", at_ms=NOW_MS - count + i)) for i in range(count)]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.desk.drop(TASK)
    await until(lambda: bench.desk.in_flight == 0)
    bench.log.thread.shutdown()


def endless(bench: Bench, then: Callable[[], None]) -> Callable[[list[Part]], set[int]]:
    """Every commit brings new records, so that there is always more to do; at the third one something happens."""

    def on_commit(parts: list[Part]) -> set[int]:
        bench.send(*bench.wishes(2))
        if bench.log.commits == 3:
            then()
        return set(range(len(parts)))

    return on_commit


async def test_it_stops_though_there_is_always_more_to_do(bench: Bench) -> None:
    """A stop is heard after the round at hand, also under a load that never ends."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.call_soon_threadsafe(bench.loop.stop)

    bench.log.on_commit = endless(bench, stop)
    bench.send(*bench.wishes(1))
    await asyncio.wait_for(bench.loop.run(), 10)
    assert 3 <= bench.log.commits <= 5


async def test_a_failure_ends_it_though_there_is_always_more_to_do(bench: Bench) -> None:
    """What makes it impossible to go on is raised at once, not when the load allows."""
    bench.log.on_commit = endless(bench, lambda: bench.loop.on_failure(ValueError("cannot go on")))
    bench.send(*bench.wishes(1))
    with pytest.raises(ValueError, match="cannot go on"):
        await asyncio.wait_for(bench.loop.run(), 10)
    assert 3 <= bench.log.commits <= 5


async def run_until(bench: Bench, holds: Callable[[], object]) -> None:
    running = asyncio.create_task(bench.loop.run())
    await until(holds)
    bench.loop.stop()
    await asyncio.wait_for(running, 10)


async def test_what_is_committed_is_told_and_only_then(bench: Bench) -> None:
    """At the commit the store and Axle know nothing yet; afterwards both do, and the inputs have moved on."""
    seen: list[tuple[Site, int]] = []

    def on_commit(parts: list[Part]) -> set[int]:
        seen.append((bench.store.get(TASK, "s-1"), len(bench.axle.calls)))
        return {0}

    bench.log.on_commit = on_commit
    bench.send(*bench.wishes(1))
    await run_until(bench, lambda: bench.axle.calls)
    assert seen == [(Site("s-1"), 0)]
    assert bench.store.get(TASK, "s-1").chargers[0].question is not None
    assert bench.log.offsets == {REROUTE: 0, PLUGS: 1}
    assert len(bench.watched) == 1


async def test_a_part_that_lost_its_lease_is_told_to_nobody(bench: Bench) -> None:
    """What was left out of a commit has not happened."""
    bench.log.on_commit = lambda _: set()
    bench.send(*bench.wishes(1))
    await run_until(bench, lambda: bench.log.settled_records)
    assert bench.store.get(TASK, "s-1") == Site("s-1")
    assert (bench.axle.calls, bench.watched, bench.log.offsets[PLUGS]) == ([], [], 0)


async def test_every_record_is_settled_once(bench: Bench) -> None:
    """Committed, lost, out of date, void or not: what was handed over is given back to the last byte."""
    outcomes = iter(["lost", "left out"])

    def on_commit(parts: list[Part]) -> set[int]:
        outcome = next(outcomes, "committed")
        if outcome == "lost":
            raise TransactionLost("broken")
        return set() if outcome == "left out" else set(range(len(parts)))

    bench.log.on_commit = on_commit
    bench.send(*bench.wishes(700), None, b"junk")
    bench.send(*bench.wishes(3), open_lease=False)
    bench.send(*bench.wishes(5))
    await run_until(bench, lambda: bench.log.settled_records >= bench.sent)
    assert (bench.log.settled_records, bench.log.settled_bytes) == (bench.sent, bench.sent_bytes)


async def test_a_lost_transaction_means_a_new_producer_and_all_tasks_anew(bench: Bench) -> None:
    """When an outcome is unknown nothing is guessed: producer and tasks begin anew, and answers are asked for again."""
    outcomes = iter([True])

    def on_commit(parts: list[Part]) -> set[int]:
        if next(outcomes, False):
            raise TransactionLost("broken")
        return set(range(len(parts)))

    bench.log.on_commit = on_commit
    bench.send(*bench.wishes(1))
    await run_until(bench, lambda: bench.log.retakes)
    assert (bench.log.opened, bench.log.retakes, bench.watched) == (1, 1, [])


async def test_what_is_lost_again_and_again_ends_the_process(bench: Bench) -> None:
    """A record that can never be written must not look like work for ever: after ten losses in a row it is over."""

    def on_commit(parts: list[Part]) -> set[int]:
        raise TransactionLost("the record is too large")

    bench.log.on_commit = on_commit
    running = asyncio.create_task(bench.loop.run())
    for lost in range(LOSSES_MAX):
        bench.send(*bench.wishes(1))
        await until(lambda so_far=lost: bench.log.commits > so_far)  # type: ignore[misc]
    with pytest.raises(TransactionLost, match=r"10 transactions in a row .* too large"):
        await running


async def test_rounds_that_are_lost_or_slow_become_smaller(bench: Bench) -> None:
    """Half as many records after each of them, and slowly more again after those that went well."""
    sizes: list[int] = []

    def on_commit(parts: list[Part]) -> set[int]:
        sizes.append(sum(len(part.records) for part in parts))
        if bench.log.commits == 1:
            raise TransactionLost("it took too long")
        if bench.log.commits == 2:
            bench.clock.seconds += SLOW_ROUND_SECONDS
        return set(range(len(parts)))

    bench.log.on_commit = on_commit
    bench.send(*bench.wishes(1200))
    await run_until(bench, lambda: sum(sizes) >= 1200)
    assert sizes == [500, 250, 125, 138, 152, 35]


async def test_at_the_end_no_driver_waits_for_the_last_answer(bench: Bench) -> None:
    """While the last call lasts, wishes are settled as ever; then its answer is, and the successor is told."""
    bench.send(*bench.wishes(1))
    await run_until(bench, lambda: bench.axle.calls)
    draining = asyncio.create_task(bench.loop.drain())
    bench.send(*bench.wishes(2))
    await until(lambda: bench.log.offsets[PLUGS] == 3)
    assert not draining.done()
    assert len(bench.axle.calls) == 1, "no call is begun any more"
    commits = bench.log.commits
    bench.axle.end(0, Onboarded("s-1", "c-1", "as", "aa"))
    await draining
    assert bench.watched[-1].answered == [("s-1", None)]
    assert bench.log.commits == commits + 2, "the answer, and the release"


async def test_a_failure_at_the_end_waits_for_no_call(bench: Bench) -> None:
    """Who can commit no more need not hear the last answers."""
    bench.send(*bench.wishes(1))
    await run_until(bench, lambda: bench.axle.calls)
    draining = asyncio.create_task(bench.loop.drain())
    bench.loop.on_failure(ValueError("cannot go on"))
    await asyncio.wait_for(draining, 3)
    assert bench.desk.in_flight == 1


async def test_an_answer_for_a_task_that_may_come_back_waits_for_it(bench: Bench) -> None:
    """What Axle said while a task was away is settled when it is back, and the lane goes on."""
    bench.send(*bench.wishes(1))
    running = asyncio.create_task(bench.loop.run())
    await until(lambda: bench.axle.calls)
    bench.log.is_away = True
    commits, turns = bench.log.commits, bench.loop.turns
    bench.axle.end(0, Onboarded("s-1", "c-1", "as", "aa"))
    await until(lambda: bench.loop.turns > turns)
    assert bench.log.commits == commits
    bench.log.is_away = False
    bench.loop.nudge()
    await until(lambda: len(bench.axle.calls) == 2)
    assert [part.answered for part in bench.watched if part.answered] == [[("s-1", None)]]
    bench.loop.stop()
    await asyncio.wait_for(running, 10)


async def test_an_answer_whose_part_lost_its_lease_is_settled_with_the_next_one(bench: Bench) -> None:
    """A rebalance between an answer and its commit loses nothing that was heard, while the task is kept."""
    bench.send(*bench.wishes(1))
    running = asyncio.create_task(bench.loop.run())
    await until(lambda: bench.axle.calls)
    commits = bench.log.commits
    bench.log.on_commit = lambda parts: set() if bench.log.commits == commits + 1 else set(range(len(parts)))
    bench.axle.end(0, Onboarded("s-1", "c-1", "as", "aa"))
    await until(lambda: len(bench.axle.calls) == 2)
    assert bench.log.commits >= commits + 2
    assert [part.answered for part in bench.watched if part.answered] == [[("s-1", None)]]
    bench.loop.stop()
    await asyncio.wait_for(running, 10)


async def test_a_task_is_claimed_by_a_checkpoint_of_its_own(bench: Bench) -> None:
    """A task whose last word is its predecessor's gets a checkpoint, though nothing happened to it."""
    bench.log.unclaimed = [TASK]
    bench.loop.nudge()
    await run_until(bench, lambda: bench.log.commits)
    assert [(part.task, len(part.produces)) for part in bench.watched] == [(TASK, 1)]
