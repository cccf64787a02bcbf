"""Axle's list against what is known here, and what becomes of an order to look for a charger that left."""

import pytest
from msgspec.structs import replace

from processor.core.events import Refusal
from processor.core.intents import LookUp, Offboard, Onboard, Remove
from processor.core.outputs import Enrolled, Result
from processor.core.reconcile import Drift, Kind, Listed, by_charger, drifts, unknown, view
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.site import Site
from tests.core.table import ELSEWHERE
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    MPAN,
    STRANGER,
    World,
    at,
    consented,
    onboarding,
    two_chargers,
)

OURS = Listed("c-1", "axle-site", "axle-c-1")
THERE_AGAIN = Listed("c-1", "axle-site-2", "axle-again")
UNENROLLING = Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL)


def compared(*sites: Site, listed: tuple[Listed, ...]) -> tuple[Drift, ...]:
    """All differences between these households and that list, each household being seen on its own."""
    listing = by_charger(listed)
    views = [view([site], listing) for site in sites]
    return (*drifts(views), *unknown(views, listing))


def gone(rules: Rules | None = None) -> World:
    """A household that withdrew, and whose offboarding Axle has confirmed."""
    world = World(rules=rules or Rules()).settled(GUIDE_PAUSE)
    world.withdraw(at(0.1), event_id="w")
    world.offboard(kept=world.rules.withdrawal_action is WithdrawalAction.UNENROL)
    return world


# What differs


def test_where_both_sides_agree_nothing_is_told() -> None:
    """Enrolled and listed under the ids that we know, or gone and not listed."""
    assert compared(World().settled().site, listed=(OURS,)) == ()
    assert compared(two_chargers().site, listed=(OURS, Listed("c-2", "axle-site", "axle-c-2"))) == ()
    assert compared(gone().site, Site("home-2"), listed=()) == ()


def test_who_left_and_is_listed_is_told_with_the_time_that_it_left() -> None:
    """By a withdrawal of the household, or by the disconnection of one charger."""
    expected = Drift(Kind.LEFT, "c-1", "home-1", "axle-site-2", "axle-again", at(0.1))
    assert compared(gone().site, listed=(THERE_AGAIN,)) == (expected,)
    world = two_chargers()
    world.withdraw(at(0.1), "c-1")
    world.remove("c-1")
    assert compared(world.site, listed=(THERE_AGAIN, Listed("c-2", "axle-site", "axle-c-2"))) == (expected,)


def test_what_is_under_way_is_no_difference() -> None:
    """An onboarding, an offboarding, a removal and a search end by themselves."""
    joining, offboarding, searching, removing = onboarding(), World().settled(), onboarding(), two_chargers()
    offboarding.withdraw(at(0.1))
    searching.withdraw(at(0.1))
    removing.withdraw(at(0.1), "c-1")
    adopting = onboarding()
    adopting.refuse_onboarding(Refusal.EXISTS)
    others = (Listed("c-2", "axle-site", "axle-c-2"),)
    for world in (joining, adopting, offboarding, searching):
        assert compared(world.site, listed=(OURS,)) == ()
        assert compared(world.site, listed=()) == ()
    assert compared(removing.site, listed=(OURS, *others)) == compared(removing.site, listed=others) == ()


def test_who_is_enrolled_and_not_listed_is_missing() -> None:
    """It is for its next question to look it up; a charger that is listed under other ids is told as that."""
    site = World().settled().site
    assert compared(site, listed=()) == (Drift(Kind.MISSING, "c-1", "home-1"),)
    other = Drift(Kind.OTHER_IDS, "c-1", "home-1", "axle-site-2", "axle-again")
    assert compared(site, listed=(THERE_AGAIN,)) == (other,)
    assert compared(site, listed=(THERE_AGAIN, OURS)) == ()


