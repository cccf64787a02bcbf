"""Facts that follow from the registers."""

import pytest

from processor.core.outputs import ConsentState
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.site import (
    Base,
    Boost,
    Charger,
    Site,
    Stamp,
    boost_window,
    consent_state,
    gives_up_at_ms,
    halted,
    has_left,
    is_live,
    left_at_ms,
    may_enrol,
    requested,
    taken_away,
    to_send,
    withdrawn,
)
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, NIGHT, RULES, T0, World, at


def stamp(at_ms: int, event_id: str = "e") -> Stamp:
    """When something was said."""
    return Stamp(at_ms, event_id)


@pytest.mark.parametrize(
    ("consent", "withdrawal", "state"),
    [
        (None, None, ConsentState.NONE),
        (5, None, ConsentState.GIVEN),
        (None, 5, ConsentState.WITHDRAWN),
        (5, 6, ConsentState.WITHDRAWN),
        (5, 5, ConsentState.WITHDRAWN),
        (6, 5, ConsentState.GIVEN),
    ],
)
def test_a_withdrawal_stands_until_a_newer_consent(
    consent: int | None, withdrawal: int | None, state: ConsentState
) -> None:
    """Equal times are a withdrawal, whatever the ids."""
    site = Site(
        "home-1",
        consent=None if consent is None else stamp(consent, "z"),
        withdrawal=None if withdrawal is None else stamp(withdrawal, "a"),
    )
    assert consent_state(site) is state
    assert withdrawn(site) is (state is ConsentState.WITHDRAWN)


def test_a_charger_may_be_enrolled_once_for_each_consent() -> None:
    """Not without a consent, not after a withdrawal or removal, not twice with the same one."""
    charger = Charger("c-1")
    assert not may_enrol(Site("home-1"), charger)
    given = Site("home-1", consent=stamp(5))
    assert may_enrol(given, charger)
    assert not may_enrol(Site("home-1", consent=stamp(5), withdrawal=stamp(5)), charger)
    for removed_at, plugged_at, allowed in (
        (4, 5, True),
        (4, 4, False),
        (4, None, False),
        (5, 6, False),
        (6, 7, False),
    ):
        plugged = None if plugged_at is None else stamp(plugged_at)
        removed = Charger("c-1", removed=stamp(removed_at), plugged=plugged)
        assert taken_away(given, removed) is not allowed
        assert has_left(given, removed) is not allowed
        assert may_enrol(given, removed) is allowed
    assert not may_enrol(given, Charger("c-1", consent_used_at_ms=5))
    assert may_enrol(given, Charger("c-1", consent_used_at_ms=4))
    assert taken_away(Site("home-1"), Charger("c-1", removed=stamp(1)))


@pytest.mark.parametrize(
    ("newest", "stands"),
    [
        (Charger("c-1", halted=stamp(5)), True),
        (Charger("c-1", halted=stamp(5), plugged=stamp(4)), True),
        (Charger("c-1", halted=stamp(5), plugged=stamp(6)), False),
        (Charger("c-1", halted=stamp(5), base=Base(stamp(6), ())), False),
        (Charger("c-1", halted=stamp(5), boost=Boost(stamp(6), None)), False),
        (Charger("c-1", halted=stamp(5, "b"), boost=Boost(stamp(5, "a"), None)), True),
        (Charger("c-1", halted=stamp(5, "a"), boost=Boost(stamp(5, "b"), None)), False),
        (Charger("c-1"), False),
    ],
)
def test_a_charger_is_halted_until_a_newer_action(newest: Charger, *, stands: bool) -> None:
    """A plug-in, a base or a boost that is newer lifts it."""
    assert halted(newest) is stands


def test_a_boost_counts_until_its_end_and_for_its_session() -> None:
    """It runs from its tap to its end, begins up to five minutes before the plug-in, and a cancel ends it."""
    boosted = Charger("c-1", boost=Boost(stamp(T0), at(2)))
    assert boost_window(boosted, at(1), RULES) == ((T0, at(2)),)
    assert boost_window(boosted, at(2), RULES) == ()
    assert boost_window(Charger("c-1", boost=Boost(stamp(T0), None)), at(1), RULES) == ()
    assert boost_window(Charger("c-1"), at(1), RULES) == ()
    for minutes, counts in ((4, True), (5, True), (5.01, False)):
        plugged = Charger("c-1", plugged=stamp(at(0, minutes)), boost=Boost(stamp(T0), at(2)))
        assert bool(boost_window(plugged, at(1), RULES)) is counts


