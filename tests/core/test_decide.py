"""The table is whole: every event has rows, every state finds one, every row is needed, and none raises."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import get_args

import pytest
from msgspec.structs import replace

from processor.core import decide as decide_module
from processor.core.decide import TABLE, Decision, decide
from processor.core.enrolment import begin_enrolling
from processor.core.events import (
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
    Source,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.intents import AskSchedule, Onboard, owed
from processor.core.outputs import ModifiedSchedule, Outcome, Result, Status
from processor.core.registers import take
from processor.core.schedule import HOUR_MS, Schedule
from processor.core.site import Site, due_at_ms, withdrawn
from processor.core.turn import Turn
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    MPAN,
    NIGHT,
    RULES,
    STRANGER,
    T0,
    World,
    at,
    consented,
    waiting,
)

EVENT_CLASSES: tuple[type[Event], ...] = get_args(Event)
SOURCE = Source("in", 0, 99)
PAST: Schedule = ((T0 - 2 * HOUR_MS, T0 - HOUR_MS),)


def states() -> Iterator[tuple[str, Site]]:
    """Households in every condition that the core tells apart; in each, `c-1` is the one that events speak of."""

    def after(says: str, *steps: Callable[[World], object]) -> tuple[str, Site]:
        world = World()
        for step in steps:
            step(world)
        return says, world.site

    def join(world: World) -> None:
        world.plug_in(enrolment=ENROLMENT, event_id="p")

    def enrol(world: World) -> None:
        world.enrolled()

    def settle(world: World) -> None:
        world.settled(GUIDE_PAUSE)

    def second(world: World) -> None:
        world.plug_in(enrolment=ENROLMENT, charger="c-2")

    def return_(world: World) -> None:
        world.plug_in(at(0.2), enrolment=consented(at(0.2)))

    yield after("nothing is known")
    yield after("plugged in, not enrolled", lambda w: w.plug_in(event_id="p"))
    yield after("a session that is over", lambda w: w.plug_in(schedule=PAST, event_id="p"))
    yield after("a boost alone", lambda w: w.boost(until_ms=at(2)))
    yield after("an unknown action alone", lambda w: w.unreadable(at(0.1)))
    yield after("onboarding", join)
    yield after("onboarding, and it exists already", join, lambda w: w.refuse_onboarding(Refusal.EXISTS))
    yield after("not eligible", join, lambda w: w.refuse_onboarding(Refusal.NOT_ELIGIBLE))
    yield after("an onboarding was given up", join, lambda w: w.wake(T0 + 24 * HOUR_MS))
    yield after("asking", enrol)
    yield after("asking during a boost", enrol, lambda w: w.boost(until_ms=at(2)))
    yield after("looking up for a question", enrol, lambda w: w.refuse(Refusal.UNKNOWN_CHARGER))
    yield after(
        "asking again after a look-up",
        enrol,
        lambda w: w.refuse(Refusal.UNKNOWN_CHARGER),
        lambda w: w.look_up(MPAN),
    )
    yield after("forbidden", enrol, lambda w: w.refuse(Refusal.FORBIDDEN))
    yield after("paused", settle)
    yield after("halted", settle, lambda w: w.unreadable(at(0.1)))
    yield after("joined by a second charger", settle, second)
    yield after("withdrawn and owed", settle, lambda w: w.withdraw(at(0.1), event_id="w"))
    yield after("withdrawn, done", settle, lambda w: w.withdraw(at(0.1), event_id="w"), lambda w: w.offboard())
    yield after("withdrawn during the onboarding", join, lambda w: w.withdraw(at(0.1), event_id="w"))
    yield after("withdrawn, and a newer consent waits", settle, lambda w: w.withdraw(at(0.1)), return_)
    yield after("being removed", settle, second, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield after("being removed, the last one", settle, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield after("removed during the onboarding", join, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield after("removed, and a newer consent waits", settle, second, lambda w: w.withdraw(at(0.1), "c-1"), return_)
    yield after(
        "withdrawn and then removed", settle, lambda w: w.withdraw(at(0.1)), lambda w: w.withdraw(at(0.1), "c-1")
    )


def events(site: Site) -> Iterator[Event]:
    """One of every kind of event, in every shape that makes a difference, timely and late."""
    charger = site.charger("c-1")
    number = charger.question.number if charger and charger.question else 0
    for at_ms, event_id in ((at(-3), "p"), (at(0.15), "p"), (at(0.15), "w"), (at(-3), "new"), (at(0.3), "new")):
        for enrolment, schedule in product((None, ENROLMENT, consented(at_ms)), (GUIDE_SCHEDULE, PAST)):
            yield PlugIn(event_id, at_ms, SOURCE, "home-1", "c-1", schedule, None, enrolment)
        for action, until_ms in product(BoostAction, (None, at(0.2), at(3))):
            schedule = GUIDE_SCHEDULE if action is BoostAction.SCHEDULE_CHANGED else ()
            yield UserBoost(event_id, at_ms, SOURCE, "home-1", "c-1", action, until_ms, schedule or None)
        for reason, charger_id in product(WithdrawalReason, (None, "c-1")):
            yield ConsentWithdrawn(event_id, at_ms, SOURCE, "home-1", charger_id, reason)
        yield Unreadable(event_id, at_ms, SOURCE, "home-1", "c-1", Input.PLUG_IN)
    for axle_site, asset in (("axle-site", "axle-c-1"), ("other-site", "other-asset")):
        yield Onboarded("home-1", "c-1", axle_site, asset)
        yield Offboarded("home-1", axle_site)
        for mpan in (None, MPAN, STRANGER):
            yield LookedUp("home-1", "c-1", Found(axle_site, asset, mpan))
    yield LookedUp("home-1", "c-1", None)
    for why in Refusal:
        yield OnboardingRefused("home-1", "c-1", why)
        yield ScheduleRefused("home-1", "c-1", number, why)
        yield ScheduleRefused("home-1", "c-1", number - 1, why)
    for answered in (None, (), PAST, GUIDE_SCHEDULE, ((NIGHT, NIGHT + HOUR_MS),)):
        yield ScheduleAnswered("home-1", "c-1", number, GUIDE_SCHEDULE, answered)
        yield ScheduleAnswered("home-1", "c-1", number + 1, GUIDE_SCHEDULE, answered)
    yield Removed("home-1", "c-1")
    yield CallFailed("home-1", None, 400)
    yield CallFailed("home-1", "c-1", 403)
    yield Due("home-1")


PAIRS = [(says, site, event) for says, site in states() for event in events(site)]
TIMES = (T0 - HOUR_MS, at(0.3), GUIDE_SCHEDULE[-1][1] + 1, T0 + 25 * HOUR_MS)


def test_every_kind_of_event_has_rows() -> None:
    """Nothing that can happen is left out."""
    assert set(TABLE) == set(EVENT_CLASSES)


@pytest.mark.parametrize("kind", EVENT_CLASSES, ids=lambda kind: kind.__name__)
def test_the_last_row_of_every_event_is_unconditional(kind: type[Event]) -> None:
    """And no row before it is, or those behind it would never be reached."""
    *others, last = TABLE[kind]
    always = decide_module._always  # noqa: SLF001 - the very condition is meant
    assert last.when is always
    assert all(row.when is not always for row in others)


def test_rows_of_an_event_say_different_things() -> None:
    """Each row has a sentence of its own, so a reader and a diagram can name it."""
    for rows in TABLE.values():
        assert len({row.says for row in rows}) == len(rows)


def test_every_row_is_needed() -> None:
    """For each row there is a state and an event that it is the first match for."""
    met = set()
    for _, site, event in PAIRS:
        for now_ms in TIMES:
            turn = Turn(site, event, now_ms, RULES)
            take(turn)
            begin_enrolling(turn)
            met.add((type(event), next(row.says for row in TABLE[type(event)] if row.when(turn))))
    assert {(kind, row.says) for kind, rows in TABLE.items() for row in rows} - met == set()


@cache
def decisions() -> list[tuple[str, Site, Event, int, Decision]]:
    """Every event in every state at every time, decided."""
    return [
        (says, site, event, now_ms, decide(site, event, now_ms, RULES))
        for (says, site, event), now_ms in product(PAIRS, TIMES)
    ]


def test_decide_is_total() -> None:
    """Every event in every state at every time ends in a decision, and what is owed and due can be told."""
    for says, site, _, now_ms, decision in decisions():
        owed(decision.site, now_ms, RULES)
        due_at_ms(decision.site, now_ms, RULES)
        assert len(decision.site.chargers) >= len(site.chargers), says


def test_decide_is_a_function() -> None:
    """The same site, event and time give the same decision, and the site that was given is as it was."""
    for _, site, event, now_ms, decision in decisions()[::17]:
        before = replace(site)
        assert decide(site, event, now_ms, RULES) == decision
        assert site == before


def test_no_outcome_is_lost_or_doubled() -> None:
    """Whoever waited, and the input at hand, either waits afterwards or has got one outcome: never both or neither."""
    for says, site, event, _, decision in decisions():
        inputs = [event.source] if isinstance(event, PlugIn | UserBoost | Unreadable | ConsentWithdrawn) else []
        settled = [o.source for o in decision.outputs if isinstance(o, Outcome)]
        before, after = [*waiting(site), *inputs], [*waiting(decision.site), *settled]
        assert Counter(before) == Counter(after), (says, event)


def test_no_pause_comes_but_from_an_answer() -> None:
    """Whatever happens, a record with pauses is one that Axle's answer to the open question made."""
    for says, _, event, _, decision in decisions():
        for record in decision.outputs:
            if isinstance(record, ModifiedSchedule) and record.pauses:
                assert record.status is Status.MODIFIED, says
                assert isinstance(event, ScheduleAnswered), says


