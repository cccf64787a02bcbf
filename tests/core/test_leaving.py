"""A household withdraws: in time, during its onboarding, too late, twice, and back again."""

import pytest
from msgspec.structs import replace

from processor.core.events import CallFailed, ConsentWithdrawn, Refusal, WithdrawalReason
from processor.core.intents import Offboard, Onboard, Remove
from processor.core.outputs import ConsentState, Enrolled, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.site import Offboarding
from tests.core.world import (
    ENROLMENT,
    GUIDE_SCHEDULE,
    MPAN,
    STRANGER,
    T0,
    World,
    at,
    consented,
    look_in_vain,
    onboarding,
    results_of,
    two_chargers,
)


def test_a_withdrawal_frees_every_charger_at_once() -> None:
    """In one decision: wishes without pauses, the mark, and the call that is owed; Axle's answer settles it."""
    world = two_chargers()
    world.boost(at(0.5), at(1), charger="c-2")
    told = world.withdraw(at(0.6), event_id="w")
    assert results_of(told) == [Result.WITHDRAWN]
    assert [(record.charger_id, record.status, record.pauses) for record in world.records[-2:]] == [
        ("c-1", Status.WITHDRAWN, ()),
        ("c-2", Status.WITHDRAWN, ()),
    ]
    assert world.enrolment_statuses[-1].consent is ConsentState.WITHDRAWN
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]
    assert world.owed == []
    assert [c.axle_asset_id for c in world.enrolment_statuses[-1].chargers] == [None, None]
    assert world.site.axle_site_id is None


def test_a_withdrawal_after_the_session_frees_nothing() -> None:
    """There is no live session; a question that was open still has its last word, as time alone would have given it."""
    world = World().enrolled()
    world.now_ms = GUIDE_SCHEDULE[-1][1]
    assert results_of(world.withdraw(event_id="w")) == [Result.EXPIRED]
    assert world.statuses == [Status.REQUESTED, Status.EXPIRED]
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_a_withdrawal_of_a_quiet_night_publishes_nothing() -> None:
    """Where no question is open and no session lives there is no word to say to the charger."""
    world = World().settled()
    records = len(world.records)
    world.withdraw(GUIDE_SCHEDULE[-1][1])
    assert len(world.records) == records


def test_an_unknown_site_has_nothing_to_offboard() -> None:
    """The mark stays: an older consent enrols nothing."""
    world = World()
    assert results_of(world.withdraw(at(1))) == [Result.NOTHING_TO_OFFBOARD]
    world.plug_in(at(1), enrolment=consented(at(0.5)))
    assert (world.last.status, world.owed) == (Status.WITHDRAWN, [])


def test_an_answer_about_another_site_confirms_nothing() -> None:
    """The offboarding is owed until Axle speaks of this one."""
    world = World().settled()
    world.withdraw(event_id="w")
    assert world.offboard("other-site") == ()
    assert world.outcome("w") == []
    world.offboard()
    assert world.offboard() == ()
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_a_newer_withdrawal_takes_over() -> None:
    """The older one is coalesced, Axle's answer settles the newer."""
    world = World().settled()
    world.withdraw(at(1), event_id="w1")
    world.withdraw(at(2), event_id="w2")
    assert world.outcome("w1") == [Result.COALESCED]
    world.offboard()
    assert world.outcome("w2") == [Result.OFFBOARDED]


def test_a_refused_call_stays_owed_and_alarms() -> None:
    """An offboarding is never given up."""
    world = World().settled()
    world.withdraw()
    world.tell(CallFailed("home-1", None, 400))
    assert world.alarms == ["offboarding_refused"]
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_a_withdrawal_during_the_onboarding_waits_for_its_answer() -> None:
    """Personal data goes at once; the answer tells what to offboard."""
    world = onboarding()
    world.withdraw(at(0.1), event_id="w")
    assert world.site.enrolment is None
    assert world.outcome("w") == []
    world.onboard()
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]
    assert world.owed == []


def test_a_lost_onboarding_is_looked_for_four_times() -> None:
    """After 0, 1, 10 and 60 minutes; only the last 404 closes the matter."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    for minutes in (0, 1, 10, 60):
        assert world.outcome("w") == []
        assert [call.not_before_ms for call in world.owed] == [at(0, minutes)]
        world.now_ms = at(0, minutes)
        world.look_up()
    assert world.outcome("w") == [Result.NOTHING_TO_OFFBOARD]
    assert world.owed == []


def test_a_look_up_before_its_time_closes_nothing() -> None:
    """It was made for another purpose, and may have been made before the onboarding arrived at Axle."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    for _ in range(5):
        world.look_up()
    assert world.outcome("w") == []
    assert [call.not_before_ms for call in world.owed] == [at(0, 1)]


