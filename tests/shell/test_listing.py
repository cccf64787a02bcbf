"""Axle's whole list: read to its end, at the pace of somebody whom nobody waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from processor.core.events import Onboarded
from processor.core.intents import Onboard
from processor.core.reconcile import Listed
from processor.demo.axle import AxleSimulator
from processor.shell.axle_client import AxleAccount, AxleClient, Retry
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.governor import BAD_IN_A_ROW, BreakerState, Governor, Verdict
from processor.shell.listing import THINGS_MAX, TRIES_MAX, Aside, ListingFailed, whole_list
from processor.shell.metrics import Metrics
from processor.wire.axle_list import PAGE_MAX, Page
from tests.shell.parts import enrolment, until

pytestmark = pytest.mark.anyio
CLOCK = SystemClock()


def at_once(low: float, _: float) -> float:
    """Chance that never waits."""
    return low


def governor(**limits: float) -> Governor:
    """One that lets four calls through."""
    return Governor(4, at_once, **limits)


@dataclass
class Pages:
    """A list that answers as the test says, and remembers where it was asked."""

    answer: Callable[[int], Page | Retry]
    asked: list[int] = field(default_factory=list)

    async def list_page(self, offset: int) -> Page | Retry:
        """One page."""
        self.asked.append(offset)
        return self.answer(offset)


def charger(number: int) -> Listed:
    """One of many."""
    return Listed(f"c-{number}", f"site-{number}", f"asset-{number}")


@asynccontextmanager
async def client(deadline_seconds: float = 10) -> AsyncIterator[tuple[AxleSimulator, AxleClient]]:
    """The client that `run` has, and a simulator."""
    async with AxleSimulator() as axle:
        account = AxleAccount(axle.url, "someone", "secret", deadline_seconds)
        ours = AxleClient(account, http_transport(), CLOCK, Metrics())
        yield axle, ours
        await ours.aclose()


async def test_all_pages_are_read() -> None:
    """Every charger of the simulator is found under our id, with Axle's; the last page may be short."""
    async with client() as (axle, ours):
        home = await ours.perform(Onboard("s-1", "c-0", enrolment(), 7.4, None))
        assert isinstance(home, Onboarded)
        ids = {"c-0": home.axle_asset_id}
        for number in range(1, PAGE_MAX + 2):
            more = await ours.perform(Onboard("s-1", f"c-{number}", enrolment(), 7.4, home.axle_site_id))
            assert isinstance(more, Onboarded)
            ids[f"c-{number}"] = more.axle_asset_id
        whole = await whole_list(ours, Aside(governor(), CLOCK), at_once)
        assert whole.is_steady
        assert whole.listing == {name: (Listed(name, home.axle_site_id, id_),) for name, id_ in ids.items()}
        lists = [call for call in axle.calls if (call["method"], call["path"]) == ("GET", "/entities/asset")]
        assert [call["status"] for call in lists] == [200, 200]


@pytest.mark.parametrize(
    ("fault", "why", "verdict"),
    [
        ({"fault": "503", "retry_after_seconds": 7}, "Axle answered list with 503", Verdict.BAD),
        ({"fault": "429", "retry_after_seconds": 2}, "Axle answered list with 429", Verdict.BUSY),
        ({"fault": "broken-json"}, "a body that tells nothing", Verdict.BAD),
        ({"fault": "hang"}, "no answer in 0.5 s", Verdict.BAD),
        ({"fault": "401", "endpoint": "token"}, "Axle refused the username or the password", Verdict.OURS),
    ],
)
async def test_a_page_that_fails_is_told_and_never_raised(fault: dict[str, object], why: str, verdict: Verdict) -> None:
    """What Axle said and asked for, and what it says of its health, as with any call."""
    async with client(0.5 if fault["fault"] == "hang" else 30) as (axle, ours):
        axle.set_faults([{"endpoint": "asset"} | fault])
        answer = await ours.list_page(0)
    assert isinstance(answer, Retry)
    assert why in answer.why
    assert (answer.verdict, answer.after_seconds) == (verdict, fault.get("retry_after_seconds", 0))


async def test_an_empty_list_is_one_page() -> None:
    """Nobody is there, and the list says so."""
    async with client() as (_, ours):
        whole = await whole_list(ours, Aside(governor(), CLOCK), at_once)
    assert (whole.listing, whole.is_steady) == ({}, True)


