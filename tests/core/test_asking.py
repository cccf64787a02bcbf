"""Questions: how an action opens one, and all the ways in which it ends."""

import pytest

from processor.core import asking
from processor.core.events import BoostAction, LookedUp, Refusal, ScheduleAnswered
from processor.core.outputs import Enrolled, Result, Status
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.turn import Turn
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    NIGHT,
    RULES,
    World,
    at,
    consented,
    results_of,
)

END = GUIDE_SCHEDULE[-1][1]


def test_a_wish_is_published_before_it_is_asked_about() -> None:
    """The first record has no pause and is not final; the event has no outcome yet."""
    world = World().enrolled()
    assert (world.last.status, world.last.pauses, world.last.final) == (Status.REQUESTED, (), False)
    assert world.results == []
    assert world.question().number == world.last.revision


def test_an_answer_with_a_pause_is_published() -> None:
    """Effective is what the driver wants minus the pause, and the event gets its outcome with the revision."""
    world = World().enrolled()
    world.answer(GUIDE_PAUSE)
    assert world.last.status is Status.MODIFIED
    assert world.last.pauses == GUIDE_PAUSE
    assert world.last.effective == ((NIGHT, NIGHT + 3 * HOUR_MS), (NIGHT + 4 * HOUR_MS, END))
    assert world.results == [("e1", Result.MODIFIED)]
    assert "60 minutes" in world.last.reason
    assert world.owed == []


def test_the_same_schedule_back_is_unchanged() -> None:
    """It is published all the same, so that whoever waits for the final record has it."""
    world = World().settled()
    assert (world.last.status, world.last.final, world.last.pauses) == (Status.UNCHANGED, True, ())
    assert world.results == [("e1", Result.UNCHANGED)]


def test_an_answer_that_breaks_a_rule_is_rejected_with_an_alarm() -> None:
    """The alarm names the rule; the driver's wish stays in force."""
    world = World().enrolled()
    world.answer(((NIGHT, NIGHT + 61 * MINUTE_MS),))
    assert (world.last.status, world.last.effective) == (Status.REJECTED, GUIDE_SCHEDULE)
    assert world.alarms == ["answer_rejected"]
    assert world.results == [("e1", Result.REJECTED)]


def test_an_answer_that_cannot_be_read_is_rejected() -> None:
    """No instants with a zone: nothing of it is believed."""
    world = World().enrolled()
    call = world.question()
    world.tell(ScheduleAnswered("home-1", "c-1", call.number, call.schedule, None))
    assert world.last.status is Status.REJECTED


def test_a_newer_wish_replaces_an_unanswered_one() -> None:
    """The older event is coalesced, and the answer to it is ignored."""
    world = World().enrolled()
    old = world.question()
    world.boost(at(0.5), at(2))
    assert world.results == [("e1", Result.COALESCED)]
    assert world.tell(ScheduleAnswered("home-1", "c-1", old.number, old.schedule, old.schedule)) == ()
    assert world.question().number == world.last.revision


def test_an_answer_is_heard_once() -> None:
    """The second one says nothing."""
    world = World().enrolled()
    call = world.question()
    answer = ScheduleAnswered("home-1", "c-1", call.number, call.schedule, call.schedule)
    world.tell(answer)
    assert world.tell(answer) == ()


def test_pauses_of_the_session_are_counted_over_its_questions() -> None:
    """What was served before the newest question leaves less for its answer."""
    world = World().settled(GUIDE_PAUSE)
    world.now_ms = NIGHT + 4 * HOUR_MS + MINUTE_MS
    world.boost(until_ms=world.now_ms + HOUR_MS)
    start = world.now_ms + HOUR_MS
    world.answer(((start, start + 50 * MINUTE_MS), (start + HOUR_MS, start + 71 * MINUTE_MS)))
    world.boost(until_ms=world.now_ms + HOUR_MS)
    world.answer(((start, start + 50 * MINUTE_MS), (start + HOUR_MS, start + 70 * MINUTE_MS)))
    assert world.statuses[-3:] == [Status.REJECTED, Status.REQUESTED, Status.MODIFIED]


