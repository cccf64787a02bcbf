"""The desk: which calls to Axle are under way, and which is next. It keeps nothing that a restart could not rebuild.

After each commit the round shows it the sites that were touched; what they owe (`core.intents.owed`) is queued, in
*lanes*: one for each charger's questions, one for a site's enrolment calls. A lane has at most one call in flight, and
its replacement waits for that call to end. The one idea: right before a call is made the intent is derived afresh from
the committed state, so whatever was withdrawn, replaced or settled meanwhile is not sent.
"""

import asyncio
import functools
import heapq
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from processor.core.events import Answer, CallFailed, Offboarded, Removed
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove, owed
from processor.core.rules import Rules
from processor.core.site import Site, last_chance_ms
from processor.shell.axle_client import Retry
from processor.shell.clock import Clock
from processor.shell.governor import BreakerState, Governor, Leave, Verdict
from processor.shell.metrics import Metrics
from processor.shell.owing import CallKind, debt_of, show_owed

Lane = tuple[str, str | None]
"""Site and charger for questions; site and None for enrolment calls."""
Rank = tuple[int, int]
"""Who goes first: priority, then the moment after which the call is of no use any more. Lower is earlier."""
FIRST: Rank = (0, 0)
NOTHING_KNOWN: Mapping[Lane, Intent] = MappingProxyType({})
BACKOFF_FIRST_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0
SAME_WARNING_SECONDS = 30.0
log = structlog.get_logger(__name__)


class Caller(Protocol):
    """Who makes a call: the Axle client."""

    def perform(self, intent: Intent) -> Coroutine[Any, Any, Answer | Retry]:
        """Make it; never raises."""


@dataclass(slots=True)
class LaneState:
    """What a lane is doing: waiting for its time, for a slot, for Axle, or for its answer's commit."""

    task: int
    call: "asyncio.Task[Answer | Retry] | None" = None
    answered: bool = False
    """The answer is with the round; nothing is sent until it is committed."""
    tries: int = 0
    not_before_ms: int = 0
    order: int = 0
    """Its place among its equals, kept while it waits however often its wish changes; 0: not in the queue."""
    rank: Rank = FIRST
    """What it was last queued with."""
    held: bool = False
    """A predecessor's call may be under way: the lane stays until its time has come, whatever becomes of its wish."""
    wakes_at_ms: int = 0
    """When a timer will queue it; 0: no timer."""
    was_told_to_wait: bool = False
    """Axle itself asked for the wait."""
    kind: CallKind = CallKind.SCHEDULE
    """What it was last queued for, and since when that is owed."""
    since_ms: int = 0


