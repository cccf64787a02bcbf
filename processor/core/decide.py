"""The product: what is said and owed when something happens. Read `TABLE` from top to bottom.

`decide(site, event, now_ms)` takes the event into the registers (`registers.py`), then runs the first row of the
event's part of `TABLE` that stands for the charger's state and whose condition holds. States are in `standing.py`,
conditions in `conditions.py`; rows name their effect: those about schedules are in `asking.py`, about joining Axle in
`enrolment.py`, about leaving it in `leaving.py`. The one idea: for every state and every kind of event the last row
has no condition, so nothing that can happen is left out and nothing raises. A pair that changes nothing is a row as
well, and says why.
"""

from collections.abc import Callable
from itertools import product

from msgspec.structs import replace

from processor.core import asking, enrolment, leaving
from processor.core import conditions as if_
from processor.core.conditions import Condition
from processor.core.events import (
    Action,
    CallFailed,
    ConsentWithdrawn,
    Due,
    Erase,
    Event,
    Found,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    StillListed,
    Unreadable,
    UserBoost,
)
from processor.core.outputs import AlarmKind, Enrolled, EnrolmentStatus, Output, Result, Status
from processor.core.registers import concerns_one_charger, take
from processor.core.rules import Rules
from processor.core.site import Site
from processor.core.standing import Asking, Standing, asking_of, standing_of
from processor.core.turn import Turn
from processor.core.value import Value

Effect = Callable[[Turn], None]
S = Standing
ANYWHERE = frozenset(Standing)
LEFT = frozenset({S.LEAVING, S.SEARCHING, S.OFFBOARDING, S.GONE})
ONBOARDING = frozenset({S.JOINING, S.ADOPTING})
ANYHOW = frozenset(Asking)
LOOKING_UP = frozenset({Asking.LOOKING_UP})


class Row(Value, frozen=True):
    """One line of the table: what it is about, what happens, and when: in which states, on which condition."""

    says: str
    then: Effect
    when: Condition = if_.always
    at: frozenset[Standing] = ANYWHERE
    asking: frozenset[Asking] = ANYHOW


class Decision(Value, frozen=True):
    """The site as it is now, and what is published; all of it in one transaction or not at all."""

    site: Site
    outputs: tuple[Output, ...]


def decide(site: Site, event: Event, now_ms: int, rules: Rules) -> Decision:
    """Step 5: what follows from `event` at `now_ms` (UTC) for the site as it is. Every pair has a row; none raises."""
    if _is_crowded(site, event, rules):
        return _decide_without_memory(site, event, now_ms, rules)
    turn = Turn(site, event, now_ms, rules)
    take(turn)
    enrolment.begin(turn)
    leaving.begin(turn)
    row_for(turn).then(turn)
    enrolment.end(turn, site)
    leaving.end(turn)
    return Decision(turn.site, tuple(turn.outputs))


def row_for(turn: Turn) -> Row:
    """The row of the table for a turn whose event was taken into the registers."""
    charger = turn.charger_or_none
    rows = ROWS[standing_of(turn.site, charger), asking_of(charger), type(turn.event)]
    return next(row for row in rows if row.when(turn))


def _is_crowded(site: Site, event: Event, rules: Rules) -> bool:
    """Whether an event names yet another charger of a site that has more of them than a home can have."""
    if len(site.chargers) < rules.chargers_max or not isinstance(event, Action | ConsentWithdrawn):
        return False
    if isinstance(event, ConsentWithdrawn) and not concerns_one_charger(event):
        return False
    return site.charger(event.charger_id or "") is None


def _decide_without_memory(site: Site, event: Event, now_ms: int, rules: Rules) -> Decision:
    """The driver's wish goes out as ever, but the charger is not kept: a site's state may not grow without end."""
    alone = Site(site.site_id, consent=site.consent, withdrawal=site.withdrawal, unkept_revision=site.unkept_revision)
    turn = Turn(alone, event, now_ms, replace(rules, onboarding_elsewhere=False))
    take(turn)
    row_for(turn).then(turn)
    turn.alarm(AlarmKind.TOO_MANY_CHARGERS, str(len(site.chargers)))
    outputs = tuple(output for output in turn.outputs if not isinstance(output, EnrolmentStatus))
    revision = turn.charger.revision or site.unkept_revision
    return Decision(replace(site, consent=turn.site.consent, unkept_revision=revision), outputs)


def _nothing(_: Turn) -> None:
    """Nothing happens."""


def _named(says: str | None, then: Effect) -> Effect:
    """An effect made for a row says what it does, as the others do: docs/table.md is written from it."""
    then.__doc__ = says
    return then


def _outcome(result: Result) -> Effect:
    return _named(f"Nothing changes; the outcome is `{result}`.", lambda turn: turn.settle_event(result))


def _say(status: Status, reason: str) -> Effect:
    return _named(f"Publish the wish as the last word: `{status}`.", lambda turn: asking.say(turn, status, reason))


