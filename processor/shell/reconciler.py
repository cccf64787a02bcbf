"""Holding Axle's list of chargers against our own tasks, now and then, while the processor works.

What counts as a difference is `core/reconcile.py`'s, and what becomes of one the table's (`StillListed`). The one idea:
a state is looked at before the list is read and once more after it, and only a difference that is there both times is
believed. What has to be done about one begins as an order on the reroute topic, as an operator's does, so it meets the
household where all else does, in its order and once.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection

import structlog

from processor.core.reconcile import Drift, Kind, Listing, View, drifts, unknown, view
from processor.shell.clock import Clock
from processor.shell.intake import order_to_look
from processor.shell.listing import Aside, Lister, whole_list
from processor.shell.metrics import Metrics
from processor.shell.partition import task_of
from processor.shell.records import Produce
from processor.shell.store import Store
from processor.wire.state import decode_site

SITES_AT_ONCE = 100
REST_SECONDS = 0.005
"""Between so many sites: a driver waits 2 ms at most for them (20 µs each)."""
COMPARISON_SECONDS_MAX = 3600.0
ORDERS_MAX = 1_000
"""In one comparison. What is left over is there at the next one."""
log = structlog.get_logger(__name__)


class Reconciler:
    """Compares the tasks of this process with Axle's list. Use it from the event loop."""

    def __init__(
        self,
        client: Lister,
        aside: Aside,
        store: Store,
        ready: Callable[[], Collection[int]],
        send: Callable[[int, Produce], None],
        clock: Clock,
        uniform: Callable[[float, float], float],
        metrics: Metrics,
        reroute_topic: str,
        tasks: int,
    ) -> None:
        """`ready()` tells our tasks that are at work, `send(task, record)` writes with the task's next transaction."""
        self._client = client
        self._aside = aside
        self._store = store
        self._ready = ready
        self._send = send
        self._clock = clock
        self._uniform = uniform
        self._metrics = metrics
        self._reroute_topic = reroute_topic
        self._tasks = tasks

    async def run(self, every_seconds: float) -> None:
        """Compare for ever, every so often, but not all processes at one time. Failures are told and come to an end."""
        while True:
            await asyncio.sleep(every_seconds * self._uniform(0.5, 1.5))
            try:
                async with asyncio.timeout(COMPARISON_SECONDS_MAX):
                    await self.compare()
            except TimeoutError:
                log.warning("no comparison with Axle's list: it took too long", seconds=COMPARISON_SECONDS_MAX)
            except Exception as failure:
                # Nobody waits for it, so whatever it was, the work goes on, and the next comparison is tried.
                log.warning("no comparison with Axle's list", why=str(failure), kind=type(failure).__name__)

    async def compare(self) -> tuple[Drift, ...]:
        """One comparison: count what differs, and order a look for whoever left.

        Raises ListingFailed, and BadState or RestoreFailed for a state that cannot be read.
        """
        tasks = set(self._ready())
        before = [value for task in tasks for value in self._store.states(task)]
        listing = (await whole_list(self._client, self._aside, self._uniform)).listing
        views: list[View] = []
        for at in range(0, len(before), SITES_AT_ONCE):
            views.append(view(map(decode_site, before[at : at + SITES_AT_ONCE]), listing))
            await asyncio.sleep(REST_SECONDS)
        found = tuple(drift for drift in drifts(views) if self._is_still_so(drift, listing))
        if len(tasks) == self._tasks:
            # Half a second's work for the longest list: beside the loop.
            found += await asyncio.to_thread(unknown, views, listing)
        self._tell(found)
        for drift in [drift for drift in found if drift.kind is Kind.LEFT][:ORDERS_MAX]:
            self._order(drift)
        return found

    def _is_still_so(self, drift: Drift, listing: Listing) -> bool:
        site_id = drift.site_id or ""
        task = task_of(site_id, self._tasks)
        return self._store.owns(task) and drift in view([self._store.get(task, site_id)], listing).drifts

    def _tell(self, found: Collection[Drift]) -> None:
        counts = Counter(drift.kind for drift in found)
        for kind in Kind:
            self._metrics.reconcile_drift.labels(kind.value).set(counts[kind])
        self._metrics.reconciled.set(self._clock.now_ms() / 1000)
        log.info("compared with Axle's list", **{kind.value: counts[kind] for kind in Kind})

    def _order(self, drift: Drift) -> None:
        task = task_of(drift.site_id or "", self._tasks)
        self._send(task, look_for(drift, self._reroute_topic, self._tasks, self._clock.now_ms()))


def look_for(drift: Drift, reroute_topic: str, tasks: int, now_ms: int) -> Produce:
    """The order that follows from a charger that left (`Kind.LEFT`)."""
    event_id = f"listed.{secrets.token_hex(8)}"
    ids = (drift.site_id or "", drift.charger_id)
    return order_to_look(reroute_topic, tasks, *ids, drift.left_at_ms or 0, event_id, now_ms)