def test_who_is_listed_but_not_enrolled_here_is_told() -> None:
    """It plugged in without a consent, or Axle called it not eligible; in a conflict a person was told already."""
    plugged = World()
    plugged.plug_in()
    denied, forbidden, conflict = onboarding(), World().enrolled(), onboarding()
    denied.refuse_onboarding(Refusal.NOT_ELIGIBLE)
    forbidden.refuse(Refusal.FORBIDDEN)
    conflict.refuse_onboarding(Refusal.EXISTS)
    conflict.look_up(STRANGER)
    for world in (plugged, denied):
        assert compared(world.site, listed=()) == ()
        expected = Drift(Kind.NOT_ENROLLED, "c-1", "home-1", "axle-site", "axle-c-1")
        assert compared(world.site, listed=(OURS,)) == (expected,)
    for world in (forbidden, conflict):
        assert compared(world.site, listed=(OURS,)) == compared(world.site, listed=()) == ()
    conflict.withdraw(at(0.1))
    assert compared(conflict.site, listed=(OURS,)) == ()


def test_who_is_listed_and_known_to_nobody_is_told() -> None:
    """Once for each of its ids, and never where some household knows the charger."""
    stranger = Listed("c-9", "site-9", "asset-9")
    twice = (stranger, stranger, replace(stranger, axle_asset_id="asset-10"))
    told = (
        Drift(Kind.UNKNOWN, "c-9", None, "site-9", "asset-9"),
        Drift(Kind.UNKNOWN, "c-9", None, "site-9", "asset-10"),
    )
    assert compared(gone().site, World().settled().site, listed=(OURS, *twice)) == told


def test_a_charger_that_moved_belongs_to_its_new_home() -> None:
    """Neither the home that it left nor one where it was never enrolled has anything to say, whatever comes first."""
    there = World(site=Site("home-2")).settled()
    joining = World(site=Site("home-2"))
    joining.plug_in(enrolment=ENROLMENT)
    visited = World(site=Site("home-3"))
    visited.plug_in()
    for new in (there, joining):
        assert compared(gone().site, visited.site, new.site, listed=(OURS,)) == ()
        assert compared(new.site, gone().site, visited.site, listed=(OURS,)) == ()
    assert [drift.kind for drift in compared(gone().site, visited.site, listed=(OURS,))] == [
        Kind.LEFT,
        Kind.NOT_ENROLLED,
    ]
    missing = (Drift(Kind.MISSING, "c-1", "home-2"),)
    assert compared(gone().site, there.site, listed=()) == missing


def test_a_home_that_was_only_unenrolled_stays_listed() -> None:
    """Its site is kept for the payments; at another one the charger has no business."""
    site = gone(UNENROLLING).site
    assert compared(site, listed=(OURS,)) == ()
    (drift,) = compared(site, listed=(OURS, THERE_AGAIN))
    assert (drift.kind, drift.axle_site_id) == (Kind.LEFT, "axle-site-2")


def test_pages_make_one_list_and_a_view_tells_how_many_it_is_of() -> None:
    """A charger on two pages is there once, one under two ids twice; chargers are counted over all households."""
    listing = by_charger([OURS])
    assert by_charger([OURS, THERE_AGAIN], listing) is listing
    assert listing == {"c-1": (OURS, THERE_AGAIN)}
    assert view([two_chargers().site, gone().site], listing).chargers == 3
    assert view([], listing).chargers == 0


# What becomes of the order


def test_what_the_order_finds_leaves_axle_again() -> None:
    """The charger is looked up, the site that it is at offboarded, and the order has its outcome when Axle confirms."""
    world = gone()
    world.still_listed(at(0.1), at(5), event_id="order")
    assert world.owed == [LookUp("home-1", "c-1", 0, at(5))]
    assert [c.status for c in world.enrolment_statuses[-1].chargers] == [Enrolled.LEAVING]
    world.look_up(MPAN, axle_site="axle-site-2")
    assert world.owed == [Offboard("home-1", "axle-site-2")]
    assert world.outcome("order") == []
    world.offboard("axle-site-2")
    assert (world.outcome("order"), world.owed) == ([Result.OFFBOARDED], [])
    assert [c.status for c in world.enrolment_statuses[-1].chargers] == [Enrolled.REMOVED]
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_one_charger_of_a_home_that_stays_is_removed_alone() -> None:
    """The home of a charger that was disconnected keeps the others."""
    world = two_chargers()
    world.withdraw(at(0.1), "c-1")
    world.remove("c-1")
    world.still_listed(at(0.1), at(1), event_id="order")
    world.look_up(MPAN)
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove("c-1")
    assert world.outcome("order") == [Result.OFFBOARDED]
    assert world.charger_of("c-2").enrolled is Enrolled.ENROLLED