@pytest.mark.parametrize("halt", ["unknown", "unreadable"])
def test_what_we_do_not_understand_lifts_all_pauses(halt: str) -> None:
    """The question is dropped, or the pause lifted, with a final record; Axle is not asked until a newer action."""
    for answered in (False, True):
        world = World().enrolled()
        if answered:
            world.answer(GUIDE_PAUSE)
        told = world.unreadable(at(0.5)) if halt == "unreadable" else world.boost(at(0.5), action=BoostAction.UNKNOWN)
        result = Result.INVALID if halt == "unreadable" else Result.UNKNOWN_ACTION
        assert results_of(told) == ([result] if answered else [Result.COALESCED, result])
        assert (world.last.status, world.last.pauses, world.last.final) == (Status.FALLBACK, (), True)
        assert world.last.caused_by.event_id == "e2"
        assert world.owed == []
        world.boost(at(0.6), at(2))
        assert world.is_asking()


def test_a_halt_says_nothing_where_nothing_is_in_its_way() -> None:
    """No question and no pause ahead: the event gets its outcome and no record is published."""
    world = World().settled()
    assert results_of(world.unreadable(at(0.5))) == [Result.INVALID]
    world = World().settled(GUIDE_PAUSE)
    assert results_of(world.unreadable(GUIDE_PAUSE[-1][1])) == [Result.INVALID]
    assert len(world.records) == 2


def test_a_halt_older_than_the_newest_action_changes_nothing() -> None:
    """The driver was understood afterwards."""
    world = World().enrolled()
    world.boost(at(0.5), at(2))
    question = world.question()
    assert results_of(world.unreadable(at(0.2))) == [Result.INVALID]
    assert world.question() == question
    world.answer(GUIDE_PAUSE)
    assert results_of(world.unreadable(at(0.3))) == [Result.INVALID]
    assert world.last.pauses == GUIDE_PAUSE


def test_an_action_older_than_the_halt_is_not_asked_about() -> None:
    """It is published as the last word."""
    world = World().settled()
    world.unreadable(at(0.5))
    assert results_of(world.boost(at(0.2), at(2))) == [Result.FALLBACK]
    assert (world.last.status, world.last.final) == (Status.FALLBACK, True)
    assert world.owed == []


def test_an_unknown_charger_is_looked_up_once_and_asked_once_more() -> None:
    """The new ids are asked under the same number; a second 404 loses the charger."""
    world = World().enrolled()
    number = world.question().number
    assert world.refuse(Refusal.UNKNOWN_CHARGER) == ()
    world.look_up(ENROLMENT.mpan, axle_site="other-site")
    assert world.enrolment_statuses[-1].axle_site_id == "other-site"
    assert world.question().number == number
    assert world.site.axle_site_id == "other-site"
    world.refuse(Refusal.UNKNOWN_CHARGER)
    assert (world.last.status, world.results) == (Status.NOT_ENROLLED, [("e1", Result.NOT_ENROLLED)])
    assert (world.charger.enrolled, world.charger.axle_asset_id) == (Enrolled.UNKNOWN, None)
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.UNKNOWN


@pytest.mark.parametrize("mpan", [None, "9999999999999"])
def test_a_look_up_without_our_charger_loses_it(mpan: str | None) -> None:
    """Nothing there, or another household's: unknown until a newer consent."""
    world = World().enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.look_up(mpan)
    world.plug_in(at(0.1), enrolment=ENROLMENT)
    assert world.owed == []
    world.plug_in(at(0.2), enrolment=consented(at(0.2)))
    assert world.statuses[1:] == [Status.NOT_ENROLLED, Status.NOT_ENROLLED, Status.REQUESTED]


def test_a_look_up_of_a_question_that_was_replaced_is_ignored() -> None:
    """The newer question finds out for itself."""
    world = World().enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.boost(at(0.1), at(2))
    before = world.site
    assert world.look_up(None) == ()
    assert world.look_up(ENROLMENT.mpan, axle_site="other-site") == ()
    assert world.site == before


@pytest.mark.parametrize("why", [Refusal.FORBIDDEN, Refusal.UNKNOWN_CHARGER])
def test_a_charger_that_axle_refuses_is_not_onboarded_again_with_a_known_consent(why: Refusal) -> None:
    """Also not with a consent that came in while the charger was enrolled: only a newer one grants anew."""
    world = World().settled()
    world.plug_in(at(0.1), enrolment=consented(at(0.1)))
    world.refuse(why)
    if why is Refusal.UNKNOWN_CHARGER:
        world.look_up(None)
    world.plug_in(at(0.2), enrolment=consented(at(0.1)))
    assert (world.last.status, world.owed) == (Status.NOT_ENROLLED, [])
    world.plug_in(at(0.3), enrolment=consented(at(0.3)))
    assert world.last.status is Status.REQUESTED


