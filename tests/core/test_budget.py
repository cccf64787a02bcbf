"""One charger cannot flood Axle, and one site cannot fill the state: what exceeds it is published, and counted."""

import pytest
from msgspec.structs import replace

from processor.core.events import BoostAction, PlugIn, UserBoost
from processor.core.intents import Offboard
from processor.core.outputs import Alarm, ModifiedSchedule, Result, Status
from processor.core.site import Stamp
from processor.core.turn import NEWCOMER_AHEAD_MS
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, RULES, T0, World, at, consented, results_of

THREE = replace(RULES, questions_at_once_max=3, question_every_ms=10_000)
SMALL = replace(RULES, chargers_max=2)


def flapping(times: int) -> World:
    """An enrolled charger, idle for an hour, whose driver then changes the schedule so often in one second."""
    world = World(rules=THREE).settled()
    world.now_ms = at(1)
    for number in range(times):
        change(world, f"change-{number:02}")
    return world


def change(world: World, event_id: str) -> None:
    """The driver sets the schedule anew."""
    world.boost(action=BoostAction.SCHEDULE_CHANGED, schedule=GUIDE_SCHEDULE, event_id=event_id)


def test_every_wish_is_published_however_many_there_are() -> None:
    """The budget is about questions; the driver is heard at once, always."""
    world = flapping(20)
    assert [record.status for record in world.records[-20:]] == [Status.REQUESTED] * 20
    assert [result for _, result in world.results[-19:]] == [Result.COALESCED] * 19


def test_questions_within_the_budget_are_asked_at_once() -> None:
    """Three of them here."""
    world = flapping(3)
    assert world.question().not_before_ms == 0
    assert "event_budget_spent" not in world.alarms


def test_a_question_beyond_the_budget_waits_for_its_time() -> None:
    """The next is due one interval later, and people are told once."""
    world = flapping(4)
    assert world.question().not_before_ms == at(1) + 10_000
    assert world.alarms.count("event_budget_spent") == 1


def test_what_replaces_a_waiting_question_waits_in_its_place() -> None:
    """However many wishes come meanwhile, the wait grows no longer and no one is told again."""
    world = flapping(4)
    world.now_ms += 4_000
    change(world, "one more")
    assert world.question().not_before_ms == at(1) + 10_000
    assert world.alarms.count("event_budget_spent") == 1


def test_the_budget_comes_back_with_time() -> None:
    """One question for every interval that passes, up to all of them."""
    world = flapping(4)
    world.answer()
    world.now_ms = at(1) + 30_000
    for number, due_ms in enumerate((0, 0, 0, at(1) + 40_000)):
        change(world, f"later-{number}")
        assert world.question().not_before_ms == due_ms


def test_wishes_that_are_never_asked_about_do_not_add_up() -> None:
    """A driver whose app misbehaves for a day is asked about within one interval after it stops."""
    world = World(rules=THREE).settled()
    world.now_ms = at(1)
    for number in range(50):
        change(world, f"{number:02}")
        world.unreadable(world.now_ms + 1)
        world.now_ms += 1
    change(world, "last")
    assert world.now_ms < world.question().not_before_ms <= world.now_ms + 10_000


def test_a_clock_that_is_set_back_keeps_no_question_waiting_for_long() -> None:
    """One interval at most, as always."""
    world = flapping(4)
    world.answer()
    action = BoostAction.SCHEDULE_CHANGED
    event = UserBoost("now", at(1) + 1, world.source(), "home-1", "c-1", action, None, GUIDE_SCHEDULE)
    world.tell(event, at(0))
    assert world.question().not_before_ms == at(0) + 10_000


def test_a_look_up_before_a_question_waits_too() -> None:
    """It is a call as well."""
    world = World(rules=replace(THREE, onboarding_elsewhere=True))
    for _ in range(4):
        world.plug_in()
    (call,) = world.owed
    assert call.not_before_ms == T0 + 10_000


def test_an_interval_of_nothing_is_no_budget() -> None:
    """Whoever sets it to 0 asks as often as drivers act."""
    world = World(rules=replace(RULES, question_every_ms=0, questions_at_once_max=1)).settled()
    world.now_ms = at(1)
    for number in range(20):
        change(world, f"{number:02}")
    assert world.question().not_before_ms == 0