async def test_a_list_that_changes_meanwhile_is_told() -> None:
    """Whoever slipped from one page to another is there once; that somebody may be missing is said."""
    first, second = Page((charger(1), charger(2)), 2, 4), Page((charger(2),), 1, 3)
    pages = Pages(lambda offset: first if offset == 0 else second)
    whole = await whole_list(pages, Aside(governor(), CLOCK), at_once)
    assert pages.asked == [0, 2]
    assert (set(whole.listing), whole.is_steady) == ({"c-1", "c-2"}, False)
    assert whole.listing["c-2"] == (charger(2),)


async def test_a_list_that_ends_early_is_told() -> None:
    """An empty page is the end, whatever the list's length was said to be."""
    pages = Pages(lambda offset: Page((charger(1),), 1, 3) if offset == 0 else Page((), 0, 3))
    whole = await whole_list(pages, Aside(governor(), CLOCK), at_once)
    assert (pages.asked, whole.is_steady) == ([0, 1], False)


async def test_a_page_in_trouble_is_asked_for_again() -> None:
    """A few times; then the list cannot be had, and why is told."""
    answers: list[Page | Retry] = [Page((charger(1),), 1, 1), Retry("broken"), Retry("busy", verdict=Verdict.BUSY)]
    pages = Pages(lambda _: answers.pop())
    assert "c-1" in (await whole_list(pages, Aside(governor(), CLOCK), at_once)).listing
    broken = Pages(lambda _: Retry("it is broken"))
    with pytest.raises(ListingFailed, match="cannot be read: it is broken"):
        await whole_list(broken, Aside(governor(), CLOCK), at_once)
    assert broken.asked == [0] * TRIES_MAX


async def test_a_list_that_is_too_long_is_refused() -> None:
    """Before any memory is spent on it."""
    pages = Pages(lambda _: Page((charger(1),), 1, THINGS_MAX + 1))
    with pytest.raises(ListingFailed, match="more than the 500,000"):
        await whole_list(pages, Aside(governor(), CLOCK), at_once)
    assert pages.asked == [0]


async def test_a_page_waits_for_a_quiet_moment() -> None:
    """While somebody else wants to call it is not asked for; then it takes a slot like any other, and gives it back."""
    limits, waiting, freed = governor(), [True], list[int]()
    aside = Aside(limits, CLOCK, lambda: not waiting, lambda: freed.append(limits.in_flight))
    seen: list[int] = []

    def page(_: int) -> Page:
        seen.append(limits.in_flight)
        return Page((), 0, 0)

    pages = Pages(page)
    reading = asyncio.create_task(whole_list(pages, aside, at_once))
    await asyncio.sleep(0)
    assert (pages.asked, limits.in_flight) == ([], 0)
    waiting.clear()
    await asyncio.wait_for(reading, 10)
    assert (seen, freed) == ([1], [0])


async def test_the_probe_of_an_open_breaker_is_not_spent_on_a_page() -> None:
    """Whether Axle is well again is for a call to find out that somebody waits for."""
    limits = governor()
    for _ in range(BAD_IN_A_ROW):
        limits.end(limits.begin(CLOCK.monotonic(), is_retry=False), CLOCK.monotonic(), Verdict.BAD)
    assert limits.state is BreakerState.OPEN
    pages = Pages(lambda _: Page((), 0, 0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await whole_list(pages, Aside(limits, CLOCK), at_once)
    assert (pages.asked, limits.state, limits.in_flight) == ([], BreakerState.OPEN, 0)


async def test_a_page_that_is_given_up_gives_its_slot_back() -> None:
    """A shutdown in the middle of a page leaves nothing under way, and says nothing of Axle's health."""
    limits = governor()

    class Slow:
        async def list_page(self, _: int) -> Page | Retry:
            await asyncio.Event().wait()
            raise AssertionError

    reading = asyncio.create_task(whole_list(Slow(), Aside(limits, CLOCK), at_once))
    await until(lambda: limits.in_flight)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (limits.in_flight, limits.state) == (0, BreakerState.CLOSED)


async def test_a_rate_holds_for_pages_too() -> None:
    """Where so many calls a second are set, pages count among them."""
    limits = governor(calls_per_second=20)
    pages = Pages(lambda offset: Page((charger(offset),), 1, 26))
    began = CLOCK.monotonic()
    await whole_list(pages, Aside(limits, CLOCK), at_once)
    assert CLOCK.monotonic() - began >= 6 / 20 - 0.01
