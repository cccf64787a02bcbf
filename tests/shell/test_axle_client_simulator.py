"""The Axle client on the transport that `run` uses, against the simulator: each kind of call, each kind of trouble."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from processor.core.events import (
    Found,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove
from processor.core.rules import OnboardingForm
from processor.core.schedule import HOUR_MS, Schedule
from processor.demo.axle import AxleSimulator, SimSettings
from processor.shell.axle_client import AxleAccount, AxleClient, Retry
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.governor import Verdict
from processor.shell.metrics import Metrics
from tests.shell.parts import enrolment

pytestmark = pytest.mark.anyio


def tonight() -> Schedule:
    """Eight hours from the next whole minute on."""
    begin = SystemClock().now_ms() // 60_000 * 60_000 + 60_000
    return ((begin, begin + 8 * HOUR_MS),)


def refused(why: Refusal) -> OnboardingRefused:
    """The first charger was refused with this household's consent."""
    return OnboardingRefused("s-1", "c-1", why, enrolment().consented_at_ms)


def upsert(charger_id: str = "c-1", axle_site_id: str | None = None, *, override: bool = False) -> Onboard:
    """An onboarding in the newer form."""
    return Onboard("s-1", charger_id, enrolment(), 7.4, axle_site_id, OnboardingForm.UPSERT, override)


@dataclass
class Pair:
    """A simulator and a client that talks to it."""

    axle: AxleSimulator
    client: AxleClient

    async def onboarded(self) -> Onboarded:
        answer = await self.client.perform(Onboard("s-1", "c-1", enrolment(), 7.4, None))
        assert isinstance(answer, Onboarded)
        return answer

    def statuses(self, endpoint: str) -> list[object]:
        return [call["status"] for call in self.axle.calls if call["endpoint"] == endpoint]


@asynccontextmanager
async def pair(deadline_seconds: float = 5.0, **settings: object) -> AsyncIterator[Pair]:
    async with AxleSimulator(SimSettings(**settings)) as axle:  # type: ignore[arg-type] # as the test gives them
        account = AxleAccount(axle.url, "someone", "secret", deadline_seconds)
        client = AxleClient(account, http_transport(), SystemClock(), Metrics())
        yield Pair(axle, client)
        await client.aclose()


async def test_a_life_at_axle() -> None:
    """A home is onboarded, gets a second charger, is looked up, asked about, loses a charger, and leaves."""
    async with pair() as both:
        client = both.client
        home = await both.onboarded()
        again = await client.perform(Onboard("s-1", "c-1", enrolment(), 7.4, None))
        assert again == refused(Refusal.EXISTS)
        second = await client.perform(Onboard("s-1", "c-2", enrolment(), None, home.axle_site_id))
        assert isinstance(second, Onboarded)
        assert second.axle_site_id == home.axle_site_id
        found = await client.perform(LookUp("s-1", "c-1", 0))
        assert found == LookedUp("s-1", "c-1", Found(home.axle_site_id, home.axle_asset_id, enrolment().mpan))
        night = tonight()
        answer = await client.perform(AskSchedule("s-1", "c-1", 5, home.axle_asset_id, night, boosted=False))
        assert isinstance(answer, ScheduleAnswered)
        assert (answer.number, answer.sent) == (5, night)
        assert answer.answered
        for _ in range(2):
            removed = await client.perform(Remove("s-1", "c-2", second.axle_asset_id))
            assert removed == Removed("s-1", "c-2", second.axle_asset_id)
        for _ in range(2):
            assert await client.perform(Offboard("s-1", home.axle_site_id)) == Offboarded("s-1", home.axle_site_id)
        assert await client.perform(LookUp("s-1", "c-1", 1)) == LookedUp("s-1", "c-1", None)


