"""Axle's whole list of chargers, page by page, at the pace of somebody whom nobody waits for.

What a page looks like is in `wire/axle_list.py`, what is done with the list in `reconciler.py` and the verb of that
name. The one idea: a page is only asked for while nothing else wants to go out and Axle is well, and it is a call like
any other to the limits before Axle (`governor.py`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from processor.core.reconcile import Listed, Listing, by_charger
from processor.shell.axle_client import Retry
from processor.shell.clock import Clock
from processor.shell.governor import BreakerState, Governor, Verdict
from processor.wire.axle_list import Page

THINGS_MAX = 500_000
"""On the whole list, meters and all. Each takes about 400 bytes here."""
TRIES_MAX = 5
BACKOFF_FIRST_SECONDS = 0.5
QUIET_AGAIN_SECONDS = 0.2


class ListingFailed(Exception):
    """The list cannot be had just now, or is longer than we can hold. One sentence."""


class Lister(Protocol):
    """Who asks for a page: the Axle client."""

    def list_page(self, offset: int) -> Coroutine[Any, Any, Page | Retry]:
        """Ask; never raises."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All chargers that Axle lists. Not `is_steady`: it changed while it was read, so some may have slipped by."""

    listing: Listing
    is_steady: bool


class Aside:
    """Makes calls of the lowest priority, one at a time."""

    def __init__(
        self,
        governor: Governor,
        clock: Clock,
        is_quiet: Callable[[], bool] = lambda: True,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """`is_quiet`: nobody else wants to call; `then` is called when a call has ended, for the slot is free again."""
        self._governor = governor
        self._clock = clock
        self._is_quiet = is_quiet
        self._then = then

    async def call(self, make: Callable[[], Coroutine[Any, Any, Page | Retry]], *, is_retry: bool) -> Page | Retry:
        """Wait for a quiet moment, and make the call."""
        while not self._may_begin(is_retry):  # noqa: ASYNC110 - nobody waits for it, and nobody has to think of it
            await asyncio.sleep(QUIET_AGAIN_SECONDS)
        leave = self._governor.begin(self._clock.monotonic(), is_retry=is_retry)
        verdict = Verdict.OURS
        try:
            answer = await make()
            verdict = answer.verdict if isinstance(answer, Retry) else Verdict.GOOD
            return answer
        finally:
            self._governor.end(leave, self._clock.monotonic(), verdict)
            self._then()

    def _may_begin(self, is_retry: bool) -> bool:  # noqa: FBT001 - handed through
        governor, now = self._governor, self._clock.monotonic()
        # An open breaker's one probe belongs to a call that somebody waits for.
        if governor.state is not BreakerState.CLOSED or not self._is_quiet() or governor.wait_seconds(now) > 0:
            return False
        return not is_retry or governor.retry_wait_seconds(now) <= 0


async def whole_list(client: Lister, aside: Aside, uniform: Callable[[float, float], float]) -> Whole:
    """Read the list to its end; `uniform(a, b)` is chance. Raises ListingFailed."""
    found: dict[str, tuple[Listed, ...]] = {}
    totals: set[int] = set()
    offset = 0
    while True:
        page = await _page(client, aside, uniform, offset)
        by_charger(page.chargers, found)
        totals.add(page.total)
        offset += page.count
        if max(page.total, offset) > THINGS_MAX:
            raise ListingFailed(f"Axle lists {page.total:,} things, more than the {THINGS_MAX:,} that can be compared")
        if page.count == 0 or offset >= page.total:
            return Whole(found, len(totals) == 1 and offset == page.total)


async def _page(client: Lister, aside: Aside, uniform: Callable[[float, float], float], offset: int) -> Page:
    why = ""
    for attempt in range(TRIES_MAX):
        answer = await aside.call(lambda: client.list_page(offset), is_retry=attempt > 0)
        if isinstance(answer, Page):
            return answer
        why = answer.why
        await asyncio.sleep(max(answer.after_seconds, uniform(0, BACKOFF_FIRST_SECONDS * 2**attempt)))
    raise ListingFailed(f"Axle's list of chargers cannot be read: {why}")
