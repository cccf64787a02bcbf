"""The desk: whose call is next, who waits, and what is not sent any more."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from processor.core.decide import decide
from processor.core.events import Answer, CallFailed, Event, LookedUp, Onboarded, ScheduleAnswered
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.axle_client import Retry
from processor.shell.clock import SystemClock
from processor.shell.desk import Desk, Lane
from processor.shell.metrics import Metrics
from tests.shell.parts import boost, plug_in, until, withdrawal

pytestmark = pytest.mark.anyio
TASK = 3


class SteppingClock(SystemClock):
    """The machine's clock, whose wall time can be put forward or back."""

    def __init__(self) -> None:
        self.shift_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.shift_ms


@dataclass
class Axle:
    """A caller whose calls end when the test says so."""

    calls: list[Intent] = field(default_factory=list)
    made_at: list[float] = field(default_factory=list)
    under_way: dict[int, "asyncio.Future[Answer | Retry]"] = field(default_factory=dict)

    async def perform(self, intent: Intent) -> Answer | Retry:
        number = len(self.calls)
        self.calls.append(intent)
        self.made_at.append(time.monotonic())
        self.under_way[number] = asyncio.get_running_loop().create_future()
        try:
            return await self.under_way[number]
        finally:
            del self.under_way[number]

    def end(self, number: int, answer: Answer | Retry) -> None:
        self.under_way[number].set_result(answer)


def waits(seconds: float) -> Callable[[float, float], float]:
    """Chance that always says the same."""
    return lambda *_: seconds


class Bench:
    """A desk with its surroundings: committed sites, a caller, and a list of what it reported."""

    def __init__(self, calls_max: int = 10, wait: Callable[[float, float], float] | None = None) -> None:
        self.axle = Axle()
        self.clock = SteppingClock()
        self.rules = Rules(look_up_delays_ms=(0, 60, 120))
        self.sites: dict[str, Site] = {}
        self.heard: list[tuple[int, Lane, Answer]] = []
        self.metrics = Metrics()
        self.desk = Desk(
            self.axle,
            lambda _, site_id: self.sites.get(site_id, Site(site_id)),
            lambda task, lane, answer: self.heard.append((task, lane, answer)),
            self.clock,
            wait or waits(0),
            self.rules,
            self.metrics,
            calls_max,
        )

    def fold(self, *events: Event) -> Site:
        """Commit what follows from these events, without telling the desk."""
        for event in events:
            site = self.sites.get(event.site_id, Site(event.site_id))
            self.sites[event.site_id] = decide(site, event, self.clock.now_ms(), self.rules).site
        return self.sites[events[-1].site_id]

    def happens(self, *events: Event) -> None:
        """Commit it, and show the site to the desk."""
        self.desk.look_at(TASK, self.fold(*events))

    def enrolled(self, *sites: str) -> None:
        """Homes whose chargers Axle manages, with a question open."""
        for site in sites:
            self.fold(
                plug_in(site, f"{site}-c", at_ms=self.clock.now_ms() - 10),
                Onboarded(site, f"{site}-c", f"{site}-as", f"{site}-aa"),
            )

    def settle(self, lane: Lane, answer: Answer) -> None:
        """The round of an answer: fold it in, commit it, show the site."""
        self.fold(answer)
        self.desk.committed(lane)
        self.desk.look_at(TASK, self.sites[lane[0]])

    async def called(self, calls: int) -> None:
        """Wait until so many calls were begun; fail when there are more."""
        await until(lambda: len(self.axle.calls) >= calls, what=f"{calls} calls, and not {kinds(self.axle.calls)}")
        assert len(self.axle.calls) == calls

    async def has_heard(self, answers: int) -> None:
        """Wait until so many answers were reported."""
        await until(lambda: len(self.heard) == answers)

    def boost(self, site: str, event_id: str = "b-1") -> None:
        self.happens(boost(site, f"{site}-c", event_id, self.clock.now_ms()))


def kinds(calls: list[Intent]) -> list[str]:
    return [f"{type(call).__name__} {call.site_id}" for call in calls]


def answered(call: Intent) -> ScheduleAnswered:
    assert isinstance(call, AskSchedule)
    return ScheduleAnswered(call.site_id, call.charger_id, call.number, call.schedule, call.schedule)


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
