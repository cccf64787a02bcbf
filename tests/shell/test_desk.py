"""The desk: whose call is next, who waits for whom, and what is not sent any more."""

import asyncio

import pytest

from processor.core.events import BoostAction, Erase, Offboarded, Onboarded, PlugIn, Source, UserBoost
from processor.core.intents import AskSchedule, Offboard, Onboard
from processor.core.schedule import HOUR_MS
from processor.core.site import is_erased
from processor.shell.axle_client import Retry
from processor.shell.governor import Verdict
from tests.shell.desk_bench import TASK, Bench, answered, kinds
from tests.shell.parts import NOWHERE, plug_in, until, withdrawal

pytestmark = pytest.mark.anyio


async def test_an_answer_is_handed_over_and_the_next_call_follows_its_commit() -> None:
    """Onboarding is answered, committed, and only then the question goes out."""
    bench = Bench()
    bench.happens(plug_in("s-1", "c-1", at_ms=bench.clock.now_ms()))
    await bench.called(1)
    assert isinstance(bench.axle.calls[0], Onboard)
    done = Onboarded("s-1", "c-1", "as", "aa")
    bench.axle.end(0, done)
    await bench.has_heard(1)
    assert bench.heard == [(TASK, ("s-1", None), done)]
    bench.desk.look_at(TASK, bench.sites["s-1"])
    assert len(bench.axle.calls) == 1, "nothing is sent while an answer waits for its commit"
    bench.settle(("s-1", None), done)
    await bench.called(2)
    assert isinstance(bench.axle.calls[1], AskSchedule)
    assert (bench.desk.in_flight, bench.desk.waiting) == (1, 0)


async def test_a_replacement_waits_for_the_call_before_it() -> None:
    """A newer wish of a charger is asked about only when the call about the older one has ended and is committed."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.boost("s-1")
    await asyncio.sleep(0)
    assert len(bench.axle.calls) == 1
    bench.axle.end(0, answered(bench.axle.calls[0]))
    await bench.has_heard(1)
    assert len(bench.axle.calls) == 1
    bench.settle(("s-1", "s-1-c"), bench.heard[0][2])
    await bench.called(2)
    first, second = bench.axle.calls
    assert isinstance(first, AskSchedule)
    assert isinstance(second, AskSchedule)
    assert (first.boosted, second.boosted) == (False, True)
    assert second.number > first.number


async def test_lanes_of_one_home_do_not_wait_for_each_other() -> None:
    """While one charger is being onboarded, another one of the same home is asked about."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.happens(plug_in("s-1", "other", "p-2", bench.clock.now_ms()))
    await bench.called(2)
    assert sorted(kinds(bench.axle.calls)) == ["AskSchedule s-1", "Onboard s-1"]


async def test_withdrawals_go_before_boosts_and_boosts_before_the_rest() -> None:
    """When calls have to queue, a withdrawal is sent first, then a boost, then the others as they came."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1", "s-2", "s-3", "s-4")
    for site in ("s-0", "s-1", "s-2"):
        bench.desk.look_at(TASK, bench.sites[site])
    bench.boost("s-3")
    bench.happens(withdrawal("s-4", at_ms=bench.clock.now_ms()))
    await bench.called(1)
    for number in range(4):
        bench.axle.end(number, Retry("later", 60))
        await bench.called(number + 2)
    order = ["AskSchedule s-0", "Offboard s-4", "AskSchedule s-3", "AskSchedule s-1", "AskSchedule s-2"]
    assert kinds(bench.axle.calls) == order


async def test_a_call_of_somebody_else_takes_a_slot_and_gives_it_back() -> None:
    """While one waits behind it the desk is not quiet; told that the slot is free, it sends what waits."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-1")
    assert bench.desk.is_quiet
    leave = bench.governor.begin(bench.clock.monotonic(), is_retry=False)
    bench.desk.look_at(TASK, bench.sites["s-1"])
    assert not bench.desk.is_quiet
    bench.governor.end(leave, bench.clock.monotonic(), Verdict.GOOD)
    bench.desk.slot_is_free()
    await bench.called(1)
    assert bench.desk.is_quiet
    bench.axle.end(0, Retry("later", 60))
    await bench.desk.drain(10)
    assert not bench.desk.is_quiet


