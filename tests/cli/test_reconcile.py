"""`reconcile` as an operator meets it: what is told of both sides, and that nothing is written unless it is wanted."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from processor.cli import app
from processor.cli.reconcile import SHOWN_MAX, reconcile_verb
from processor.core.events import Onboarded, Source, StillListed
from processor.core.intents import Onboard
from processor.core.site import Site
from processor.demo.axle import AxleSimulator
from processor.demo.kafka import Broker
from processor.settings import PREFIX
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.intake import read_order
from processor.shell.metrics import Metrics
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.inputs import InputLimits
from processor.wire.state import CHECKPOINT_KEY, ERASED_PREFIX, Checkpoint, encode_checkpoint, encode_site
from tests.broker import produce
from tests.cli.parts import NOBODY, environment
from tests.core.world import World, at, consented
from tests.kafka.rig import CODEC, now_ms, read_all
from tests.shell.parts import enrolment

TASKS = 2
LEFT_MS = at(0.1)
ACCOUNT = {f"{PREFIX}AXLE__USERNAME": "u", f"{PREFIX}AXLE__PASSWORD": "p"}


@dataclass
class Scene:
    """An operator of these brokers and this Axle, while no processor is at work."""

    broker: Broker
    topics: TopicNames
    axle: AxleSimulator
    client: AxleClient
    capsys: pytest.CaptureFixture[str]

    async def onboard(self, charger: str, axle_site_id: str | None = None) -> Onboarded:
        """Axle gets a charger, whoever told it."""
        answer = await self.client.perform(Onboard("s", charger, enrolment(), 7.4, axle_site_id))
        assert isinstance(answer, Onboarded)
        return answer

    async def keep(self, *sites: Site) -> None:
        """The changelog holds these households, a checkpoint, and what is left of an erased one."""
        states = [(site.site_id.encode(), encode_site(site)) for site in sites]
        others = [(CHECKPOINT_KEY, encode_checkpoint(Checkpoint({}))), (f"{ERASED_PREFIX}00".encode(), b"not a site")]
        records = [(key, value, None) for key, value in (*states, *others)]
        await asyncio.to_thread(produce, self.broker.bootstrap_servers, self.topics.state, records)

    async def reconcile(self, *, apply: bool = False, as_json: bool = True, timeout_seconds: float = 60) -> int:
        """The command, as it runs once its arguments are read."""
        return await asyncio.to_thread(reconcile_verb, apply=apply, as_json=as_json, timeout_seconds=timeout_seconds)

    def said(self) -> str:
        """What it wrote to stdout since somebody last asked."""
        return self.capsys.readouterr().out

    def complaint(self) -> str:
        """Its line on stderr, after the one about what it was doing."""
        (_, line) = self.capsys.readouterr().err.splitlines()
        return line

    async def orders(self) -> list[StillListed]:
        """What stands on the reroute topic."""
        read = await asyncio.to_thread(read_all, self.broker.bootstrap_servers, self.topics.reroute)
        orders = []
        for message in read:
            order = read_order(message.value(), Source("", 0, 0), now_ms(), CODEC, InputLimits(), "STILL_LISTED")
            assert isinstance(order, StillListed)
            assert message.headers() == [("reroute-kind", b"STILL_LISTED")]
            assert (message.key(), message.partition()) == (order.site_id.encode(), task_of(order.site_id, TASKS))
            orders.append(order)
        return orders


@pytest.fixture
async def here(
    broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Scene]:
    """Axle, the brokers, and an operator with the settings for both."""
    async with AxleSimulator() as axle:
        client = AxleClient(AxleAccount(axle.url, "u", "p"), http_transport(), SystemClock(), Metrics())
        settings = {**environment(broker.bootstrap_servers, topics), **ACCOUNT, f"{PREFIX}AXLE__BASE_URL": axle.url}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield Scene(broker, topics, axle, client, capsys)
        await client.aclose()


def gone(site: str, charger: str) -> Site:
    """A household that withdrew, and whose offboarding Axle has confirmed."""
    world = World(site=Site(site)).settled(charger=charger)
    world.withdraw(LEFT_MS)
    world.offboard()
    return world.site


def enrolled(site: str, ids: Onboarded) -> Site:
    """A household whose charger Axle has under these ids."""
    world = World(site=Site(site))
    world.plug_in(enrolment=consented(at(-1)), charger=ids.charger_id)
    world.tell(Onboarded(site, ids.charger_id, ids.axle_site_id, ids.axle_asset_id))
    return world.site


@pytest.mark.anyio
async def test_both_sides_are_read_and_what_differs_is_told(here: Scene) -> None:
    """Each difference with its ids, and how many of each kind; without `--apply` nothing is written."""
    home = await here.onboard("c-1")
    others = {name: await here.onboard(name, home.axle_site_id) for name in ("c-2", "c-3", "c-4")}
    elsewhere = Onboarded("h-5", "c-5", "site-5", "asset-5")
    other_ids = Onboarded("h-3", "c-3", "site-3", "asset-3")
    await here.keep(enrolled("h-1", home), gone("h-2", "c-2"), enrolled("h-3", other_ids), enrolled("h-5", elsewhere))
    assert await here.reconcile() == 0
    answer = json.loads(here.said())
    assert await here.orders() == []

    def drift(kind: str, charger: str, site: str | None, left_ms: int | None = None) -> dict[str, Any]:
        there = others.get(charger)
        ids = {"axle_site_id": there and there.axle_site_id, "axle_asset_id": there and there.axle_asset_id}
        return {"kind": kind, "charger_id": charger, "site_id": site, **ids, "left_at_ms": left_ms}

    assert answer == {
        "chargers": {"axle": 4, "here": 4},
        "counts": {
            "left_here": 1,
            "not_enrolled_here": 0,
            "unknown_here": 1,
            "missing_there": 1,
            "other_ids_there": 1,
        },
        "in_motion": 0,
        "list_changed": False,
        "ordered": 0,
        "drifts": [
            drift("left_here", "c-2", "h-2", LEFT_MS),
            drift("missing_there", "c-5", "h-5"),
            drift("other_ids_there", "c-3", "h-3"),
            drift("unknown_here", "c-4", None),
        ],
    }


@pytest.mark.anyio
async def test_applied_it_orders_a_look_for_whoever_left(here: Scene) -> None:
    """One order each, in the partition of its site; it names when the charger left. Nothing else is written."""
    home = await here.onboard("c-0")
    names = [f"c-{number}" for number in range(1, SHOWN_MAX + 3)]
    for name in names:
        await here.onboard(name, home.axle_site_id)
    await here.keep(enrolled("h-0", home), *(gone(f"h-{name}", name) for name in names))
    assert await here.reconcile(as_json=False) == 0
    (first, second, *shown, more, last) = here.said().splitlines()
    assert await here.reconcile(apply=True, as_json=False) == 0
    applied = here.said().splitlines()
    orders = await here.orders()
    assert first == f"{len(names) + 1} chargers at Axle, {len(names) + 1} known here; {len(names)} differences"
    assert second == f"left_here: {len(names)} (looked up at Axle and offboarded again)"
    assert len(shown) == SHOWN_MAX
    assert shown[0].startswith("  c-1: site h-c-1, left 2025-06-27T21:06:00")
    assert (more, last) == ("  and 2 more; --json has them all", "nothing was ordered; --apply has who left looked for")
    assert applied[-1] == f"{len(names)} ordered; a running processor looks for them"
    assert {(order.site_id, order.charger_id, order.left_at_ms) for order in orders} == {
        (f"h-{name}", name, LEFT_MS) for name in names
    }
    assert len({order.event_id for order in orders}) == len(orders) == len(names)


@pytest.mark.anyio
async def test_where_both_sides_agree_nothing_is_ordered(here: Scene) -> None:
    """Also not with `--apply`; and a newer state of a household takes the place of the older one."""
    home = await here.onboard("c-1")
    await here.keep(gone("h-1", "c-1"))
    await here.keep(enrolled("h-1", home))
    assert await here.reconcile(apply=True, as_json=False) == 0
    assert here.said().splitlines() == [
        "1 chargers at Axle, 1 known here; 0 differences",
        "0 ordered; a running processor looks for them",
    ]
    assert await here.orders() == []


@pytest.mark.anyio
async def test_a_household_that_changes_meanwhile_is_not_judged(here: Scene) -> None:
    """What was written after the list was begun may be younger than the list; that is said."""
    home = await here.onboard("c-1")
    await here.keep(enrolled("h-1", home))
    here.axle.set_faults([{"endpoint": "asset", "fault": "hang"}])
    comparing = asyncio.create_task(here.reconcile(apply=True, as_json=False))
    deadline = time.monotonic() + 30
    while "reading Axle's list" not in here.capsys.readouterr().err:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await here.keep(gone("h-1", "c-1"))
    here.axle.set_faults([])
    assert await comparing == 0
    assert "1 households changed while the list was read, and were not compared" in here.said()
    assert await here.orders() == []


@pytest.mark.anyio
async def test_an_axle_in_trouble_is_one_line(here: Scene) -> None:
    """Exit code 4, and what Axle answered; or that the time was over."""
    here.axle.set_faults([{"endpoint": "asset", "fault": "404"}])
    assert await here.reconcile(apply=True) == 4
    assert here.complaint().startswith("axle: Axle's list of chargers cannot be read: Axle answered list with 404")
    here.axle.set_faults([{"endpoint": "asset", "fault": "hang"}])
    assert await here.reconcile(timeout_seconds=1) == 4
    assert here.complaint() == "axle: the list was not read in 1 s; give it more with --timeout-seconds"


@pytest.mark.anyio
async def test_a_state_that_cannot_be_read_is_one_line(here: Scene) -> None:
    """Exit code 1: nothing is compared with half a state."""
    await asyncio.to_thread(
        produce, here.broker.bootstrap_servers, here.topics.state, [(b"h-1", b"\x63 later release", None)]
    )
    assert await here.reconcile(apply=True) == 1
    assert here.complaint().startswith("state: ")


def test_a_wrong_setting_and_a_broker_that_is_away_are_one_line_each() -> None:
    """Exit codes 3 and 4, and what to look at."""
    wrong = CliRunner().invoke(app, ["reconcile"], env={f"{PREFIX}AXLE__RECONCILE_HOURS": "0"})
    assert (wrong.exit_code, wrong.stdout) == (3, "")
    assert f"{PREFIX}AXLE__RECONCILE_HOURS" in wrong.stderr
    away = CliRunner().invoke(app, ["reconcile", "--apply"], env={**environment(NOBODY), **ACCOUNT})
    (line,) = away.stderr.splitlines()
    assert (away.exit_code, away.stdout) == (4, "")
    assert NOBODY in line


@pytest.mark.usefixtures("broker")
def test_an_account_is_needed(broker: Broker, topics: TopicNames) -> None:
    """Without one there is no list to read: exit code 3, and the settings by name."""
    ended = CliRunner().invoke(app, ["reconcile"], env=environment(broker.bootstrap_servers, topics))
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert f"{PREFIX}AXLE__USERNAME" in ended.stderr
