"""What no test had noticed when it was broken on purpose: small facts, each of which somebody relies on."""

import pytest
from msgspec.structs import replace

from processor.core.events import BoostAction, PlugIn, Refusal, Source
from processor.core.intents import AskSchedule, Onboard, Remove
from processor.core.outputs import Enrolled, EnrolmentStatus, Erased, Outcome, Result, Status
from processor.core.registers import take
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS, before
from processor.core.site import Charger, Site, Stamp, to_send
from processor.core.turn import Turn
from tests.core.world import ENROLMENT, GUIDE_PAUSE, GUIDE_SCHEDULE, RULES, T0, World, at, consented, two_chargers

ELSEWHERE = Rules(onboarding_elsewhere=True)
UNENROL = Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL)


def test_a_boost_that_is_over_still_sets_the_schedule_that_came_with_it() -> None:
    """The new base is published and asked about, though the boost itself comes too late."""
    world = World().settled()
    world.now_ms = at(2)
    world.boost(at(0.5), at(1), schedule=((at(3), at(9)),))
    assert (world.last.status, world.last.requested) == (Status.REQUESTED, ((at(3), at(9)),))


def test_at_the_very_last_chance_nothing_is_asked_any_more() -> None:
    """What is left is exactly as long as the shortest pause and its lead: the question would be given up at once."""
    world = World().settled()
    end_ms = world.now_ms + RULES.pause_min_ms + RULES.lead_ms
    world.plug_in(T0 + 1, schedule=((T0, end_ms),))
    world.plug_in(world.now_ms, schedule=((T0, world.now_ms + RULES.pause_min_ms + RULES.lead_ms),), event_id="last")
    assert (world.outcome("last"), world.owed) == ([Result.FALLBACK], [])


def test_of_two_forms_for_one_consent_the_newer_one_counts() -> None:
    """A corrected meter comes with the same consent time as the wrong one."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    corrected = replace(ENROLMENT, mpan="9999999999999")
    world.plug_in(T0 + 1, enrolment=corrected)
    assert world.site.enrolment == corrected


def test_a_withdrawal_at_the_time_of_a_consent_is_the_newer_word() -> None:
    """The data that came with that consent goes, though another charger's newer consent stands."""
    given = consented(T0)
    world = World()
    world.plug_in(T0, enrolment=consented(at(-1)))
    world.onboard()
    world.plug_in(T0, enrolment=given, charger="c-2")
    world.plug_in(at(0.5), enrolment=consented(at(0.5)))
    world.withdraw(T0)
    assert (world.site.enrolment, world.charger_of("c-2").enrolling) == (None, None)


def test_while_a_home_is_offboarded_nobody_is_looked_for_elsewhere() -> None:
    """A charger that nobody knew boosts: what is owed to Axle stays the offboarding alone."""
    world = World(rules=ELSEWHERE)
    world.plug_in(enrolment=ENROLMENT)
    world.onboard()
    world.withdraw(T0 + 1)
    world.boost(T0 + 2, at(3), charger="c-9")
    assert world.charger_of("c-9").leaving is None


def test_two_removals_of_one_instant_are_owed_one_after_the_other() -> None:
    """Neither is newer than the other; the home's first charger goes first."""
    world = two_chargers()
    world.plug_in(enrolment=ENROLMENT, charger="c-3")
    world.onboard("c-3")
    world.now_ms = at(1)
    for charger in ("c-2", "c-1"):
        world.withdraw(T0 + MINUTE_MS, charger=charger)
    assert [call.charger_id for call in world.owed if isinstance(call, Remove)] == ["c-1"]


def test_who_was_forbidden_is_asked_nothing_before_the_new_consent_has_arrived() -> None:
    """Axle's old id of the charger is known, and still the onboarding goes first."""
    world = World().enrolled()
    world.refuse(Refusal.FORBIDDEN)
    world.plug_in(at(0.5), enrolment=consented(at(0.5)))
    assert world.charger.question is not None
    assert [type(call) for call in world.owed] == [Onboard]


def test_a_consent_that_called_an_erasure_off_called_it_off_for_good() -> None:
    """When the household withdraws again, it is offboarded, not forgotten."""
    world = World().settled()
    world.erase(T0 + 1)
    world.plug_in(T0 + 2, enrolment=consented(T0 + 2))
    assert world.site.erasing is None
    world.withdraw(T0 + 3)
    world.offboard()
    assert not [output for output in world.outputs if isinstance(output, Erased)]


def test_only_an_erased_household_is_forgotten_again() -> None:
    """One that withdrew before we knew it, and that Axle turns out to have, is offboarded and remembered."""
    world = World()
    world.withdraw(T0, event_id="w")
    world.onboard()
    world.offboard()
    assert not [output for output in world.outputs if isinstance(output, Erased)]
    assert world.site.withdrawal == Stamp(T0, "w")


def test_a_change_of_schedule_is_an_act_of_a_driver_too() -> None:
    """Since the erasure a driver has changed the schedule: a late answer of Axle's does not wipe that out."""
    world = World().settled()
    world.erase(T0 + 1)
    world.offboard()
    world.boost(T0 + 2, None, BoostAction.SCHEDULE_CHANGED, schedule=((at(3), at(9)),))
    world.onboard()
    world.offboard()
    base = world.charger.base
    assert base is not None
    assert base.schedule == ((at(3), at(9)),)


