"""Axle goes away and comes back: few calls are wasted on it, and then the most urgent go first."""

import asyncio

import pytest

from processor.core.events import Answer, Offboarded
from processor.core.intents import AskSchedule, Intent, Offboard
from processor.shell.axle_client import Retry
from processor.shell.governor import BAD_IN_A_ROW, BreakerState
from tests.shell.desk_bench import TASK, Axle, Bench, answered
from tests.shell.parts import until, withdrawal

pytestmark = pytest.mark.anyio
HOMES = 60
LEAVING = 3


class Outage(Axle):
    """A caller that is down, or answers everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True

    async def perform(self, intent: Intent) -> Answer | Retry:
        self.calls.append(intent)
        await asyncio.sleep(0.002)
        if self.down:
            return Retry("it is down")
        return Offboarded(intent.site_id, intent.axle_site_id) if isinstance(intent, Offboard) else answered(intent)


async def test_an_outage_costs_few_calls_and_ends_with_what_is_urgent() -> None:
    """Sixty homes that wait cause a dozen calls and then a probe now and then; a farewell is the first one answered."""
    axle = Outage()
    bench = Bench(calls_max=20, wait=lambda low, high: (low + high) / 2, axle=axle)
    homes = [f"s-{number}" for number in range(HOMES)]
    bench.enrolled(*homes)
    for home in homes:
        bench.desk.look_at(TASK, bench.sites[home])
    await until(lambda: bench.desk.breaker is BreakerState.OPEN)
    for home in homes[:LEAVING]:
        bench.happens(withdrawal(home, at_ms=bench.clock.now_ms()))
    await asyncio.sleep(1)
    assert len(axle.calls) <= BAD_IN_A_ROW + 8
    assert bench.desk.waiting == HOMES
    await bench.rests()
    axle.down = False
    wasted = len(axle.calls)
    await until(lambda: len(bench.heard) == HOMES, 30, "an answer for everybody")
    first = [type(call) for call in axle.calls[wasted:][:LEAVING]]
    assert first == [Offboard] * LEAVING
    assert len(axle.calls) == wasted + HOMES
    assert bench.desk.breaker is BreakerState.CLOSED


@pytest.mark.parametrize(("asked_seconds", "next_call"), [(0.0, Offboard), (60.0, AskSchedule)])
async def test_a_withdrawal_that_failed_as_a_probe_does_not_sit_out_its_pause(
    asked_seconds: float, next_call: type[Intent]
) -> None:
    """Once Axle answers, it goes before those that wait for their first try, unless Axle itself asked for the pause."""
    bench = Bench(calls_max=1, wait=lambda low, _: 0.05 if low else 20.0)
    homes = [f"s-{number}" for number in range(BAD_IN_A_ROW + 3)]
    bench.enrolled(*homes)
    for number, home in enumerate(homes[:BAD_IN_A_ROW]):
        bench.desk.look_at(TASK, bench.sites[home])
        await bench.called(number + 1)
        bench.axle.end(number, Retry("it is down"))
        await bench.rests()
    assert bench.desk.breaker is BreakerState.OPEN
    leaving, *joining = homes[BAD_IN_A_ROW:]
    bench.happens(withdrawal(leaving, at_ms=bench.clock.now_ms()))
    await bench.called(BAD_IN_A_ROW + 1)
    bench.axle.end(BAD_IN_A_ROW, Retry("it is down", asked_seconds))
    await bench.rests()
    for home in joining:
        bench.desk.look_at(TASK, bench.sites[home])
    await bench.called(BAD_IN_A_ROW + 2)
    bench.axle.end(BAD_IN_A_ROW + 1, answered(bench.axle.calls[-1]))
    await bench.called(BAD_IN_A_ROW + 3)
    assert type(bench.axle.calls[-1]) is next_call
