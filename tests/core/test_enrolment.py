"""Joining and leaving Axle, with every answer it may give on the way."""

import pytest

from processor.core import enrolment
from processor.core.events import CallFailed, ConsentWithdrawn, Found, Onboarded, Refusal, WithdrawalReason
from processor.core.intents import LookUp, Offboard, Onboard, Remove
from processor.core.outputs import ConsentState, Enrolled, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.site import Site
from processor.core.turn import Turn
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    RULES,
    T0,
    World,
    at,
    consented,
    results_of,
)

MPAN = ENROLMENT.mpan
STRANGER = "9999999999999"


def two_chargers() -> World:
    """A site with two chargers that Axle has and that it pauses."""
    world = World().settled(GUIDE_PAUSE)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    world.answer(GUIDE_PAUSE, "c-2")
    return world


def onboarding() -> World:
    """A charger whose onboarding is under way."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    return world


def look_in_vain(world: World, charger: str = "c-1") -> None:
    """Let all look-ups that are owed find nothing, each at its time."""
    for _ in world.rules.look_up_delays_ms:
        call = world.owed[0]
        assert isinstance(call, LookUp)
        world.now_ms = max(world.now_ms, call.not_before_ms)
        world.look_up(charger=charger)


# Joining


def test_an_onboarding_keeps_the_ids_and_forgets_the_household() -> None:
    """Axle's ids are told to back ends; personal data goes; the question is asked from here on."""
    world = onboarding()
    assert world.site.enrolment == ENROLMENT
    assert world.owed == [Onboard("home-1", "c-1", ENROLMENT, 7.4, None)]
    world.onboard()
    assert (world.site.axle_site_id, world.charger.axle_asset_id) == ("axle-site", "axle-c-1")
    assert world.site.enrolment is None
    assert world.charger.consent_used_at_ms == ENROLMENT.consented_at_ms
    assert world.enrolment_statuses[-1].consent is ConsentState.GIVEN
    assert world.is_asking()


def test_being_onboarded_twice_says_nothing_new() -> None:
    """The same ids again are known already."""
    world = World().settled()
    before = world.site
    assert world.onboard() == ()
    assert world.site == before


@pytest.mark.parametrize(
    ("why", "standing", "status", "alarms"),
    [
        (Refusal.NOT_ELIGIBLE, Enrolled.NOT_ELIGIBLE, Status.NOT_ENROLLED, []),
        (Refusal.INVALID, Enrolled.REFUSED, Status.FALLBACK, ["our_request_invalid"]),
        (Refusal.FORBIDDEN, Enrolled.REFUSED, Status.FALLBACK, ["our_request_invalid"]),
    ],
)
def test_a_refused_onboarding_leaves_the_wish_in_force(
    why: Refusal, standing: Enrolled, status: Status, alarms: list[str]
) -> None:
    """Not eligible is business; an invalid request is our fault and an alarm. Personal data goes either way."""
    world = onboarding()
    world.refuse_onboarding(why)
    assert (world.charger.enrolled, world.last.status, world.last.effective) == (standing, status, GUIDE_SCHEDULE)
    assert world.alarms == alarms
    assert (world.site.enrolment, world.owed) == (None, [])
    assert len(world.results) == 1


def test_a_consent_is_used_once_for_a_conclusive_answer() -> None:
    """Not eligible stays so until a newer consent."""
    world = onboarding()
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE)
    world.plug_in(at(0.1), enrolment=ENROLMENT)
    assert (world.last.status, world.owed) == (Status.NOT_ENROLLED, [])
    world.plug_in(at(0.2), enrolment=consented(at(0.2)))
    assert world.last.status is Status.REQUESTED


def test_our_own_fault_does_not_use_up_the_consent() -> None:
    """Once the request is right, the next plug-in onboards with the consent that the household gave."""
    world = onboarding()
    world.refuse_onboarding(Refusal.INVALID)
    world.plug_in(at(0.1), enrolment=ENROLMENT)
    assert world.last.status is Status.REQUESTED
    assert world.owed == [Onboard("home-1", "c-1", ENROLMENT, 7.4, None)]


def test_what_exists_already_is_adopted_when_it_is_ours() -> None:
    """409: the look-up tells the ids, and the site's meter that it is ours."""
    world = onboarding()
    assert world.refuse_onboarding(Refusal.EXISTS) == ()
    world.look_up(MPAN)
    assert world.charger.enrolled is Enrolled.ENROLLED
    assert world.is_asking()