def test_requested_is_base_and_boost() -> None:
    """The union, while the boost is in force; the base alone afterwards; nothing without either."""
    charger = Charger("c-1", base=Base(stamp(T0), GUIDE_SCHEDULE), boost=Boost(stamp(T0), at(0.5)))
    assert requested(charger, T0, RULES) == ((T0, at(0.5)), *GUIDE_SCHEDULE)
    assert requested(charger, at(0.5), RULES) == GUIDE_SCHEDULE
    assert requested(Charger("c-1"), T0, RULES) == ()


def test_a_session_is_live_until_its_end() -> None:
    """At the very end it is over, and without a schedule there was none."""
    charger = Charger("c-1", base=Base(stamp(T0), GUIDE_SCHEDULE))
    end = GUIDE_SCHEDULE[-1][1]
    assert is_live(charger, end - 1, RULES)
    assert not is_live(charger, end, RULES)
    assert not is_live(Charger("c-1"), T0, RULES)


def test_what_is_sent_begins_at_the_next_whole_minute() -> None:
    """Time that is over is not sent, and no part of a minute is."""
    charger = Charger("c-1", base=Base(stamp(T0), GUIDE_SCHEDULE))
    end = GUIDE_SCHEDULE[-1][1]
    assert to_send(charger, T0, RULES) == GUIDE_SCHEDULE
    assert to_send(charger, NIGHT + 1, RULES) == ((NIGHT + MINUTE_MS, end),)
    assert to_send(charger, end - MINUTE_MS + 1, RULES) == ()


def test_a_question_is_given_up_when_no_pause_is_possible_any_more() -> None:
    """Six minutes before the end of the session; or after the set time, whichever is first."""
    world = World().enrolled()
    question = world.charger.question
    assert question is not None
    end = GUIDE_SCHEDULE[-1][1]
    assert world.due_ms == gives_up_at_ms(world.charger, question, T0, RULES) == end - 6 * MINUTE_MS
    limited = Rules(give_up_after_ms=10_000)
    assert gives_up_at_ms(world.charger, question, T0, limited) == T0 + 10_000
    boosted = Charger("c-1", boost=Boost(stamp(T0), at(1)))
    assert gives_up_at_ms(boosted, question, T0, RULES) == at(1) - 6 * MINUTE_MS
    assert gives_up_at_ms(boosted, question, at(1), RULES) <= at(1)
    lazy = Rules(give_up_after_ms=48 * HOUR_MS)
    assert gives_up_at_ms(world.charger, question, T0, lazy) == end - 6 * MINUTE_MS


def test_a_site_is_due_when_its_onboarding_grows_too_old() -> None:
    """After a day, when no question is due before; without either it need not be woken."""
    assert World().due_ms is None
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.wake(GUIDE_SCHEDULE[-1][1])
    assert world.charger.question is None
    assert world.due_ms == T0 + 24 * HOUR_MS


def test_a_charger_is_put_in_its_own_place() -> None:
    """Others keep their place and their facts."""
    site = Site("home-1", chargers=(Charger("a"), Charger("b")))
    changed = site.having(Charger("a", revision=1)).having(Charger("c"))
    assert changed.chargers == (Charger("a", revision=1), Charger("b"), Charger("c"))
    assert changed.charger("d") is None


def test_when_a_charger_left_is_told_only_while_it_has_left() -> None:
    """The household's withdrawal goes before its own disconnection; once it came back neither counts."""
    removed, plain = Charger("c-1", removed=stamp(2)), Charger("c-1")
    withdrawal = Site("home-1", stamp(1), withdrawal=stamp(3))
    back = Site("home-1", stamp(4), withdrawal=stamp(3))
    assert left_at_ms(withdrawal, removed) == left_at_ms(withdrawal, plain) == stamp(3).at_ms
    assert left_at_ms(Site("home-1", stamp(1)), removed) == stamp(2).at_ms
    assert left_at_ms(Site("home-1", stamp(1)), plain) is None
    assert left_at_ms(back, plain) is None
    assert left_at_ms(back, Charger("c-1", plugged=stamp(5), removed=stamp(2))) is None
