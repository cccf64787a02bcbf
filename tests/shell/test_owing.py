"""What calls are counted as, and since when they are owed."""

import pytest

from processor.core.decide import decide
from processor.core.events import Onboarded
from processor.core.intents import Intent, owed
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.metrics import PREFIX, Metrics
from processor.shell.owing import CallKind, debt_of, show_owed
from tests.shell.parts import NOW_MS, plug_in, withdrawal

RULES = Rules()
LATER_MS = NOW_MS + 1000
ONBOARDED = Onboarded("s-1", "c-1", "axle-site", "axle-asset")


def after(*events: object) -> Site:
    """A household to which this happened, each a second after the one before."""
    site = Site("s-1")
    for number, event in enumerate(events):
        site = decide(site, event, NOW_MS + number * 1000, RULES).site  # type: ignore[arg-type]
    return site


def debt(site: Site) -> list[tuple[CallKind, int]]:
    """What the site owes, as it is counted."""
    calls: tuple[Intent, ...] = owed(site, NOW_MS + 10_000, RULES)
    return [debt_of(call, site) for call in calls]


@pytest.mark.parametrize(
    ("events", "counted"),
    [
        ((plug_in(),), [(CallKind.ONBOARD, NOW_MS)]),
        ((plug_in(), ONBOARDED), [(CallKind.SCHEDULE, NOW_MS)]),
        ((plug_in(), withdrawal(at_ms=LATER_MS)), [(CallKind.SEARCH, LATER_MS)]),
        ((plug_in(), ONBOARDED, withdrawal(at_ms=NOW_MS + 2000)), [(CallKind.OFFBOARD, NOW_MS + 2000)]),
    ],
)
def test_a_call_is_counted_by_what_it_is_for(events: tuple[object, ...], counted: list[tuple[CallKind, int]]) -> None:
    """Joining, asking, searching and leaving are told apart, each with the moment from which it was owed."""
    assert debt(after(*events)) == counted


def test_the_oldest_of_each_kind_is_shown_and_nothing_is_0() -> None:
    """Two offboardings: their number, and the age of the older one; kinds that nobody owes are shown as 0."""
    metrics = Metrics()
    owing = [(CallKind.OFFBOARD, NOW_MS - 5000), (CallKind.OFFBOARD, NOW_MS - 60_000), (CallKind.SCHEDULE, 0)]
    show_owed(owing, metrics, NOW_MS)
    shown = metrics.exposition().decode().splitlines()
    for line in (
        f'{PREFIX}_axle_calls_owed{{call="offboard"}} 2.0',
        f'{PREFIX}_axle_oldest_owed_seconds{{call="offboard"}} 60.0',
        f'{PREFIX}_axle_calls_owed{{call="schedule"}} 1.0',
        f'{PREFIX}_axle_oldest_owed_seconds{{call="schedule"}} 0.0',
        f'{PREFIX}_axle_calls_owed{{call="remove"}} 0.0',
    ):
        assert line in shown