@pytest.mark.parametrize("mpan", [None, STRANGER])
def test_what_exists_at_another_household_is_a_conflict(mpan: str | None) -> None:
    """It is never taken over; a person is told."""
    world = onboarding()
    world.refuse_onboarding(Refusal.EXISTS)
    world.look_up(mpan)
    assert (world.charger.enrolled, world.last.status) == (Enrolled.CONFLICT, Status.NOT_ENROLLED)
    assert world.alarms == ["charger_conflict"]
    assert (world.site.enrolment, world.owed) == (None, [])


def test_a_site_without_a_known_meter_is_not_ours() -> None:
    """Axle may tell none: then nothing is adopted."""
    turn = Turn(Site("home-1", mpan_mark="x"), Onboarded("home-1", "c-1", "s", "a"), T0, RULES)
    assert not enrolment.is_ours(turn, Found("s", "a", None))
    turn.site = Site("home-1")
    assert not enrolment.is_ours(turn, Found("s", "a", MPAN))


def test_a_site_that_axle_lost_is_onboarded_anew() -> None:
    """404 when a further charger joins: it brings its own site."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    assert world.refuse_onboarding(Refusal.UNKNOWN_CHARGER, "c-2") == ()
    assert world.owed == [Onboard("home-1", "c-2", ENROLMENT, 7.4, None)]


def test_an_enrolled_charger_is_not_onboarded_again() -> None:
    """A newer consent only renews what stands."""
    world = World().settled()
    world.plug_in(at(0.1), enrolment=consented(at(0.1)))
    assert (world.charger.enrolling, world.site.enrolment) == (None, None)
    assert world.is_asking()


def test_a_second_charger_with_an_older_consent_is_onboarded_too() -> None:
    """Its own consent is newer than any withdrawal; that the first one brought a newer one is no reason against it."""
    world = World()
    world.plug_in(enrolment=consented(at(-1)))
    world.plug_in(enrolment=consented(at(-5)), charger="c-2")
    assert world.last.status is Status.REQUESTED
    assert world.site.enrolment == consented(at(-1))
    world.onboard()
    assert world.owed[0] == Onboard("home-1", "c-2", consented(at(-1)), 7.4, "axle-site")
    world.onboard("c-2")
    assert world.site.enrolment is None
    world.plug_in(enrolment=consented(at(-5)), charger="c-3")
    assert world.owed[0] == Onboard("home-1", "c-3", consented(at(-5)), 7.4, "axle-site")


def test_an_enrolment_from_before_the_withdrawal_is_never_used() -> None:
    """Also not after another charger brought a newer consent: each plug-in brings its own."""
    world = two_chargers()
    world.withdraw(at(0.5))
    world.offboard()
    world.plug_in(at(1), enrolment=consented(at(1)))
    world.plug_in(at(1.1), enrolment=consented(at(0.4)), charger="c-2")
    assert world.last.status is Status.NOT_ENROLLED
    assert world.site.enrolment == consented(at(1))
    assert world.charger_of("c-2").enrolling is None


@pytest.mark.parametrize("consented_at", [at(0.4), at(0.5)])
def test_an_onboarding_needs_a_consent_newer_than_withdrawal_and_removal(consented_at: int) -> None:
    """Older or equal is none; the wish is in force without pauses."""
    for charger in (None, "c-1"):
        world = World().settled()
        world.withdraw(at(0.5), charger)
        world.plug_in(at(1), enrolment=consented(consented_at))
        assert (world.last.status, world.site.enrolment) == (Status.WITHDRAWN, None)
        world.plug_in(at(1.1), enrolment=consented(at(0.6)))
        assert world.last.status is Status.REQUESTED


# The household withdraws


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


# One charger leaves


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
    assert world.remove() == ()


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


# Fingerprints and effects


def test_a_fingerprint_is_keyed() -> None:
    """The same meter has the same one under the same key only, and 32 hex digits."""
    mark = enrolment.fingerprint(MPAN, b"key")
    assert mark == enrolment.fingerprint(MPAN, b"key")
    assert len({mark, enrolment.fingerprint(MPAN, b"other"), enrolment.fingerprint(STRANGER, b"key")}) == 3
    assert len(mark) == 32
    int(mark, 16)


def test_effects_without_their_event_or_removal_do_nothing() -> None:
    """Each effect looks for itself, so a wrong row could never raise."""
    world = World().settled()
    turn = Turn(world.site, Onboarded("home-1", "c-1", "s", "a"), world.now_ms, RULES)
    enrolment.withdraw_site(turn)
    enrolment.disconnect_charger(turn)
    enrolment.nothing_found(turn)
    assert (turn.site, turn.outputs) == (world.site, [])


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