@pytest.mark.parametrize("step", range(4))
def test_a_lost_onboarding_that_shows_up_is_offboarded(step: int) -> None:
    """At whichever look-up."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    for delay_ms in world.rules.look_up_delays_ms[:step]:
        world.now_ms = T0 + delay_ms
        world.look_up()
    world.now_ms = T0 + world.rules.look_up_delays_ms[step]
    world.look_up(MPAN)
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_a_stranger_is_never_offboarded() -> None:
    """What is found hangs on another meter: a person decides, and there is nothing of ours."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    world.look_up(STRANGER)
    assert world.alarms == ["unowned_site_found"]
    assert world.outcome("w") == [Result.NOTHING_TO_OFFBOARD]
    assert world.owed == []


def test_an_answer_after_all_look_ups_is_offboarded_without_a_second_outcome() -> None:
    """No answer of an onboarding is ever ignored."""
    world = onboarding()
    world.withdraw(at(0), event_id="w")
    look_in_vain(world)
    world.onboard()
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.NOTHING_TO_OFFBOARD]
    assert world.owed == []


def test_a_refusal_after_the_withdrawal_is_left_to_the_look_ups() -> None:
    """409 may mean that an earlier attempt got through."""
    world = onboarding()
    world.withdraw(at(0))
    owed = world.owed
    assert world.refuse_onboarding(Refusal.EXISTS) == ()
    assert world.owed == owed


def test_a_refusal_of_an_onboarding_that_nobody_waits_for_is_nothing() -> None:
    """It was given up, or concluded, meanwhile."""
    world = World().settled()
    before = world.site
    assert world.refuse_onboarding(Refusal.NOT_ELIGIBLE) == ()
    assert world.site == before


def test_an_onboarding_that_was_given_up_is_looked_for_too() -> None:
    """A day without an answer is no proof that Axle has nothing, when the site withdraws or the charger goes."""
    for charger in (None, "c-1"):
        world = onboarding()
        world.wake(T0 + 24 * HOUR_MS)
        world.withdraw(charger=charger, event_id="w")
        assert world.outcome("w") == []
        world.look_up(MPAN)
        assert world.owed == [Offboard("home-1", "axle-site")]
        world.offboard()
        assert world.outcome("w") == [Result.OFFBOARDED]


def test_a_charger_whose_site_is_not_known_is_removed_by_itself() -> None:
    """Axle lost the site and the household withdraws before it is onboarded anew: the asset that we know is deleted."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.refuse_onboarding(Refusal.UNKNOWN_CHARGER, "c-2")
    world.withdraw(event_id="w")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert world.outcome("w") == [Result.OFFBOARDED]
    look_in_vain(world, "c-2")
    assert world.outcome("w") == [Result.OFFBOARDED]
    assert world.owed == []


def test_the_last_removal_closes_a_withdrawal_that_waits_for_it() -> None:
    """With no site known at Axle, the confirmed removals are the offboarding."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.refuse_onboarding(Refusal.UNKNOWN_CHARGER, "c-2")
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE, "c-2")
    world.withdraw(event_id="w")
    world.remove()
    assert world.outcome("w") == [Result.OFFBOARDED]
    assert (world.owed, world.site.offboarding) == ([], None)


# The household comes back


def test_a_newer_consent_waits_for_the_offboarding() -> None:
    """The wish is published and waits; a later withdrawal discards the consent that waits."""
    world = World().settled()
    world.withdraw(at(0.5), event_id="w1")
    world.plug_in(at(1), enrolment=consented(at(1)), event_id="p")
    assert (world.last.status, world.owed) == (Status.REQUESTED, [Offboard("home-1", "axle-site")])
    world.withdraw(at(1.5), event_id="w2")
    assert world.site.enrolment is None
    assert (world.outcome("w1"), world.outcome("p")) == ([Result.COALESCED], [Result.WITHDRAWN])
    world.offboard()
    assert world.outcome("w2") == [Result.OFFBOARDED]


def test_the_answer_of_an_onboarding_from_before_the_withdrawal_does_not_enrol_the_newer_consent() -> None:
    """It is offboarded first; then the newer consent is onboarded."""
    world = onboarding()
    world.withdraw(at(0.1), event_id="w")
    world.plug_in(at(0.2), enrolment=consented(at(0.2)), event_id="p")
    world.onboard()
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]
    assert world.owed == [Onboard("home-1", "c-1", consented(at(0.2)), 7.4, None)]
    world.onboard(axle_site="new-site")
    world.answer()
    assert world.outcome("p") == [Result.UNCHANGED]


@pytest.mark.parametrize("why", [Refusal.UNKNOWN_CHARGER, Refusal.EXISTS, Refusal.NOT_ELIGIBLE])
def test_a_late_refusal_says_nothing_about_a_consent_that_waits(why: Refusal) -> None:
    """What Axle refused was an older onboarding: the newer one was not sent yet, and the offboarding stays owed."""
    world = World().settled()
    world.withdraw(at(0.5))
    world.plug_in(at(1), enrolment=consented(at(1)))
    before = world.site
    assert world.refuse_onboarding(why) == ()
    assert world.site == before