async def test_a_lane_keeps_its_place_however_often_its_wish_changes() -> None:
    """Drivers who change their minds while they wait are not put back to the end of the queue."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1", "s-2")
    for site in ("s-0", "s-1", "s-2"):
        bench.desk.look_at(TASK, bench.sites[site])
    await bench.called(1)
    for i in range(5):
        bench.happens(plug_in("s-1", "s-1-c", f"again-{i}", bench.clock.now_ms() + i, enrol=False))
    for number in range(2):
        bench.axle.end(number, Retry("later", 60))
        await bench.called(number + 2)
    assert kinds(bench.axle.calls) == ["AskSchedule s-0", "AskSchedule s-1", "AskSchedule s-2"]


async def test_a_wish_that_becomes_urgent_moves_up() -> None:
    """A lane that waits with a plug-in goes ahead of the others once its driver boosts, and is sent once."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1", "s-2")
    for site in ("s-0", "s-1", "s-2"):
        bench.desk.look_at(TASK, bench.sites[site])
    await bench.called(1)
    bench.boost("s-2")
    for number in range(2):
        bench.axle.end(number, Retry("later", 60))
        await bench.called(number + 2)
    bench.axle.end(2, Retry("later", 60))
    await until(lambda: bench.desk.in_flight == 0)
    assert kinds(bench.axle.calls) == ["AskSchedule s-0", "AskSchedule s-2", "AskSchedule s-1"]


async def test_a_boost_that_is_over_waits_with_the_others() -> None:
    """Whoever was boosted while the queue was long, and is not any more, does not go before those who are."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1", "s-2", "s-3")
    bench.desk.look_at(TASK, bench.sites["s-0"])
    await bench.called(1)
    bench.boost("s-1")
    over = UserBoost("b-2", bench.clock.now_ms() + 1, NOWHERE, "s-1", "s-1-c", BoostAction.BOOST_CANCELLED)
    bench.happens(over)
    bench.desk.look_at(TASK, bench.sites["s-2"])
    bench.boost("s-3")
    for number in range(3):
        bench.axle.end(number, Retry("later", 60))
        await bench.called(number + 2)
    assert kinds(bench.axle.calls) == ["AskSchedule s-0", "AskSchedule s-3", "AskSchedule s-1", "AskSchedule s-2"]


async def test_among_equals_the_shortest_night_goes_first() -> None:
    """A car that leaves earlier is asked for earlier, whoever plugged in first; who joins is as urgent as its car."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0")
    bench.desk.look_at(TASK, bench.sites["s-0"])
    await bench.called(1)
    now_ms = bench.clock.now_ms()
    bench.happens(plug_in("late", "c-1", "p-1", now_ms))
    for hours in (3, 2):
        home = f"leaves-{hours}"
        bench.enrolled(home)
        night = ((now_ms, now_ms + hours * HOUR_MS),)
        bench.happens(PlugIn(f"{home}-p", now_ms, NOWHERE, home, f"{home}-c", night, 7.4, None))
    for number in range(3):
        bench.axle.end(number, Retry("later", 60))
        await bench.called(number + 2)
    assert kinds(bench.axle.calls)[1:] == ["AskSchedule leaves-2", "AskSchedule leaves-3", "Onboard late"]


async def test_what_is_not_owed_any_more_is_not_sent() -> None:
    """A call that waited is derived afresh from the committed state: withdrawn meanwhile, it is not made."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1")
    for site in ("s-0", "s-1"):
        bench.desk.look_at(TASK, bench.sites[site])
    await bench.called(1)
    bench.fold(withdrawal("s-1", at_ms=bench.clock.now_ms()))
    bench.axle.end(0, Retry("later", 60))
    await until(lambda: bench.desk.in_flight == 0)
    assert kinds(bench.axle.calls) == ["AskSchedule s-0"]
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(2)
    assert isinstance(bench.axle.calls[1], Offboard)


async def test_the_newest_wish_is_what_is_sent() -> None:
    """After a wait only the newest wish of a charger is asked about."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-0", "s-1")
    for site in ("s-0", "s-1"):
        bench.desk.look_at(TASK, bench.sites[site])
    await bench.called(1)
    for i in range(3):
        bench.boost("s-1", f"b-{i}")
    bench.axle.end(0, Retry("later", 60))
    await bench.called(2)
    sent = bench.axle.calls[1]
    question = bench.sites["s-1"].chargers[0].question
    assert isinstance(sent, AskSchedule)
    assert question is not None
    assert sent.number == question.number


