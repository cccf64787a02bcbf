"""Edge cases of Axle's answers, told one by one: A1 to A8.

What Axle says, and what becomes of it. The one idea: an answer may take a little time away from what was sent, and
nothing else; whatever it is, late, wrong or missing, the driver's schedule is in force until it is believed.
"""

import pytest

from processor.core.events import Answer, Refusal, ScheduleAnswered
from processor.core.intents import AskSchedule, LookUp, Onboard
from processor.core.outputs import Alarm, Enrolled, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, normalise, subtract, union, window
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    MPAN,
    NIGHT,
    STRANGER,
    World,
    at,
    consented,
    onboarding,
)

END = GUIDE_SCHEDULE[-1][1]
LONGEST_MS = 60 * MINUTE_MS


def answer_to(call: AskSchedule, answered: Schedule | None) -> Answer:
    """What Axle sends back to that call."""
    return ScheduleAnswered("home-1", "c-1", call.number, call.schedule, answered)


@pytest.mark.parametrize(
    ("answered", "rule"),
    [
        pytest.param(window(NIGHT, END + MINUTE_MS), "not_a_subset", id="charges longer"),
        pytest.param(window(NIGHT - MINUTE_MS, END), "not_a_subset", id="charges sooner"),
        pytest.param(window(NIGHT + HOUR_MS, END + HOUR_MS), "not_a_subset", id="charges an hour later"),
        pytest.param(window(END, END + HOUR_MS), "not_a_subset", id="charges at quite another time"),
        pytest.param((), "empty", id="never charges"),
        pytest.param(window(NIGHT + LONGEST_MS + 1, END), "pause_too_long", id="one pause is too long"),
        pytest.param(
            subtract(GUIDE_SCHEDULE, normalise((at(n), at(n, 41)) for n in (2, 4, 6))),
            "pauses_too_long_in_all",
            id="the pauses are too long in all",
        ),
        pytest.param(
            subtract(GUIDE_SCHEDULE, normalise((at(n), at(n, 10)) for n in (2, 3, 4, 5))),
            "too_many_pauses",
            id="there are too many pauses",
        ),
        pytest.param(None, "unreadable", id="its times cannot be read"),
    ],
)
def test_a1_an_answer_that_breaks_a_rule(answered: Schedule | None, rule: str) -> None:
    """Nothing of it reaches the charger: the driver's schedule is the last word, and a person is told which rule."""
    world = World().enrolled()
    world.tell(answer_to(world.question(), answered))
    assert (world.last.status, world.last.final) == (Status.REJECTED, True)
    assert (world.last.effective, world.last.pauses) == (GUIDE_SCHEDULE, ())
    assert world.outcome("e1") == [Result.REJECTED]
    assert [(o.kind.value, o.detail) for o in world.outputs if isinstance(o, Alarm)] == [("answer_rejected", rule)]
    assert world.owed == []


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(((NIGHT, at(3)), (at(3), END)), id="two blocks that touch"),
        pytest.param(((at(3), END), (NIGHT, at(3))), id="the later one first"),
        pytest.param(((NIGHT, at(5)), (at(2), END)), id="two blocks that overlap"),
        pytest.param(((NIGHT, END), (at(2), at(3)), (NIGHT, END)), id="the same block several times"),
    ],
)
def test_a2_the_same_time_in_more_blocks_is_unchanged(pieces: tuple[tuple[int, int], ...]) -> None:
    """What counts is when the car may charge, not in how many pieces it is told."""
    world = World().enrolled()
    world.tell(answer_to(world.question(), normalise(pieces)))
    assert (world.last.status, world.last.effective, world.last.final) == (Status.UNCHANGED, GUIDE_SCHEDULE, True)
    assert world.outcome("e1") == [Result.UNCHANGED]


