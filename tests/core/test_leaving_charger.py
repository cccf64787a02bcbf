"""A charger is disconnected: one of several, the last one, during its onboarding, together with its household."""

from processor.core.events import Refusal, Removed
from processor.core.intents import LookUp, Offboard, Onboard, Remove
from processor.core.outputs import Result, Status
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    MPAN,
    World,
    at,
    consented,
    look_in_vain,
    onboarding,
    results_of,
    two_chargers,
)


def test_one_of_two_chargers_is_deleted() -> None:
    """Its pauses are lifted, the other one's stay, the site stays."""
    world = two_chargers()
    told = world.withdraw(at(0.5), charger="c-1", event_id="d")
    assert results_of(told) == []
    assert (world.last.charger_id, world.last.status, world.last.pauses) == ("c-1", Status.WITHDRAWN, ())
    assert world.charger_of("c-2").pauses == GUIDE_PAUSE
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert world.outcome("d") == [Result.OFFBOARDED]
    assert (world.owed, world.site.axle_site_id) == ([], "axle-site")


def test_a_removal_that_is_not_owed_removes_nothing() -> None:
    """A charger that stays, and one that is gone already, are as they were."""
    world = two_chargers()
    world.withdraw(at(0.5), charger="c-1")
    world.remove()
    before = world.site
    assert (world.remove("c-1"), world.remove("c-2")) == ((), ())
    assert world.site == before
    world = onboarding()
    world.withdraw(at(0.1), charger="c-1")
    before = world.site
    assert world.remove() == ()
    assert world.site == before


def test_a_late_answer_does_not_enrol_a_charger_that_left_and_came_back() -> None:
    """It is about the onboarding from before: what it brought is deleted, then the newer consent counts."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.5), charger="c-2", event_id="d")
    world.plug_in(at(1), enrolment=consented(at(1)), charger="c-2")
    before = world.site
    assert world.refuse_onboarding(Refusal.NOT_ELIGIBLE, "c-2") == ()
    assert world.site == before
    world.onboard("c-2")
    assert world.owed == [Remove("home-1", "c-2", "axle-c-2")]
    world.remove("c-2")
    assert world.outcome("d") == [Result.OFFBOARDED]
    assert world.owed == [Onboard("home-1", "c-2", consented(at(1)), 7.4, "axle-site")]


def test_the_last_charger_takes_the_site_with_it() -> None:
    """An empty site is not left behind; a removal that is still owed goes with it."""
    world = two_chargers()
    world.withdraw(at(0.5), charger="c-1", event_id="d1")
    world.withdraw(at(0.6), charger="c-2", event_id="d2")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert (world.outcome("d1"), world.outcome("d2")) == ([Result.OFFBOARDED], [Result.OFFBOARDED])
    assert world.owed == []


def test_a_site_whose_last_charger_is_still_looked_for_is_offboarded() -> None:
    """Nobody stays, so the known site goes at once, with all that may be in it; the look-ups go on behind it."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.5), charger="c-1", event_id="d1")
    world.withdraw(at(0.6), charger="c-2", event_id="d2")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("d1") == [Result.OFFBOARDED]
    look_in_vain(world, "c-2")
    assert world.outcome("d2") == [Result.NOTHING_TO_OFFBOARD]


def test_a_removal_that_leaves_nobody_offboards_the_site() -> None:
    """The other charger was to stay, but Axle did not take it."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.5), charger="c-1", event_id="d")
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE, "c-2")
    world.remove()
    assert world.outcome("d") == [Result.OFFBOARDED]
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_a_charger_without_consent_at_axle_still_keeps_its_site() -> None:
    """Axle has it, though it may not be paused: the other one is deleted alone."""
    world = two_chargers()
    world.plug_in(at(0.1), charger="c-2")
    world.refuse(Refusal.FORBIDDEN, "c-2")
    world.withdraw(at(0.5), charger="c-1")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]


def test_a_charger_that_is_joining_keeps_its_site() -> None:
    """The site has a future, so only the asset goes."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.5), charger="c-1")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]


def test_a_charger_that_was_never_enrolled_has_nothing_to_remove() -> None:
    """The removal is remembered."""
    world = World()
    world.plug_in()
    told = world.withdraw(at(0.5), charger="c-1")
    assert results_of(told) == [Result.NOTHING_TO_OFFBOARD]
    assert (world.last.status, world.owed) == (Status.WITHDRAWN, [])
    assert results_of(world.withdraw(at(0.5), charger="c-9")) == [Result.NOTHING_TO_OFFBOARD]


def test_a_charger_that_leaves_during_its_onboarding_is_looked_for() -> None:
    """What shows up is deleted; the last one takes the site with it."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.5), charger="c-2", event_id="d")
    assert isinstance(world.owed[0], LookUp)
    world.look_up(MPAN, "c-2")
    assert world.owed == [Remove("home-1", "c-2", "axle-c-2")]
    world.remove("c-2")
    assert world.outcome("d") == [Result.OFFBOARDED]


def test_a_disconnection_and_a_withdrawal_of_a_lost_onboarding_both_get_their_outcome() -> None:
    """Whether the look-up finds what was left behind or not."""
    for found in (True, False):
        world = onboarding()
        world.withdraw(at(0.1), charger="c-1", event_id="d")
        world.withdraw(at(0.2), event_id="w")
        if found:
            world.look_up(MPAN)
            world.offboard()
        else:
            look_in_vain(world)
        result = Result.OFFBOARDED if found else Result.NOTHING_TO_OFFBOARD
        assert (world.outcome("d"), world.outcome("w")) == ([result], [result])
        assert world.owed == []


def test_a_newer_disconnection_takes_over() -> None:
    """The older one is coalesced."""
    world = two_chargers()
    world.withdraw(at(0.5), charger="c-1", event_id="d1")
    world.withdraw(at(0.6), charger="c-1", event_id="d2")
    assert world.outcome("d1") == [Result.COALESCED]
    world.remove()
    assert world.outcome("d2") == [Result.OFFBOARDED]


def test_an_offboarding_swallows_a_removal() -> None:
    """A household that withdraws while a charger of it is being deleted owes one call for both."""
    world = two_chargers()
    world.withdraw(at(0.5), charger="c-1", event_id="d")
    world.withdraw(at(0.6), event_id="w")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert (world.outcome("d"), world.outcome("w")) == ([Result.OFFBOARDED], [Result.OFFBOARDED])


def test_a_removal_in_flight_when_the_site_leaves_is_heard() -> None:
    """Its outcome comes with its answer."""
    world = two_chargers()
    world.withdraw(at(0.5), charger="c-1", event_id="d")
    world.withdraw(at(0.6), event_id="w")
    world.remove()
    assert (world.outcome("d"), world.outcome("w")) == ([Result.OFFBOARDED], [])
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_an_onboarding_that_nobody_consented_to_is_undone() -> None:
    """State may have been erased while the call was under way."""
    world = World()
    world.onboard()
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert (world.owed, world.results) == ([], [])


def test_the_outcome_of_a_site_names_no_charger() -> None:
    """Also when the last look-up of a charger is what settles it."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    look_in_vain(world)
    assert [o.charger_id for o in world.outcomes if o.event_id == "w"] == [None]


def test_a_removal_of_another_asset_is_not_the_one_that_is_owed() -> None:
    """An answer names the asset that is gone."""
    world = two_chargers()
    world.withdraw(charger="c-1", event_id="w")
    assert world.tell(Removed("home-1", "c-1", "an-older-asset")) == ()
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert world.outcome("w") == [Result.OFFBOARDED]
