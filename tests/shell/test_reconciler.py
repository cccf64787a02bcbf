"""Our own tasks against Axle's list: what is counted, what is ordered, and what happened meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.events import Event, Offboarded, Onboarded, Source, StillListed
from processor.core.reconcile import Drift, Kind, Listed
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.axle_client import Retry
from processor.shell.governor import Governor
from processor.shell.intake import read_order
from processor.shell.listing import Aside, ListingFailed
from processor.shell.metrics import Metrics
from processor.shell.partition import task_of
from processor.shell.reconciler import ORDERS_MAX, SITES_AT_ONCE, Reconciler
from processor.shell.records import Produce
from processor.shell.store import Store
from processor.wire.axle_list import Page
from processor.wire.inputs import InputLimits
from processor.wire.state import encode_site
from tests.shell.parts import CODEC, NAMES, NOW_MS, TASKS, HandClock, plug_in, until, withdrawal

pytestmark = pytest.mark.anyio
RULES = Rules()
WITHDREW_MS = NOW_MS + 1


def low(least: float, _: float) -> float:
    """Chance that always draws the least."""
    return least


def household(site: str, *events: Event) -> Site:
    """What is known after these events."""
    state = Site(site)
    for event in events:
        state = decide(state, event, NOW_MS, RULES).site
    return state


def enrolled(site: str, charger: str = "c-1") -> Site:
    """A household whose charger Axle has, as far as we know."""
    return household(site, plug_in(site, charger), Onboarded(site, charger, f"{site}-as", f"{charger}-aa"))


def gone(site: str, charger: str = "c-1") -> Site:
    """A household that withdrew, and whose offboarding was confirmed."""
    left = decide(enrolled(site, charger), withdrawal(site, at_ms=WITHDREW_MS), WITHDREW_MS, RULES).site
    return decide(left, Offboarded(site, f"{site}-as"), WITHDREW_MS, RULES).site


@dataclass
class Bench:
    """A reconciler with a store, a list, and what it sent; `reading` is called while the list is read."""

    listed: list[Listed] = field(default_factory=list)
    reading: Callable[[], None] = lambda: None
    tasks: set[int] = field(default_factory=lambda: set(range(TASKS)))
    sent: list[tuple[int, Produce]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    store: Store = field(default_factory=lambda: Store(RULES))
    trouble: Exception | None = None
    refusal: Retry | None = None
    lists: int = 0

    def __post_init__(self) -> None:
        for task in self.tasks:
            self.store.take_over(task, {}, {})
        clock = HandClock()
        self.reconciler = Reconciler(
            self,
            Aside(Governor(4, low), clock),
            self.store,
            lambda: self.tasks,
            lambda task, record: self.sent.append((task, record)),
            clock,
            low,
            self.metrics,
            NAMES.reroute,
            TASKS,
        )

    async def list_page(self, offset: int) -> Page | Retry:
        """The whole list at once."""
        self.lists += 1
        self.reading()
        if self.trouble:
            raise self.trouble
        if self.refusal:
            return self.refusal
        rest = self.listed[offset:]
        return Page(tuple(rest), len(rest), len(self.listed))

    def know(self, *sites: Site) -> None:
        """These are committed."""
        for site in sites:
            task = task_of(site.site_id, TASKS)
            self.store.merge(task, {site.site_id: site}, {site.site_id: encode_site(site)}, NOW_MS)

    def count(self, kind: Kind) -> float | None:
        """What the metric says."""
        return self.metrics.registry.get_sample_value("axle_processor_reconcile_drift", {"kind": kind.value})

    def orders(self) -> list[StillListed]:
        """What was ordered, as whoever reads the reroute topic finds it; each in the partition of its site."""
        read: list[StillListed] = []
        for task, record in self.sent:
            order = read_order(record.value, Source("", 0, 0), NOW_MS, CODEC, InputLimits(), "STILL_LISTED")
            assert isinstance(order, StillListed)
            assert (record.topic, record.partition, task) == (NAMES.reroute, task, task_of(order.site_id, TASKS))
            read.append(order)
        return read


async def test_who_left_is_ordered_to_be_looked_for_and_all_else_is_counted() -> None:
    """One order for each charger that left and is listed; whoever is missing or unknown is in the metric alone."""
    bench = Bench()
    bench.know(enrolled("s-1"), gone("s-2", "c-2"), enrolled("s-3", "c-3"))
    bench.listed = [Listed("c-1", "s-1-as", "c-1-aa"), Listed("c-2", "as-2", "aa-2"), Listed("c-9", "as-9", "aa-9")]
    found = await bench.reconciler.compare()
    (order,) = bench.orders()
    assert (order.site_id, order.charger_id, order.left_at_ms) == ("s-2", "c-2", WITHDREW_MS)
    assert order.occurred_at_ms == NOW_MS
    assert {drift.kind: drift.charger_id for drift in found} == {
        Kind.LEFT: "c-2",
        Kind.MISSING: "c-3",
        Kind.UNKNOWN: "c-9",
    }
    assert [bench.count(kind) for kind in Kind] == [1, 0, 1, 1, 0]
    assert bench.metrics.registry.get_sample_value("axle_processor_reconciled_timestamp_seconds") == NOW_MS / 1000
    bench.listed = [Listed("c-1", "s-1-as", "c-1-aa"), Listed("c-3", "s-3-as", "c-3-aa")]
    assert await bench.reconciler.compare() == ()
    assert [bench.count(kind) for kind in Kind] == [0, 0, 0, 0, 0]
    assert len(bench.sent) == 1


async def test_a_process_that_has_not_all_tasks_calls_nobody_unknown() -> None:
    """Who is listed and not known here is known to another process, as far as this one can tell."""
    bench = Bench(listed=[Listed("c-9", "as-9", "aa-9")])
    bench.tasks.remove(0)
    assert await bench.reconciler.compare() == ()


async def test_what_changed_while_the_list_was_read_is_not_believed() -> None:
    """Neither who came back nor who left meanwhile, nor a household whose task is gone."""
    bench = Bench(listed=[Listed("c-2", "as-2", "aa-2"), Listed("c-3", "as-3", "aa-3")])
    bench.know(gone("s-2", "c-2"), enrolled("s-1"), gone("s-3", "c-3"))

    def meanwhile() -> None:
        bench.know(enrolled("s-2", "c-2"), gone("s-1"))
        bench.store.drop(task_of("s-3", TASKS))

    bench.reading = meanwhile
    assert task_of("s-3", TASKS) not in {task_of("s-1", TASKS), task_of("s-2", TASKS)}
    assert await bench.reconciler.compare() == ()
    assert bench.sent == []


async def test_many_households_are_compared_a_few_at_a_time() -> None:
    """However many there are, each is seen; orders have a limit, and who is left over is counted all the same."""
    many = ORDERS_MAX + SITES_AT_ONCE // 2
    bench = Bench(listed=[Listed(f"c-{n}", f"as-{n}", f"aa-{n}") for n in range(many)])
    bench.know(*(replace(gone("s", f"c-{n}"), site_id=f"s-{n}") for n in range(many)))
    found = await bench.reconciler.compare()
    assert {drift.charger_id for drift in found} == {f"c-{n}" for n in range(many)}
    assert (len(bench.sent), bench.count(Kind.LEFT)) == (ORDERS_MAX, many)


async def test_a_list_that_cannot_be_had_changes_nothing() -> None:
    """The figures of the comparison before stay, and no order goes out."""
    bench = Bench(listed=[Listed("c-2", "as-2", "aa-2")])
    bench.know(gone("s-2", "c-2"))
    await bench.reconciler.compare()
    bench.refusal = Retry("it is broken")
    with pytest.raises(ListingFailed):
        await bench.reconciler.compare()
    assert (bench.count(Kind.LEFT), len(bench.sent)) == (1, 1)


async def test_it_compares_again_and_again_whatever_goes_wrong() -> None:
    """A comparison that fails is the end of that comparison alone; a cancellation is the end of all."""
    bench = Bench(listed=[Listed("c-2", "as-2", "aa-2")], trouble=RuntimeError("nobody thought of it"))
    bench.know(gone("s-2", "c-2"))
    running = asyncio.create_task(bench.reconciler.run(0.01))
    await until(lambda: bench.lists >= 2)
    assert bench.sent == []
    bench.trouble = None
    await until(lambda: len(bench.sent) >= 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert {order.charger_id for order in bench.orders()} == {"c-2"}
    assert Drift(Kind.LEFT, "c-2", "s-2", "as-2", "aa-2", WITHDREW_MS) in await bench.reconciler.compare()
