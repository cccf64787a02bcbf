"""The table is whole: every event has rows, every state finds one, every row is needed, and none raises."""

from collections import Counter
from itertools import product
from typing import get_args

import pytest
from msgspec.structs import replace

from processor.core import enrolment, leaving
from processor.core.conditions import always
from processor.core.decide import ROWS, TABLE, Decision, decide, row_for
from processor.core.events import BoostAction, Event, InputEvent, Removed, ScheduleAnswered
from processor.core.intents import AskSchedule, Onboard, owed
from processor.core.outputs import ModifiedSchedule, Outcome, Result, Status
from processor.core.registers import take
from processor.core.schedule import Schedule
from processor.core.site import Site, due_at_ms, is_erased, withdrawn
from processor.core.standing import Asking, Standing, asking_of, standing_of
from processor.core.turn import Turn
from tests.core.table import PAIRS, PAST, TIMES
from tests.core.world import (
    ENROLMENT,
    GUIDE_SCHEDULE,
    RULES,
    World,
    at,
    waiting,
)

EVENT_CLASSES: tuple[type[Event], ...] = get_args(Event)


def test_every_kind_of_event_has_rows() -> None:
    """Nothing that can happen is left out."""
    assert set(TABLE) == set(EVENT_CLASSES)


def test_every_pair_of_state_and_event_has_rows() -> None:
    """The last of them has no condition, and no row before it is without one."""
    assert set(ROWS) == set(product(Standing, Asking, EVENT_CLASSES))
    for rows in ROWS.values():
        assert [row.when is always for row in rows] == [*[False] * (len(rows) - 1), True]


def test_rows_of_an_event_say_different_things() -> None:
    """Each row has a sentence of its own, so a reader and a diagram can name it."""
    for rows in TABLE.values():
        assert len({row.says for row in rows}) == len(rows)


def test_every_row_is_needed() -> None:
    """For each row there is a state and an event that it is the first match for."""
    met = set()
    for _, site, rules, event in PAIRS:
        for now_ms in TIMES:
            turn = Turn(site, event, now_ms, rules)
            take(turn)
            enrolment.begin(turn)
            leaving.begin(turn)
            met.add((type(event), row_for(turn).says))
    assert {(kind, row.says) for kind, rows in TABLE.items() for row in rows} - met == set()


def test_every_state_is_met() -> None:
    """The households of these tests stand in every way that the table tells apart."""
    met = {standing_of(site, site.charger("c-1")) for _, site, _, _ in PAIRS}
    assert met == set(Standing)
    assert {asking_of(site.charger("c-1")) for _, site, _, _ in PAIRS} == set(Asking)


def decisions() -> list[tuple[str, Site, Event, int, Decision]]:
    """Every event in every state at every time, decided."""
    return [
        (says, site, event, now_ms, decide(site, event, now_ms, rules))
        for (says, site, rules, event), now_ms in product(PAIRS, TIMES)
    ]


def test_decide_is_total() -> None:
    """Every event in every state at every time ends in a decision, and what is owed and due can be told."""
    for says, site, _, now_ms, decision in decisions():
        owed(decision.site, now_ms, RULES)
        due_at_ms(decision.site, now_ms, RULES)
        assert is_erased(decision.site) or len(decision.site.chargers) >= len(site.chargers), says


def test_decide_is_a_function() -> None:
    """The same site, event and time give the same decision, and the site that was given is as it was."""
    for (_, site, rules, event), now_ms in [*product(PAIRS, TIMES)][::17]:
        before = replace(site)
        decision = decide(site, event, now_ms, rules)
        assert decide(site, event, now_ms, rules) == decision
        assert site == before


def test_no_outcome_is_lost_or_doubled() -> None:
    """Whoever waited, and the input at hand, either waits afterwards or has got one outcome: never both or neither."""
    for says, site, event, _, decision in decisions():
        inputs = [event.source] if isinstance(event, InputEvent) else []
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


def test_effects_look_for_the_event_they_are_about() -> None:
    """So a row in a wrong place could do nothing, but never raise."""
    about_one_kind = {
        "the charger left meanwhile",
        "the charger is enrolled",
        "the question goes on under new ids",
        "Axle has the charger: see whose it is",
        "a call that may not be given up was refused",
        "one charger was disconnected",
        "the household withdrew",
        "the household is to be forgotten",
        "it left, and Axle may have it still",
    }
    site = World().settled().site
    for row in [row for rows in TABLE.values() for row in rows if row.says in about_one_kind]:
        turn = Turn(site, Removed("home-1", "c-1", "axle-c-1"), at(1), RULES)
        row.then(turn)
        assert (turn.site, turn.outputs) == (site, []), row.says


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
