"""The desk's waits: after failures, when Axle asks for it, after a restart, and for a time that is set."""

import time

import pytest

from processor.core.events import CallFailed, LookedUp
from processor.core.intents import LookUp
from processor.shell.axle_client import Retry
from tests.shell.desk_bench import TASK, Bench, answered, kinds, waits
from tests.shell.parts import plug_in, until, withdrawal

pytestmark = pytest.mark.anyio


async def test_failed_calls_are_repeated_ever_more_slowly() -> None:
    """Each failure doubles the span that chance picks the wait from, up to 30 s; an answer starts over."""
    spans: list[tuple[float, float]] = []

    def wait(low: float, high: float) -> float:
        spans.append((low, high))
        return 0.001

    bench = Bench(wait=wait)
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    for number in range(9):
        await bench.called(number + 1)
        bench.axle.end(number, Retry("no answer"))
    await bench.called(10)
    assert spans == [(0, min(0.5 * 2**i, 30)) for i in range(9)]
    bench.axle.end(9, answered(bench.axle.calls[9]))
    await bench.has_heard(1)
    bench.settle(("s-1", "s-1-c"), bench.heard[0][2])
    bench.boost("s-1")
    await bench.called(11)
    bench.axle.end(10, Retry("no answer"))
    await bench.called(12)
    assert spans[-1] == (0, 0.5)


async def test_axles_own_wish_to_be_left_alone_is_kept() -> None:
    """A wait that Axle asks for is the least, whatever chance says."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.axle.end(0, Retry("slow down", 0.15))
    await bench.called(2)
    assert bench.axle.made_at[1] - bench.axle.made_at[0] >= 0.149


async def test_other_events_do_not_cut_a_wait_short() -> None:
    """A new wish of a charger whose last call failed waits out the same pause."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.axle.end(0, Retry("slow down", 0.15))
    await until(lambda: bench.desk.in_flight == 0)
    bench.boost("s-1")
    await bench.called(2)
    assert bench.axle.made_at[1] - bench.axle.made_at[0] >= 0.149


async def test_a_refused_farewell_is_reported_and_tried_again() -> None:
    """An offboarding that Axle refuses reaches the core as an event, and stays owed, after a pause."""
    bench = Bench(wait=waits(0.1))
    bench.enrolled("s-1")
    bench.happens(withdrawal("s-1", at_ms=bench.clock.now_ms()))
    await bench.called(1)
    failed = CallFailed("s-1", None, 403)
    bench.axle.end(0, failed)
    await bench.has_heard(1)
    bench.settle(("s-1", None), failed)
    await bench.called(2)
    assert kinds(bench.axle.calls) == ["Offboard s-1", "Offboard s-1"]
    assert bench.axle.made_at[1] - bench.axle.made_at[0] >= 0.099


async def test_a_clock_that_steps_back_delays_nobody() -> None:
    """A wait is measured by time that passes: when the wall clock is put back an hour, calls are not an hour late."""
    bench = Bench(wait=waits(0.05))
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.axle.end(0, Retry("no answer"))
    await until(lambda: bench.desk.in_flight == 0)
    bench.clock.shift_ms = -3_600_000
    await bench.called(2)


async def test_after_a_restart_calls_are_held_back() -> None:
    """What a predecessor may still have under way is repeated only when its calls have ended."""
    bench = Bench()
    bench.enrolled("s-1", "s-2")
    began = time.monotonic()
    bench.desk.look_at(TASK, bench.sites["s-1"], hold_ms=150)
    bench.desk.look_at(TASK, bench.sites["s-2"])
    bench.boost("s-1")
    await bench.called(2)
    assert kinds(bench.axle.calls) == ["AskSchedule s-2", "AskSchedule s-1"]
    assert bench.axle.made_at[1] - began >= 0.149


async def test_look_ups_wait_for_their_time() -> None:
    """A call that is owed from a later time on is made then, without anybody asking again."""
    bench = Bench()
    bench.fold(plug_in("s-1", "c-1", at_ms=bench.clock.now_ms() - 10))
    bench.happens(withdrawal("s-1", at_ms=bench.clock.now_ms()))
    for number in range(2):
        await bench.called(number + 1)
        call = bench.axle.calls[number]
        assert isinstance(call, LookUp)
        nothing = LookedUp(call.site_id, call.charger_id, None)
        bench.axle.end(number, nothing)
        await bench.has_heard(number + 1)
        bench.settle(("s-1", None), nothing)
    await bench.called(3)
    assert bench.axle.made_at[2] - bench.axle.made_at[0] >= 0.118
