"""The product: what is said and owed when something happens. Read `TABLE` from top to bottom.

`decide(site, event, now_ms)` takes the event into the registers (`registers.py`), then runs the first row of the
event's part of `TABLE` whose condition holds. Rows name their effect; effects about schedules are in `asking.py`, about
joining and leaving Axle in `enrolment.py`. The one idea: every kind of event has rows for every state, the last one
without a condition, so nothing that can happen is left out and nothing raises.
"""

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from processor.core import asking, enrolment
from processor.core.events import (
    BoostAction,
    CallFailed,
    ConsentWithdrawn,
    Due,
    Event,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    Unreadable,
    UserBoost,
)
from processor.core.outputs import AlarmKind, Enrolled, Output, Result, Status
from processor.core.registers import concerns_one_charger, is_unknown, take
from processor.core.rules import Rules
from processor.core.site import Site, halted, taken_away, withdrawn
from processor.core.turn import Turn


class Row(Struct, frozen=True):
    """One line of the table: what it is about, when it applies, what happens."""

    says: str
    when: Callable[[Turn], bool]
    then: Callable[[Turn], None]


class Decision(Struct, frozen=True):
    """The site as it is now, and what is published; all of it in one transaction or not at all."""

    site: Site
    outputs: tuple[Output, ...]


def decide(site: Site, event: Event, now_ms: int, rules: Rules) -> Decision:
    """Step 5: what follows from `event` at `now_ms` (UTC) for the site as it is. Every pair has a row; none raises."""
    turn = Turn(site, event, now_ms, rules)
    take(turn)
    enrolment.begin_enrolling(turn)
    row = next(row for row in TABLE[type(event)] if row.when(turn))
    row.then(turn)
    enrolment.forget_what_is_not_owed(turn)
    return Decision(turn.site, tuple(turn.outputs))


def _always(_: Turn) -> bool:
    return True


def _nothing(_: Turn) -> None:
    pass


def _outcome(result: Result) -> Callable[[Turn], None]:
    return lambda turn: turn.settle_event(result)


def _say(status: Status, reason: str) -> Callable[[Turn], None]:
    return lambda turn: asking.say(turn, status, reason)


def _moved_nothing(turn: Turn) -> bool:
    return not turn.moved


def _boost_is_over(turn: Turn) -> bool:
    event = turn.event
    if turn.changes_wish or not isinstance(event, UserBoost) or event.action is not BoostAction.BOOST:
        return False
    return event.boost_until_ms is None or turn.now_ms >= event.boost_until_ms


def _must_not_pause(turn: Turn) -> bool:
    return withdrawn(turn.site) or taken_away(turn.site, turn.charger)


def _can_be_asked(turn: Turn) -> bool:
    return turn.charger.enrolled is Enrolled.ENROLLED or turn.charger.enrolling is not None


def _nothing_ahead(turn: Turn) -> bool:
    return not turn.has_future


def _newer_consent_stands(turn: Turn) -> bool:
    event = turn.event
    if isinstance(event, ConsentWithdrawn) and concerns_one_charger(event):
        return not taken_away(turn.site, turn.charger)
    return not withdrawn(turn.site)


def _one_charger(turn: Turn) -> bool:
    return isinstance(turn.event, ConsentWithdrawn) and concerns_one_charger(turn.event)


def _must_leave(turn: Turn) -> bool:
    return _must_not_pause(turn) or _leaves_first(turn) or turn.site.consent is None


def _leaves_first(turn: Turn) -> bool:
    return turn.charger.leaving is not None or turn.site.offboarding is not None


def _has_these_ids(turn: Turn) -> bool:
    event, charger = turn.event, turn.charger
    return (
        isinstance(event, Onboarded)
        and charger.enrolled is Enrolled.ENROLLED
        and (charger.axle_asset_id, turn.site.axle_site_id) == (event.axle_asset_id, event.axle_site_id)
    )


def _looking_for_remains(turn: Turn) -> bool:
    return turn.charger.leaving is not None and turn.charger.axle_asset_id is None


def _refused_because(why: Refusal) -> Callable[[Turn], bool]:
    return lambda turn: getattr(turn.event, "why", None) is why


def _adopting(turn: Turn) -> bool:
    return turn.charger.enrolling is not None and turn.charger.enrolling.adopting