def test_an_order_that_is_late_costs_a_single_look_up() -> None:
    """What was listed is gone by now: one look-up tells, and the matter is closed."""
    world = gone()
    world.still_listed(at(0.1), at(1), event_id="order")
    world.look_up()
    assert (world.outcome("order"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])


def test_the_list_alone_never_touches_another_household() -> None:
    """The charger hangs on a stranger's meter by now: nothing is done to it, and a person is told."""
    world = gone()
    world.still_listed(at(0.1), at(1), event_id="order")
    world.look_up(STRANGER, axle_site="strangers-site")
    assert (world.outcome("order"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])
    assert world.alarms == ["unowned_site_found"]


def test_an_order_that_is_repeated_is_carried_out_once() -> None:
    """While the charger is leaving, a further order adds nothing, be it for its withdrawal or for an order before."""
    world = World().settled()
    world.withdraw(at(0.1), event_id="w")
    world.still_listed(at(0.1), at(0.2), event_id="early")
    assert world.outcome("early") == [Result.DUPLICATE]
    world.offboard()
    world.still_listed(at(0.1), at(1), event_id="order")
    world.still_listed(at(0.1), at(1), event_id="again")
    world.look_up(MPAN)
    world.still_listed(at(0.1), at(1), event_id="again-2")
    assert [world.outcome(each) for each in ("order", "again", "again-2")] == [
        [],
        [Result.DUPLICATE],
        [Result.DUPLICATE],
    ]
    world.offboard()
    assert world.outcome("order") == [Result.OFFBOARDED]


@pytest.mark.parametrize("rules", [Rules(), ELSEWHERE])
def test_an_order_that_a_newer_consent_overtook_does_nothing(rules: Rules) -> None:
    """Whoever came back is joining or enrolled; after a further withdrawal the old order is still not meant."""
    world = gone(rules)
    world.plug_in(at(1), enrolment=consented(at(1)))
    world.now_ms = at(1.1)
    calls = world.owed
    world.still_listed(at(0.1), event_id="joining")
    assert world.owed == calls
    world.onboard(axle_site="axle-site-2")
    before = world.site
    world.still_listed(at(0.1), event_id="enrolled")
    assert world.site == before
    world.withdraw(at(2))
    world.offboard("axle-site-2")
    before = world.site
    world.still_listed(at(0.1), event_id="left-anew")
    assert world.site == before
    for event_id in ("joining", "enrolled", "left-anew"):
        assert world.outcome(event_id) == [Result.STALE]


def test_a_consent_that_comes_after_the_order_waits_until_axle_is_clean() -> None:
    """As behind any removal that is owed; then the household joins with its new consent."""
    world = gone()
    world.still_listed(at(0.1), at(1), event_id="order")
    world.plug_in(at(1.1), enrolment=consented(at(1.1)))
    assert isinstance(world.owed[0], LookUp)
    world.look_up(MPAN, axle_site="axle-site-2")
    world.offboard("axle-site-2")
    assert world.outcome("order") == [Result.OFFBOARDED]
    assert world.owed == [Onboard("home-1", "c-1", consented(at(1.1)), 7.4, None)]


def test_an_order_about_whom_nothing_is_known_does_nothing() -> None:
    """A household that was never heard of, one that was forgotten since, and one that never left."""
    nobody, forgotten, enrolled = World(), World().settled(), World().settled()
    forgotten.withdraw(at(0.1))
    forgotten.erase(at(0.05))
    forgotten.offboard()
    for world in (nobody, forgotten, enrolled):
        before = world.site
        world.still_listed(at(0.1), at(1), event_id="order")
        assert (world.outcome("order"), world.site) == ([Result.STALE], before)


def test_a_withdrawal_that_was_only_unenrolled_is_unenrolled_again() -> None:
    """The settings say how a household leaves, also the second time; what is kept stays told."""
    world = gone(UNENROLLING)
    world.still_listed(at(0.1), at(1), event_id="order")
    world.look_up(MPAN, axle_site="axle-site-2")
    assert world.owed == [Offboard("home-1", "axle-site-2", unenrol=True)]
    world.offboard("axle-site-2", kept=True)
    assert world.outcome("order") == [Result.OFFBOARDED]
    assert world.site.kept_axle_site_ids == ("axle-site-2", "axle-site")
