"""Kafka orders nothing across topics: whatever the order of arrival, the same events end in the same household."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.decide import decide
from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Enrolment,
    Erase,
    Event,
    Input,
    PlugIn,
    Source,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.intents import Onboard, owed
from processor.core.outputs import ModifiedSchedule
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import EMPTY, HOUR_MS, Schedule
from processor.core.site import Boost, Site, Stamp, boost_window, halted, requested, taken_away, withdrawn
from tests.core.world import GUIDE_SCHEDULE, NIGHT, RULES, at, consented

NOW_MS = at(4)
"""All events are read now, in the middle of the night; the wishes reach further."""
SHORT: Schedule = ((NIGHT, NIGHT + 6 * HOUR_MS),)
LONG: Schedule = ((NIGHT, NIGHT + 4 * HOUR_MS), (NIGHT + 5 * HOUR_MS, NIGHT + 9 * HOUR_MS))
CHARGERS = ("c-1", "c-2")
OTHER_RULES = Rules(
    onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL, onboarding_elsewhere=True
)


def plug_in(
    event_id: str, hours: float, schedule: Schedule, enrolment: Enrolment | None = None, charger: str = "c-1"
) -> PlugIn:
    """A plug-in so long after the evening began."""
    return PlugIn(event_id, at(hours), Source(event_id, 0, 0), "home-1", charger, schedule, None, enrolment)


def tap(
    event_id: str,
    hours: float,
    action: BoostAction,
    until: float | None = None,
    schedule: Schedule | None = None,
    charger: str = "c-1",
) -> UserBoost:
    """Something that a driver did in the app."""
    until_ms = None if until is None else at(until)
    source = Source(event_id, 0, 0)
    return UserBoost(event_id, at(hours), source, "home-1", charger, action, until_ms, schedule)


def withdrawal(event_id: str, hours: float, charger: str | None = None) -> ConsentWithdrawn:
    """The household, or one charger, leaves."""
    reason = WithdrawalReason.CHARGER_DISCONNECTED if charger else WithdrawalReason.CONSENT_WITHDRAWN
    return ConsentWithdrawn(event_id, at(hours), Source(event_id, 0, 0), "home-1", charger, reason)


def erasure(event_id: str, hours: float) -> Erase:
    """An order to forget the household."""
    return Erase(event_id, at(hours), Source(event_id, 0, 0), "home-1")


def still_listed(event_id: str, left: float, charger: str = "c-1") -> StillListed:
    """An order to look for a charger that left so long after the evening began."""
    return StillListed(event_id, at(4), Source(event_id, 0, 0), "home-1", charger, at(left))


def unreadable(event_id: str, hours: float) -> Unreadable:
    """Something that we cannot read."""
    return Unreadable(event_id, at(hours), Source(event_id, 0, 0), "home-1", "c-1", Input.USER_BOOST)


BOOST, CANCEL = BoostAction.BOOST, BoostAction.BOOST_CANCELLED
CHANGE, UNKNOWN = BoostAction.SCHEDULE_CHANGED, BoostAction.UNKNOWN
SETS: dict[str, tuple[Event, ...]] = {
    "two sessions and a boost between them": (
        plug_in("a", 0, SHORT),
        tap("b", 1, BOOST, 7),
        plug_in("c", 2, GUIDE_SCHEDULE),
        tap("d", 2.5, CHANGE, None, LONG),
    ),
    "boosts, a cancel, and a boost again": (
        plug_in("a", 0, SHORT),
        tap("b", 1, BOOST, 9),
        tap("c", 1.5, CANCEL),
        tap("d", 2, BOOST, 6, LONG),
        tap("e", 2.5, BOOST, 5),
    ),
    "a boost just before its plug-in": (
        tap("a", 1.95, BOOST, 8),
        plug_in("b", 2, SHORT),
        plug_in("c", 1, LONG),
        tap("d", 1.5, CHANGE, None, GUIDE_SCHEDULE),
    ),
    "consent, withdrawal, consent, disconnection": (
        plug_in("a", 0, SHORT, consented(at(0))),
        withdrawal("b", 1),
        plug_in("c", 2, LONG, consented(at(1.5))),
        withdrawal("d", 1.2, "c-1"),
        tap("e", 3, BOOST, 6),
    ),
    "withdrawn twice, consented between": (
        plug_in("a", 0, SHORT, consented(at(0))),
        withdrawal("b", 1),
        plug_in("c", 2, LONG, consented(at(2))),
        withdrawal("d", 3),
        withdrawal("e", 3.5, "c-1"),
    ),
    "everything at the same instant": (
        plug_in("a", 1, SHORT, consented(at(1))),
        tap("b", 1, BOOST, 8),
        tap("c", 1, CHANGE, None, LONG),
        withdrawal("d", 1),
        tap("e", 1, CANCEL),
    ),
    "what we do not understand, among what we do": (
        plug_in("a", 0, SHORT, consented(at(0))),
        unreadable("b", 1),
        tap("c", 2, UNKNOWN),
        tap("d", 1.5, BOOST, 7),
        plug_in("e", 2.5, LONG),
    ),
    "two chargers and one withdrawal": (
        plug_in("a", 0, SHORT, consented(at(-5))),
        plug_in("b", 0.5, LONG, consented(at(-1)), "c-2"),
        withdrawal("c", -2),
        tap("d", 1, BOOST, 6, None, "c-2"),
        withdrawal("e", 2, "c-1"),
    ),
    "over before it is read": (
        tap("a", 1, BOOST, 3),
        tap("b", 2, CANCEL),
        plug_in("c", 0, SHORT),
        tap("d", 1.5, BOOST, 2.5, LONG),
    ),
    "six: two homecomings with boosts and changes": (
        plug_in("a", 0, SHORT, consented(at(0))),
        tap("b", 0.98, BOOST, 7),
        plug_in("c", 1, LONG),
        tap("d", 1.5, CHANGE, None, GUIDE_SCHEDULE),
        tap("e", 2, CANCEL),
        tap("f", 2.5, BOOST, 5, SHORT),
    ),
    "six: consents and withdrawals of a home and of its chargers": (
        plug_in("a", 0, SHORT, consented(at(-1))),
        withdrawal("b", 0.5),
        plug_in("c", 1, LONG, consented(at(0.8)), "c-2"),
        withdrawal("d", 1.2, "c-1"),
        plug_in("e", 2, GUIDE_SCHEDULE, consented(at(1.5))),
        withdrawal("f", 1.8, "c-2"),
    ),
    "six: every kind at one charger": (
        plug_in("a", 0, SHORT, consented(at(0))),
        tap("b", 1, BOOST, 8),
        tap("c", 1.2, CANCEL),
        tap("d", 1.4, UNKNOWN),
        unreadable("e", 1.6),
        withdrawal("f", 1.3),
    ),
    "six: every kind at the same instant": (
        plug_in("f", 1, SHORT, consented(at(1))),
        tap("e", 1, BOOST, 8),
        tap("d", 1, CANCEL),
        tap("c", 1, CHANGE, None, LONG),
        unreadable("b", 1),
        withdrawal("a", 1, "c-1"),
    ),
    "six: two chargers, one boosted before it is plugged in": (
        tap("a", 0.96, BOOST, 9, None, "c-2"),
        plug_in("b", 1, SHORT, consented(at(1)), "c-2"),
        plug_in("c", 0.5, LONG),
        withdrawal("d", 0.7),
        tap("e", 2, CHANGE, None, GUIDE_SCHEDULE),
        withdrawal("f", 3, "c-2"),
    ),
    "orders to look for what left, between two consents": (
        plug_in("a", 0, SHORT, consented(at(0))),
        withdrawal("b", 1),
        still_listed("c", 1),
        plug_in("d", 2, LONG, consented(at(2))),
        still_listed("e", 3),
        withdrawal("f", 3, "c-1"),
    ),
    "the same event twice": (
        plug_in("a", 0, SHORT),
        plug_in("a", 0, SHORT),
        tap("b", 1, BOOST, 6),
        tap("b", 1, BOOST, 6),
        tap("c", 2, CANCEL),
    ),
}


@dataclass(frozen=True, slots=True)
class End:
    """What a household ends in, as far as order may never matter."""

    requested: tuple[Schedule, ...]
    published: tuple[Schedule, ...]
    boosts: tuple[Boost | None, ...]
    boosted: tuple[Schedule, ...]
    halted: tuple[bool, ...]
    removed: tuple[Stamp | None, ...]
    taken_away: tuple[bool, ...]
    consent: Stamp | None
    withdrawal: Stamp | None
    withdrawn: bool


def end_of(events: Sequence[Event], rules: Rules = RULES) -> End:
    """Fold the events in this order, all of them now, without a word of Axle."""
    site = Site("home-1")
    published: dict[str, Schedule] = {}
    for event in events:
        decision = decide(site, event, NOW_MS, rules)
        site = decision.site
        for record in decision.outputs:
            if isinstance(record, ModifiedSchedule):
                assert record.effective == record.requested
                published[record.charger_id] = record.effective
    chargers = [charger for charger_id in CHARGERS if (charger := site.charger(charger_id))]
    return End(
        requested=tuple(requested(charger, NOW_MS, RULES) for charger in chargers),
        published=tuple(published.get(charger.charger_id, EMPTY) for charger in chargers),
        boosts=tuple(charger.boost for charger in chargers),
        boosted=tuple(boost_window(charger, NOW_MS, RULES) for charger in chargers),
        halted=tuple(halted(charger) for charger in chargers),
        removed=tuple(charger.removed for charger in chargers),
        taken_away=tuple(taken_away(site, charger) for charger in chargers),
        consent=site.consent,
        withdrawal=site.withdrawal,
        withdrawn=withdrawn(site),
    )


@pytest.mark.parametrize("rules", [RULES, OTHER_RULES], ids=["default", "elsewhere"])
@pytest.mark.parametrize("name", SETS)
def test_the_order_of_arrival_makes_no_difference(name: str, rules: Rules) -> None:
    """Every permutation ends in the same wish, boost, consent, withdrawal and removal, and the wish is published."""
    ends = {end_of(order, rules) for order in permutations(SETS[name])}
    assert len(ends) == 1
    (end,) = ends
    assert end.published == end.requested


FORGOTTEN: dict[str, tuple[Event, ...]] = {
    "erased, and nothing newer": (
        plug_in("a", 0, SHORT, consented(at(0))),
        tap("b", 1, BOOST, 8),
        erasure("c", 2),
        plug_in("d", 3, LONG, consented(at(1))),
        withdrawal("e", 1.5),
        withdrawal("f", 2.5, "c-1"),
    ),
    "erased between two consents": (
        plug_in("a", 0, SHORT, consented(at(0))),
        withdrawal("b", 1),
        erasure("c", 1.5),
        plug_in("d", 3, LONG, consented(at(2)), "c-2"),
        unreadable("e", 1),
        tap("f", 2, CHANGE, None, GUIDE_SCHEDULE),
    ),
    "erased twice, and withdrawn last": (
        erasure("a", 1),
        plug_in("b", 0, SHORT, consented(at(0))),
        erasure("c", 2),
        plug_in("d", 2, LONG, consented(at(1.5))),
        withdrawal("e", 3),
    ),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_an_erasure_in_any_order_leaves_the_same_withdrawal(name: str) -> None:
    """What was erased before or after it was read differs by design; that and since when the household withdrew, not.

    Nobody who withdrew so is known by name, or owed an onboarding.
    """
    ends = set()
    for order in permutations(FORGOTTEN[name]):
        site = Site("home-1")
        for event in order:
            site = decide(site, event, NOW_MS, RULES).site
        assert site.withdrawal is not None
        ends.add((site.withdrawal.at_ms, withdrawn(site)))
        if withdrawn(site):
            assert site.enrolment is None
            assert not any(isinstance(call, Onboard) for call in owed(site, NOW_MS, RULES))
    assert len(ends) == 1


HOURS = st.sampled_from([-1.0, 0.0, 0.95, 1.0, 1.0, 2.0, 3.9])
IDS = st.sampled_from("abcdefgh")
SCHEDULES = st.sampled_from([SHORT, LONG, GUIDE_SCHEDULE])
PLACES = st.sampled_from(CHARGERS)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(plug_in, IDS, HOURS, SCHEDULES, st.none() | st.builds(consented, HOURS.map(at)), PLACES),
    st.builds(tap, IDS, HOURS, st.just(BOOST), st.sampled_from([2.5, 5.0, 8.0]), st.none() | SCHEDULES, PLACES),
    st.builds(tap, IDS, HOURS, st.sampled_from([CANCEL, UNKNOWN]), charger=PLACES),
    st.builds(tap, IDS, HOURS, st.just(CHANGE), st.none(), SCHEDULES, PLACES),
    st.builds(withdrawal, IDS, HOURS, st.none() | PLACES),
    st.builds(unreadable, IDS, HOURS),
    st.builds(still_listed, IDS, HOURS, PLACES),
)


@given(st.lists(EVENTS, min_size=2, max_size=4, unique_by=lambda event: getattr(event, "event_id", None)))
@settings(max_examples=150, deadline=None)
def test_no_set_of_events_depends_on_its_order(events: list[Event]) -> None:
    """Also events that nobody thought of end the same in every order."""
    ends = {end_of(order) for order in permutations(events)}
    assert len(ends) == 1
    (end,) = ends
    assert end.published == end.requested


@given(st.lists(EVENTS, min_size=5, max_size=6, unique_by=lambda event: getattr(event, "event_id", None)))
@settings(max_examples=10, deadline=None)
def test_no_set_of_six_events_depends_on_its_order(events: list[Event]) -> None:
    """All 720 orders of six events that nobody thought of end the same."""
    ends = {end_of(order) for order in permutations(events)}
    assert len(ends) == 1
    (end,) = ends
    assert end.published == end.requested