async def test_a_life_at_axle_in_the_newer_form() -> None:
    """A home is onboarded twice in one, grows, leaves but is kept, comes back by the override alone, and goes."""
    async with pair() as both:
        client = both.client
        home = await client.perform(upsert())
        assert isinstance(home, Onboarded)
        assert await client.perform(upsert()) == home
        second = await client.perform(upsert("c-2", home.axle_site_id))
        assert isinstance(second, Onboarded)
        assert (second.axle_site_id, second.charger_id) == (home.axle_site_id, "c-2")
        assert second.axle_asset_id != home.axle_asset_id
        ask = AskSchedule("s-1", "c-2", 5, second.axle_asset_id, tonight(), boosted=False)
        assert isinstance(await client.perform(ask), ScheduleAnswered)

        for _ in range(2):
            left = await client.perform(Offboard("s-1", home.axle_site_id, unenrol=True))
            assert left == Offboarded("s-1", home.axle_site_id, kept=True)
        assert await client.perform(ask) == ScheduleRefused("s-1", "c-2", 5, Refusal.FORBIDDEN)
        found = await client.perform(LookUp("s-1", "c-1", 0))
        assert found == LookedUp("s-1", "c-1", Found(home.axle_site_id, home.axle_asset_id, enrolment().mpan))

        assert await client.perform(upsert()) == refused(Refusal.NOT_ELIGIBLE)
        assert await client.perform(upsert(override=True)) == home
        assert isinstance(await client.perform(ask), ScheduleAnswered)
        gone = Offboarded("s-1", home.axle_site_id, kept=False)
        assert await client.perform(Offboard("s-1", home.axle_site_id)) == gone
        assert await client.perform(Offboard("s-1", home.axle_site_id, unenrol=True)) == gone
        assert await client.perform(LookUp("s-1", "c-1", 1)) == LookedUp("s-1", "c-1", None)


async def test_another_homes_charger_is_not_taken_over_by_an_upsert() -> None:
    """A charger that Axle has at another meter is a conflict in the newer form too."""
    async with pair() as both:
        await both.onboarded()
        elsewhere = replace(upsert(), enrolment=replace(enrolment(), mpan="2000000000000"))
        assert await both.client.perform(elsewhere) == refused(Refusal.EXISTS)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"fault": "hang"}, "no answer in 1 s"),
        ({"fault": "drip", "interval_ms": 20}, "no answer in 1 s"),
        ({"fault": "slow", "latency_ms": 5000}, "no answer in 1 s"),
        ({"fault": "gzip-bomb", "size_bytes": 8 * 1024 * 1024}, "encoded as 'gzip'"),
        ({"fault": "big-body"}, "larger than"),
        ({"fault": "broken-json"}, "tells nothing"),
        ({"fault": "redirect"}, "never followed"),
        ({"fault": "reset"}, ""),
        ({"fault": "503", "retry_after_seconds": 7}, "trouble on its side"),
        ({"fault": "429", "retry_after_seconds": 7}, "too many calls"),
    ],
    ids=lambda value: value["fault"] if isinstance(value, dict) else "",
)
async def test_trouble_is_met_in_time_and_healed(fault: dict[str, object], why: str) -> None:
    """Whatever goes wrong means try later, within the deadline; once it is over the same client goes on."""
    async with pair(deadline_seconds=1.0 if "no answer" in why else 5.0) as both:
        home = await both.onboarded()
        ask: Intent = AskSchedule("s-1", "c-1", 5, home.axle_asset_id, tonight(), boosted=False)
        both.axle.set_faults([{"endpoint": "schedule", **fault}])
        began = time.monotonic()
        answer = await both.client.perform(ask)
        assert time.monotonic() - began < 5
        assert isinstance(answer, Retry)
        assert why in answer.why
        assert answer.after_seconds == (7.0 if "retry_after_seconds" in fault else 0.0)
        both.axle.set_faults([])
        assert isinstance(await both.client.perform(ask), ScheduleAnswered)


async def test_a_token_that_axle_forgot_is_fetched_anew() -> None:
    """When tokens expire sooner than we think, the call is made again with a new one, and nobody notices."""
    async with pair(token_life_seconds=0.05) as both:
        home = await both.onboarded()
        deadline = time.monotonic() + 5
        while 401 not in both.statuses("look-up"):
            assert time.monotonic() < deadline
            found = await both.client.perform(LookUp("s-1", "c-1", 0))
            assert isinstance(found, LookedUp)
            assert found.found is not None
            assert found.found.axle_site_id == home.axle_site_id


async def test_a_wrong_password_is_a_sentence() -> None:
    """An account that Axle does not know fails every call with the same plain words."""
    async with pair(username="someone", password="another") as both:
        answer = await both.client.perform(LookUp("s-1", "c-1", 0))
    assert answer == Retry(
        "Axle refused the username or the password; check the account's settings.", verdict=Verdict.OURS
    )
