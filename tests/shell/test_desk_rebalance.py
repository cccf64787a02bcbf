"""The desk when tasks move: whose calls may be under way, and what begins only once a task is surely ours."""

import asyncio

import pytest

from processor.core.events import Input, Unreadable
from tests.shell.desk_bench import TASK, Bench, answered, kinds
from tests.shell.parts import NOWHERE, until

pytestmark = pytest.mark.anyio
HOLD_MS = 300


def halt(bench: Bench) -> Unreadable:
    """A driver does something that nobody understands."""
    return Unreadable("u-1", bench.clock.now_ms(), NOWHERE, "s-1", "s-1-c", Input.USER_BOOST)


async def test_a_predecessors_call_is_waited_for_though_its_wish_was_dropped() -> None:
    """A halt drops a restored question, a newer action asks again: not before the predecessor's call must be over."""
    bench = Bench()
    bench.enrolled("s-1")
    began = bench.clock.monotonic()
    bench.desk.look_at(TASK, bench.sites["s-1"], hold_ms=HOLD_MS)
    bench.happens(halt(bench))
    bench.clock.shift_ms += 1
    bench.boost("s-1")
    await bench.called(1)
    assert bench.clock.monotonic() - began > HOLD_MS / 1000 - 0.05
    bench.desk.drop(TASK)
    await bench.rests()


async def test_a_dropped_wish_leaves_nothing_behind() -> None:
    """When nothing is owed any more once the wait is over, the lane goes."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"], hold_ms=50)
    bench.happens(halt(bench))
    assert bench.desk.waiting == 1
    await until(lambda: bench.desk.waiting == 0)
    assert bench.axle.calls == []


async def test_a_task_that_may_come_back_begins_no_call_and_ends_none() -> None:
    """While a task is away its calls under way go on and are heard, and the next ones wait until it is back."""
    bench = Bench()
    bench.enrolled("s-1", "s-2")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.desk.park(TASK)
    bench.desk.look_at(TASK, bench.sites["s-2"])
    bench.axle.end(0, answered(bench.axle.calls[0]))
    await bench.has_heard(1)
    await asyncio.sleep(0)
    assert len(bench.axle.calls) == 1
    bench.desk.resume(TASK)
    await bench.called(2)
    assert kinds(bench.axle.calls)[1] == "AskSchedule s-2"
    bench.desk.drop(TASK)
    await bench.rests()