def _found_ours(turn: Turn) -> bool:
    event = turn.event
    return isinstance(event, LookedUp) and event.found is not None and enrolment.is_ours(turn, event.found)


def _found_strangers(turn: Turn) -> bool:
    return isinstance(turn.event, LookedUp) and turn.event.found is not None


def _looking_up_for_question(turn: Turn) -> bool:
    return turn.charger.question is not None and turn.charger.question.looking_up


def _not_the_open_question(turn: Turn) -> bool:
    event, question = turn.event, turn.charger.question
    return question is None or not (
        isinstance(event, ScheduleAnswered | ScheduleRefused) and event.number == question.number
    )


def _was_looked_up(turn: Turn) -> bool:
    return turn.charger.question is not None and turn.charger.question.looked_up


def _not_enrolling(turn: Turn) -> bool:
    return turn.charger.enrolling is None


def _removal_not_owed(turn: Turn) -> bool:
    return turn.charger.leaving is None or turn.charger.axle_asset_id is None


def _offboarding_not_owed(turn: Turn) -> bool:
    event, site = turn.event, turn.site
    return site.offboarding is None or not isinstance(event, Offboarded) or event.axle_site_id != site.axle_site_id


def _leave_again(turn: Turn) -> None:
    event = turn.event
    if isinstance(event, Onboarded):
        enrolment.leave_again(turn, event)
    elif isinstance(event, LookedUp) and event.found:
        enrolment.leave_again(turn, event.found)


def _enrol(turn: Turn) -> None:
    event = turn.event
    ids = event.found if isinstance(event, LookedUp) else event
    if ids is not None:
        enrolment.enrol(turn, ids.axle_site_id, ids.axle_asset_id)  # type: ignore[union-attr]


def _ask_again(turn: Turn) -> None:
    event = turn.event
    if isinstance(event, LookedUp) and event.found:
        asking.ask_again(turn, event.found.axle_site_id, event.found.axle_asset_id)


def _not_ours(turn: Turn) -> None:
    turn.alarm(AlarmKind.UNOWNED_SITE_FOUND, "look_up")
    enrolment.stop_looking(turn)


def _conclude(standing: Enrolled, alarm: AlarmKind | None = None) -> Callable[[Turn], None]:
    def then(turn: Turn) -> None:
        if alarm:
            turn.alarm(alarm, standing.value)
        enrolment.conclude(turn, standing)
        turn.settle_question(Status.NOT_ENROLLED, asking.NOT_ENROLLED)

    return then


def _adopt(turn: Turn) -> None:
    enrolling = turn.charger.enrolling
    if enrolling:
        turn.charger = replace(turn.charger, enrolling=replace(enrolling, adopting=True))


def _onboard_anew(turn: Turn) -> None:
    turn.site = replace(turn.site, axle_site_id=None)


def _expire_question(turn: Turn) -> None:
    turn.settle_question(Status.EXPIRED, "The session was over before Axle answered.")


def _failed(turn: Turn) -> None:
    if isinstance(turn.event, CallFailed):
        turn.alarm(AlarmKind.OFFBOARDING_REFUSED, str(turn.event.status))


WISH_ROWS = (
    Row("nothing of it lies ahead", _nothing_ahead, _say(Status.EXPIRED, "Nothing of the schedule lies ahead.")),
    Row(
        "the household withdrew, or the charger was disconnected",
        _must_not_pause,
        _say(Status.WITHDRAWN, "There is no consent for pauses; the driver's wish is in force."),
    ),
    Row(
        "a newer action of the driver could not be understood",
        lambda turn: halted(turn.charger),
        _say(Status.FALLBACK, "A newer action of the driver could not be understood; no pauses."),
    ),
    Row("Axle manages the charger, or is about to", _can_be_asked, asking.ask),
    Row("Axle does not manage the charger", _always, _say(Status.NOT_ENROLLED, asking.NOT_ENROLLED)),
)

