"""A desk with its surroundings: committed sites that real decisions made, and an Axle whose calls end at will."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from processor.core.decide import decide
from processor.core.events import Answer, Event, Onboarded, ScheduleAnswered
from processor.core.intents import AskSchedule, Intent
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.axle_client import Retry
from processor.shell.clock import SystemClock
from processor.shell.desk import Desk, Lane
from processor.shell.governor import Governor
from processor.shell.metrics import Metrics
from tests.shell.parts import boost, plug_in, until

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

    def __init__(
        self, calls_max: int = 10, wait: Callable[[float, float], float] | None = None, axle: Axle | None = None
    ) -> None:
        self.axle = axle or Axle()
        self.clock = SteppingClock()
        self.rules = Rules(look_up_delays_ms=(0, 60, 120))
        self.sites: dict[str, Site] = {}
        self.heard: list[tuple[int, Lane, Answer]] = []
        self.metrics = Metrics()
        self.governor = Governor(calls_max, wait or waits(0))
        self.desk = Desk(
            self.axle,
            lambda _, site_id: self.sites.get(site_id, Site(site_id)),
            lambda task, lane, answer: self.heard.append((task, lane, answer)),
            self.clock,
            wait or waits(0),
            self.rules,
            self.metrics,
            self.governor,
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

    async def rests(self) -> None:
        """Wait until no call is under way."""
        await until(lambda: self.desk.in_flight == 0)

    def boost(self, site: str, event_id: str = "b-1") -> None:
        self.happens(boost(site, f"{site}-c", event_id, self.clock.now_ms()))


def kinds(calls: list[Intent]) -> list[str]:
    return [f"{type(call).__name__} {call.site_id}" for call in calls]


def answered(call: Intent) -> ScheduleAnswered:
    assert isinstance(call, AskSchedule)
    return ScheduleAnswered(call.site_id, call.charger_id, call.number, call.schedule, call.schedule)
