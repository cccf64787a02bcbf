"""Questions about schedules: how a driver's action opens one, and how Axle's answer or time closes it.

Here live the effects of design 4, rules 1 to 3; which of them runs when is a row of `decide.py`. The one idea: the
driver's wish is published before anything is asked, so whatever happens afterwards, the worst case is no pause.
"""

from msgspec.structs import replace

from processor.core.believe import believe
from processor.core.enrolment import conclude, is_worth_a_look_up, move_to
from processor.core.events import ScheduleAnswered, Unreadable
from processor.core.outputs import AlarmKind, Enrolled, Result, Status
from processor.core.schedule import since, total_ms
from processor.core.site import gives_up_at_ms, halted
from processor.core.turn import Turn

NOT_ENROLLED = "Axle does not manage this charger; the driver's wish is in force."


def ask(turn: Turn) -> None:
    """Publish the wish and ask; a newer wish replaces an unanswered one. Whom we do not know is looked up first."""
    replaced = turn.charger.question
    turn.drop_question(Result.COALESCED)
    turn.ask(replaced, looking_up=is_worth_a_look_up(turn))


def say(turn: Turn, status: Status, reason: str) -> None:
    """Publish the wish as the last word; a question about an older wish is dropped."""
    turn.drop_question(Result.COALESCED)
    turn.say_at_once(status, reason)


def halt(turn: Turn) -> None:
    """The driver did something that we do not understand: no pause may stand in its way."""
    pausing = bool(since(turn.charger.pauses, turn.now_ms))
    if halted(turn.charger):
        asked = turn.drop_question(Result.COALESCED)
        if asked or pausing:
            reason = "The driver's newest action could not be understood; all pauses are lifted."
            turn.publish(turn.asker, Status.FALLBACK, reason)
    turn.settle_event(Result.INVALID if isinstance(turn.event, Unreadable) else Result.UNKNOWN_ACTION)


def hear_answer(turn: Turn) -> None:
    """Publish Axle's answer as far as it can be believed."""
    event = turn.event
    if not isinstance(event, ScheduleAnswered):
        return
    charger = turn.charger
    wanted, boosted = turn.requested, turn.boosted
    belief = believe(event.sent, event.answered, charger.served, wanted, boosted, turn.now_ms, turn.rules)
    if belief.broken_rule:
        turn.alarm(AlarmKind.ANSWER_REJECTED, belief.broken_rule)
        turn.settle_question(Status.REJECTED, "Axle's answer broke a rule; the driver's wish stays in force.")
    elif belief.pauses:
        minutes = total_ms(belief.pauses) // 60_000
        reason = f"Axle pauses charging for {minutes} minutes in all; the rest is as the driver wishes."
        turn.settle_question(Status.MODIFIED, reason, belief.pauses)
    elif event.answered == event.sent:
        turn.settle_question(Status.UNCHANGED, "Axle changed nothing; the driver's wish is in force.")
    else:
        turn.settle_question(Status.UNCHANGED, "No pause of Axle's is left to be made; the driver's wish is in force.")


def look_up_once(turn: Turn) -> None:
    """Axle does not know the charger by the id it gave us: look it up, then ask once more."""
    question = turn.charger.question
    if question:
        turn.charger = replace(turn.charger, question=replace(question, looking_up=True, looked_up=True))


def ask_again(turn: Turn, axle_site_id: str, axle_asset_id: str) -> None:
    """The look-up told ids that are new to us: the question is put under them."""
    charger = turn.charger
    question = charger.question
    if question is None:
        return
    move_to(turn, axle_site_id)
    turn.charger = replace(
        charger,
        axle_asset_id=axle_asset_id,
        enrolled=Enrolled.ENROLLED,
        not_found_at_ms=None,
        question=replace(question, looking_up=False),
    )
    turn.tell_enrolment()


def wait_for_onboarding(turn: Turn) -> None:
    """A consent came while the charger was looked up: its question goes on once our own onboarding is answered."""
    question = turn.charger.question
    if question:
        turn.charger = replace(turn.charger, question=replace(question, looking_up=False))


def lose(turn: Turn) -> None:
    """Axle does not have the charger: it counts as unknown until a newer consent, or until it is looked up again."""
    was_enrolled = turn.charger.enrolled is Enrolled.ENROLLED
    turn.charger = replace(turn.charger, axle_asset_id=None, not_found_at_ms=turn.now_ms)
    # Whom others might have onboarded was looked for with no consent of ours, so none is used up.
    if was_enrolled:
        conclude(turn, Enrolled.UNKNOWN)
    turn.settle_question(Status.NOT_ENROLLED, NOT_ENROLLED)


def forbidden(turn: Turn) -> None:
    """Axle holds no consent for a site that we hold one for: never grant it anew, tell a person."""
    turn.alarm(AlarmKind.CONSENT_MISSING_AT_AXLE, "403")
    conclude(turn, Enrolled.FORBIDDEN)
    turn.settle_question(Status.NOT_ENROLLED, "Axle holds no consent for this site; the driver's wish is in force.")


def our_fault(turn: Turn) -> None:
    """Axle called our question invalid: the driver's wish stays, and a person must look."""
    turn.alarm(AlarmKind.OUR_REQUEST_INVALID, "schedule")
    turn.settle_question(Status.FALLBACK, "Axle could not read our question; the driver's wish stays in force.")


def wake(turn: Turn) -> None:
    """Time passed: give up questions that cannot end in a pause any more, and onboardings that are too old."""
    for charger in turn.site.chargers:
        turn.focus(charger)
        enrolling = charger.enrolling
        if enrolling and turn.now_ms >= enrolling.since_ms + turn.rules.onboarding_life_ms:
            # One that waited for Axle to let go of the charger never had its turn.
            has_waited = turn.site.offboarding or charger.leaving
            enrolled = charger.enrolled if has_waited else Enrolled.UNKNOWN
            turn.charger = replace(charger, enrolling=None, enrolled=enrolled)
            turn.tell_enrolment()
            turn.settle_question(Status.FALLBACK, "Axle never answered our onboarding; the driver's wish stays.")
        question = turn.charger.question
        if question is None or turn.now_ms < gives_up_at_ms(turn.charger, question, turn.now_ms, turn.rules):
            continue
        if turn.has_future:
            turn.settle_question(Status.FALLBACK, "Axle did not answer in time; the driver's wish stays in force.")
        else:
            turn.expire_question()