TABLE: dict[type[Event], tuple[Row, ...]] = {
    PlugIn: (
        Row("the same plug-in again", lambda turn: turn.known, _outcome(Result.DUPLICATE)),
        Row("older than all it speaks of", _moved_nothing, _outcome(Result.STALE)),
        *WISH_ROWS,
    ),
    UserBoost: (
        Row("an action that we do not know", lambda turn: is_unknown(turn.event), asking.halt),
        Row("the same action again", lambda turn: turn.known, _outcome(Result.DUPLICATE)),
        Row("older than all it speaks of", _moved_nothing, _outcome(Result.STALE)),
        Row("a boost that is over", _boost_is_over, _outcome(Result.EXPIRED)),
        Row(
            "a boost of an earlier session, or a cancel without a boost",
            lambda turn: not turn.changes_wish,
            _outcome(Result.STALE),
        ),
        *WISH_ROWS,
    ),
    Unreadable: (Row("the driver did something that we cannot read", _always, asking.halt),),
    ConsentWithdrawn: (
        Row("the same withdrawal again", lambda turn: turn.known, _outcome(Result.DUPLICATE)),
        Row("older than the one we know", _moved_nothing, _outcome(Result.STALE)),
        Row("a newer consent stands", _newer_consent_stands, _outcome(Result.STALE)),
        Row("one charger was disconnected", _one_charger, enrolment.disconnect_charger),
        Row("the household withdrew", _always, enrolment.withdraw_site),
    ),
    Onboarded: (
        Row("the charger left meanwhile", _must_leave, _leave_again),
        Row("we know that already", _has_these_ids, _nothing),
        Row("the charger is enrolled", _always, _enrol),
    ),
    OnboardingRefused: (
        Row("it is to leave first: this is the answer to an older onboarding", _leaves_first, _nothing),
        Row("not asked for any more", _not_enrolling, _nothing),
        Row("Axle has the charger: see whose it is", _refused_because(Refusal.EXISTS), _adopt),
        Row("Axle lost the site: onboard it anew", _refused_because(Refusal.UNKNOWN_CHARGER), _onboard_anew),
        Row("not eligible", _refused_because(Refusal.NOT_ELIGIBLE), _conclude(Enrolled.NOT_ELIGIBLE)),
        Row("our request was at fault", _always, enrolment.refuse_for_our_fault),
    ),
    LookedUp: (
        Row(
            "it left, and here is what it left behind",
            lambda turn: _looking_for_remains(turn) and _found_ours(turn),
            _leave_again,
        ),
        Row(
            "it left, and what is there is not ours",
            lambda turn: _looking_for_remains(turn) and _found_strangers(turn),
            _not_ours,
        ),
        Row("it left, and nothing is there", _looking_for_remains, enrolment.nothing_found),
        Row("Axle's charger is ours: adopt it", lambda turn: _adopting(turn) and _found_ours(turn), _enrol),
        Row("it is not ours", _adopting, _conclude(Enrolled.CONFLICT, AlarmKind.CHARGER_CONFLICT)),
        Row(
            "the question goes on under new ids",
            lambda turn: _looking_up_for_question(turn) and _found_ours(turn),
            _ask_again,
        ),
        Row("Axle does not have our charger any more", _looking_up_for_question, asking.lose),
        Row("not asked for any more", _always, _nothing),
    ),
    ScheduleAnswered: (
        Row("an answer to an older question", _not_the_open_question, _nothing),
        Row("the session is over", _nothing_ahead, _expire_question),
        Row("an answer in time", _always, asking.hear_answer),
    ),
    ScheduleRefused: (
        Row("an answer to an older question", _not_the_open_question, _nothing),
        Row("Axle holds no consent", _refused_because(Refusal.FORBIDDEN), asking.forbidden),
        Row(
            "Axle does not know the charger, even after a look-up",
            lambda turn: _refused_because(Refusal.UNKNOWN_CHARGER)(turn) and _was_looked_up(turn),
            asking.lose,
        ),
        Row("Axle does not know the charger", _refused_because(Refusal.UNKNOWN_CHARGER), asking.look_up_once),
        Row("our request was at fault", _always, asking.our_fault),
    ),
    Removed: (
        Row("not owed any more", _removal_not_owed, _nothing),
        Row("the charger is gone at Axle", _always, enrolment.removal_confirmed),
    ),
    Offboarded: (
        Row("not owed any more", _offboarding_not_owed, _nothing),
        Row("the site is gone at Axle", _always, enrolment.offboarding_confirmed),
    ),
    CallFailed: (Row("a call that may not be given up was refused", _always, _failed),),
    Due: (Row("time passed", _always, asking.wake),),
}