def _with_ids(effect: Callable[[Turn, str, str], None]) -> Effect:
    """The effect, given Axle's ids of the site and the charger that the event at hand tells."""

    def then(turn: Turn) -> None:
        event = turn.event
        told = event.found if isinstance(event, LookedUp) else event
        if isinstance(told, Found | Onboarded):
            effect(turn, told.axle_site_id, told.axle_asset_id)

    return _named(effect.__doc__, then)


_leave_again = _with_ids(leaving.leave_again)
_enrol = _with_ids(enrolment.enrol)
_ask_again = _with_ids(asking.ask_again)


def _not_ours(turn: Turn) -> None:
    """Touch nothing of another household's, stop looking, and tell a person."""
    turn.alarm(AlarmKind.UNOWNED_SITE_FOUND, "look_up")
    leaving.stop_looking(turn)


def _conclude(standing: Enrolled, alarm: AlarmKind | None = None) -> Effect:
    def then(turn: Turn) -> None:
        if alarm:
            turn.alarm(alarm, standing.value)
        enrolment.conclude(turn, standing)
        turn.settle_question(Status.NOT_ENROLLED, asking.NOT_ENROLLED)

    return _named(f"Use up the consent: the charger is `{standing}`.", then)


def _adopt(turn: Turn) -> None:
    """Owe a look-up before anything else."""
    enrolling = turn.charger.enrolling
    if enrolling:
        turn.charger = replace(turn.charger, enrolling=replace(enrolling, adopting=True))


def _onboard_anew(turn: Turn) -> None:
    """Forget Axle's id of the site, so that the onboarding makes a new one."""
    turn.site = replace(turn.site, axle_site_id=None)


def _expire_question(turn: Turn) -> None:
    """Close the question with the wish as the last word."""
    turn.expire_question()


def _refused(kind: AlarmKind) -> Effect:
    def then(turn: Turn) -> None:
        turn.alarm(kind, str(getattr(turn.event, "status", "")))
        leaving.put_off(turn)

    return _named("Tell a person; the call is still owed.", then)


WISH_ROWS = (
    Row("nothing of it lies ahead", _say(Status.EXPIRED, "Nothing of the schedule lies ahead."), if_.nothing_ahead),
    Row(
        "the household withdrew, or the charger was disconnected",
        _say(Status.WITHDRAWN, "There is no consent for pauses; the driver's wish is in force."),
        if_.must_not_pause,
    ),
    Row(
        "a newer action of the driver could not be understood",
        _say(Status.FALLBACK, "A newer action of the driver could not be understood; no pauses."),
        if_.newest_word_not_understood,
    ),
    Row(
        "too little of the session is left",
        _say(Status.FALLBACK, "Too little of the session is left for a pause; the driver's wish is in force."),
        if_.too_late_to_ask,
    ),
    Row("Axle manages the charger, or is about to", asking.ask, if_.can_be_asked),
    Row("Axle does not manage the charger", _say(Status.NOT_ENROLLED, asking.NOT_ENROLLED)),
)

