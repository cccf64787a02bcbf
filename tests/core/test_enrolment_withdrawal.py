"""A household withdraws: in time, during its onboarding, too late, twice, and back again."""

import pytest

from processor.core.events import CallFailed, ConsentWithdrawn, Refusal, WithdrawalReason
from processor.core.intents import Offboard, Onboard, Remove
from processor.core.outputs import ConsentState, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS
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


def test_a_withdrawal_after_the_session_publishes_nothing() -> None:
    """There is no live session to free; a question that was open is closed all the same."""
    world = World().enrolled()
    world.now_ms = GUIDE_SCHEDULE[-1][1]
    assert results_of(world.withdraw(event_id="w")) == [Result.WITHDRAWN]
    assert len(world.records) == 1
    assert world.owed == [Offboard("home-1", "axle-site")]


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