@pytest.mark.parametrize(
    ("pause", "status"),
    [
        pytest.param(window(NIGHT, NIGHT + 30 * MINUTE_MS), Status.MODIFIED, id="half an hour at the start"),
        pytest.param(window(END - 30 * MINUTE_MS, END), Status.MODIFIED, id="half an hour at the end"),
        pytest.param(window(NIGHT, NIGHT + LONGEST_MS), Status.MODIFIED, id="the longest one at the start"),
        pytest.param(window(NIGHT, NIGHT + LONGEST_MS + MINUTE_MS), Status.REJECTED, id="too long at the start"),
        pytest.param(window(END - LONGEST_MS - MINUTE_MS, END), Status.REJECTED, id="too long at the end"),
        pytest.param(window(NIGHT + 4 * MINUTE_MS, at(2)), Status.UNCHANGED, id="a sliver of charging before it"),
        pytest.param(window(at(8), END - 4 * MINUTE_MS), Status.UNCHANGED, id="a sliver of charging behind it"),
    ],
)
def test_a3_a_pause_at_the_very_start_or_end(pause: Schedule, status: Status) -> None:
    """It is allowed as any other is, within the same limits, and leaves no sliver of charging at the edge."""
    world = World().enrolled()
    world.answer(pause)
    assert world.last.status is status
    assert world.last.pauses == (pause if status is Status.MODIFIED else ())
    assert world.last.effective == subtract(GUIDE_SCHEDULE, world.last.pauses)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(None, id="Axle does not have it"),
        pytest.param(STRANGER, id="it is at another household's"),
        pytest.param(MPAN, id="it has new ids"),
    ],
)
def test_a4_axle_does_not_know_the_charger_any_more(found: str | None) -> None:
    """It is looked up once and asked about once more; else it is unknown until the household consents again."""
    world = World().enrolled()
    asked = world.question()
    assert world.refuse(Refusal.UNKNOWN_CHARGER) == ()
    assert world.owed == [LookUp("home-1", "c-1", 0, for_question=True)]
    world.look_up(found, axle_site="new-site")
    if found == MPAN:
        assert world.question().number == asked.number
        assert world.enrolment_statuses[-1].axle_site_id == "new-site"
        world.refuse(Refusal.UNKNOWN_CHARGER)
    assert (world.last.status, world.last.effective, world.owed) == (Status.NOT_ENROLLED, GUIDE_SCHEDULE, [])
    assert world.outcome("e1") == [Result.NOT_ENROLLED]
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.UNKNOWN

    world.plug_in(at(0.2), enrolment=ENROLMENT)
    assert (world.last.status, world.owed) == (Status.NOT_ENROLLED, [])
    world.plug_in(at(0.4), enrolment=consented(at(0.4)))
    assert world.last.status is Status.REQUESTED
    assert isinstance(world.owed[0], Onboard)


@pytest.mark.parametrize(
    ("found", "is_ours"),
    [
        pytest.param(MPAN, True, id="at the household's own meter"),
        pytest.param(STRANGER, False, id="at another household's meter"),
        pytest.param(None, False, id="nowhere"),
    ],
)
def test_a5_axle_has_the_charger_already(found: str | None, *, is_ours: bool) -> None:
    """It is looked up whose it is: ours is adopted with its ids, anyone else's is left alone and a person is told."""
    world = onboarding()
    assert world.refuse_onboarding(Refusal.EXISTS) == ()
    assert world.owed == [LookUp("home-1", "c-1", 0)]
    world.look_up(found, axle_site="their-site")
    assert world.site.enrolment is None
    if is_ours:
        assert world.question().axle_asset_id == "axle-c-1"
        assert (world.site.axle_site_id, world.alarms) == ("their-site", [])
        return
    assert (world.last.status, world.last.effective) == (Status.NOT_ENROLLED, GUIDE_SCHEDULE)
    assert (world.outcome("e1"), world.alarms) == ([Result.NOT_ENROLLED], ["charger_conflict"])
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.CONFLICT
    world.withdraw(at(1), event_id="withdrawal")
    assert (world.outcome("withdrawal"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])


