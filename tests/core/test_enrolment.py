"""Joining Axle, with every answer it may give on the way."""

import pytest

from processor.core import enrolment
from processor.core.events import Found, LookedUp, Onboarded, PlugIn, Refusal
from processor.core.intents import Onboard
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
    enrolment.withdraw_site(turn)
    enrolment.disconnect_charger(turn)
    enrolment.nothing_found(turn)
    assert (turn.site, turn.outputs) == (world.site, [])
