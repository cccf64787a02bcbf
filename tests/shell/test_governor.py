"""How much of Axle is used: found out, never exceeded, and given back when Axle is well again."""

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.shell.governor import (
    BAD_IN_A_ROW,
    OPEN_FIRST_SECONDS,
    OPEN_MAX_SECONDS,
    RETRIES_PER_SECOND,
    RETRIES_SAVED_MAX,
    RETRY_SHARE,
    BreakerState,
    Governor,
    Leave,
    Verdict,
)

VERDICTS = st.sampled_from(list(Verdict))
STEPS = st.lists(
    st.tuples(st.floats(0, 3), st.booleans(), st.integers(0, 100), VERDICTS, st.integers(0, 5)), max_size=120
)
CALLS_MAX = 20


@dataclass
class Evening:
    """A governor under a clock of its own, and what was done under it."""

    governor: Governor
    now: float = 1000.0
    under_way: list[Leave] = field(default_factory=list)
    begun_at: list[float] = field(default_factory=list)
    first_tries: int = 0
    failed_retries: int = 0
    in_flight_max: int = 0

    def begin(self, *, is_retry: bool = False) -> bool:
        """Begin a call if that is allowed just now."""
        if self.governor.wait_seconds(self.now) > 0:
            return False
        if is_retry and self.governor.retry_wait_seconds(self.now) > 0:
            return False
        limit = self.governor.limit
        self.under_way.append(self.governor.begin(self.now, is_retry=is_retry))
        assert self.governor.in_flight == len(self.under_way)
        assert self.governor.state is BreakerState.PROBING or len(self.under_way) <= limit
        self.begun_at.append(self.now)
        self.first_tries += not is_retry
        self.in_flight_max = max(self.in_flight_max, len(self.under_way))
        return True

    def end(self, number: int, verdict: Verdict) -> None:
        """End one of the calls under way."""
        leave = self.under_way.pop(number)
        self.failed_retries += leave.is_retry and not leave.is_probe and verdict is not Verdict.GOOD
        self.governor.end(leave, self.now, verdict)

    def fail(self, calls: int) -> None:
        """So many calls that Axle does not answer, one after the other."""
        for _ in range(calls):
            assert self.begin()
            self.end(0, Verdict.BAD)
            self.now += 0.01


def evening(calls_per_second: float | None = None, calls_max: int = CALLS_MAX) -> Evening:
    """Chance always draws the upper bound."""
    return Evening(Governor(calls_max, lambda _, high: high, calls_per_second))


def live(evening: Evening, steps: list[tuple[float, bool, int, Verdict, int]]) -> None:
    """So many seconds pass, calls begin where they may, and some end."""
    for seconds, is_retry, which, verdict, begins in steps:
        evening.now += seconds
        for _ in range(begins):
            evening.begin(is_retry=is_retry)
        if evening.under_way:
            evening.end(which % len(evening.under_way), verdict)


@given(STEPS)
def test_there_are_never_more_calls_than_allowed(steps: list[tuple[float, bool, int, Verdict, int]]) -> None:
    """Whatever Axle does, calls under way stay within the limit of the moment, and that within the setting."""
    one = evening()
    live(one, steps)
    assert one.in_flight_max <= CALLS_MAX
    assert 1 <= one.governor.limit <= CALLS_MAX


@given(STEPS)
def test_retries_that_fail_stay_within_their_budget(steps: list[tuple[float, bool, int, Verdict, int]]) -> None:
    """They are at most a tenth of the first tries, beside what was saved and what time has earned."""
    one = evening()
    began = one.now
    live(one, steps)
    earned = RETRY_SHARE * one.first_tries + (one.now - began) * RETRIES_PER_SECOND
    assert one.failed_retries <= RETRIES_SAVED_MAX + earned + 1e-6


@given(STEPS, st.floats(0.2, 50))
def test_a_rate_is_kept_in_every_stretch_of_time(
    steps: list[tuple[float, bool, int, Verdict, int]], calls_per_second: float
) -> None:
    """Between any two calls there are no more than the rate allows, and one second's worth (at least one call)."""
    one = evening(calls_per_second)
    live(one, steps)
    at_once = max(calls_per_second, 1)
    for first, since in enumerate(one.begun_at):
        for last in range(first, len(one.begun_at)):
            assert last - first + 1 <= at_once + (one.begun_at[last] - since) * calls_per_second + 1e-6