def test_no_consent_at_axle_is_an_alarm() -> None:
    """403: the wish stays, a person is told, and the consent is not granted again by us."""
    world = World().enrolled()
    world.refuse(Refusal.FORBIDDEN)
    assert world.last.status is Status.NOT_ENROLLED
    assert world.alarms == ["consent_missing_at_axle"]
    assert world.charger.enrolled is Enrolled.FORBIDDEN
    assert results_of(world.boost(at(0.5), at(2))) == [Result.NOT_ENROLLED]


def test_a_question_that_axle_calls_invalid_is_our_fault() -> None:
    """The wish stays, and a person is told."""
    world = World().enrolled()
    world.refuse(Refusal.INVALID)
    assert (world.last.status, world.alarms) == (Status.FALLBACK, ["our_request_invalid"])
    assert world.results == [("e1", Result.FALLBACK)]


def test_time_gives_a_question_up() -> None:
    """While a pause is possible it is asked; then the wish is final, as a fallback."""
    world = World().enrolled()
    assert world.wake((world.due_ms or 0) - 1) == ()
    world.wake(END - 6 * MINUTE_MS)
    assert (world.last.status, world.last.final) == (Status.FALLBACK, True)
    assert world.results == [("e1", Result.FALLBACK)]
    assert world.wake(END) == ()


def test_a_set_limit_gives_a_question_up_sooner() -> None:
    """Ten seconds after it was opened."""
    world = World(rules=Rules(give_up_after_ms=10_000)).enrolled()
    assert world.due_ms == world.now_ms + 10_000
    assert results_of(world.wake(world.now_ms + 10_000)) == [Result.FALLBACK]


def test_a_session_that_is_over_expires_the_question() -> None:
    """Whether time tells it, or an answer that comes too late."""
    world = World().enrolled()
    assert results_of(world.wake(END)) == [Result.EXPIRED]
    world = World().enrolled()
    call = world.question()
    told = world.tell(ScheduleAnswered("home-1", "c-1", call.number, call.schedule, call.schedule), END)
    assert results_of(told) == [Result.EXPIRED]


def test_an_old_onboarding_is_dropped_with_its_data() -> None:
    """After a day the household is forgotten, and a question that waited for it falls back; the consent is unused."""
    world = World()
    long = ((NIGHT, NIGHT + 47 * HOUR_MS),)
    world.plug_in(schedule=long, enrolment=ENROLMENT)
    assert results_of(world.wake(world.due_ms or 0)) == [Result.FALLBACK]
    assert (world.site.enrolment, world.charger.enrolling, world.owed) == (None, None, [])
    world.plug_in(world.now_ms, schedule=long, enrolment=ENROLMENT)
    assert world.owed


def test_giving_up_the_question_keeps_the_onboarding() -> None:
    """The session is over, the onboarding goes on."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.wake(END)
    assert world.last.status is Status.EXPIRED
    assert world.site.enrolment == ENROLMENT
    world.onboard()
    assert world.charger.enrolled is Enrolled.ENROLLED


def test_effects_without_their_event_or_question_do_nothing() -> None:
    """Each effect looks for itself, so a wrong row could never raise."""
    world = World()
    world.plug_in()
    turn = Turn(world.site, LookedUp("home-1", "c-1", None), world.now_ms, world.rules)
    asking.hear_answer(turn)
    asking.look_up_once(turn)
    asking.wait_for_onboarding(turn)
    asking.ask_again(turn, "axle-site", "axle-c-1")
    assert (turn.site, turn.outputs) == (world.site, [])


def test_time_passes_for_every_charger_of_a_home() -> None:
    """One without a question, or whose question may still be answered, does not keep the next one waiting."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    end_ms = GUIDE_SCHEDULE[-1][1]
    world.wake(end_ms - RULES.pause_min_ms - RULES.lead_ms)
    assert (world.last.charger_id, world.last.status) == ("c-2", Status.FALLBACK)