def test_a_withdrawn_site_is_never_asked_about_or_onboarded() -> None:
    """Nor is anything kept of the household, whatever state the withdrawal met."""
    for says, _, _, now_ms, decision in decisions():
        if withdrawn(decision.site):
            assert decision.site.enrolment is None, says
            calls = owed(decision.site, now_ms, RULES)
            assert not any(isinstance(call, AskSchedule | Onboard) for call in calls), says


def test_statuses_of_final_records_are_outcomes() -> None:
    """A record that is the last word names the outcome of its event."""
    assert {status.value for status in Status} - {result.value for result in Result} == {Status.REQUESTED.value}


# What is said first, where several things hold


@pytest.mark.parametrize(
    ("schedule", "withdrawn", "enrolled", "status"),
    [
        (PAST, True, False, Status.EXPIRED),
        (PAST, False, True, Status.EXPIRED),
        (GUIDE_SCHEDULE, True, False, Status.WITHDRAWN),
        (GUIDE_SCHEDULE, True, True, Status.WITHDRAWN),
        (GUIDE_SCHEDULE, False, False, Status.NOT_ENROLLED),
        (GUIDE_SCHEDULE, False, True, Status.REQUESTED),
    ],
)
def test_the_first_record_says_the_strongest_thing(
    schedule: Schedule, status: Status, *, withdrawn: bool, enrolled: bool
) -> None:
    """Expired before withdrawn before not enrolled; else Axle is asked."""
    world = World().settled() if enrolled else World()
    if withdrawn:
        world.withdraw(at(0.1))
    told = world.plug_in(at(0.2), schedule=schedule)
    records = [o for o in told if isinstance(o, ModifiedSchedule)]
    assert [(record.status, record.pauses) for record in records] == [(status, ())]