@given(STEPS)
def test_once_axle_is_well_everything_is_let_through_soon(steps: list[tuple[float, bool, int, Verdict, int]]) -> None:
    """Whatever happened before: 500 retries are through within a minute and a half of answers."""
    one = evening()
    live(one, steps)
    while one.under_way:
        one.end(0, Verdict.GOOD)
    healed, through = one.now, 0
    while through < 500:
        while one.begin(is_retry=True):
            pass
        one.now += 0.05
        for _ in range(len(one.under_way)):
            one.end(0, Verdict.GOOD)
            through += 1
        assert one.now - healed < 90
    assert one.governor.state is BreakerState.CLOSED


def test_the_breaker_opens_after_so_many_failures_and_lets_one_probe_through() -> None:
    """Then nothing is sent; after its time one call is, and none beside it until that has ended."""
    one = evening()
    one.fail(BAD_IN_A_ROW)
    states = [one.governor.state]
    assert not one.begin()
    one.now += OPEN_FIRST_SECONDS
    assert one.begin()
    states.append(one.governor.state)
    assert one.governor.wait_seconds(one.now) == math.inf
    one.end(0, Verdict.GOOD)
    states.append(one.governor.state)
    assert states == [BreakerState.OPEN, BreakerState.PROBING, BreakerState.CLOSED]
    assert one.governor.limit == 1


def test_probes_become_rare_while_nothing_answers() -> None:
    """Each failed probe doubles the wait, up to its longest; an answer makes it short again."""
    one = evening()
    one.fail(BAD_IN_A_ROW)
    waits: list[float] = []
    for verdict in [Verdict.BAD, Verdict.OURS, *[Verdict.BAD] * 5, Verdict.BUSY]:
        waits.append(round(one.governor.wait_seconds(one.now), 3))
        one.now += waits[-1]
        assert one.begin()
        one.end(0, verdict)
    assert waits[0] == pytest.approx(OPEN_FIRST_SECONDS, abs=0.02)
    assert waits[1:] == [2, 4, 8, 16, *[OPEN_MAX_SECONDS] * 3]
    one.fail(BAD_IN_A_ROW)
    assert one.governor.wait_seconds(one.now) <= OPEN_FIRST_SECONDS


def test_a_probe_needs_no_budget() -> None:
    """However many retries failed before, the call that finds out whether Axle is back is made."""
    one = evening()
    while one.governor.state is BreakerState.CLOSED:
        one.now += 1 / RETRIES_PER_SECOND
        assert one.begin(is_retry=True)
        one.end(0, Verdict.BAD)
    one.now += OPEN_FIRST_SECONDS
    assert one.begin(is_retry=True)


def test_one_trouble_halves_the_limit_once() -> None:
    """Eight calls that fail together are one piece of news; eight more that began after it are another."""
    one = evening()
    for limit in (4, 2, 1, 1):
        while one.begin():
            pass
        one.now += 1
        while one.under_way:
            one.end(0, Verdict.BUSY)
        assert one.governor.limit == limit


def test_answers_raise_the_limit_only_where_it_is_used() -> None:
    """A thousand answers one by one leave it where it was; full rounds of them raise it by one each."""
    one = evening()
    for _ in range(1000):
        assert one.begin()
        one.end(0, Verdict.GOOD)
    assert one.governor.limit == 8
    for _ in range(40):
        while one.begin():
            pass
        while one.under_way:
            one.end(0, Verdict.GOOD)
    assert one.governor.limit == CALLS_MAX


def test_late_news_of_an_old_trouble_changes_nothing() -> None:
    """A call from before the breaker opened, whose end comes after it closed, neither cuts nor opens."""
    one = evening()
    assert one.begin()
    late = one.under_way.pop()
    for _ in range(BAD_IN_A_ROW):
        leave = one.governor.begin(one.now, is_retry=False)
        one.now += 0.01
        one.governor.end(leave, one.now, Verdict.BAD)
    one.now += OPEN_FIRST_SECONDS
    probe = one.governor.begin(one.now, is_retry=False)
    one.governor.end(probe, one.now, Verdict.GOOD)
    one.governor.end(late, one.now, Verdict.BAD)
    assert (one.governor.state, one.governor.limit, one.governor.in_flight) == (BreakerState.CLOSED, 1, 0)


@pytest.mark.parametrize(("calls_max", "rate"), [(0, None), (1, 0.0), (1, -1.0)])
def test_limits_that_let_nothing_through_are_refused(calls_max: int, rate: float | None) -> None:
    """They would be found out at the first call that never comes."""
    with pytest.raises(ValueError, match="at least 1 and calls_per_second above 0"):
        evening(rate, calls_max)
