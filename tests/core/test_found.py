"""What random lives found and no story had told: the newest status of a household has to say what is the case."""

from processor.core.events import Refusal
from processor.core.outputs import ConsentState, Enrolled
from processor.core.schedule import HOUR_MS
from processor.core.site import consent_state
from tests.core.world import ENROLMENT, World, at, consented


def test_back_ends_hear_of_an_onboarding_that_was_given_up() -> None:
    """An earlier no does not count for the newer consent, so it is not told any more once that one came to no end."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE)
    world.plug_in(at(1), enrolment=consented(at(1)))
    world.wake(at(1) + 24 * HOUR_MS)
    assert world.charger.enrolled is Enrolled.UNKNOWN
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.UNKNOWN


def test_back_ends_hear_of_a_site_that_axle_lost() -> None:
    """Its old id is not told any more once the onboarding anew came to no end."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.refuse_onboarding(Refusal.UNKNOWN_CHARGER, "c-2")
    world.wake(at(24))
    assert world.site.axle_site_id is None
    assert world.enrolment_statuses[-1].axle_site_id is None


def test_back_ends_hear_of_a_first_consent_that_onboards_nobody() -> None:
    """Its charger was disconnected at that very instant, so nothing is owed that would tell of it."""
    world = World()
    world.withdraw(at(1), "c-1")
    world.plug_in(at(1), enrolment=consented(at(1)))
    assert (consent_state(world.site), world.owed) == (ConsentState.GIVEN, [])
    assert world.enrolment_statuses[-1].consent is ConsentState.GIVEN


def test_back_ends_hear_of_a_consent_that_onboards_nobody() -> None:
    """The household came back after its withdrawal, with the consent of a charger that was disconnected since."""
    world = World()
    world.withdraw(at(1))
    world.withdraw(at(2), "c-1")
    world.plug_in(at(3), enrolment=consented(at(1.5)))
    assert (consent_state(world.site), world.owed) == (ConsentState.GIVEN, [])
    assert world.enrolment_statuses[-1].consent is ConsentState.GIVEN
