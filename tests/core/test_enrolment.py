"""Joining Axle, with every answer it may give on the way."""

import pytest
from msgspec.structs import replace

from processor.core import enrolment, leaving
from processor.core.events import Found, LookedUp, Onboarded, OnboardingRefused, PlugIn, Refusal
from processor.core.intents import Offboard, Onboard
from processor.core.outputs import ConsentState, Enrolled, Status
from processor.core.site import Site
from processor.core.turn import Turn
from tests.core.world import (
    ENROLMENT,
    GUIDE_SCHEDULE,
    MPAN,
    RULES,
    STRANGER,
    T0,
    World,
    at,
    consented,
    onboarding,
    two_chargers,
)


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


def test_a_look_up_that_no_onboarding_waits_for_decides_nothing() -> None:
    """It was made for something else; the onboarding that is under way has its own answer."""
    world = onboarding()
    before = world.site
    assert (world.look_up(None), world.look_up(MPAN), world.look_up(STRANGER)) == ((), (), ())
    assert world.site == before


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


def test_a_household_is_never_printed() -> None:
    """A log line or a traceback that shows a site, a plug-in, a call or an answer shows no personal data."""
    world = onboarding()
    plug_in = PlugIn("p", T0, world.source(), "home-1", "c-1", GUIDE_SCHEDULE, None, ENROLMENT)
    printed = repr((world.site, plug_in, world.owed, LookedUp("home-1", "c-1", Found("s", "a", MPAN))))
    for secret in (MPAN, ENROLMENT.postcode, ENROLMENT.street_address):
        assert secret not in printed


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
    leaving.withdraw_site(turn)
    leaving.disconnect_charger(turn)
    leaving.nothing_found(turn)
    leaving.erase(turn)
    assert (turn.site, turn.outputs) == (world.site, [])


# A newer consent, a corrected meter


def test_a_refusal_of_an_older_consent_leaves_the_newer_one_to_be_tried() -> None:
    """The answer says which enrolment it is about; the newer one is sent next and nothing was concluded."""
    world = onboarding()
    world.plug_in(at(0.1), enrolment=consented(at(0.1)))
    world.tell(OnboardingRefused("home-1", "c-1", Refusal.NOT_ELIGIBLE, ENROLMENT.consented_at_ms))
    assert world.owed == [Onboard("home-1", "c-1", consented(at(0.1)), 7.4, None)]
    assert world.enrolment_statuses == []
    world.tell(OnboardingRefused("home-1", "c-1", Refusal.NOT_ELIGIBLE, at(0.1)))
    assert (world.owed, world.charger.enrolled) == ([], Enrolled.NOT_ELIGIBLE)


CORRECTED = replace(consented(at(0.1)), mpan="2222222222222")


def corrected() -> World:
    """The meter's number was corrected while the first onboarding was under way."""
    world = onboarding()
    world.plug_in(at(0.1), enrolment=CORRECTED)
    return world


def test_an_onboarding_under_a_corrected_meter_is_found_when_the_household_leaves() -> None:
    """It may have reached Axle under the older number, which is ours as well."""
    for mpan in (MPAN, CORRECTED.mpan):
        world = corrected()
        world.withdraw(at(0.2))
        world.look_up(mpan)
        assert world.owed == [Offboard("home-1", "axle-site")]


def test_what_is_adopted_has_to_hang_on_the_corrected_meter() -> None:
    """The number that was wrong may be a neighbour's."""
    for mpan, standing in ((MPAN, Enrolled.CONFLICT), (CORRECTED.mpan, Enrolled.ENROLLED)):
        world = corrected()
        world.refuse_onboarding(Refusal.EXISTS)
        world.look_up(mpan)
        assert world.charger.enrolled is standing