async def test_a_dropped_task_calls_no_more() -> None:
    """When a task goes its calls are stopped, nothing of them is reported, and others take their slots."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-1", "s-2")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    bench.desk.look_at(TASK + 1, bench.sites["s-2"])
    await bench.called(1)
    bench.desk.drop(TASK)
    await bench.called(2)
    assert kinds(bench.axle.calls) == ["AskSchedule s-1", "AskSchedule s-2"]
    assert list(bench.axle.under_way) == [1]
    assert (bench.heard, bench.desk.in_flight) == ([], 1)


async def test_a_call_that_is_stopped_before_it_began_gives_its_slot_back() -> None:
    """A task that goes in the very moment in which its call was to begin costs no slot."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-1", "s-2")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    bench.desk.drop(TASK)
    await until(lambda: bench.desk.in_flight == 0)
    bench.desk.look_at(TASK, bench.sites["s-2"])
    await bench.called(1)
    assert kinds(bench.axle.calls) == ["AskSchedule s-2"]


async def test_a_lane_that_was_dropped_hears_nothing_when_it_comes_back() -> None:
    """A task that comes back begins anew: the answer of its earlier life is not taken for the new call's."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    bench.desk.drop(TASK)
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(2)
    bench.axle.end(1, answered(bench.axle.calls[1]))
    await bench.has_heard(1)
    assert len(bench.heard) == 1


async def test_at_the_end_no_call_begins_and_those_under_way_may_end() -> None:
    """Draining waits for answers, but not for ever, and lets nothing new begin."""
    bench = Bench(calls_max=1)
    bench.enrolled("s-1", "s-2")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    bench.desk.look_at(TASK, bench.sites["s-2"])
    await bench.called(1)
    draining = asyncio.create_task(bench.desk.drain(30))
    await asyncio.sleep(0)
    bench.axle.end(0, answered(bench.axle.calls[0]))
    await draining
    assert (len(bench.heard), len(bench.axle.calls), bench.desk.in_flight) == (1, 1, 0)
    await bench.desk.drain(0.01)


async def test_draining_gives_up_in_time() -> None:
    """A call that does not end is left behind after the time given."""
    bench = Bench()
    bench.enrolled("s-1")
    bench.desk.look_at(TASK, bench.sites["s-1"])
    await bench.called(1)
    await bench.desk.drain(0.02)
    assert bench.desk.in_flight == 1
    bench.desk.drop(TASK)
    await until(lambda: bench.desk.in_flight == 0)


async def test_no_more_calls_than_allowed_are_under_way() -> None:
    """With room for three, three are under way and the rest is counted as waiting."""
    bench = Bench(calls_max=3)
    sites = [f"s-{i}" for i in range(10)]
    bench.enrolled(*sites)
    for site in sites:
        bench.desk.look_at(TASK, bench.sites[site])
    await bench.called(3)
    assert (bench.desk.in_flight, bench.desk.waiting) == (3, 7)
    text = bench.metrics.exposition().decode()
    assert "axle_processor_axle_calls_in_flight 3.0" in text
    assert "axle_processor_axle_calls_waiting 7.0" in text
    bench.desk.drop(TASK)
    await until(lambda: bench.desk.in_flight == 0)
    assert bench.desk.waiting == 0


async def test_a_lane_of_a_household_that_was_erased_ends_with_its_call() -> None:
    """Nothing waits for a charger that nobody knows any more, be its call answered or to be tried again."""
    for answer in (None, Retry("try later")):
        bench = Bench()
        bench.enrolled("s-1")
        bench.desk.look_at(TASK, bench.sites["s-1"])
        await bench.called(1)
        bench.happens(Erase("order", bench.clock.now_ms(), Source("in", 0, 9), "s-1"))
        await bench.called(2)
        bench.axle.end(1, Offboarded("s-1", "s-1-as"))
        await bench.has_heard(1)
        bench.settle(("s-1", None), bench.heard[0][2])
        assert is_erased(bench.sites["s-1"])
        bench.axle.end(0, answer or answered(bench.axle.calls[0]))
        await bench.rests()
        if len(bench.heard) == 2:
            bench.settle(("s-1", "s-1-c"), bench.heard[1][2])
        assert (bench.desk.waiting, len(bench.axle.calls)) == (0, 2)
