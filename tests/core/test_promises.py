"""The five promises, held against evenings that nobody thought of.

A household, its chargers and Axle live through drawn events, lost answers, crashes, replays and passing time. What is
promised is computed here afresh from the list of what was said, never asked of the code that is tested.
"""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.events import (
    Answer,
    BoostAction,
    CallFailed,
    ConsentWithdrawn,
    Due,
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
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove, owed
from processor.core.outputs import ModifiedSchedule, Output, Status
from processor.core.schedule import (
    HOUR_MS,
    MINUTE_MS,
    Schedule,
    before,
    intersect,
    is_subset,
    normalise,
    since,
    subtract,
    total_ms,
    union,
    window,
)
from processor.core.site import due_at_ms
from tests.core.axle_double import MOODS, Axle
from tests.core.world import ENROLMENT, MPAN, RULES, STRANGER, T0, World, consented, waiting

CHARGERS = ("c-1", "c-2")
Lane = tuple[str, str | None]


PLACES = st.sampled_from(CHARGERS)
LATE_MINUTES = st.sampled_from([0, 0, 0, 2, 40, 150])
SCHEDULES = st.sampled_from([((0, 8),), ((0, 8),), ((1, 9),), ((0.5, 3), (4, 7)), ((0, 0.1),), ((-3, -1),), ((-1, 2),)])
CONSENT_MINUTES = st.sampled_from([0, 0, 30, 30, 600, -60, None])
NIGHTS = SCHEDULES.map(lambda shape: blocks(shape, T0))
RARELY = st.sampled_from([False, False, False, True])
KIND_MOODS = st.sampled_from(["kind", "half an hour", "half an hour", "an hour at once"])
IDS = st.sampled_from(["site-1", "site-2", "stranger", "asset-1"])
NONSENSE: st.SearchStrategy[Event] = st.one_of(
    st.builds(Onboarded, st.just("home-1"), PLACES, IDS, IDS),
    st.builds(OnboardingRefused, st.just("home-1"), PLACES, st.sampled_from(Refusal)),
    st.builds(LookedUp, st.just("home-1"), PLACES, st.none() | st.builds(Found, IDS, IDS, st.none() | st.just(MPAN))),
    st.builds(ScheduleAnswered, st.just("home-1"), PLACES, st.just(0), NIGHTS, st.none() | NIGHTS),
    st.builds(ScheduleRefused, st.just("home-1"), PLACES, st.just(0), st.sampled_from(Refusal)),
    st.builds(Removed, st.just("home-1"), PLACES),
    st.builds(Offboarded, st.just("home-1"), IDS),
    st.builds(CallFailed, st.just("home-1"), st.none() | PLACES, st.sampled_from([400, 403, 422])),
)


class Evenings(RuleBasedStateMachine):
    """One household over some days."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.axle = Axle()
        self.lanes: dict[Lane, Answer] = {}
        self.said: dict[str, PlugIn | UserBoost | ConsentWithdrawn | Unreadable] = {}
        self.given: Counter[str] = Counter()
        self.newest_wish: dict[str, str] = {}

    # What happens

    @initialize(mood=st.none() | KIND_MOODS)
    def begin(self, mood: str | None) -> None:
        """Most evenings begin with a household that is plugged in and enrolled."""
        if mood:
            self.plug_in(charger="c-1", late=0, shape=((0, 8),), consent_minutes=30)
            self.talk(mood)

    @rule(charger=PLACES, late=LATE_MINUTES, shape=SCHEDULES, consent_minutes=CONSENT_MINUTES)
    def plug_in(
        self, charger: str, late: int, shape: tuple[tuple[float, float], ...], consent_minutes: int | None
    ) -> None:
        """A car is plugged in, with a consent of that age or without."""
        at_ms = self.world.now_ms - late * MINUTE_MS
        enrolment = None if consent_minutes is None else consented(at_ms - consent_minutes * MINUTE_MS)
        source = self.world.source()
        event_id = f"e{source.offset}"
        self._say(PlugIn(event_id, at_ms, source, "home-1", charger, blocks(shape, at_ms), None, enrolment))

    @rule(
        charger=PLACES,
        late=LATE_MINUTES,
        action=st.sampled_from([*BoostAction, BoostAction.BOOST]),
        hours=st.sampled_from([0.5, 2.0, 5.0]),
        shape=st.none() | SCHEDULES,
    )
    def tap(
        self, charger: str, late: int, action: BoostAction, hours: float, shape: tuple[tuple[float, float], ...] | None
    ) -> None:
        """A driver taps something in the app."""
        at_ms = self.world.now_ms - late * MINUTE_MS
        until_ms = at_ms + round(hours * HOUR_MS) if action is BoostAction.BOOST else None
        schedule = blocks(shape, at_ms) if shape else None
        if action is BoostAction.SCHEDULE_CHANGED:
            schedule = blocks(shape or ((0, 6),), at_ms)
        source = self.world.source()
        self._say(UserBoost(f"e{source.offset}", at_ms, source, "home-1", charger, action, until_ms, schedule))

    @rule(charger=st.none() | PLACES, late=LATE_MINUTES, happens=RARELY)
    def leave(self, charger: str | None, late: int, *, happens: bool) -> None:
        """The household withdraws, or a charger is disconnected."""
        if not happens:
            return
        reason = WithdrawalReason.CHARGER_DISCONNECTED if charger else WithdrawalReason.CONSENT_WITHDRAWN
        source = self.world.source()
        at_ms = self.world.now_ms - late * MINUTE_MS
        self._say(ConsentWithdrawn(f"e{source.offset}", at_ms, source, "home-1", charger, reason))

    @rule(charger=PLACES, late=LATE_MINUTES, happens=RARELY)
    def do_something_unreadable(self, charger: str, late: int, *, happens: bool) -> None:
        """A record breaks the contract."""
        if not happens:
            return
        source = self.world.source()
        at_ms = self.world.now_ms - late * MINUTE_MS
        self._say(Unreadable(f"e{source.offset}", at_ms, source, "home-1", charger, Input.USER_BOOST))

    @precondition(lambda self: bool(self.said))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """A record is read again, at another place of its topic."""
        event = self.said[data.draw(st.sampled_from(sorted(self.said)))]
        self._say(replace(event, source=self.world.source()))

    @rule(data=st.data(), mood=st.sampled_from(MOODS), lost=RARELY)
    def call(self, data: st.DataObject, mood: str, *, lost: bool) -> None:
        """A call that is owed reaches Axle; its answer is under way, or lost."""
        calls = [c for c in self.world.owed if lane_of(c) not in self.lanes and c.not_before_ms <= self.world.now_ms]
        if calls:
            call = data.draw(st.sampled_from(calls))
            answer = self.axle.perform(call, mood)
            if not lost:
                self.lanes[lane_of(call)] = answer

    @precondition(lambda self: bool(self.lanes))
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """An answer arrives."""
        lane = data.draw(st.sampled_from(sorted(self.lanes, key=str)))
        self._happen(self.lanes.pop(lane))

    @rule(mood=KIND_MOODS)
    def talk(self, mood: str) -> None:
        """All that is under way and owed now is answered."""
        for _ in range(8):
            if not self._step(mood, wait=False):
                break

    @rule()
    def crash(self) -> None:
        """Every answer that was under way is lost; the calls are owed as before."""
        self.lanes.clear()

    @rule(minutes=st.sampled_from([1, 1, 10, 10, 60, 60, 240, 26 * 60]))
    def time_passes(self, minutes: int) -> None:
        """The clock goes on; the site is woken when it is due."""
        self.world.now_ms += minutes * MINUTE_MS
        self._wake_when_due()

    @rule(neighbour=st.booleans(), happens=RARELY)
    def axle_loses_the_site(self, *, neighbour: bool, happens: bool) -> None:
        """Somebody offboards our site by hand; the neighbour may get our first charger."""
        if happens and self.world.site.axle_site_id in self.axle.sites:
            self.axle.forget(self.world.site.axle_site_id or "")
            if neighbour:
                self.axle.assets["c-1"] = ("stranger", "neighbours-asset")

    @rule(nonsense=NONSENSE)
    def hear_nonsense(self, nonsense: Event) -> None:
        """Whatever Axle may ever say, about whatever, at any time: it is decided without harm. (Then it is unsaid.)"""
        if isinstance(nonsense, ScheduleAnswered | ScheduleRefused):
            charger = self.world.site.charger(nonsense.charger_id)
            nonsense = replace(nonsense, number=charger.question.number if charger and charger.question else 0)
        decision = decide(self.world.site, nonsense, self.world.now_ms, RULES)
        owed(decision.site, self.world.now_ms, RULES)
        due_at_ms(decision.site, self.world.now_ms, RULES)
        for record in decision.outputs:
            if isinstance(record, ModifiedSchedule) and record.pauses:
                assert not self._withdrawn()
                assert is_subset(record.pauses, record.requested)
                assert not intersect(record.pauses, self._boosted(record.charger_id))

    def teardown(self) -> None:
        """Let Axle answer everything and time pass to the end: nothing is left undone."""
        for _ in range(200):
            if not self._step("kind", wait=True):
                break
        site = self.world.site
        assert not waiting(site)
        assert not self.world.owed
        assert set(self.given.values()) <= {1}
        assert len(self.given) == self.world.offset
        assert not site.offboarding
        assert all(charger.leaving is None and charger.question is None for charger in site.chargers)
        if self._withdrawn():
            assert MPAN not in self.axle.sites.values()
        assert self.axle.sites["stranger"] == STRANGER

    # How it happens

    def _say(self, event: PlugIn | UserBoost | ConsentWithdrawn | Unreadable) -> None:
        charger_id = event.charger_id or ""
        wanted_before = since(self._wanted(charger_id), self.world.now_ms)
        self.said[event.event_id] = event
        outputs = self._happen(event)
        first = [o for o in outputs if isinstance(o, ModifiedSchedule) and o.caused_by.event_id == event.event_id]
        assert not any(record.pauses for record in first)
        if isinstance(event, PlugIn | UserBoost):
            if since(self._wanted(charger_id), self.world.now_ms) != wanted_before:
                assert len(first) == 1, "a wish that changed was not published at once"
            if first:
                self.newest_wish[charger_id] = event.event_id

    def _happen(self, event: Event) -> tuple[Output, ...]:
        heard = len(self.world.records)
        history = self.world.records
        outputs = self.world.tell(event)
        for outcome in self.world.outcomes[sum(self.given.values()) :]:
            self.given[str(outcome.source)] += 1
            assert self.given[str(outcome.source)] == 1, "a second outcome"
        for record in self.world.records[heard:]:
            self._check(record, history)
            history = [*history, record]
        assert MPAN not in repr(outputs)
        assert ENROLMENT.street_address not in repr(outputs)
        return outputs

    def _step(self, mood: str, *, wait: bool) -> bool:
        """Let one answer arrive, or one call be answered, or time pass to the next one; False when all is done."""
        for lane in list(self.lanes):
            self._happen(self.lanes.pop(lane))
            return True
        calls = self.world.owed
        if not wait:
            calls = [call for call in calls if call.not_before_ms <= self.world.now_ms]
        if calls:
            call = calls[0]
            self.world.now_ms = max(self.world.now_ms, call.not_before_ms)
            self._happen(self.axle.perform(call, mood))
            return True
        if wait and self.world.due_ms is not None:
            self.world.now_ms = max(self.world.now_ms, self.world.due_ms)
            self._wake_when_due()
            return True
        return False

    def _wake_when_due(self) -> None:
        due_ms = self.world.due_ms
        if due_ms is not None and due_ms <= self.world.now_ms:
            self._happen(Due("home-1"))

    # What was said

    def _taps(self, charger_id: str) -> list[PlugIn | UserBoost]:
        known = [e for e in self.said.values() if isinstance(e, PlugIn | UserBoost) and e.charger_id == charger_id]
        return sorted(known, key=lambda event: (event.occurred_at_ms, event.event_id))

    def _plugged_at(self, charger_id: str) -> int | None:
        return max((e.occurred_at_ms for e in self._taps(charger_id) if isinstance(e, PlugIn)), default=None)

    def _boosted(self, charger_id: str) -> Schedule:
        taps = [e for e in self._taps(charger_id) if isinstance(e, UserBoost)]
        taps = [e for e in taps if e.action in {BoostAction.BOOST, BoostAction.BOOST_CANCELLED}]
        if not taps or taps[-1].boost_until_ms is None or taps[-1].boost_until_ms <= self.world.now_ms:
            return ()
        plugged_at = self._plugged_at(charger_id)
        if plugged_at is not None and taps[-1].occurred_at_ms < plugged_at - 5 * MINUTE_MS:
            return ()
        return window(taps[-1].occurred_at_ms, taps[-1].boost_until_ms)

    def _wanted(self, charger_id: str) -> Schedule:
        ignored = {BoostAction.BOOST_CANCELLED, BoostAction.UNKNOWN}
        bases = [e for e in self._taps(charger_id) if not (isinstance(e, UserBoost) and e.action in ignored)]
        schedules = [e.schedule for e in bases if e.schedule is not None]
        return union(schedules[-1] if schedules else (), self._boosted(charger_id))

    def _withdrawn(self) -> bool:
        consents = [
            min(e.enrolment.consented_at_ms, e.occurred_at_ms)
            for e in self.said.values()
            if isinstance(e, PlugIn) and e.enrolment
        ]
        withdrawals = [
            e.occurred_at_ms for e in self.said.values() if isinstance(e, ConsentWithdrawn) and e.charger_id is None
        ]
        return bool(withdrawals) and (not consents or max(withdrawals) >= max(consents))

    # What is promised

    def _check(self, record: ModifiedSchedule, history: list[ModifiedSchedule]) -> None:
        charger_id = record.charger_id
        mine = [r for r in history if r.charger_id == charger_id]
        assert record.requested == self._wanted(charger_id)
        assert record.effective == subtract(record.requested, record.pauses)
        assert record.replaces == (mine[-1].revision if mine else None)
        assert not mine or record.revision > mine[-1].revision
        assert record.final is (record.status is not Status.REQUESTED)
        assert bool(record.pauses) is (record.status is Status.MODIFIED)
        if not record.pauses:
            return
        assert not self._withdrawn()
        assert is_subset(record.pauses, record.requested)
        assert record.caused_by.event_id == self.newest_wish[charger_id] == mine[-1].caused_by.event_id
        assert mine[-1].status is Status.REQUESTED
        assert not intersect(record.pauses, self._boosted(charger_id))
        assert record.pauses[0][0] >= record.decided_at_ms + RULES.lead_ms
        served: Schedule = ()
        for one, next_one in zip(mine, [*mine[1:], record], strict=True):
            served = union(served, before(one.pauses, next_one.decided_at_ms))
        served = since(served, self._plugged_at(charger_id) or 0)
        assert total_ms(served) + total_ms(record.pauses) <= RULES.pauses_total_max_ms
        assert len(served) + len(record.pauses) <= RULES.pauses_count_max
        assert all(end - start <= RULES.pause_max_ms for start, end in record.pauses)

    @invariant()
    def withdrawn_is_withdrawn(self) -> None:
        """No question, no onboarding, no personal data; and Axle is told while it holds anything of ours."""
        if not self._withdrawn():
            return
        assert self.world.site.enrolment is None
        assert not any(isinstance(call, AskSchedule | Onboard) for call in self.world.owed)
        assert all(charger.question is None for charger in self.world.site.chargers)
        if MPAN in self.axle.sites.values():
            under_way = any(isinstance(answer, Onboarded) for answer in self.lanes.values())
            assert under_way or any(isinstance(call, Offboard | LookUp | Remove) for call in self.world.owed)

    @invariant()
    def personal_data_is_only_kept_for_an_onboarding(self) -> None:
        """The household is known by name only while an onboarding of one of its chargers is owed."""
        if self.world.site.enrolment:
            assert any(charger.enrolling for charger in self.world.site.chargers)

    @invariant()
    def every_input_waits_or_has_its_outcome(self) -> None:
        """Never both, never neither."""
        assert len(waiting(self.world.site)) + len(self.given) == self.world.offset


def lane_of(call: Intent) -> Lane:
    """What goes one at a time: the questions of a charger, and the enrolment calls of a site."""
    if isinstance(call, AskSchedule) or (isinstance(call, LookUp) and call.for_question):
        return ("question", call.charger_id)
    return ("enrolment", None)


def blocks(shape: tuple[tuple[float, float], ...], at_ms: int) -> Schedule:
    """A schedule in hours after that time."""
    return normalise((at_ms + round(a * HOUR_MS), at_ms + round(b * HOUR_MS)) for a, b in shape)


Evenings.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPromises = Evenings.TestCase
