"""Each condition of the table, once where it holds and once where it just does not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from processor.core import conditions as if_
from processor.core.conditions import Condition
from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Due,
    Erase,
    Event,
    Found,
    Input,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    Source,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.outputs import Enrolled
from processor.core.registers import take
from processor.core.site import Charger, Site, Stamp
from processor.core.turn import Turn
from tests.core.table import ELSEWHERE, PAST
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, MPAN, RULES, STRANGER, World, at, onboarding

HERE = Source("in", 0, 1)
FRESH = Site("home-1")
SETTLED = World().settled().site
ASKED = World().enrolled().site
NUMBER = World().enrolled().question().number


def looking_up() -> Site:
    """A question that waits for its one look-up."""
    world = World().enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    return world.site


def withdrew(at_ms: int = at(0.1)) -> Site:
    """A home whose withdrawal was confirmed."""
    world = World().settled()
    world.withdraw(at_ms)
    world.offboard()
    return world.site


def disconnected() -> Site:
    """A home with a charger that left."""
    world = World().settled()
    world.withdraw(at(0.1), "c-1")
    return world.site


def ordered() -> Site:
    """A home that is being forgotten."""
    world = World().settled()
    world.erase(at(0.1), "o")
    return world.site


def charger(site: Site, **fields: object) -> Site:
    """The same home, its charger being otherwise."""
    (only,) = site.chargers
    return site.having(replace(only, **fields))


def plug_in(at_ms: int = at(0.5), event_id: str = "n", schedule: object = GUIDE_SCHEDULE) -> PlugIn:
    """A car is plugged in."""
    return PlugIn(event_id, at_ms, HERE, "home-1", "c-1", schedule)  # type: ignore[arg-type]


def tap(action: BoostAction, until_ms: int | None = None, at_ms: int = at(0.5)) -> UserBoost:
    """A driver does something."""
    return UserBoost("n", at_ms, HERE, "home-1", "c-1", action, until_ms)


def leave(charger_id: str | None = None, at_ms: int = at(0.5), event_id: str = "n") -> ConsentWithdrawn:
    """A household, or one of its chargers, leaves."""
    reason = WithdrawalReason.CHARGER_DISCONNECTED if charger_id else WithdrawalReason.UNKNOWN
    return ConsentWithdrawn(event_id, at_ms, HERE, "home-1", charger_id, reason)


def listed(left_at_ms: int) -> StillListed:
    """An order to look for a charger that left at that time."""
    return StillListed("n", at(0.5), HERE, "home-1", "c-1", left_at_ms)


BOOST, CANCEL, UNKNOWN = BoostAction.BOOST, BoostAction.BOOST_CANCELLED, BoostAction.UNKNOWN
UNREADABLE = Unreadable("n", at(0.5), HERE, "home-1", "c-1", Input.PLUG_IN)
REFUSED = OnboardingRefused("home-1", "c-1", Refusal.EXISTS, ENROLMENT.consented_at_ms)
NOT_FOUND = LookedUp("home-1", "c-1", None)
Case = tuple[Condition, Site, Event]

HOLDS: list[Case] = [
    (if_.always, FRESH, Due("home-1")),
    (if_.heard_before, SETTLED, plug_in(event_id="e1")),
    (if_.moved_nothing, SETTLED, plug_in(at(-1))),
    (if_.not_understood, FRESH, UNREADABLE),
    (if_.not_understood, FRESH, tap(UNKNOWN)),
    (if_.changes_nothing_ahead, FRESH, tap(CANCEL)),
    (if_.boost_is_over, FRESH, tap(BOOST, at(1))),
    (if_.boost_is_over, FRESH, tap(BOOST)),
    (if_.nothing_ahead, FRESH, plug_in(schedule=PAST)),
    (if_.must_not_pause, withdrew(), plug_in()),
    (if_.must_not_pause, disconnected(), plug_in()),
    (if_.newest_word_not_understood, charger(SETTLED, halted=Stamp(at(9), "h")), plug_in()),
    (if_.can_be_asked, SETTLED, plug_in()),
    (if_.can_be_asked, onboarding().site, plug_in()),
    (if_.newer_consent_stands, SETTLED, leave(at_ms=at(-2))),
    (if_.newer_consent_stands, SETTLED, leave("c-1", at(-2))),
    (if_.newer_consent_stands, SETTLED, Erase("n", at(-2), HERE, "home-1")),
    (if_.one_charger_leaves, SETTLED, leave("c-1")),
    (if_.order_heard_before, ordered(), Erase("o", at(0.1), HERE, "home-1")),
    (if_.left_when_told, withdrew(), listed(at(0.1))),
    (if_.left_when_told, disconnected(), listed(at(0.1))),
    (if_.no_consent_known, FRESH, Onboarded("home-1", "c-1", "s", "a")),
    (if_.has_these_ids, SETTLED, Onboarded("home-1", "c-1", "axle-site", "axle-c-1")),
    (if_.newer_consent_to_try, onboarding().site, replace(REFUSED, consented_at_ms=ENROLMENT.consented_at_ms - 1)),
    (if_.refused_because(Refusal.EXISTS), FRESH, REFUSED),
    (if_.found_ours, SETTLED, LookedUp("home-1", "c-1", Found("s", "a", MPAN))),
    (if_.found_strangers, SETTLED, LookedUp("home-1", "c-1", Found("s", "a", STRANGER))),
    (if_.another_question, ASKED, ScheduleAnswered("home-1", "c-1", NUMBER + 1, (), ())),
    (if_.another_question, SETTLED, ScheduleRefused("home-1", "c-1", NUMBER, Refusal.INVALID)),
    (if_.another_question, ASKED, Removed("home-1", "c-1", "a")),
    (if_.unknown_after_look_up, looking_up(), ScheduleRefused("home-1", "c-1", NUMBER, Refusal.UNKNOWN_CHARGER)),
    (if_.another_asset, SETTLED, Removed("home-1", "c-1", "another")),
    (if_.another_site, SETTLED, Offboarded("home-1", "another")),
]
HOLDS_NOT: list[Case] = [
    (if_.heard_before, SETTLED, plug_in()),
    (if_.moved_nothing, SETTLED, plug_in()),
    (if_.not_understood, FRESH, tap(BOOST, at(1))),
    (if_.changes_nothing_ahead, FRESH, tap(BOOST, at(2))),
    (if_.boost_is_over, FRESH, tap(BOOST, at(1) + 1)),
    (if_.boost_is_over, FRESH, tap(CANCEL)),
    (if_.boost_is_over, FRESH, plug_in()),
    (if_.nothing_ahead, FRESH, plug_in()),
    (if_.must_not_pause, SETTLED, plug_in()),
    (if_.newest_word_not_understood, charger(SETTLED, halted=Stamp(at(0), "a")), plug_in()),
    (if_.can_be_asked, FRESH, plug_in()),
    (if_.can_be_asked, charger(SETTLED, enrolled=Enrolled.NOT_ELIGIBLE), plug_in()),
    (if_.newer_consent_stands, SETTLED, leave()),
    (if_.newer_consent_stands, SETTLED, leave("c-1")),
    (if_.newer_consent_stands, SETTLED, Erase("n", at(0.5), HERE, "home-1")),
    (if_.one_charger_leaves, SETTLED, leave()),
    (if_.one_charger_leaves, SETTLED, plug_in()),
    (if_.order_heard_before, ordered(), Erase("another", at(0.1), HERE, "home-1")),
    (if_.order_heard_before, SETTLED, Erase("o", at(0.1), HERE, "home-1")),
    (if_.order_heard_before, ordered(), leave(event_id="o")),
    (if_.left_when_told, withdrew(), listed(at(0.1) - 1)),
    (if_.left_when_told, withdrew(), replace(listed(at(0.1)), charger_id="c-9")),
    (if_.left_when_told, SETTLED, listed(at(0.1))),
    (if_.left_when_told, FRESH, listed(at(0.1))),
    (if_.left_when_told, withdrew(), leave()),
    (if_.no_consent_known, SETTLED, Onboarded("home-1", "c-1", "s", "a")),
    (if_.has_these_ids, SETTLED, Onboarded("home-1", "c-1", "axle-site", "another")),
    (if_.has_these_ids, SETTLED, Onboarded("home-1", "c-1", "another", "axle-c-1")),
    (if_.has_these_ids, SETTLED, Removed("home-1", "c-1", "axle-c-1")),
    (if_.newer_consent_to_try, onboarding().site, REFUSED),
    (if_.newer_consent_to_try, SETTLED, REFUSED),
    (if_.newer_consent_to_try, onboarding().site, NOT_FOUND),
    (if_.refused_because(Refusal.INVALID), FRESH, REFUSED),
    (if_.refused_because(Refusal.INVALID), FRESH, NOT_FOUND),
    (if_.found_ours, SETTLED, LookedUp("home-1", "c-1", Found("s", "a", STRANGER))),
    (if_.found_ours, SETTLED, NOT_FOUND),
    (if_.found_ours, SETTLED, REFUSED),
    (if_.found_strangers, SETTLED, NOT_FOUND),
    (if_.found_strangers, SETTLED, REFUSED),
    (if_.another_question, ASKED, ScheduleAnswered("home-1", "c-1", NUMBER, (), ())),
    (if_.another_question, ASKED, ScheduleRefused("home-1", "c-1", NUMBER, Refusal.INVALID)),
    (if_.unknown_after_look_up, ASKED, ScheduleRefused("home-1", "c-1", NUMBER, Refusal.UNKNOWN_CHARGER)),
    (if_.unknown_after_look_up, SETTLED, ScheduleRefused("home-1", "c-1", NUMBER, Refusal.UNKNOWN_CHARGER)),
    (if_.unknown_after_look_up, looking_up(), ScheduleRefused("home-1", "c-1", NUMBER, Refusal.FORBIDDEN)),
    (if_.another_asset, SETTLED, Removed("home-1", "c-1", "axle-c-1")),
    (if_.another_asset, SETTLED, NOT_FOUND),
    (if_.another_site, SETTLED, Offboarded("home-1", "axle-site")),
    (if_.another_site, SETTLED, NOT_FOUND),
]


def turn_of(site: Site, event: Event) -> Turn:
    """The turn of an event at one o'clock, its registers taken."""
    turn = Turn(site, event, at(1), RULES)
    take(turn)
    return turn


def named(case: object) -> str:
    """A condition by its name."""
    return getattr(case, "__name__", "") if isinstance(case, Callable) else ""  # type: ignore[arg-type]


@pytest.mark.parametrize(("condition", "site", "event"), HOLDS, ids=named)
def test_a_condition_holds(condition: Condition, site: Site, event: Event) -> None:
    """For what its sentence says."""
    assert condition(turn_of(site, event))


@pytest.mark.parametrize(("condition", "site", "event"), HOLDS_NOT, ids=named)
def test_a_condition_does_not_hold(condition: Condition, site: Site, event: Event) -> None:
    """For what is just beside it."""
    assert not condition(turn_of(site, event))


def test_who_may_have_been_onboarded_elsewhere_can_be_asked_about() -> None:
    """Where the setting says that others onboard."""
    turn = Turn(FRESH.having(Charger("c-1")), plug_in(), at(1), ELSEWHERE)
    assert if_.can_be_asked(turn)