def test_corrected_meters_are_remembered_each_once_and_not_without_end() -> None:
    """The newest four of them."""
    world = onboarding()
    for number in range(8):
        world.plug_in(at(0.1, number), enrolment=replace(consented(at(0.1, number)), mpan=str(number)))
        world.plug_in(at(0.1, number + 0.5), enrolment=replace(consented(at(0.1, number + 0.5)), mpan=str(number)))
    marks = [enrolment.fingerprint(str(number), RULES.secret) for number in (6, 5, 4, 3)]
    assert (world.site.mpan_mark, world.site.older_marks) == (
        enrolment.fingerprint("7", RULES.secret),
        tuple(marks),
    )


def test_what_an_older_meter_left_behind_is_ours_whoever_asks() -> None:
    """Also when the charger left before the number was corrected, or was refused under the new one."""
    world = onboarding()
    world.withdraw(at(0.1), "c-1")
    world.plug_in(at(0.2), enrolment=replace(consented(at(0.2)), mpan=CORRECTED.mpan))
    world.look_up(MPAN)
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert [type(call).__name__ for call in world.owed] == ["Onboard"]
    for why in (Refusal.NOT_ELIGIBLE, Refusal.INVALID):
        world = corrected()
        world.refuse_onboarding(why)
        world.withdraw(at(0.3), event_id="w")
        world.look_up(MPAN)
        assert world.owed == [Offboard("home-1", "axle-site")]
    world = corrected()
    world.refuse_onboarding(Refusal.EXISTS)
    world.look_up(MPAN)
    assert world.charger.enrolled is Enrolled.CONFLICT
    world.withdraw(at(0.3))
    world.look_up(MPAN)
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_an_onboarding_that_ran_out_is_looked_for_whatever_was_before() -> None:
    """A charger that had been enrolled once, and was removed, may be at Axle again."""
    world = World().settled()
    world.withdraw(at(0.1))
    world.offboard()
    world.plug_in(at(0.2), enrolment=consented(at(0.2)))
    world.wake(at(24.3))
    assert world.charger.enrolling is None
    world.withdraw(at(25), event_id="w")
    assert world.outcome("w") == []
    assert [type(call).__name__ for call in world.owed] == ["LookUp"]


def test_an_older_enrolment_does_not_use_up_a_newer_consent() -> None:
    """What a late plug-in brought is refused; the charger's own newer consent is tried next."""
    world = World().enrolled("c-2")
    world.plug_in(at(0.3), charger="c-2", enrolment=consented(at(0.1)))
    world.plug_in(at(-0.4), enrolment=consented(at(-0.5)))
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE)
    assert world.charger.consent_used_at_ms == at(-0.5)
    world.plug_in(at(0.4), enrolment=consented(at(0.1)))
    assert any(isinstance(call, Onboard) for call in world.owed)


def test_data_whose_consent_was_withdrawn_is_not_sent() -> None:
    """Also when a newer consent of the household stands: the data came with the older one."""
    world = World().enrolled("c-2")
    world.plug_in(at(0.3), charger="c-2", enrolment=consented(at(0.1)))
    world.plug_in(at(-0.4), enrolment=consented(at(-0.5)))
    world.withdraw(at(-0.2))
    assert world.site.enrolment is None
    assert not any(isinstance(call, Onboard) for call in world.owed)


def test_the_answer_of_a_questions_look_up_says_nothing_to_an_adoption() -> None:
    """The two run side by side; only the look-up of the adoption tells whose the charger is."""
    world = World(rules=replace(RULES, onboarding_elsewhere=True))
    world.plug_in()
    world.plug_in(at(0.1), enrolment=ENROLMENT, event_id="p")
    world.refuse_onboarding(Refusal.EXISTS)
    world.tell(LookedUp("home-1", "c-1", None, for_question=True))
    assert world.charger.enrolling is not None
    world.tell(LookedUp("home-1", "c-1", Found("axle-site", "axle-c-1", MPAN)))
    assert world.charger.enrolled is Enrolled.ENROLLED
