"""An order to erase: Axle is told until it confirms, then nothing is left but that the household withdrew, and when."""

import pytest
from msgspec.structs import replace

from processor.core.events import Found, LookedUp
from processor.core.intents import Offboard, Onboard
from processor.core.outputs import Enrolled, Erased, Outcome, Result, Status
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.site import Site, Stamp, is_erased, withdrawn
from tests.core.world import ENROLMENT, GUIDE_PAUSE, GUIDE_SCHEDULE, MPAN, RULES, World, at, consented, onboarding

UNENROLLING = Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL)


def erased(world: World) -> list[str]:
    """The sites that were said to be forgotten."""
    return [output.site_id for output in world.outputs if isinstance(output, Erased)]


def test_a_household_is_forgotten_once_axle_has_confirmed() -> None:
    """Its pauses go at once; registers, chargers and ids stay as long as the offboarding is owed, and not longer."""
    world = World().settled(GUIDE_PAUSE)
    world.erase(at(0.5), event_id="order")
    assert (world.last.status, world.last.pauses, world.last.caused_by.event_id) == (Status.WITHDRAWN, (), "order")
    assert world.last.reason == "The household is being forgotten; the driver's wish is in force."
    assert world.owed == [Offboard("home-1", "axle-site")]
    assert world.site.erasing == Stamp(at(0.5), "order")
    assert (erased(world), world.outcome("order")) == ([], [])
    world.offboard()
    assert world.outcome("order") == [Result.OFFBOARDED]
    assert world.site == Site("home-1", withdrawal=Stamp(at(0.5), ""))
    assert is_erased(world.site)
    assert (erased(world), world.owed, world.due_ms) == (["home-1"], [], None)


def test_the_proof_is_published_before_the_household_is_forgotten() -> None:
    """Back ends first read that the charger is gone, then that nothing is kept."""
    world = World().settled()
    world.erase(at(0.5))
    told = world.offboard()
    assert [type(output).__name__ for output in told] == ["Outcome", "EnrolmentStatus", "Erased"]
    assert [c.status for c in world.enrolment_statuses[-1].chargers] == [Enrolled.REMOVED]


def test_a_replay_does_not_bring_an_erased_household_back() -> None:
    """Its old consent is older than the mark that stayed; a newer one is a new beginning."""
    world = World().settled()
    world.erase(at(0.5))
    world.offboard()
    world.plug_in(at(0), enrolment=ENROLMENT)
    assert (world.last.status, world.owed, world.site.enrolment) == (Status.WITHDRAWN, [], None)
    world.plug_in(at(1), enrolment=consented(at(1)))
    assert world.last.status is Status.REQUESTED
    assert world.owed == [Onboard("home-1", "c-1", consented(at(1)), 7.4, None)]


def test_a_household_that_was_never_heard_of_is_erased_at_once() -> None:
    """Nothing is at Axle; the mark is left, so what is still on its way is not kept either."""
    world = World()
    world.erase(at(0.5), event_id="order")
    assert world.outcome("order") == [Result.NOTHING_TO_OFFBOARD]
    assert (is_erased(world.site), erased(world)) == (True, ["home-1"])


def test_an_order_during_an_onboarding_looks_for_what_it_left_behind() -> None:
    """Nothing is forgotten before it is certain that nothing is at Axle."""
    world = onboarding()
    world.erase(at(0.1))
    assert erased(world) == []
    world.tell(LookedUp("home-1", "c-1", Found("axle-site", "axle-c-1", MPAN)))
    world.offboard()
    assert erased(world) == ["home-1"]


def test_the_same_order_is_carried_out_once() -> None:
    """And a second one takes the first one's place."""
    world = World().settled()
    world.erase(at(0.5), event_id="order")
    world.erase(at(0.5), event_id="order")
    assert world.outcome("order") == [Result.DUPLICATE]
    world.erase(at(0.6), event_id="another")
    assert world.outcome("order") == [Result.DUPLICATE, Result.COALESCED]
    world.offboard()
    assert world.outcome("another") == [Result.OFFBOARDED]


def test_an_order_that_is_older_than_the_consent_is_stale() -> None:
    """The household came back after it was given."""
    world = World().settled()
    world.erase(at(-2), event_id="order")
    assert (world.outcome("order"), world.owed) == ([Result.STALE], [])
    assert world.site.erasing is None
    assert not withdrawn(world.site)


def test_an_order_after_a_withdrawal_keeps_the_later_mark() -> None:
    """What was withdrawn later than the order was given stays withdrawn since then."""
    world = World().settled()
    world.withdraw(at(0.5), event_id="w")
    world.erase(at(0.4), event_id="order")
    assert world.outcome("w") == [Result.COALESCED]
    world.offboard()
    assert world.site == Site("home-1", withdrawal=Stamp(at(0.5), ""))


def test_a_newer_consent_calls_the_erasure_off() -> None:
    """The offboarding goes on; the household comes back after it."""
    world = World().settled()
    world.erase(at(0.5), event_id="order")
    world.plug_in(at(1), enrolment=consented(at(1)))
    world.offboard()
    assert (erased(world), world.outcome("order")) == ([], [Result.OFFBOARDED])
    assert world.owed == [Onboard("home-1", "c-1", consented(at(1)), 7.4, None)]