# A site with more chargers than a home can have


def crowded() -> World:
    """A home with as many chargers as one may have."""
    world = World(rules=SMALL).settled()
    world.plug_in(charger="c-2")
    return world


def test_a_charger_too_many_is_heard_but_not_kept() -> None:
    """Its driver's wish goes out as the last word, the event has its outcome, the state does not grow."""
    world = crowded()
    before = world.site
    told = world.plug_in(at(0.1), charger="c-3", enrolment=ENROLMENT)
    (record,) = [output for output in told if isinstance(output, ModifiedSchedule)]
    (alarm,) = [output for output in told if isinstance(output, Alarm)]
    assert (record.site_id, record.replaces, alarm.detail) == ("home-1", None, "2")
    assert (record.charger_id, record.status, record.effective) == ("c-3", Status.NOT_ENROLLED, GUIDE_SCHEDULE)
    assert record.final
    assert results_of(told) == [Result.NOT_ENROLLED]
    assert world.alarms == ["too_many_chargers"]
    assert replace(world.site, consent=before.consent, unkept_revision=0) == before
    assert world.enrolment_statuses[-1].chargers[-1].charger_id == "c-1"


def test_records_of_a_charger_too_many_have_rising_revisions() -> None:
    """Also two at one instant, and when the clock was set back: whoever applies them takes the newer one."""
    world = crowded()
    for now_ms in (at(0.1), at(0.1), at(0)):
        event = PlugIn("e", at(-0.1), world.source(), "home-1", "c-3", GUIDE_SCHEDULE)
        world.tell(event, now_ms)
    first = at(0.1) + NEWCOMER_AHEAD_MS
    assert [record.revision for record in world.records[-3:]] == [first, first + 1, first + 2]


def test_a_consent_that_a_charger_too_many_brings_is_the_households() -> None:
    """What is known of the charger is not kept, what is known of the home is."""
    world = crowded()
    world.withdraw(at(0.1))
    world.offboard()
    world.plug_in(at(0.2), charger="c-3", enrolment=consented(at(0.2)))
    assert world.last.status is Status.NOT_ENROLLED
    assert world.site.consent == Stamp(at(0.2), "e4")


def test_a_known_charger_of_a_crowded_site_is_asked_about_as_ever() -> None:
    """Only what is new is not kept."""
    world = crowded()
    world.plug_in(at(0.1))
    assert (world.last.status, world.is_asking()) == (Status.REQUESTED, True)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_boost_at_a_charger_too_many_is_published(*, elsewhere: bool) -> None:
    """And nobody is asked about a charger that is not kept."""
    world = crowded()
    world.rules = replace(SMALL, onboarding_elsewhere=elsewhere)
    world.boost(at(0.1), at(2), charger="c-3")
    assert (world.last.charger_id, world.last.status) == ("c-3", Status.NOT_ENROLLED)
    assert not any(getattr(call, "charger_id", "") == "c-3" for call in world.owed)


def test_a_crowded_site_that_withdrew_says_so() -> None:
    """What holds for the household holds for every charger that names it."""
    world = crowded()
    world.withdraw(at(0.1))
    told = world.plug_in(at(0.2), charger="c-3")
    assert results_of(told) == [Result.WITHDRAWN]
    world.plug_in(at(0.3), enrolment=consented(at(0.3)))
    told = world.plug_in(at(0.4), charger="c-3")
    assert results_of(told) == [Result.NOT_ENROLLED]


def test_a_withdrawal_reaches_a_crowded_site() -> None:
    """Leaving is never refused."""
    world = crowded()
    world.withdraw(at(0.1), event_id="all")
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_a_disconnection_of_a_charger_too_many_finds_nothing() -> None:
    """It was never onboarded by us; the state does not grow by it, and nothing is said of the home."""
    world = crowded()
    before, told = world.site, world.withdraw(at(0.1), charger="c-9")
    assert results_of(told) == [Result.NOTHING_TO_OFFBOARD]
    assert (world.site, world.alarms[-1]) == (before, "too_many_chargers")
    assert [type(output).__name__ for output in told] == ["Outcome", "Alarm"]
