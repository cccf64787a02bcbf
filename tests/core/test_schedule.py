"""The schedule algebra, against plain sets of instants."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.schedule import (
    EMPTY,
    MINUTE_MS,
    Block,
    Schedule,
    before,
    end_ms,
    intersect,
    is_subset,
    normalise,
    round_up_to_minute,
    since,
    subtract,
    total_ms,
    union,
    window,
)

BLOCKS = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), max_size=6)
SCHEDULES = BLOCKS.map(normalise)


def instants(blocks: list[Block] | Schedule) -> set[int]:
    """Every instant that the blocks hold."""
    return {instant for start, end in blocks for instant in range(start, end)}


def is_normal(schedule: Schedule) -> bool:
    """Whether no block is empty, and each begins after the end of the one before."""
    edges = [edge for block in schedule for edge in block]
    return all(a < b for a, b in pairwise(edges))


@given(BLOCKS)
def test_normalise_keeps_the_instants(blocks: list[Block]) -> None:
    """Any blocks become sorted, disjoint, not touching blocks of the same instants."""
    assert instants(normalise(blocks)) == instants(blocks)
    assert is_normal(normalise(blocks))
    assert normalise(normalise(blocks)) == normalise(blocks)


@given(SCHEDULES, SCHEDULES)
@settings(max_examples=300)
def test_set_operations_are_those_of_sets(a: Schedule, b: Schedule) -> None:
    """Union, difference, intersection and subset say what they say of sets of instants, in normal form."""
    for made, wanted in (
        (union(a, b), instants(a) | instants(b)),
        (subtract(a, b), instants(a) - instants(b)),
        (intersect(a, b), instants(a) & instants(b)),
    ):
        assert instants(made) == wanted
        assert is_normal(made)
    assert is_subset(a, b) == (instants(a) <= instants(b))


@given(SCHEDULES, st.integers(-1, 25))
def test_cuts_share_a_schedule_in_two(a: Schedule, at: int) -> None:
    """What lies before an instant and what lies since it are the whole, and nothing twice."""
    assert instants(before(a, at)) == {instant for instant in instants(a) if instant < at}
    assert instants(since(a, at)) == {instant for instant in instants(a) if instant >= at}
    assert is_normal(before(a, at))
    assert is_normal(since(a, at))
    assert total_ms(before(a, at)) + total_ms(since(a, at)) == total_ms(a)


@given(SCHEDULES)
def test_the_end_is_the_last_instant(a: Schedule) -> None:
    """The end is just after the last instant, and an empty schedule has none."""
    assert end_ms(a) == (max(instants(a)) + 1 if a else None)


def test_a_window_of_no_time_is_empty() -> None:
    """A window that does not end after it begins is no time at all."""
    assert window(5, 5) == EMPTY
    assert window(6, 5) == EMPTY
    assert window(5, 6) == ((5, 6),)


def test_rounding_up_leaves_whole_minutes_alone() -> None:
    """A whole minute is its own; one millisecond more is the next."""
    assert round_up_to_minute(3 * MINUTE_MS) == 3 * MINUTE_MS
    assert round_up_to_minute(3 * MINUTE_MS + 1) == 4 * MINUTE_MS
    assert round_up_to_minute(0) == 0
