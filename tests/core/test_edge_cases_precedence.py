"""Edge cases of precedence, told one by one: P1 to P7.

Which of two wishes counts, when they cross each other, an answer of Axle's, or themselves. The one idea: the driver
wins, and the newest word on a matter is told by its time, never by the order in which words arrive.
"""

from collections.abc import Callable
from itertools import permutations, product

import pytest

from processor.core.events import BoostAction, Refusal, ScheduleAnswered, ScheduleRefused
from processor.core.outputs import Output, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, intersect, subtract, union, window
from tests.core.world import ENROLMENT, GUIDE_PAUSE, GUIDE_SCHEDULE, NIGHT, World, at, results_of

END = GUIDE_SCHEDULE[-1][1]
LATE_NIGHT: Schedule = window(NIGHT + 2 * HOUR_MS, END)
BEFORE_PLUG_IN_MS = 5 * MINUTE_MS
"""A boost up to this long before a plug-in belongs to it."""
LEAD_MS = MINUTE_MS


def test_p1_a_boost_while_a_plug_in_call_is_in_flight() -> None:
    """The boost is in force at once; whatever Axle says to the plug-in is dropped, and the boost is asked about."""
    boost = window(at(0.5), at(2.5))
    world = World().enrolled()
    asked = world.question()
    told = world.boost(*boost[0], event_id="boost")
    assert results_of(told) == [Result.COALESCED]
    assert (world.last.status, world.last.effective) == (Status.REQUESTED, union(boost, GUIDE_SCHEDULE))
    assert world.last.caused_by.event_id == "boost"
    anew = world.question()
    assert (anew.number, anew.schedule) == (world.last.revision, world.last.requested)
    assert anew.number > asked.number

    paused = subtract(asked.schedule, GUIDE_PAUSE)
    assert world.tell(ScheduleAnswered("home-1", "c-1", asked.number, asked.schedule, paused)) == ()
    for why in Refusal:
        assert world.tell(ScheduleRefused("home-1", "c-1", asked.number, why)) == ()
    assert world.question() == anew
    world.answer(GUIDE_PAUSE)
    assert world.results == [("e1", Result.COALESCED), ("boost", Result.MODIFIED)]


@pytest.mark.parametrize(
    "plugged_in",
    [
        pytest.param(at(0.4), id="it was plugged in first, but is read last"),
        pytest.param(at(0.5), id="both happened at the same time"),
        pytest.param(at(0.5) + BEFORE_PLUG_IN_MS, id="the driver tapped first and plugged in then"),
    ],
)
def test_p2_a_boost_that_is_read_before_its_plug_in(plugged_in: int) -> None:
    """The boost is published alone, and the schedule of the plug-in then comes under it."""
    boost = window(at(0.5), at(3))
    world = World()
    world.boost(*boost[0], event_id="boost")
    assert (world.last.requested, world.last.effective) == (boost, boost)
    assert world.outcome("boost") == [Result.NOT_ENROLLED]
    world.plug_in(plugged_in, schedule=LATE_NIGHT, enrolment=ENROLMENT)
    assert world.last.effective == union(boost, LATE_NIGHT)
    world.onboard()
    assert world.question().boosted
    world.answer(window(at(2), at(3)))
    assert (world.last.status, world.last.effective) == (Status.UNCHANGED, union(boost, LATE_NIGHT))


def test_p3_a_plug_in_that_is_older_than_the_boost() -> None:
    """Its schedule is taken where nothing newer was set; it never ends a boost that was tapped after it."""
    boost = window(at(1), at(3))
    world = World().settled()
    world.boost(*boost[0])
    world.plug_in(at(0.5), schedule=LATE_NIGHT, event_id="late")
    assert world.last.requested == union(boost, LATE_NIGHT)

    before = world.site
    told = world.plug_in(at(0.25), event_id="replayed")
    assert (len(told), results_of(told), world.site) == (1, [Result.STALE], before)

    world.boost(at(2), action=BoostAction.SCHEDULE_CHANGED, schedule=LATE_NIGHT)
    world.plug_in(at(0.75), schedule=GUIDE_SCHEDULE, event_id="late again")
    assert world.last.requested == union(boost, LATE_NIGHT)

    def plug_in(world: World) -> None:
        world.plug_in(at(1), schedule=LATE_NIGHT, event_id="plug-in")

    def tap(world: World) -> None:
        world.boost(*boost[0], event_id="boost")

    def say_what(world: World) -> None:
        world.unreadable(at(0.9))

    for order in permutations((plug_in, tap, say_what)):
        world = World().settled()
        for happens in order:
            happens(world)
        assert world.last.requested == union(boost, LATE_NIGHT), "at the same time the boost wins, in any order"


def test_p4_a_new_plug_in_ends_the_boost_of_the_session_before() -> None:
    """A boost lasts until its own end or until the car is plugged in anew, whichever comes first."""
    boost = window(at(0.5), at(6))
    world = World().settled()
    world.boost(*boost[0])
    world.answer()
    world.plug_in(at(0.5) + BEFORE_PLUG_IN_MS + 1, schedule=LATE_NIGHT, event_id="plug-in")
    assert world.last.requested == LATE_NIGHT
    assert not world.question().boosted
    # A pause is possible again where the old boost would have been.
    world.answer(window(at(4), at(5)))
    assert (world.last.status, world.last.pauses) == (Status.MODIFIED, window(at(4), at(5)))

    told = world.boost(at(0.4), at(6), event_id="boost of the first session, read late")
    assert (len(told), results_of(told)) == (1, [Result.STALE])
    assert world.last.requested == LATE_NIGHT

    world = World().settled()
    world.boost(*boost[0])
    world.boost(at(6), action=BoostAction.SCHEDULE_CHANGED, schedule=LATE_NIGHT)
    assert world.last.requested == LATE_NIGHT