def test_a6_not_eligible_is_an_answer_and_a_fault_of_ours_is_an_alarm() -> None:
    """Who is not eligible is not asked about again with this consent; our own mistake is tried again next time."""
    world = onboarding()
    world.refuse_onboarding(Refusal.NOT_ELIGIBLE)
    assert (world.last.status, world.outcome("e1")) == (Status.NOT_ENROLLED, [Result.NOT_ENROLLED])
    assert (world.charger.enrolled, world.alarms) == (Enrolled.NOT_ELIGIBLE, [])
    world.plug_in(at(0.2), enrolment=ENROLMENT)
    assert (world.last.status, world.owed, world.site.enrolment) == (Status.NOT_ENROLLED, [], None)
    world.plug_in(at(0.4), enrolment=consented(at(0.4)))
    assert isinstance(world.owed[0], Onboard)

    world = onboarding()
    world.refuse_onboarding(Refusal.INVALID)
    assert (world.last.status, world.outcome("e1")) == (Status.FALLBACK, [Result.FALLBACK])
    assert (world.alarms, world.owed, world.site.enrolment) == (["our_request_invalid"], [], None)
    world.plug_in(at(0.2), enrolment=ENROLMENT)
    assert isinstance(world.owed[0], Onboard)

    world = World().enrolled()
    world.refuse(Refusal.INVALID)
    assert (world.last.status, world.last.effective) == (Status.FALLBACK, GUIDE_SCHEDULE)
    assert (world.outcome("e1"), world.alarms) == ([Result.FALLBACK], ["our_request_invalid"])


def test_a7_an_answer_that_never_comes_or_comes_late() -> None:
    """Broken replies tell us nothing, so the driver's schedule goes on; a late answer counts while it is waited for."""
    world = World().enrolled()
    asked = world.question()
    paused = subtract(asked.schedule, GUIDE_PAUSE)
    given_up_at = world.due_ms
    assert given_up_at is not None
    world.wake(given_up_at)
    assert (world.last.status, world.last.effective, world.last.final) == (Status.FALLBACK, GUIDE_SCHEDULE, True)
    assert world.outcome("e1") == [Result.FALLBACK]
    assert world.tell(answer_to(asked, paused)) == ()

    half_of_it_is_over = GUIDE_PAUSE[0][0] + 30 * MINUTE_MS
    world = World().enrolled()
    world.tell(answer_to(world.question(), paused), half_of_it_is_over)
    assert (world.last.status, world.outcome("e1")) == (Status.MODIFIED, [Result.MODIFIED])
    assert world.last.pauses == window(half_of_it_is_over + world.rules.lead_ms, GUIDE_PAUSE[0][1])

    world = World().enrolled()
    world.tell(answer_to(world.question(), paused), GUIDE_PAUSE[0][1])
    assert (world.last.status, world.last.effective) == (Status.UNCHANGED, GUIDE_SCHEDULE)


def test_a8_a_call_whose_answer_is_lost() -> None:
    """Nobody knows what it did: a schedule is sent again, under its number; an onboarding that happened is adopted."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    (onboard,) = world.owed
    world.wake(at(0.1))
    assert world.owed == [onboard]
    world.refuse_onboarding(Refusal.EXISTS)
    world.look_up(MPAN)
    assert world.charger.enrolled is Enrolled.ENROLLED

    first = world.question()
    world.now_ms = at(2)
    second = world.question()
    assert (second.number, second.schedule) == (first.number, window(at(2), END))
    # The answer to either attempt counts, against what that attempt had sent, and only one of them.
    world.tell(answer_to(first, subtract(first.schedule, GUIDE_PAUSE)))
    assert (world.last.status, world.last.pauses) == (Status.MODIFIED, GUIDE_PAUSE)
    assert world.tell(answer_to(second, second.schedule)) == ()
    assert world.results == [("e1", Result.MODIFIED)]

    # A wish that came meanwhile has a number of its own, so no answer to the lost call is taken for its own.
    world.boost(at(2.5), at(3))
    assert world.question().number > first.number
    assert world.tell(answer_to(first, first.schedule)) == ()
    assert world.last.effective == union(GUIDE_SCHEDULE, window(at(2.5), at(3)))
