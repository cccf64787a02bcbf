"""How much of Axle we may use just now: a limit on calls at once, a breaker, a budget of retries, and a rate.

Here is decided whether one more call may begin; which one that is, is the desk's business. Axle publishes no limits,
so they are found out: every call that is answered lets a little more through, every sign of trouble a lot less. The one
idea: whoever owes a call waits, and nothing is ever dropped. Time comes in as seconds of a steady clock, so all of this
can be tested without any.

- *Limit* (AIMD, as TCP has it): one call more for each round of answered calls, half as many at a sign of trouble.
  Calls that began before the last cut do not cut again: they are news of the same trouble.
- *Breaker*: after `BAD_IN_A_ROW` calls without a proper answer nothing is sent but one probe, at longer and longer
  intervals. Once a probe is answered, the limit begins at one call, so a healed Axle is not run over.
- *Retry budget*: a retry costs 1 and is paid back when it is answered; each first try earns a tenth. So retries that
  fail are at most a tenth of the load, and those of a healed Axle are not held back.
- *Rate*, only where one is set: so many calls a second, and at most a tenth of a second's worth at once.
"""

import math
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

BAD_IN_A_ROW = 10
OPEN_FIRST_SECONDS = 1.0
OPEN_MAX_SECONDS = 30.0
LIMIT_FIRST = 8.0
RETRY_SHARE = 0.1
RETRIES_SAVED_MAX = 20.0
RATE_AT_ONCE_SECONDS = 0.1
"""What was not used in so long may be made up for; with more, an outage would be followed by twice the rate."""
RETRIES_PER_SECOND = 0.5
"""What the budget earns by time alone, so that a quiet processor gets on as well."""


class Verdict(StrEnum):
    """What the end of a call says of Axle."""

    GOOD = "good"
    """It answered, be it with a refusal."""
    BUSY = "busy"
    """It asks for fewer calls (429)."""
    BAD = "bad"
    """No answer in time, a broken connection, trouble on its side."""
    OURS = "ours"
    """It never came to a call: we may not sign in, or our own end broke. Says nothing of Axle's load."""