BOOST = window(at(0.5), at(2.5))
BOOST_END = BOOST[0][1]


@pytest.mark.parametrize(
    ("answered", "published"),
    [
        pytest.param(window(at(0.5), at(1)), (), id="as the boost begins"),
        pytest.param(window(at(1), at(2)), (), id="inside the boost"),
        pytest.param(window(at(2), at(3)), window(BOOST_END, at(3)), id="across its end"),
        pytest.param(window(at(2), BOOST_END + 4 * MINUTE_MS), (), id="a sliver is left behind its end"),
        pytest.param(window(BOOST_END, at(3)), window(BOOST_END, at(3)), id="just behind its end"),
        pytest.param(window(at(4), at(5)), window(at(4), at(5)), id="later in the night"),
        pytest.param((*window(at(1), at(2)), *window(at(4), at(5))), window(at(4), at(5)), id="one in it, one after"),
    ],
)
def test_p5_a_pause_never_meets_the_boost(answered: Schedule, published: Schedule) -> None:
    """Of the pauses in the answer to a boost, what lies in the boost is taken away, and the rest is kept."""
    world = World().settled()
    world.boost(*BOOST[0], event_id="boost")
    world.answer(answered)
    assert world.last.pauses == published
    assert world.last.effective == subtract(union(BOOST, GUIDE_SCHEDULE), published)
    assert intersect(world.last.effective, BOOST) == BOOST
    assert world.outcome("boost") == [Result.MODIFIED if published else Result.UNCHANGED]


PAUSED = GUIDE_PAUSE[0]
CHANGED_AT = PAUSED[0] + 30 * MINUTE_MS
NEW_SCHEDULE = window(NIGHT, END + HOUR_MS)


def minutes_after_the_change(*pauses: tuple[int, int]) -> Schedule:
    """Pauses, told by when they begin and end after the driver changed the schedule."""
    return tuple((CHANGED_AT + start * MINUTE_MS, CHANGED_AT + end * MINUTE_MS) for start, end in pauses)


@pytest.mark.parametrize(
    ("answered", "status", "published"),
    [
        pytest.param(((60, 120), (180, 210)), Status.MODIFIED, ((60, 120), (180, 210)), id="two hours in all"),
        pytest.param(((60, 120), (180, 211)), Status.REJECTED, (), id="a minute more than two hours in all"),
        pytest.param(((60, 70), (120, 130), (180, 190)), Status.REJECTED, (), id="a fourth pause of the session"),
        pytest.param(((0, 30),), Status.MODIFIED, ((1, 30),), id="the old pause goes on: only what lies ahead"),
    ],
)
def test_p6_a_changed_schedule_during_a_running_pause(
    answered: tuple[tuple[int, int], ...], status: Status, published: tuple[tuple[int, int], ...]
) -> None:
    """Charging resumes at once; Axle may pause again, but only ahead, and what was paused before counts too."""
    world = World().settled(GUIDE_PAUSE)
    world.boost(CHANGED_AT, action=BoostAction.SCHEDULE_CHANGED, schedule=NEW_SCHEDULE, event_id="change")
    assert (world.last.status, world.last.effective) == (Status.REQUESTED, NEW_SCHEDULE)
    world.answer(minutes_after_the_change(*answered))
    assert (world.last.status, world.last.pauses) == (status, minutes_after_the_change(*published))
    assert all(start >= CHANGED_AT + LEAD_MS for start, _ in world.last.pauses)
    assert world.outcome("change") == [Result(status)]


Act = Callable[[World, int, str], tuple[Output, ...]]
ACTS: dict[str, Act] = {
    "plug-in": lambda world, when, event_id: world.plug_in(when, event_id=event_id),
    "plug-in with a consent": lambda world, when, event_id: world.plug_in(when, enrolment=ENROLMENT, event_id=event_id),
    "boost": lambda world, when, event_id: world.boost(when, at(6), event_id=event_id),
    "changed schedule": lambda world, when, event_id: world.boost(
        when, action=BoostAction.SCHEDULE_CHANGED, schedule=NEW_SCHEDULE, event_id=event_id
    ),
    "cancelled boost": lambda world, when, event_id: world.boost(
        when, action=BoostAction.BOOST_CANCELLED, event_id=event_id
    ),
    "withdrawal": lambda world, when, event_id: world.withdraw(when, event_id=event_id),
    "disconnected charger": lambda world, when, event_id: world.withdraw(when, "c-1", event_id=event_id),
}


def test_p7_the_same_event_twice() -> None:
    """It changes nothing, publishes nothing and asks nothing, also where another time was counted for it at first."""
    for (says, act), answered in product(ACTS.items(), (False, True)):
        world = World().settled()
        act(world, at(0.5), "the same")
        if answered and world.is_asking():
            world.answer()
        before = world.site
        for counted in (at(0.5), at(0.6)):
            told = act(world, counted, "the same")
            assert (len(told), results_of(told)) == (1, [Result.DUPLICATE]), says
            assert world.site == before, f"{says}: what is owed is read off the site, so nothing more is asked"

    # The same wish under another id is another event: it replaces the one before, and one question is owed, as ever.
    world = World().enrolled()
    world.plug_in(at(0.5), event_id="another")
    assert world.results == [("e1", Result.COALESCED)]
    assert world.owed == [world.question()]
    world.answer(GUIDE_PAUSE)
    assert world.outcome("another") == [Result.MODIFIED]
