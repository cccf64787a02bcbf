"""What is believed of Axle's answers: each rule broken once, each trim once, and what holds for any answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.believe import Belief, believe
from processor.core.rules import Rules
from processor.core.schedule import (
    EMPTY,
    HOUR_MS,
    MINUTE_MS,
    Schedule,
    intersect,
    is_subset,
    normalise,
    since,
    subtract,
    total_ms,
    union,
)
from tests.core.world import RULES

NIGHT: Schedule = ((0, 8 * HOUR_MS),)
BEFORE = -HOUR_MS


def minutes(*edges: float) -> Schedule:
    """Blocks from pairs of minutes."""
    return normalise(
        [(round(a * MINUTE_MS), round(b * MINUTE_MS)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    )


def believed(
    pauses: Schedule,
    *,
    sent: Schedule = NIGHT,
    served: Schedule = EMPTY,
    wanted: Schedule = NIGHT,
    boosted: Schedule = EMPTY,
    now_ms: int = BEFORE,
    rules: Rules = RULES,
) -> Belief:
    """Judge the answer that takes these pauses out of what was sent."""
    return believe(sent, subtract(sent, pauses), served, wanted, boosted, now_ms, rules)


def test_the_pause_of_the_guide_is_believed() -> None:
    """One pause of an hour in the fourth hour passes as it is."""
    assert believed(minutes(180, 240)) == Belief(minutes(180, 240))


def test_an_unchanged_answer_pauses_nothing() -> None:
    """The same schedule back is no pause and breaks no rule."""
    assert believed(EMPTY) == Belief(EMPTY, None)


@pytest.mark.parametrize(
    ("answered", "rule"),
    [
        (None, "unreadable"),
        (minutes(-1, 60), "not_a_subset"),
        (minutes(0, 481), "not_a_subset"),
        (minutes(0, 100, 500, 560), "not_a_subset"),
        (EMPTY, "empty"),
        (minutes(0, 100, 161, 480), "pause_too_long"),
        (minutes(0, 100, 150, 200, 250, 300, 321, 480), "pauses_too_long_in_all"),
        (minutes(0, 100, 110, 120, 130, 140, 150, 160, 170, 480), "too_many_pauses"),
    ],
)
def test_a_broken_rule_rejects_the_whole_answer(answered: Schedule | None, rule: str) -> None:
    """No zone, time outside of what was sent, nothing at all, or pauses above a cap: no pause is taken from it."""
    assert believe(NIGHT, answered, EMPTY, NIGHT, EMPTY, BEFORE, RULES) == Belief(EMPTY, rule)


def test_caps_are_inclusive() -> None:
    """Pauses of exactly an hour, two hours in all, or three of them, are within the caps."""
    assert believed(minutes(60, 120, 180, 240)).pauses == minutes(60, 120, 180, 240)
    assert believed(minutes(60, 70, 120, 130, 180, 190)).pauses == minutes(60, 70, 120, 130, 180, 190)


def test_pauses_that_were_served_count_against_the_caps() -> None:
    """What this session was paused before is added to the raw answer, in minutes and in number."""
    served = minutes(-120, -60)
    assert believed(minutes(180, 240), served=served).broken_rule is None
    assert believed(minutes(180, 240, 300, 301), served=served).broken_rule == "pauses_too_long_in_all"
    served = minutes(-120, -110, -100, -90)
    assert believed(minutes(60, 70), served=served).broken_rule is None
    assert believed(minutes(60, 70, 80, 90), served=served).broken_rule == "too_many_pauses"


def test_caps_are_for_the_raw_answer() -> None:
    """A pause that is too long is not saved by a boost that would hide most of it."""
    assert believed(minutes(0, 90), boosted=minutes(0, 60)).broken_rule == "pause_too_long"


def test_a_pause_begins_a_minute_from_now_at_the_earliest() -> None:
    """What lies before is trimmed away; what is left stays, when it is long enough."""
    assert believed(minutes(0, 30), now_ms=10 * MINUTE_MS).pauses == minutes(11, 30)
    assert believed(minutes(0, 30), now_ms=24 * MINUTE_MS).pauses == minutes(25, 30)
    assert believed(minutes(0, 30), now_ms=24 * MINUTE_MS + 1).pauses == EMPTY


def test_a_boost_is_never_paused() -> None:
    """A pause is cut where it meets the boost, and stays outside of it."""
    assert believed(minutes(30, 80), boosted=minutes(0, 60)).pauses == minutes(60, 80)
    assert believed(minutes(30, 64), boosted=minutes(0, 60)).pauses == EMPTY
    assert believed(minutes(30, 80), boosted=minutes(45, 60)).pauses == minutes(30, 45, 60, 80)


def test_only_wanted_time_is_paused() -> None:
    """A pause of time that the driver does not want any more is none."""
    assert believed(minutes(30, 80), wanted=minutes(0, 30, 200, 300)).pauses == EMPTY
    assert believed(minutes(30, 80), wanted=minutes(0, 60, 200, 300)).pauses == minutes(30, 60)


def test_a_short_pause_is_dropped() -> None:
    """A pause below five minutes is none; one of five is."""
    assert believed(minutes(60, 64.99)).pauses == EMPTY
    assert believed(minutes(60, 65)).pauses == minutes(60, 65)


@pytest.mark.parametrize(
    ("pauses", "left"),
    [
        (minutes(60, 80, 84, 94), minutes(60, 80)),
        (minutes(60, 70, 74, 94), minutes(74, 94)),
        (minutes(60, 70, 74, 84), minutes(60, 70)),
        (minutes(4, 40), EMPTY),
        (minutes(440, 477), EMPTY),
        (minutes(5, 40), minutes(5, 40)),
        (minutes(60, 70, 75, 85), minutes(60, 70, 75, 85)),
        (minutes(3, 20, 24, 60), minutes(24, 60)),
    ],
)
def test_a_fragment_costs_the_shorter_neighbour(pauses: Schedule, left: Schedule) -> None:
    """Where pauses leave less than five minutes of charging, the shorter one goes, the later of equals."""
    assert believed(pauses).pauses == left


def test_short_blocks_that_the_driver_set_are_no_fragments() -> None:
    """A stretch of three minutes that the driver asked for costs no pause."""
    wanted = minutes(0, 3, 60, 480)
    assert believed(minutes(100, 130), sent=wanted, wanted=wanted).pauses == minutes(100, 130)


def test_a_pause_may_fill_a_whole_block() -> None:
    """At the start, at the end, or a block as a whole: a subset is a subset."""
    wanted = minutes(0, 60, 120, 480)
    assert believed(minutes(0, 60), sent=wanted, wanted=wanted).pauses == minutes(0, 60)
    assert believed(minutes(420, 480), sent=wanted, wanted=wanted).pauses == minutes(420, 480)


EDGES = st.lists(st.integers(0, 240), min_size=2, max_size=8, unique=True).map(
    lambda edges: minutes(*sorted(edges)[: len(edges) // 2 * 2])
)


@given(wanted=EDGES, answered=EDGES, served=EDGES, boosted=EDGES, now=st.integers(-10, 200), subset=st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_axle_answers_a_pause_keeps_all_rules(
    wanted: Schedule, answered: Schedule, served: Schedule, boosted: Schedule, now: int, *, subset: bool
) -> None:
    """Pauses are wanted time, ahead, outside the boost, long enough, within the caps, and leave no fragment."""
    now_ms = now * MINUTE_MS
    sent = since(wanted, now_ms)
    served = tuple((start - 250 * MINUTE_MS, end - 250 * MINUTE_MS) for start, end in served[:1])
    answered = intersect(answered, sent) if subset else answered
    belief = believe(sent, answered, served, wanted, boosted, now_ms, RULES)
    assert is_subset(belief.pauses, subtract(sent, answered))
    assert is_subset(belief.pauses, since(wanted, now_ms + RULES.lead_ms))
    assert not intersect(belief.pauses, boosted)
    assert all(RULES.pause_min_ms <= end - start <= RULES.pause_max_ms for start, end in belief.pauses)
    assert not belief.pauses or total_ms(union(served, belief.pauses)) <= RULES.pauses_total_max_ms
    fragments = subtract(wanted, belief.pauses)
    assert all(end - start >= RULES.pause_min_ms or (start, end) in wanted for start, end in fragments)
    assert not (belief.pauses and belief.broken_rule)
