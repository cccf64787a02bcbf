"""Edge cases of time, told one by one: T1, T3, T4 and T6.

Those that are about bytes alone (T2, T5) are in `tests/wire/test_edge_cases.py`. The one idea: everything is measured
between instants, and what is over is neither asked about nor undone.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from processor.core.events import BoostAction, ScheduleAnswered
from processor.core.outputs import Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, before, since, total_ms, window
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, NIGHT, T0, World, at

LONDON = ZoneInfo("Europe/London")
END = GUIDE_SCHEDULE[-1][1]
SECOND_MS = 1000
SHORTEST_MS = 5 * MINUTE_MS
"""A shorter pause is dropped."""
LEAD_MS = MINUTE_MS
"""No pause begins sooner than this after it was decided."""


def london(shown: str, *, again: bool = False) -> int:
    """The instant at which clocks in London show this; `again` for the hour that they show twice."""
    instant = datetime.fromisoformat(shown).replace(tzinfo=LONDON, fold=int(again))
    return round(instant.timestamp()) * SECOND_MS


def test_t1_an_answer_whose_times_name_no_zone_is_refused() -> None:
    """Such times tell no instants: the driver's schedule stays in force, and a person is told."""
    world = World().enrolled()
    call = world.question()
    world.tell(ScheduleAnswered("home-1", "c-1", call.number, call.schedule, answered=None))
    assert (world.last.status, world.last.final) == (Status.REJECTED, True)
    assert (world.last.effective, world.last.pauses) == (GUIDE_SCHEDULE, ())
    assert world.outcome("e1") == [Result.REJECTED]
    assert world.alarms == ["answer_rejected"]


SPRING = window(london("2026-03-28T12:00"), london("2026-03-29T12:00"))
AUTUMN = window(london("2026-10-24T12:00"), london("2026-10-25T12:00"))
HALF_PAST_MIDNIGHT = london("2026-03-29T00:30")
ONE_IN_SUMMER_TIME = london("2026-10-25T01:00")


@pytest.mark.parametrize(
    ("night", "hours", "pause", "status"),
    [
        pytest.param(SPRING, 23, (), Status.UNCHANGED, id="23 hours in March"),
        pytest.param(AUTUMN, 25, (), Status.UNCHANGED, id="25 hours in October"),
        pytest.param(
            SPRING,
            23,
            window(HALF_PAST_MIDNIGHT, london("2026-03-29T02:30")),
            Status.MODIFIED,
            id="clocks show two hours, the pause is one",
        ),
        pytest.param(
            SPRING,
            23,
            window(HALF_PAST_MIDNIGHT, london("2026-03-29T02:31")),
            Status.REJECTED,
            id="a minute longer than the longest pause in March",
        ),
        pytest.param(
            AUTUMN,
            25,
            window(ONE_IN_SUMMER_TIME, london("2026-10-25T01:00", again=True)),
            Status.MODIFIED,
            id="clocks show the same hour, the pause is one",
        ),
        pytest.param(
            AUTUMN,
            25,
            window(ONE_IN_SUMMER_TIME, london("2026-10-25T01:30", again=True)),
            Status.REJECTED,
            id="clocks show half an hour, the pause is too long",
        ),
    ],
)
def test_t3_a_night_of_23_or_25_hours_is_measured_in_instants(
    night: Schedule, hours: int, pause: Schedule, status: Status
) -> None:
    """What London's clocks show in the night of the change makes no pause longer or shorter than it is."""
    world = World(now_ms=night[0][0] - HOUR_MS)
    world.plug_in(schedule=night, enrolment=ENROLMENT)
    world.onboard()
    world.answer(pause)
    assert world.last.status is status
    assert total_ms(world.last.requested) == hours * HOUR_MS
    paused_ms = HOUR_MS if status is Status.MODIFIED else 0
    assert total_ms(world.last.effective) == hours * HOUR_MS - paused_ms


def test_t4_what_is_over_is_published_whole_and_never_asked_about() -> None:
    """A schedule that is over expires unasked; of one that has begun, Axle is told the rest from the next minute on."""
    yesterday = window(T0 - 3 * HOUR_MS, T0)
    world = World().settled()
    world.plug_in(at(0.5), schedule=yesterday, event_id="over")
    assert (world.last.status, world.last.requested, world.last.final) == (Status.EXPIRED, yesterday, True)
    assert (world.outcome("over"), world.owed) == ([Result.EXPIRED], [])

    for paused_minutes, status in ((10, Status.MODIFIED), (5, Status.UNCHANGED)):
        world = World().settled()
        read_at = at(3) + 10 * SECOND_MS
        next_minute = at(3) + MINUTE_MS
        world.plug_in(read_at)
        assert world.last.requested == world.last.effective == GUIDE_SCHEDULE
        assert world.question().schedule == since(GUIDE_SCHEDULE, next_minute)
        world.answer(window(next_minute, next_minute + paused_minutes * MINUTE_MS))
        # The ten seconds that the charger needs to hear of it are taken off the pause, not put behind it.
        trimmed = window(read_at + LEAD_MS, next_minute + paused_minutes * MINUTE_MS)
        assert world.last.pauses == (trimmed if total_ms(trimmed) >= SHORTEST_MS else ())
        assert world.last.status is status
        assert before(world.last.effective, read_at) == before(GUIDE_SCHEDULE, read_at)


def test_t6_after_an_outage_only_the_newest_wish_is_asked_about() -> None:
    """Hours of wishes are read in one go: each is heard and gets its outcome, one call goes to Axle."""
    world = World().enrolled()
    world.now_ms = read_at = at(5)
    newest: Schedule = window(NIGHT, END + HOUR_MS)
    world.boost(at(0.5), at(1.5), event_id="boost that is over")
    assert len(world.records) == 1
    world.boost(at(2), action=BoostAction.SCHEDULE_CHANGED, schedule=window(NIGHT, END - HOUR_MS), event_id="change")
    world.boost(at(3), at(6), event_id="boost")
    world.boost(at(4), action=BoostAction.BOOST_CANCELLED, event_id="cancel")
    world.boost(at(4.5), action=BoostAction.SCHEDULE_CHANGED, schedule=newest, event_id="newest")
    world.boost(at(2.5), at(4), event_id="another boost that is over")

    assert world.last.requested == newest
    (call,) = world.owed
    assert call == world.question()
    assert world.question().schedule == since(newest, read_at)
    world.answer(window(at(6), at(6.5)))
    assert sorted(world.results, key=lambda who: str(who[0])) == [
        ("another boost that is over", Result.STALE),
        ("boost", Result.COALESCED),
        ("boost that is over", Result.EXPIRED),
        ("cancel", Result.COALESCED),
        ("change", Result.COALESCED),
        ("e1", Result.COALESCED),
        ("newest", Result.MODIFIED),
    ]
    assert world.owed == []