class Desk:
    """All calls of this process. Used on the event loop only."""

    def __init__(
        self,
        caller: Caller,
        sites: Callable[[int, str], Site],
        report: Callable[[int, Lane, Answer], None],
        clock: Clock,
        uniform: Callable[[float, float], float],
        rules: Rules,
        metrics: Metrics,
        governor: Governor,
    ) -> None:
        """`sites(task, site_id)` gives the committed state; `report(task, lane, answer)` hands an answer over.

        `uniform(a, b)` is chance; `governor` says when one more call may begin.
        """
        self._caller = caller
        self._sites = sites
        self._report = report
        self._clock = clock
        self._uniform = uniform
        self._rules = rules
        self._governor = governor
        self._pump_at = math.inf
        self._lanes: dict[Lane, LaneState] = {}
        self._parked: set[int] = set()
        self._ready: list[tuple[Rank, int, Lane]] = []
        """Rank, order, lane. An entry is stale when its lane's state says otherwise."""
        self._sequence = 0
        self._open = True
        self._warned_at = -SAME_WARNING_SECONDS
        self._metrics = metrics
        self._show(metrics)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._governor.in_flight

    @property
    def waiting(self) -> int:
        """Lanes that owe a call which is not under way."""
        return max(len(self._lanes) - self.in_flight, 0)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for a slot just now."""
        return self._open and not self._ready

    @property
    def breaker(self) -> BreakerState:
        """Whether calls go out at all."""
        return self._governor.state

    def owing(self) -> Iterator[tuple[CallKind, int]]:
        """Each call that is owed, and since when."""
        return ((state.kind, state.since_ms) for state in self._lanes.values())

    def look_at(self, task: int, site: Site, hold_ms: int = 0, calls: tuple[Intent, ...] | None = None) -> None:
        """Step 10: queue what the site owes; calls begin `hold_ms` from now at the earliest.

        `calls`: what it owes, where that was found out a moment ago.
        """
        now_ms = self._clock.now_ms()
        if calls is None:
            calls = owed(site, now_ms, self._rules)
        wanted = {lane_of(intent): intent for intent in calls}
        lanes = {(site.site_id, None), *((site.site_id, charger.charger_id) for charger in site.chargers)}
        for lane in lanes:
            intent = wanted.get(lane)
            state = self._lanes.get(lane)
            if intent is None:
                if state and state.call is None and not state.answered and not state.held:
                    del self._lanes[lane]
                continue
            if state is None:
                state = self._lanes[lane] = LaneState(task)
            if state.call is None and not state.answered:
                state.held = state.held or hold_ms > 0
                state.not_before_ms = max(state.not_before_ms, now_ms + hold_ms if hold_ms else 0)
                self._queue(lane, state, intent, site)
        self._pump(wanted)

    def committed(self, lane: Lane) -> None:
        """The answer of this lane was committed (and its site is shown to `look_at` next)."""
        state = self._lanes.get(lane)
        if state:
            state.answered = False
            self._let_go(lane, state)

    def park(self, task: int) -> None:
        """A task is gone for the moment: its calls under way may end, and none begins until `resume` or `drop`."""
        self._parked.add(task)

    def resume(self, task: int) -> None:
        """The task came back as it was: go on with what its sites owe."""
        self._parked.discard(task)
        for site_id in {lane[0] for lane, state in self._lanes.items() if state.task == task}:
            self.look_at(task, self._sites(task, site_id))

    def drop(self, task: int) -> None:
        """A task is gone: forget its lanes, and stop its calls."""
        self._parked.discard(task)
        for lane in [lane for lane, state in self._lanes.items() if state.task == task]:
            state = self._lanes.pop(lane)
            if state.call:
                state.call.cancel()

    def slot_is_free(self) -> None:
        """Somebody else's call under the same governor has ended."""
        self._pump()

    async def drain(self, seconds: float) -> None:
        """Begin no more calls, and give those under way so long to end."""
        self._open = False
        calls = [state.call for state in self._lanes.values() if state.call]
        if calls:
            await asyncio.wait(calls, timeout=seconds)

    def _queue(self, lane: Lane, state: LaneState, intent: Intent, site: Site) -> None:
        at_ms = max(state.not_before_ms, intent.not_before_ms)
        now_ms = self._clock.now_ms()
        wait_ms = at_ms - now_ms
        rank = rank_of(intent, site, now_ms, self._rules)
        state.kind, state.since_ms = debt_of(intent, site)
        if wait_ms > 0:
            state.rank = rank
            if state.wakes_at_ms != at_ms:
                state.order, state.wakes_at_ms = 0, at_ms
                asyncio.get_running_loop().call_later(wait_ms / 1000, self._ripe, lane, state, at_ms)
            return
        state.wakes_at_ms = 0
        if state.order and state.rank <= rank:
            return
        if not state.order:
            self._sequence += 1
            state.order = self._sequence
        self._push(lane, state, rank)

    def _push(self, lane: Lane, state: LaneState, rank: Rank) -> None:
        state.rank = rank
        heapq.heappush(self._ready, (rank, state.order, lane))

    def _ripe(self, lane: Lane, state: LaneState, at_ms: int) -> None:
        if self._lanes.get(lane) is not state or state.wakes_at_ms != at_ms:
            return
        # It waited in full, whatever the wall clock says now: that one may have stepped back meanwhile.
        state.wakes_at_ms = state.not_before_ms = 0
        state.held = False
        site = self._sites(state.task, lane[0])
        intent = self._now_owed(lane, site)
        if intent is None:
            del self._lanes[lane]
        elif state.call is None and not state.answered:
            self._queue(lane, state, intent, site)
        self._pump()

    def _pump(self, known: Mapping[Lane, Intent] = NOTHING_KNOWN) -> None:
        """Make the calls that there is leave for. `known`: intents that were derived this moment."""
        now = self._clock.monotonic()
        while self._open and self._ready:
            wait = self._governor.wait_seconds(now)
            if wait > 0:
                self._pump_later(now, wait)
                break
            rank, order, lane = heapq.heappop(self._ready)
            state = self._lanes.get(lane)
            if state is None or (state.order, state.rank) != (order, rank):
                continue
            if state.task in self._parked:
                state.order = 0
                continue
            intent = known.get(lane) or self._derived(lane, state, rank)
            if intent is None:
                continue
            state.order = 0
            is_retry = state.tries > 0
            wait = self._governor.retry_wait_seconds(now) if is_retry else 0.0
            if wait > 0:
                # Others may wait for the same bit of budget; not all of them shall wake for it at once.
                state.not_before_ms = self._clock.now_ms() + math.ceil((wait + self._uniform(0, 1)) * 1000)
                self._queue(lane, state, intent, self._sites(state.task, lane[0]))
                continue
            if is_retry:
                self._metrics.retries.inc()
            leave = self._governor.begin(now, is_retry=is_retry)
            state.call = asyncio.get_running_loop().create_task(self._caller.perform(intent))
            state.call.add_done_callback(functools.partial(self._ended, lane, state, leave))

    def _derived(self, lane: Lane, state: LaneState, rank: Rank) -> Intent | None:
        """What the lane that was queued with `rank` owes now; None when its turn is over, or comes later."""
        site = self._sites(state.task, lane[0])
        intent = self._now_owed(lane, site)
        if intent is None:
            del self._lanes[lane]
            return None
        rank_now = rank_of(intent, site, self._clock.now_ms(), self._rules)
        if rank_now[0] > rank[0]:
            # What it was queued for is over, a boost perhaps: it has its place among those that it is like now.
            self._push(lane, state, rank_now)
            return None
        return intent

    def _show(self, metrics: Metrics) -> None:
        """Figures for whoever reads the metrics, looked up when they are read and not before."""
        metrics.calls_in_flight.set_function(lambda: self.in_flight)
        metrics.calls_waiting.set_function(lambda: self.waiting)
        metrics.calls_limit.set_function(lambda: self._governor.limit)
        for state in BreakerState:
            metrics.breaker.labels(state.value).set_function(functools.partial(self._breaker_is, state))
        metrics.before_reading(lambda: show_owed(self.owing(), metrics, self._clock.now_ms()))

    def _breaker_is(self, state: BreakerState) -> float:
        return float(self.breaker is state)

    def _pump_later(self, now: float, wait: float) -> None:
        """Pump again when the governor lets something through; a call that ends does so anyway."""
        if now + wait < self._pump_at:
            self._pump_at = now + wait
            asyncio.get_running_loop().call_later(wait, self._pump_now, self._pump_at)

    def _pump_now(self, at: float) -> None:
        if at == self._pump_at:
            self._pump_at = math.inf
            self._pump()

    def _now_owed(self, lane: Lane, site: Site) -> Intent | None:
        for intent in owed(site, self._clock.now_ms(), self._rules):
            if lane_of(intent) == lane:
                return intent
        return None

    def _ended(self, lane: Lane, state: LaneState, leave: Leave, call: "asyncio.Task[Answer | Retry]") -> None:
        """A call is over, be it that it was cancelled before it began: its slot is free."""
        self._governor.end(leave, self._clock.monotonic(), _verdict(call))
        state.call = None
        if not call.cancelled() and self._lanes.get(lane) is state:
            self._hear(lane, state, call.result())
        if leave.is_probe and self.breaker is BreakerState.CLOSED:
            self._hasten()
        self._pump()

    def _hasten(self) -> None:
        """Axle is back: withdrawals that failed as probes, and wait for that, go before all that failed to be tried."""
        waiting = [
            (lane, state)
            for lane, state in self._lanes.items()
            if state.wakes_at_ms and state.tries and state.rank == FIRST and not (state.held or state.was_told_to_wait)
        ]
        for lane, state in waiting:
            state.not_before_ms = 0
            site = self._sites(state.task, lane[0])
            intent = self._now_owed(lane, site)
            if intent is not None and state.call is None and not state.answered:
                self._queue(lane, state, intent, site)

    def _hear(self, lane: Lane, state: LaneState, answer: Answer | Retry) -> None:
        if isinstance(answer, Retry | CallFailed):
            self._back_off(state, answer.after_seconds if isinstance(answer, Retry) else 0.0)
        else:
            state.tries = 0
            state.not_before_ms = 0
        if isinstance(answer, Retry):
            self._warn(answer.why)
            self._let_go(lane, state)
            self.look_at(state.task, self._sites(state.task, lane[0]))
        else:
            if isinstance(answer, Offboarded | Removed):
                self._metrics.withdrawal_seconds.observe(max(self._clock.now_ms() - state.since_ms, 0) / 1000)
            state.answered = True
            self._report(state.task, lane, answer)

    def _let_go(self, lane: Lane, state: LaneState) -> None:
        """Drop the lane of a charger that its site does not know any more; `look_at` would never come by it."""
        site_id, charger_id = lane
        if charger_id is not None and self._sites(state.task, site_id).charger(charger_id) is None:
            del self._lanes[lane]

    def _back_off(self, state: LaneState, at_least_seconds: float) -> None:
        """Full jitter: a herd that failed together does not come back together."""
        ceiling = min(BACKOFF_MAX_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(state.tries, 16))
        wait = max(at_least_seconds, self._uniform(0, ceiling))
        state.was_told_to_wait = at_least_seconds > 0
        state.tries += 1
        state.not_before_ms = self._clock.now_ms() + round(wait * 1000)

    def _warn(self, why: str) -> None:
        now = self._clock.monotonic()
        if now - self._warned_at >= SAME_WARNING_SECONDS:
            self._warned_at = now
            log.warning("Axle gave no answer; drivers' wishes are in force, calls are tried again", why=why)


def _verdict(call: "asyncio.Task[Answer | Retry]") -> Verdict:
    if call.cancelled():
        return Verdict.OURS
    result = call.result()
    return result.verdict if isinstance(result, Retry) else Verdict.GOOD


def lane_of(intent: Intent) -> Lane:
    """The lane that an intent belongs to."""
    if isinstance(intent, AskSchedule) or (isinstance(intent, LookUp) and intent.for_question):
        return (intent.site_id, intent.charger_id)
    return (intent.site_id, None)


def rank_of(intent: Intent, site: Site, now_ms: int, rules: Rules) -> Rank:
    """Withdrawals first, then boosts, then the rest; among equals, what is of use for the shortest time.

    A question is until its session's end. What a household joins with is as urgent as its most urgent question.
    """
    match intent:
        case Offboard() | Remove():
            return FIRST
        case AskSchedule():
            return (1 if intent.boosted else 2, intent.schedule[-1][1])
        case Onboard() | LookUp():
            asking = (charger for charger in site.chargers if charger.question)
            return (2, min((last_chance_ms(charger, now_ms, rules) for charger in asking), default=0))