def test_a_kept_site_keeps_no_other_charger_enrolled() -> None:
    """Beside the charger that is still to be removed, those that went with their household are told as gone."""
    world = World(rules=UNENROL)
    for charger in ("c-1", "c-2"):
        world.plug_in(enrolment=ENROLMENT, charger=charger)
        world.onboard(charger)
    world.withdraw(T0 + MINUTE_MS, charger="c-1")
    world.withdraw(T0 + 2 * MINUTE_MS)
    world.offboard(kept=True)
    other = world.charger_of("c-2")
    assert (other.enrolled, other.axle_asset_id) == (Enrolled.REMOVED, None)


def test_who_never_was_at_axle_is_not_told_as_removed() -> None:
    """A charger that was not eligible stays so when its household leaves."""
    world = World().settled()
    world.plug_in(T0 + 1, enrolment=consented(T0 + 1), charger="c-2")
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE, "c-2")
    world.withdraw(T0 + 2)
    after_the_withdrawal = world.charger_of("c-2").enrolled
    world.offboard()
    assert (after_the_withdrawal, world.charger_of("c-2").enrolled) == (Enrolled.NOT_ELIGIBLE, Enrolled.NOT_ELIGIBLE)


def test_a_plug_in_that_tells_no_power_keeps_the_power_that_was_told() -> None:
    """The onboarding that it causes carries it."""
    world = World()
    world.plug_in()
    event = PlugIn("p", T0 + 1, Source("in", 0, 9), "home-1", "c-1", GUIDE_SCHEDULE, None, ENROLMENT)
    world.tell(event, T0 + 1)
    assert [call.power_kw for call in world.owed if isinstance(call, Onboard)] == [7.4]


def test_pauses_served_in_a_session_count_though_its_plug_in_comes_late() -> None:
    """They lie after the time of the plug-in, so they belong to its session."""
    served = ((at(2), at(2.5)),)
    site = Site("home-1", chargers=(Charger("c-1", served=served),))
    late = PlugIn("p", at(1), Source("in", 0, 1), "home-1", "c-1", GUIDE_SCHEDULE)
    turn = Turn(site, late, at(3), RULES)
    take(turn)
    assert turn.charger.served == served


def test_pauses_that_were_served_stay_counted_when_others_follow() -> None:
    """What was served before the newest record, and what that one paused, are kept together."""
    world = World().settled(GUIDE_PAUSE)
    served_before = ((at(0.1), at(0.2)),)
    world.site = world.site.having(replace(world.charger, served=served_before))
    world.boost(GUIDE_PAUSE[-1][1] + 1, at(9), BoostAction.SCHEDULE_CHANGED, schedule=GUIDE_SCHEDULE)
    assert world.charger.served == (*served_before, *GUIDE_PAUSE)


def test_a_cancel_that_tells_an_end_is_a_cancel() -> None:
    """Whatever else it carries, nothing of the boost is left."""
    world = World().settled()
    world.boost(T0 + 1, at(3))
    world.boost(T0 + 2, at(5), BoostAction.BOOST_CANCELLED)
    assert world.charger.boost is not None
    assert world.charger.boost.until_ms is None


def test_a_schedule_until_the_beginning_of_a_block_has_nothing_of_it() -> None:
    """No block without length is left at the seam."""
    assert before(((0, 5), (10, 20)), 10) == ((0, 5),)


def test_an_outcome_tells_the_revision_that_settled_it() -> None:
    """So that whoever waits for an outcome finds its record."""
    world = World().settled(GUIDE_PAUSE)
    answered = [output for output in world.outputs if isinstance(output, Outcome)][-1]
    assert (answered.result, answered.revision) == (Result.MODIFIED, world.last.revision)
    world.plug_in(T0 + 1, enrolment=consented(T0 + 1), event_id="again")
    world.withdraw(T0 + 2)
    (dropped,) = [output for output in world.outputs if isinstance(output, Outcome) and output.event_id == "again"]
    assert (dropped.result, dropped.revision) == (Result.WITHDRAWN, world.last.revision)


def test_an_enrolment_status_says_whose_it_is_and_since_when() -> None:
    """Its key and its time are the household's and the decision's."""
    world = World().settled()
    told = [output for output in world.outputs if isinstance(output, EnrolmentStatus)][-1]
    assert (told.site_id, told.changed_at_ms) == ("home-1", T0)


@pytest.mark.parametrize("at_ms", [at(1), at(2)])
def test_a_site_with_a_boost_knows_when_it_is_due(at_ms: int) -> None:
    """The end of the boost counts for what can still be asked, so it is read at the time of the question."""
    world = World().enrolled()
    world.boost(at_ms, at_ms + 3 * HOUR_MS)
    assert world.due_ms is not None
    asked = [call for call in world.owed if isinstance(call, AskSchedule)]
    assert [call.schedule for call in asked] == [to_send(world.charger, world.now_ms, RULES)]


def test_no_change_and_nothing_left_of_a_change_are_two_sentences() -> None:
    """A driver who asks why nothing was paused hears which of the two it was."""
    unchanged, trimmed = World().settled(), World().enrolled()
    trimmed.now_ms = at(3)
    trimmed.answer(((at(3), at(3, 5)),))
    assert unchanged.last.reason == "Axle changed nothing; the driver's wish is in force."
    assert trimmed.last.reason == "No pause of Axle's is left to be made; the driver's wish is in force."


def test_a_question_that_a_last_word_replaces_is_coalesced() -> None:
    """The newer wish is not asked about; the older one still gets its outcome."""
    world = World().enrolled()
    (first,) = [question.asker.event_id for question in [world.charger.question] if question]
    world.now_ms = at(2)
    world.plug_in(at(1), schedule=((T0, at(1)),))
    assert world.last.status is Status.EXPIRED
    assert world.outcome(str(first)) == [Result.COALESCED]