def test_a_disconnection_without_a_charger_is_a_withdrawal() -> None:
    """Less than plain is about the site."""
    world = World().settled()
    source = world.source()
    world.tell(ConsentWithdrawn("w", at(1), source, "home-1", None, WithdrawalReason.CHARGER_DISCONNECTED))
    assert world.site.withdrawal is not None
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_look_ups_are_as_many_as_the_rules_say() -> None:
    """The last delay is the last try."""
    world = onboarding()
    world.withdraw(at(0))
    look_in_vain(world)
    assert world.now_ms == T0 + 60 * MINUTE_MS


def test_a_site_that_was_deleted_is_not_kept() -> None:
    """Only an unenrolled one is there still."""
    world = World().settled()
    world.withdraw()
    world.offboard()
    assert (world.site.axle_site_id, world.site.kept_axle_site_ids) == (None, ())
    assert world.enrolment_statuses[-1].axle_site_id is None


def test_a_charger_that_turned_up_late_leaves_from_then_on() -> None:
    """It counts as removed, and its removal is owed since the answer came."""
    world = onboarding()
    world.withdraw(at(0.1), "c-1")
    assert world.charger.enrolling is None
    world = World()
    world.now_ms = at(0.5)
    world.onboard()
    assert world.charger.enrolled is Enrolled.REMOVED
    assert world.charger.leaving is not None
    assert (world.charger.leaving.since_ms, world.site.offboarding) == (at(0.5), Offboarding(at(0.5), None))


def test_a_site_that_the_household_was_moved_away_from_leaves_with_it() -> None:
    """The newer form may answer a corrected meter with another site; the older one is ours still."""
    world = two_chargers()
    world.onboard("c-2", "corrected-site")
    assert (world.site.axle_site_id, world.site.left_axle_site_ids) == ("corrected-site", ("axle-site",))
    world.withdraw(event_id="w")
    assert world.owed == [Offboard("home-1", "corrected-site")]
    world.offboard("corrected-site")
    assert (world.owed, world.outcome("w")) == ([Offboard("home-1", "axle-site")], [])
    world.offboard("axle-site")
    assert (world.owed, world.outcome("w")) == ([], [Result.OFFBOARDED])
    assert world.site.left_axle_site_ids == ()


def test_a_household_that_is_moved_back_has_one_site() -> None:
    """No site is offboarded while the household is at it."""
    world = two_chargers()
    world.onboard("c-2", "corrected-site")
    world.onboard("c-2")
    assert (world.site.axle_site_id, world.site.left_axle_site_ids) == ("axle-site", ("corrected-site",))


def test_a_household_under_another_meter_does_not_move_to_what_a_charger_left_behind() -> None:
    """The wrong meter's site leaves with the household, and nobody is added to it."""
    world = onboarding()
    world.plug_in(at(0.1), enrolment=replace(consented(at(0.1)), mpan="2222222222222"), charger="c-2")
    world.onboard("c-2", "right-site")
    world.withdraw(at(0.2), "c-1")
    world.look_up(MPAN, axle_site="wrong-site")
    assert (world.site.axle_site_id, world.site.left_axle_site_ids) == ("right-site", ("wrong-site",))
    world.remove()
    world.withdraw(at(0.3), event_id="w")
    world.offboard("right-site")
    assert world.owed == [Offboard("home-1", "wrong-site")]
    world.offboard("wrong-site")
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_a_site_that_axle_lost_does_not_hide_one_that_was_left() -> None:
    """What the household was moved away from is offboarded though it is at no site now."""
    world = World().enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.look_up(MPAN, axle_site="site-b")
    world.plug_in(at(0.1), enrolment=ENROLMENT, charger="c-2")
    world.refuse_onboarding(Refusal.UNKNOWN_CHARGER, "c-2")
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE, "c-2")
    world.withdraw(at(0.2), event_id="w")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard("axle-site")
    assert (world.owed, world.outcome("w")) == ([], [Result.OFFBOARDED])


def test_a_site_that_was_offboarded_has_no_enrolled_charger() -> None:
    """Whatever Axle held of it is gone: REMOVED is the proof, also for one that Axle had no consent for."""
    world = two_chargers()
    world.plug_in(at(0.1))
    world.refuse(Refusal.FORBIDDEN)
    world.withdraw(at(0.2))
    world.offboard()
    assert [charger.status for charger in world.enrolment_statuses[-1].chargers] == [Enrolled.REMOVED] * 2


def test_what_a_charger_left_behind_at_the_homes_own_meter_is_the_homes_site() -> None:
    """The next charger joins it there."""
    world = onboarding()
    world.plug_in(at(0.1), enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.2), "c-1")
    world.look_up(MPAN)
    assert (world.site.axle_site_id, world.site.left_axle_site_ids) == ("axle-site", ())