def test_who_is_erased_is_deleted_at_axle_even_where_withdrawals_only_unenrol() -> None:
    """Also when the household had been unenrolled before, and its site was kept for the payments."""
    world = World(rules=UNENROLLING).settled()
    world.withdraw(at(0.5), event_id="w")
    assert world.owed == [Offboard("home-1", "axle-site", unenrol=True)]
    world.offboard(kept=True)
    assert (world.outcome("w"), world.owed) == ([Result.OFFBOARDED], [])
    assert world.enrolment_statuses[-1].axle_site_id == "axle-site"
    world.erase(at(1), event_id="order")
    assert world.owed == [Offboard("home-1", "axle-site")]
    assert (world.site.axle_site_id, world.site.kept_axle_site_ids) == ("axle-site", ())
    world.offboard()
    assert (world.outcome("order"), erased(world)) == ([Result.OFFBOARDED], ["home-1"])


def test_an_unenrolled_household_comes_back_with_an_override() -> None:
    """Axle's newer form wants to be told that the consent is newer than the withdrawal it remembers."""
    world = World(rules=UNENROLLING).settled()
    world.withdraw(at(0.5))
    world.offboard(kept=True)
    world.plug_in(at(1), enrolment=consented(at(1)))
    form = OnboardingForm.UPSERT
    assert world.owed == [Onboard("home-1", "c-1", consented(at(1)), 7.4, None, form, override_withdrawal=True)]
    world.onboard()
    assert (world.site.kept_axle_site_ids, world.site.axle_site_id) == ((), "axle-site")


@pytest.mark.parametrize("rules", [RULES, UNENROLLING])
def test_the_first_onboarding_overrides_nothing(rules: Rules) -> None:
    """Only a consent that is newer than a recorded withdrawal does."""
    world = World(rules=rules)
    world.plug_in(enrolment=ENROLMENT)
    (call,) = world.owed
    assert isinstance(call, Onboard)
    assert (call.form, call.override_withdrawal) == (rules.onboarding_form, False)


def test_an_answer_that_comes_after_the_erasure_is_forgotten_too() -> None:
    """An onboarding of before may land late: its site is offboarded, and then nothing is known again."""
    world = World()
    world.erase(at(0.5))
    world.onboard()
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert (is_erased(world.site), erased(world)) == (True, ["home-1", "home-1"])
    world.tell(LookedUp("home-1", "c-1", None))
    assert is_erased(world.site)


def test_the_outcome_of_an_order_names_no_charger() -> None:
    """It is about the household."""
    world = World().settled()
    world.erase(at(0.5))
    (outcome,) = [output for output in world.offboard() if isinstance(output, Outcome)]
    assert (outcome.charger_id, outcome.site_id) == (None, "home-1")


def test_the_schedule_of_a_night_without_a_session_is_not_published() -> None:
    """A household whose night is over is forgotten without a word to its charger."""
    world = World().settled()
    records = len(world.records)
    world.erase(GUIDE_SCHEDULE[-1][1] + 1)
    assert len(world.records) == records


def test_an_unenrolment_under_way_is_no_erasure() -> None:
    """Its answer comes after the order: the site is there still, and is deleted next."""
    world = World(rules=UNENROLLING).settled()
    world.withdraw(at(0.5), event_id="w")
    world.erase(at(0.6), event_id="order")
    world.offboard(kept=True)
    assert (world.owed, world.outcome("order")) == ([Offboard("home-1", "axle-site")], [])
    world.offboard()
    assert (world.outcome("order"), erased(world)) == ([Result.OFFBOARDED], ["home-1"])


def test_every_site_that_was_kept_is_deleted() -> None:
    """A household may have been unenrolled twice, under two meters."""
    world = World(rules=UNENROLLING).settled()
    world.withdraw(at(0.5))
    world.offboard(kept=True)
    world.plug_in(at(1), enrolment=replace(consented(at(1)), mpan="2222222222222"))
    world.onboard(axle_site="site-b")
    assert world.site.kept_axle_site_ids == ("axle-site",)
    world.withdraw(at(2))
    world.offboard("site-b", kept=True)
    assert world.enrolment_statuses[-1].axle_site_id == "site-b"
    world.erase(at(3), event_id="order")
    for axle_site in ("site-b", "axle-site"):
        assert world.owed == [Offboard("home-1", axle_site)]
        world.offboard(axle_site)
    assert (world.outcome("order"), erased(world)) == ([Result.OFFBOARDED], ["home-1"])


def test_a_home_whose_last_charger_left_is_deleted_where_withdrawals_unenrol() -> None:
    """The newer form would not take it back: it asks for a withdrawal that the new consent overrides."""
    world = World(rules=UNENROLLING).settled()
    world.withdraw(at(0.5), "c-1")
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_drivers_who_act_after_the_erasure_are_not_forgotten_by_an_answer() -> None:
    """Their newest wish stays known, so that an older one that lags behind cannot take its place."""
    world = World(rules=replace(UNENROLLING, onboarding_elsewhere=True))
    world.erase(at(0.5))
    world.boost(at(1), at(3))
    world.look_up(None)
    world.plug_in(at(0.98), schedule=((at(5), at(9)),))
    assert world.last.requested == ((at(1), at(3)), (at(5), at(9)))
