"""The promises, held against evenings that nobody thought of.

A household, its chargers and Axle live through drawn events, in any order: said twice or late, with answers that come
late, twice, never, or tell nonsense, with crashes and passing time. What is promised is in `promises.py`, how things
happen in `evening.py`. `HYPOTHESIS_PROFILE=long` lives through 5,000 evenings of 50 events instead of a few.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.enrolment import fingerprint
from processor.core.events import (
    Answer,
    BoostAction,
    CallFailed,
    ConsentWithdrawn,
    Enrolment,
    Erase,
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
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.intents import owed
from processor.core.outputs import Enrolled, ModifiedSchedule
from processor.core.reconcile import Kind, by_charger, drifts, view
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, intersect, is_subset, normalise
from processor.core.site import due_at_ms
from processor.core.standing import Standing, standing_of
from processor.wire.state import WRITABLE_VERSIONS
from tests.core.axle_double import MOODS, NEIGHBOUR
from tests.core.evening import Evening
from tests.core.promises import CORRECTED, Promises
from tests.core.promises import METERS as METERS_OF_OURS
from tests.core.world import MPAN, T0, consented

CHARGERS = ("c-1", "c-2")
Shape = tuple[tuple[float, float], ...]

UNENROL = {"onboarding_form": OnboardingForm.UPSERT, "withdrawal_action": WithdrawalAction.UNENROL}
RULES = st.sampled_from(
    [
        Rules(),
        Rules(onboarding_form=OnboardingForm.UPSERT),
        Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL),
        Rules(onboarding_elsewhere=True),
        Rules(
            onboarding_form=OnboardingForm.UPSERT,
            withdrawal_action=WithdrawalAction.UNENROL,
            onboarding_elsewhere=True,
            not_found_memory_ms=HOUR_MS,
        ),
        Rules(give_up_after_ms=20 * MINUTE_MS, questions_at_once_max=2, question_every_ms=2 * MINUTE_MS),
    ]
)
PLACES = st.sampled_from(CHARGERS)
LATE_MINUTES = st.sampled_from([0, 0, 0, 2, 40, 150, -4])
SCHEDULES = st.sampled_from([((0, 8),), ((0, 8),), ((1, 9),), ((0.5, 3), (4, 7)), ((0, 0.1),), ((-3, -1),), ((-1, 2),)])
CONSENT_MINUTES = st.sampled_from([0, 0, 30, 30, 600, -60, None])
METERS = st.sampled_from([MPAN, MPAN, MPAN, CORRECTED])
NIGHTS = SCHEDULES.map(lambda shape: blocks(shape, T0))
RARELY = st.sampled_from([False, False, False, True])
KIND_MOODS = st.sampled_from(["kind", "half an hour", "half an hour", "an hour at once"])
ENDINGS = st.sampled_from(["stay", "stay", "withdraw", "disconnect", "erase"])
FATES = st.sampled_from(["answered", "answered", "answered", "slow", "lost", "timed out"])


def nonsense(ids: list[str]) -> st.SearchStrategy[Answer]:
    """Whatever Axle may ever say, about whatever."""
    axle_ids = st.sampled_from(ids)
    found = st.none() | st.builds(Found, axle_ids, axle_ids, st.none() | st.just(MPAN))
    refusals = st.sampled_from(Refusal)
    return st.one_of(
        st.builds(Onboarded, st.just("home-1"), PLACES, axle_ids, axle_ids),
        st.builds(OnboardingRefused, st.just("home-1"), PLACES, refusals, st.sampled_from([0, T0 * 2])),
        st.builds(LookedUp, st.just("home-1"), PLACES, found),
        st.builds(ScheduleAnswered, st.just("home-1"), PLACES, st.just(0), NIGHTS, st.none() | NIGHTS),
        st.builds(ScheduleRefused, st.just("home-1"), PLACES, st.just(0), refusals),
        st.builds(Removed, st.just("home-1"), PLACES, axle_ids),
        st.builds(Offboarded, st.just("home-1"), axle_ids, st.booleans()),
        st.builds(CallFailed, st.just("home-1"), st.none() | PLACES, st.sampled_from([400, 403, 422])),
    )


class Evenings(RuleBasedStateMachine):
    """One household over some days."""

    def __init__(self) -> None:
        super().__init__()
        self.promises = Promises()
        self.evening = self.promises.evening = Evening(self.promises.of_a_step)
        self.ending = "stay"
        self.lies = False
        self.left_behind = False
        self.listed: list[StillListed] = []
        """Orders that a comparison with Axle's list gave, whenever they are read."""

    # What happens

    @initialize(rules=RULES, mood=st.none() | KIND_MOODS, ending=ENDINGS, lies=RARELY)
    def begin(self, rules: Rules, mood: str | None, ending: str, *, lies: bool) -> None:
        """Most evenings begin with a household that is plugged in and enrolled."""
        self.evening.rules = rules
        self.ending, self.lies = ending, lies
        if mood:
            self.plug_in(charger="c-1", late=0, shape=((0, 8),), consent_minutes=30, meter=MPAN)
            self.evening.talk(mood)

    @rule(charger=PLACES, late=LATE_MINUTES, shape=SCHEDULES, consent_minutes=CONSENT_MINUTES, meter=METERS)
    def plug_in(self, charger: str, late: int, shape: Shape, consent_minutes: int | None, meter: str) -> None:
        """A car is plugged in, with a consent of that age or without."""
        at_ms = self.evening.now_ms - late * MINUTE_MS
        enrolment = None if consent_minutes is None else enrolled(at_ms - consent_minutes * MINUTE_MS, meter)
        source = self.evening.source()
        schedule = blocks(shape, at_ms)
        self.evening.say(PlugIn(f"e{source.offset}", at_ms, source, "home-1", charger, schedule, None, enrolment))

    @rule(
        charger=PLACES,
        late=LATE_MINUTES,
        action=st.sampled_from([*BoostAction, BoostAction.BOOST]),
        hours=st.sampled_from([0.5, 2.0, 5.0]),
        shape=st.none() | SCHEDULES,
    )
    def tap(self, charger: str, late: int, action: BoostAction, hours: float, shape: Shape | None) -> None:
        """A driver taps something in the app."""
        at_ms = self.evening.now_ms - late * MINUTE_MS
        until_ms = at_ms + round(hours * HOUR_MS) if action is BoostAction.BOOST else None
        schedule = blocks(shape, at_ms) if shape else None
        if action is BoostAction.SCHEDULE_CHANGED:
            schedule = blocks(shape or ((0, 6),), at_ms)
        source = self.evening.source()
        self.evening.say(UserBoost(f"e{source.offset}", at_ms, source, "home-1", charger, action, until_ms, schedule))

    @rule(charger=st.none() | PLACES, late=LATE_MINUTES, named=RARELY, happens=RARELY)
    def leave(self, charger: str | None, late: int, *, named: bool, happens: bool) -> None:
        """The household withdraws (perhaps naming a charger), or a charger is disconnected."""
        if happens:
            of_site = charger is None or named
            reason = WithdrawalReason.CONSENT_WITHDRAWN if of_site else WithdrawalReason.CHARGER_DISCONNECTED
            self._leave(charger, reason, late)

    @rule(late=LATE_MINUTES, happens=RARELY)
    def erase(self, late: int, *, happens: bool) -> None:
        """An operator orders that the household be forgotten."""
        if happens:
            source = self.evening.source()
            at_ms = self.evening.now_ms - late * MINUTE_MS
            self.evening.say(Erase(f"e{source.offset}", at_ms, source, "home-1"))

    @rule(charger=PLACES, late=LATE_MINUTES, happens=RARELY)
    def do_something_unreadable(self, charger: str, late: int, *, happens: bool) -> None:
        """A record breaks the contract."""
        if happens:
            source = self.evening.source()
            at_ms = self.evening.now_ms - late * MINUTE_MS
            self.evening.say(Unreadable(f"e{source.offset}", at_ms, source, "home-1", charger, Input.USER_BOOST))

    @precondition(lambda self: bool(self.evening.inputs))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """A record is read again, at another place of its topic; also one of a household that was forgotten since."""
        event = data.draw(st.sampled_from(self.evening.inputs))
        self.evening.say(replace(event, source=self.evening.source()))

    @precondition(lambda self: bool(self.evening.ready()))
    @rule(data=st.data(), mood=st.sampled_from(MOODS), fate=FATES)
    def call(self, data: st.DataObject, mood: str, fate: str) -> None:
        """A call that is owed is made: its answer is under way, or it is slow, or one of them is lost."""
        call = data.draw(st.sampled_from(self.evening.ready()))
        flight = self.evening.send(call)
        if fate in {"answered", "lost"}:
            self.evening.land(flight, mood)
        if fate in {"lost", "timed out"}:
            self.evening.time_out(next(lane for lane, each in self.evening.lanes.items() if each is flight))

    @precondition(lambda self: any(flight.answer is None for flight in self.evening.lanes.values()))
    @rule(data=st.data(), mood=st.sampled_from(MOODS))
    def land(self, data: st.DataObject, mood: str) -> None:
        """A slow call reaches Axle after all."""
        slow = [flight for flight in self.evening.lanes.values() if flight.answer is None]
        self.evening.land(data.draw(st.sampled_from(slow)), mood)

    @precondition(lambda self: any(flight.answer is not None for flight in self.evening.lanes.values()))
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """An answer arrives."""
        answered = [lane for lane, flight in self.evening.lanes.items() if flight.answer is not None]
        self.evening.hear(data.draw(st.sampled_from(answered)))

    @precondition(lambda self: any(self.evening.echoes.values()))
    @rule(data=st.data(), happens=RARELY)
    def hear_again(self, data: st.DataObject, *, happens: bool) -> None:
        """An answer arrives twice, or though its call was given up and perhaps made again."""
        if happens:
            echoes = [echo for lane in self.evening.echoes.values() for echo in lane]
            self.evening.hear_echo(*data.draw(st.sampled_from(echoes)))

    @precondition(lambda self: bool(self.evening.strays))
    @rule(data=st.data())
    def stray_lands(self, data: st.DataObject) -> None:
        """A call reaches Axle that nobody waits for any more."""
        self.evening.stray_lands(data.draw(st.sampled_from(self.evening.strays)))

    @rule(mood=KIND_MOODS)
    def talk(self, mood: str) -> None:
        """All that is under way and owed now is answered."""
        self.evening.talk(mood)

    @rule(state_version=st.sampled_from([WRITABLE_VERSIONS[-1], *WRITABLE_VERSIONS]))
    def crash(self, state_version: int) -> None:
        """The program dies and is started again, perhaps while an older one still reads its state."""
        self.evening.crash(state_version)

    @rule(minutes=st.sampled_from([1, 1, 10, 10, 60, 60, 240, 26 * 60]))
    def time_passes(self, minutes: int) -> None:
        """The clock goes on; the site is woken when it is due."""
        self.evening.time_passes(self.evening.now_ms + minutes * MINUTE_MS)

    @rule(neighbour=st.booleans(), happens=RARELY)
    def axle_loses_the_site(self, *, neighbour: bool, happens: bool) -> None:
        """Somebody offboards our site by hand; the neighbour may get our first charger."""
        axle, axle_site_id = self.evening.axle, self.evening.site.axle_site_id
        if not happens or axle_site_id is None or axle_site_id not in axle.homes:
            return
        self.promises.lost |= {asset for _, asset in axle.chargers.values()}
        axle.forget(axle_site_id)
        # Where others onboard, what Axle says of a charger is trusted: then it may not be the neighbour's.
        if neighbour and not self.evening.rules.onboarding_elsewhere:
            axle.chargers.setdefault("c-1", (NEIGHBOUR, "neighbours-asset"))

    @precondition(lambda self: self.evening.rules.onboarding_elsewhere)
    @rule(charger=PLACES, meter=METERS)
    def others_onboard(self, charger: str, meter: str) -> None:
        """Somebody else onboards a charger of this household that we have not onboarded."""
        known = self.evening.site.charger(charger)
        ours = known is not None and known.enrolled is not Enrolled.UNKNOWN
        if ours or self.evening.said.must_leave(charger) or self.promises.lost:
            return
        self.evening.axle.take_from_others(charger, meter)

    @precondition(lambda self: any(charger.enrolled is Enrolled.REMOVED for charger in self.evening.site.chargers))
    @rule(charger=PLACES)
    def an_onboarding_lands_too_late(self, charger: str) -> None:
        """What everybody had given up makes the charger that left, where nothing of it is at Axle any more."""
        site, axle = self.evening.site, self.evening.axle
        known = site.charger(charger)
        gone = known is not None and standing_of(site, known) is Standing.GONE and known.enrolled is Enrolled.REMOVED
        meters = [meter for meter in METERS_OF_OURS if fingerprint(meter, self.evening.rules.secret) == site.mpan_mark]
        kept = any(home.meter in meters and not home.enrolled for home in axle.homes.values())
        # A household that is being forgotten is known to nobody afterwards: the list tells a person of it, no more.
        if gone and meters and not kept and site.erasing is None:
            axle.land_late(charger, meters[0])
            self.left_behind = True

    @rule()
    def axle_is_listed(self) -> None:
        """Its list is held against what is known; orders may be read at once, later, or never."""
        source = self.evening.source()
        listing = by_charger(self.evening.axle.listing())
        for drift in drifts([view([self.evening.site], listing)]):
            if drift.kind is Kind.LEFT and drift.left_at_ms is not None:
                order = StillListed("", self.evening.now_ms, source, "home-1", drift.charger_id, drift.left_at_ms)
                self.listed.append(order)

    @precondition(lambda self: bool(self.listed))
    @rule(data=st.data())
    def look_again(self, data: st.DataObject) -> None:
        """An order to look for a charger that left is read, perhaps once more, or long after it was given."""
        source = self.evening.source()
        order = data.draw(st.sampled_from(self.listed))
        self.evening.say(replace(order, event_id=f"e{source.offset}", source=source))

    @rule(answer=nonsense(["site-1", "site-2", NEIGHBOUR, "asset-1"]))
    def hear_nonsense(self, answer: Answer) -> None:
        """Whatever Axle may ever say, about whatever, at any time: it is decided without harm. (Then it is unsaid.)"""
        site, now_ms, rules = self.evening.site, self.evening.now_ms, self.evening.rules
        decision = decide(site, self._to_the_point(answer), now_ms, rules)
        owed(decision.site, now_ms, rules)
        due_at_ms(decision.site, now_ms, rules)
        for record in decision.outputs:
            if isinstance(record, ModifiedSchedule) and record.pauses:
                assert not self.evening.said.must_leave(record.charger_id)
                assert is_subset(record.pauses, record.requested)
                assert not intersect(record.pauses, self.evening.said.boosted(record.charger_id, now_ms))

    @precondition(lambda self: self.lies)
    @rule(answer=nonsense(["site-1", "site-2", "asset-1", "asset-2"]))
    def hear_a_lie(self, answer: Answer) -> None:
        """Nonsense that stays said: what Axle holds is anybody's guess then, all else still holds."""
        self.promises.honest = False
        self.evening.hear_again(self._to_the_point(answer))

    @invariant()
    def all_is_as_promised(self) -> None:
        """Whatever has happened, and however much time has passed."""
        self.promises.of_the_home()

    def teardown(self) -> None:
        """Let Axle answer everything, let the household stay or leave, and ask what is left where."""
        self._let_it_end()
        source = self.evening.source()
        if self.ending == "erase":
            self.evening.say(Erase("the end", self.evening.now_ms, source, "home-1"))
        elif self.ending == "withdraw":
            self._leave(None, WithdrawalReason.CONSENT_WITHDRAWN)
        elif self.ending == "disconnect":
            for charger in CHARGERS:
                self._leave(charger, WithdrawalReason.CHARGER_DISCONNECTED)
        self._let_it_end()
        for charger in CHARGERS:
            self.an_onboarding_lands_too_late(charger=charger)
        self._let_it_end()
        self.promises.outputs_are_a_pure_fold()

    def _let_it_end(self) -> None:
        self.evening.drain()
        if self.evening.rules.onboarding_elsewhere:
            # What others onboarded is found when a driver acts, and not before what was not found is forgotten.
            self.evening.time_passes(self.evening.now_ms + self.evening.rules.not_found_memory_ms)
            for charger in CHARGERS:
                self.tap(charger=charger, late=0, action=BoostAction.BOOST, hours=0.5, shape=None)
            self.evening.drain()
        # Of what is at Axle though everybody had given it up, nobody ever hears but by its list.
        self.listed.clear()
        self.axle_is_listed()
        for order in self.listed if self.left_behind else ():
            source = self.evening.source()
            self.evening.say(replace(order, event_id=f"e{source.offset}", source=source))
        self.evening.drain()
        self.promises.of_the_home()
        self.promises.of_an_end()

    def _leave(self, charger: str | None, reason: WithdrawalReason, late: int = 0) -> None:
        source = self.evening.source()
        at_ms = self.evening.now_ms - late * MINUTE_MS
        self.evening.say(ConsentWithdrawn(f"e{source.offset}", at_ms, source, "home-1", charger, reason))

    def _to_the_point(self, answer: Answer) -> Answer:
        """An answer about a schedule as one to the question that is open."""
        if not isinstance(answer, ScheduleAnswered | ScheduleRefused):
            return answer
        charger = self.evening.site.charger(answer.charger_id)
        return replace(answer, number=charger.question.number if charger and charger.question else 0)


def blocks(shape: Shape, at_ms: int) -> Schedule:
    """A schedule in hours after that time."""
    return normalise((at_ms + round(a * HOUR_MS), at_ms + round(b * HOUR_MS)) for a, b in shape)


def enrolled(at_ms: int, meter: str) -> Enrolment:
    """The household's own words, with a consent of that time."""
    return replace(consented(at_ms), mpan=meter)


settings.register_profile("short", max_examples=120, stateful_step_count=40, derandomize=True)
settings.register_profile("long", max_examples=5_000, stateful_step_count=50)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "short")
Evenings.TestCase.settings = settings(
    settings.get_profile(PROFILE), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPromises = Evenings.TestCase
setattr(TestPromises, "pytestmark", pytest.mark.timeout(120 if PROFILE == "short" else 7200))  # noqa: B010 - typed