TABLE: dict[type[Event], tuple[Row, ...]] = {
    PlugIn: (
        Row("the same plug-in again", _outcome(Result.DUPLICATE), if_.heard_before),
        Row("older than all it speaks of", _outcome(Result.STALE), if_.moved_nothing),
        *WISH_ROWS,
    ),
    UserBoost: (
        Row("an action that we do not know", asking.halt, if_.not_understood),
        Row("the same action again", _outcome(Result.DUPLICATE), if_.heard_before),
        Row("older than all it speaks of", _outcome(Result.STALE), if_.moved_nothing),
        Row("a boost that is over", _outcome(Result.EXPIRED), if_.boost_is_over),
        Row(
            "a boost of an earlier session, or a cancel without a boost",
            _outcome(Result.STALE),
            if_.changes_nothing_ahead,
        ),
        *WISH_ROWS,
    ),
    Unreadable: (Row("the driver did something that we cannot read", asking.halt),),
    ConsentWithdrawn: (
        Row("the same withdrawal again", _outcome(Result.DUPLICATE), if_.heard_before),
        Row("older than the one we know", _outcome(Result.STALE), if_.moved_nothing),
        Row("a newer consent stands", _outcome(Result.STALE), if_.newer_consent_stands),
        Row("one charger was disconnected", leaving.disconnect_charger, if_.one_charger_leaves),
        Row("the household withdrew", leaving.withdraw_site),
    ),
    Erase: (
        Row("the same order again", _outcome(Result.DUPLICATE), if_.order_heard_before),
        Row("a newer consent stands", _outcome(Result.STALE), if_.newer_consent_stands),
        Row("the household is to be forgotten", leaving.erase),
    ),
    StillListed: (
        Row("it is leaving Axle already", _outcome(Result.DUPLICATE), at=LEFT - {S.GONE}),
        Row("it left, and Axle may have it still", leaving.look_again, if_.left_when_told, at=frozenset({S.GONE})),
        Row("it came back or left anew since", _outcome(Result.STALE)),
    ),
    Onboarded: (
        Row("the charger left meanwhile", _leave_again, at=LEFT),
        Row("no consent is known that it could come from", _leave_again, if_.no_consent_known),
        Row("we know that already", _nothing, if_.has_these_ids, at=frozenset({S.ENROLLED})),
        Row("the charger is enrolled", _enrol),
    ),
    OnboardingRefused: (
        Row("not asked for any more", _nothing, at=ANYWHERE - ONBOARDING),
        Row("Axle has the charger: see whose it is", _adopt, if_.refused_because(Refusal.EXISTS)),
        Row("Axle lost the site: onboard it anew", _onboard_anew, if_.refused_because(Refusal.UNKNOWN_CHARGER)),
        Row("a newer consent came meanwhile: it is tried next", _nothing, if_.newer_consent_to_try),
        Row("not eligible", _conclude(Enrolled.NOT_ELIGIBLE), if_.refused_because(Refusal.NOT_ELIGIBLE)),
        Row("our request was at fault", enrolment.refuse_for_our_fault),
    ),
    LookedUp: (
        Row(
            "we onboard it ourselves meanwhile: that tells",
            asking.wait_for_onboarding,
            if_.for_a_question,
            at=ONBOARDING,
            asking=LOOKING_UP,
        ),
        Row(
            "the question goes on under new ids",
            _ask_again,
            if_.found_for_the_question,
            at=ANYWHERE - LEFT,
            asking=LOOKING_UP,
        ),
        Row("Axle does not have our charger", asking.lose, if_.for_a_question, at=ANYWHERE - LEFT, asking=LOOKING_UP),
        Row("the question waits for it no more", _nothing, if_.for_a_question),
        Row("it left, and here is what it left behind", _leave_again, if_.found_ours, at=frozenset({S.SEARCHING})),
        Row("it left, and what is there is not ours", _not_ours, if_.found_strangers, at=frozenset({S.SEARCHING})),
        Row("it left, and nothing is there", leaving.nothing_found, at=frozenset({S.SEARCHING})),
        Row("Axle's charger is ours: adopt it", _enrol, if_.found_ours, at=frozenset({S.ADOPTING})),
        Row("it is not ours", _conclude(Enrolled.CONFLICT, AlarmKind.CHARGER_CONFLICT), at=frozenset({S.ADOPTING})),
        Row("not asked for any more", _nothing),
    ),
    ScheduleAnswered: (
        Row("no question is open", _nothing, asking=frozenset({Asking.QUIET})),
        Row("an answer to an older question", _nothing, if_.another_question),
        Row("the session is over", _expire_question, if_.nothing_ahead),
        Row("an answer in time", asking.hear_answer),
    ),
    ScheduleRefused: (
        Row("no question is open", _nothing, asking=frozenset({Asking.QUIET})),
        Row("an answer to an older question", _nothing, if_.another_question),
        Row("Axle holds no consent", asking.forbidden, if_.refused_because(Refusal.FORBIDDEN)),
        Row("Axle does not know the charger, even after a look-up", asking.lose, if_.unknown_after_look_up),
        Row("Axle does not know the charger", asking.look_up_once, if_.refused_because(Refusal.UNKNOWN_CHARGER)),
        Row("our request was at fault", asking.our_fault),
    ),
    Removed: (
        Row("not owed any more", _nothing, at=ANYWHERE - {S.LEAVING}),
        Row("another asset than the one that is to go", _nothing, if_.another_asset),
        Row("the charger is gone at Axle", leaving.removal_confirmed),
    ),
    Offboarded: (
        Row("not owed any more", _nothing, at=ANYWHERE - {S.OFFBOARDING}),
        Row("another site than the one that is to go", _nothing, if_.another_site),
        Row("it was only unenrolled, and is to be deleted since", _nothing, if_.only_unenrolled),
        Row("the site is gone at Axle", leaving.offboarding_confirmed),
    ),
    CallFailed: (
        Row("a removal, an offboarding or a search was refused", _refused(AlarmKind.OFFBOARDING_REFUSED), at=LEFT),
        Row("an offboarding that is owed no more was refused", _nothing, if_.names_no_charger),
        Row("a look-up was refused", _refused(AlarmKind.LOOK_UP_REFUSED)),
    ),
    Due: (Row("time passed", asking.wake),),
}

Pair = tuple[Standing, Asking, type[Event]]


def _rows_of(standing: Standing, how: Asking, kind: type[Event]) -> tuple[Row, ...]:
    """The rows that may apply to a pair, up to the first that always does."""
    rows = [row for row in TABLE[kind] if standing in row.at and how in row.asking]
    last = next(number for number, row in enumerate(rows, 1) if row.when is if_.always)
    return tuple(rows[:last])


ROWS: dict[Pair, tuple[Row, ...]] = {
    (standing, how, kind): _rows_of(standing, how, kind) for standing, how, kind in product(Standing, Asking, TABLE)
}
"""The table by state: every pair is here, with the rows that may apply, in order; the last one always does."""