class BreakerState(StrEnum):
    """What the breaker lets through: everything, nothing, or one call to see."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Leave(Struct, frozen=True):
    """The leave to make one call, until it ends."""

    began_at: float
    is_retry: bool
    is_probe: bool


class Governor:
    """The limits on calls to one host. Each `begin` needs its `end`."""

    def __init__(
        self, calls_max: int, uniform: Callable[[float, float], float], calls_per_second: float | None = None
    ) -> None:
        """`uniform(a, b)` is chance. Raises ValueError for limits below which nothing would ever be called."""
        if calls_max < 1 or (calls_per_second is not None and calls_per_second <= 0):
            raise ValueError("calls_max must be at least 1 and calls_per_second above 0")
        self._calls_max = calls_max
        self._uniform = uniform
        self._rate = calls_per_second
        self._limit = min(LIMIT_FIRST, float(calls_max))
        self._cut_at = -math.inf
        self._in_flight = 0
        self._state = BreakerState.CLOSED
        self._bad_in_a_row = 0
        self._open_seconds = 0.0
        self._opened_at = -math.inf
        self._probe_at = -math.inf
        self._retries = RETRIES_SAVED_MAX
        self._retries_at = -math.inf
        self._allowance_max = max((calls_per_second or 0.0) * RATE_AT_ONCE_SECONDS, 1.0)
        self._allowance = self._allowance_max
        self._allowance_at = -math.inf

    @property
    def state(self) -> BreakerState:
        """Of the breaker."""
        return self._state

    @property
    def limit(self) -> int:
        """How many calls may be under way at once."""
        return 1 if self._state is not BreakerState.CLOSED else int(self._limit)

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._in_flight

    def wait_seconds(self, now: float) -> float:
        """How long until a call may begin: 0 for now, infinite where only the end of a call can tell."""
        if self._state is BreakerState.PROBING:
            return math.inf
        if self._state is BreakerState.OPEN:
            return max(self._probe_at - now, self._rate_wait(now), 0.0)
        return math.inf if self._in_flight >= int(self._limit) else self._rate_wait(now)

    def retry_wait_seconds(self, now: float) -> float:
        """How long until the budget has a retry, 0 for now. A probe needs none."""
        if self._state is not BreakerState.CLOSED:
            return 0.0
        self._earn(now)
        # Rounding must never leave a hair that a wait of no time at all cannot earn.
        return 0.0 if self._retries >= 1 - 1e-9 else (1 - self._retries) / RETRIES_PER_SECOND

    def begin(self, now: float, *, is_retry: bool) -> Leave:
        """A call begins at `now`; `wait_seconds` was 0, and for a retry so was `retry_wait_seconds`."""
        self._in_flight += 1
        if self._rate is not None:
            self._refill(now)
            self._allowance -= 1
        if self._state is BreakerState.OPEN:
            self._state = BreakerState.PROBING
            return Leave(now, is_retry, is_probe=True)
        self._earn(now)
        self._retries = min(self._retries + (-1 if is_retry else RETRY_SHARE), RETRIES_SAVED_MAX)
        return Leave(now, is_retry, is_probe=False)

    def end(self, leave: Leave, now: float, verdict: Verdict) -> None:
        """The call has ended. What began before the breaker opened tells nothing that it does not know."""
        self._in_flight -= 1
        if leave.is_probe:
            self._judge_probe(now, verdict)
        elif self._state is BreakerState.CLOSED and leave.began_at >= self._opened_at:
            self._judge(leave, now, verdict)

    def _judge(self, leave: Leave, now: float, verdict: Verdict) -> None:
        match verdict:
            case Verdict.GOOD:
                self._bad_in_a_row = 0
                # A limit that nobody comes near is not known to be right, so it does not grow.
                if self._in_flight + 1 >= self._limit / 2:
                    self._limit = min(self._limit + 1 / self._limit, float(self._calls_max))
                if leave.is_retry:
                    self._retries = min(self._retries + 1, RETRIES_SAVED_MAX)
            case Verdict.BUSY:
                self._bad_in_a_row = 0
                self._cut(leave, now)
            case Verdict.BAD:
                self._bad_in_a_row += 1
                self._cut(leave, now)
                if self._bad_in_a_row >= BAD_IN_A_ROW:
                    self._open(now)
            case Verdict.OURS:
                pass

    def _judge_probe(self, now: float, verdict: Verdict) -> None:
        if verdict in {Verdict.GOOD, Verdict.BUSY}:
            self._state = BreakerState.CLOSED
            self._limit, self._cut_at = 1.0, now
            self._bad_in_a_row, self._open_seconds = 0, 0.0
        else:
            self._open(now)

    def _open(self, now: float) -> None:
        self._state = BreakerState.OPEN
        self._opened_at = now
        self._open_seconds = min(max(2 * self._open_seconds, OPEN_FIRST_SECONDS), OPEN_MAX_SECONDS)
        # Many processors failed at one moment; they shall not all come back at one.
        self._probe_at = now + self._uniform(self._open_seconds / 2, self._open_seconds)

    def _cut(self, leave: Leave, now: float) -> None:
        if leave.began_at >= self._cut_at:
            self._limit = max(self._limit / 2, 1.0)
            self._cut_at = now

    def _earn(self, now: float) -> None:
        if now > self._retries_at:
            earned = (now - self._retries_at) * RETRIES_PER_SECOND
            self._retries = min(self._retries + earned, RETRIES_SAVED_MAX)
            self._retries_at = now

    def _refill(self, now: float) -> None:
        if self._rate is not None and now > self._allowance_at:
            earned = (now - self._allowance_at) * self._rate
            self._allowance = min(self._allowance + earned, self._allowance_max)
            self._allowance_at = now

    def _rate_wait(self, now: float) -> float:
        if self._rate is None:
            return 0.0
        self._refill(now)
        return 0.0 if self._allowance >= 1 - 1e-9 else (1 - self._allowance) / self._rate