@pytest.mark.parametrize(
    ("action", "until_ms", "result"),
    [
        (BoostAction.BOOST, at(0.5), Result.EXPIRED),
        (BoostAction.BOOST_CANCELLED, None, Result.STALE),
        (BoostAction.UNKNOWN, None, Result.UNKNOWN_ACTION),
    ],
)
def test_an_action_that_cannot_change_the_wish_leaves_the_question_alone(
    action: BoostAction, until_ms: int | None, result: Result
) -> None:
    """A boost that is over or a cancel without one publishes nothing; nor does what we do not know, when it is old."""
    world = World()
    world.plug_in(at(0.4), enrolment=ENROLMENT)
    world.onboard()
    world.now_ms = at(1)
    question, records = world.question(), len(world.records)
    late = at(0.39) if action is BoostAction.UNKNOWN else at(0.45)
    world.boost(late, until_ms, action, event_id="late")
    assert world.outcome("late") == [result]
    assert (world.question(), len(world.records)) == (question, records)


def test_a_boost_of_an_earlier_session_is_stale() -> None:
    """It was tapped more than five minutes before the plug-in."""
    world = World()
    world.plug_in(at(1))
    world.boost(at(0.9), at(3), event_id="late")
    assert world.outcome("late") == [Result.STALE]
    assert len(world.records) == 1


def test_a_boost_that_shortens_the_one_in_force_is_published() -> None:
    """It is over, but it changes what is requested."""
    world = World()
    world.plug_in()
    world.boost(at(0.1), at(3))
    world.now_ms = at(1)
    world.boost(at(0.5), at(0.9))
    assert world.last.requested == GUIDE_SCHEDULE
