"""When a row of the table applies: one question about the turn each, in plain words.

What the states cannot say is asked here; the states themselves are in `standing.py`, the rows in `decide.py`. Nothing
here changes anything.
"""

from collections.abc import Callable

from processor.core.enrolment import is_ours, is_worth_a_look_up
from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Erase,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    StillListed,
    UserBoost,
)
from processor.core.outputs import Enrolled
from processor.core.registers import concerns_one_charger, is_unknown
from processor.core.site import halted, has_left, last_chance_ms, left_at_ms, taken_away, withdrawn
from processor.core.turn import Turn

Condition = Callable[[Turn], bool]


def always(_: Turn) -> bool:
    """Whatever else holds."""
    return True


def heard_before(turn: Turn) -> bool:
    """A register holds this very event."""
    return turn.known


def moved_nothing(turn: Turn) -> bool:
    """Everything it speaks of is known in a newer form."""
    return not turn.moved


def not_understood(turn: Turn) -> bool:
    """The driver did something that we do not know."""
    return is_unknown(turn.event)


def changes_nothing_ahead(turn: Turn) -> bool:
    """It cannot change what is requested from now on."""
    return not turn.changes_wish


def boost_is_over(turn: Turn) -> bool:
    """A boost whose end was over before it could matter."""
    event = turn.event
    if turn.changes_wish or not isinstance(event, UserBoost) or event.action is not BoostAction.BOOST:
        return False
    return event.boost_until_ms is None or turn.now_ms >= event.boost_until_ms


def nothing_ahead(turn: Turn) -> bool:
    """Nothing of what is requested lies ahead."""
    return not turn.has_future


def must_not_pause(turn: Turn) -> bool:
    """The household withdrew, or the charger was disconnected."""
    return has_left(turn.site, turn.charger)


def newest_word_not_understood(turn: Turn) -> bool:
    """The driver's newest word is one that we do not know."""
    return halted(turn.charger)


def can_be_asked(turn: Turn) -> bool:
    """Axle manages the charger, is about to, or may do so without our knowing."""
    charger = turn.charger
    return charger.enrolled is Enrolled.ENROLLED or charger.enrolling is not None or is_worth_a_look_up(turn)


def too_late_to_ask(turn: Turn) -> bool:
    """Axle could be asked, but too little of the session is left for any pause."""
    return can_be_asked(turn) and turn.now_ms >= last_chance_ms(turn.charger, turn.now_ms, turn.rules)


def newer_consent_stands(turn: Turn) -> bool:
    """The household consented after this withdrawal."""
    event = turn.event
    if isinstance(event, ConsentWithdrawn) and concerns_one_charger(event):
        return not taken_away(turn.site, turn.charger)
    return not withdrawn(turn.site)


def one_charger_leaves(turn: Turn) -> bool:
    """It is about one charger, not about the household."""
    return isinstance(turn.event, ConsentWithdrawn) and concerns_one_charger(turn.event)


def names_no_charger(turn: Turn) -> bool:
    """It is about the household alone."""
    return turn.charger_or_none is None


def order_heard_before(turn: Turn) -> bool:
    """This very order to erase is being carried out."""
    erasing, event = turn.site.erasing, turn.event
    return erasing is not None and isinstance(event, Erase) and erasing.event_id == event.event_id


def left_when_told(turn: Turn) -> bool:
    """The charger is known, left at the time that the order tells, and neither came back nor left anew since."""
    event = turn.event
    if not isinstance(event, StillListed):
        return False
    charger = turn.site.charger(event.charger_id)
    return charger is not None and left_at_ms(turn.site, charger) == event.left_at_ms


def no_consent_known(turn: Turn) -> bool:
    """We hold no consent of this household at all."""
    return turn.site.consent is None


def has_these_ids(turn: Turn) -> bool:
    """What is told of the charger is what we know."""
    event, charger = turn.event, turn.charger
    return isinstance(event, Onboarded) and (charger.axle_asset_id, turn.site.axle_site_id) == (
        event.axle_asset_id,
        event.axle_site_id,
    )


def newer_consent_to_try(turn: Turn) -> bool:
    """The refusal is about an older consent than the one that is to be tried."""
    event, enrolment = turn.event, turn.site.enrolment
    return isinstance(event, OnboardingRefused) and (
        enrolment is not None and event.consented_at_ms < enrolment.consented_at_ms
    )


def refused_because(why: Refusal) -> Condition:
    """Axle said no for that reason."""

    def refused(turn: Turn) -> bool:
        return getattr(turn.event, "why", None) is why

    refused.__doc__ = f"Axle said `{why}`."
    return refused


def for_a_question(turn: Turn) -> bool:
    """A question waited for this look-up."""
    return isinstance(turn.event, LookedUp) and turn.event.for_question


def found_for_the_question(turn: Turn) -> bool:
    """A question waited for this look-up, which found the household's own charger."""
    return for_a_question(turn) and found_ours(turn)


def found_ours(turn: Turn) -> bool:
    """Axle has the charger, and it hangs on the household's own meter."""
    event = turn.event
    return isinstance(event, LookedUp) and event.found is not None and is_ours(turn, event.found)


def found_strangers(turn: Turn) -> bool:
    """Axle has a charger of that name."""
    return isinstance(turn.event, LookedUp) and turn.event.found is not None


def another_question(turn: Turn) -> bool:
    """It answers a question that is not open any more."""
    event, question = turn.event, turn.charger.question
    return not isinstance(event, ScheduleAnswered | ScheduleRefused) or (
        question is None or event.number != question.number
    )


def unknown_after_look_up(turn: Turn) -> bool:
    """Axle does not know the charger, and its one look-up was spent."""
    question = turn.charger.question
    return refused_because(Refusal.UNKNOWN_CHARGER)(turn) and question is not None and question.looked_up


def another_asset(turn: Turn) -> bool:
    """It is about an asset whose removal is not owed."""
    return isinstance(turn.event, Removed) and turn.event.axle_asset_id != turn.charger.axle_asset_id


def only_unenrolled(turn: Turn) -> bool:
    """The site was kept at Axle, though it is to be deleted since."""
    return isinstance(turn.event, Offboarded) and turn.event.kept and turn.site.erasing is not None


def another_site(turn: Turn) -> bool:
    """It is about a site of Axle's that is not this household's."""
    return isinstance(turn.event, Offboarded) and turn.event.axle_site_id != turn.site.axle_site_id
