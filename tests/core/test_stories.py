"""Evenings at a charger, as the design tells them: read these first to see what the processor does."""

from processor.core.events import BoostAction, Refusal, ScheduleAnswered
from processor.core.intents import LookUp, Offboard, Onboard, Remove
from processor.core.outputs import ConsentState, Enrolled, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, subtract
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    NIGHT,
    T0,
    World,
    at,
    consented,
)

END = GUIDE_SCHEDULE[-1][1]


def test_the_example_of_the_guide() -> None:
    """Plug in, be onboarded, be paused for an hour in the night, withdraw the next day."""
    world = World()
    world.plug_in(enrolment=ENROLMENT, event_id="plug-in")
    assert world.last.effective == GUIDE_SCHEDULE
    assert world.owed == [Onboard("home-1", "c-1", ENROLMENT, 7.4, None)]
    world.onboard()
    call = world.question()
    assert (call.axle_asset_id, call.schedule) == ("axle-c-1", GUIDE_SCHEDULE)
    world.answer(GUIDE_PAUSE)
    assert world.last.effective == ((NIGHT, NIGHT + 3 * HOUR_MS), (NIGHT + 4 * HOUR_MS, END))
    assert world.statuses == [Status.REQUESTED, Status.MODIFIED]
    world.withdraw(at(20), event_id="withdrawal")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.results == [("plug-in", Result.MODIFIED), ("withdrawal", Result.OFFBOARDED)]
    assert world.enrolment_statuses[-1].consent is ConsentState.WITHDRAWN


def test_a_boost_while_axle_is_being_asked() -> None:
    """The boost is published at once, the answer to the plug-in is ignored, the newer question has no pause in it."""
    world = World().enrolled()
    asked = world.question()
    world.boost(at(0.5), at(2.5), event_id="boost")
    assert world.last.effective == ((at(0.5), END),)
    late = ScheduleAnswered("home-1", "c-1", asked.number, asked.schedule, subtract(asked.schedule, GUIDE_PAUSE))
    assert world.tell(late) == ()
    world.answer(((NIGHT, NIGHT + HOUR_MS),))
    assert world.last.status is Status.UNCHANGED
    assert world.results == [("e1", Result.COALESCED), ("boost", Result.UNCHANGED)]


def test_two_boosts_in_a_row() -> None:
    """The newest counts alone; the one before it never reaches Axle, and the pause begins after the boost."""
    world = World().settled()
    world.boost(at(0.5), at(6), event_id="long")
    world.boost(at(0.6), at(2), event_id="short")
    assert world.last.requested == ((at(0.6), END),)
    world.answer(((at(1.5), at(2.5)),))
    assert world.last.pauses == ((at(2), at(2.5)),)
    assert world.results[-2:] == [("long", Result.COALESCED), ("short", Result.MODIFIED)]


def test_a_cancel_that_is_read_before_its_boost() -> None:
    """It has nothing to cancel yet, and still wins over the boost that was tapped before it."""
    world = World().settled(GUIDE_PAUSE)
    world.boost(at(0.6), action=BoostAction.BOOST_CANCELLED, event_id="cancel")
    world.boost(at(0.5), at(6), event_id="boost")
    assert world.results[1:] == [("cancel", Result.STALE), ("boost", Result.STALE)]
    assert world.last.pauses == GUIDE_PAUSE


def test_a_boost_is_cancelled() -> None:
    """The schedule that was set before is back, and Axle is asked again for the rest of the night."""
    world = World().settled(GUIDE_PAUSE)
    world.boost(at(0.5), at(6))
    world.answer()
    world.boost(at(2), action=BoostAction.BOOST_CANCELLED)
    assert world.last.effective == GUIDE_SCHEDULE
    world.answer(GUIDE_PAUSE)
    assert world.last.pauses == GUIDE_PAUSE


def test_a_changed_schedule_during_a_running_pause() -> None:
    """Charging resumes at once; Axle may pause again later, but not for more than the session allows in all."""
    world = World().settled(GUIDE_PAUSE)
    world.now_ms = NIGHT + 3 * HOUR_MS + 30 * MINUTE_MS
    changed = ((NIGHT, END + HOUR_MS),)
    world.boost(action=BoostAction.SCHEDULE_CHANGED, schedule=changed, event_id="change")
    assert world.last.effective == changed
    later = NIGHT + 5 * HOUR_MS
    world.answer(((later, later + HOUR_MS), (later + 2 * HOUR_MS, later + 2 * HOUR_MS + 31 * MINUTE_MS)))
    assert world.outcome("change") == [Result.REJECTED]
    world.boost(action=BoostAction.SCHEDULE_CHANGED, schedule=GUIDE_SCHEDULE)
    world.answer(((later, later + 30 * MINUTE_MS),))
    assert world.last.pauses == ((later, later + 30 * MINUTE_MS),)


def test_a_withdrawal_during_an_onboarding_whose_answer_is_lost() -> None:
    """What Axle may have is looked for by our own id, recognised by its meter, and offboarded."""
    world = World()
    world.plug_in(enrolment=ENROLMENT, event_id="plug-in")
    world.withdraw(at(0.01), event_id="withdrawal")
    assert world.last.status is Status.WITHDRAWN
    assert world.site.enrolment is None
    assert world.owed == [LookUp("home-1", "c-1", 0, at(0.01))]
    world.look_up()
    world.now_ms = at(0.1)
    world.look_up(ENROLMENT.mpan)
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.results == [("plug-in", Result.WITHDRAWN), ("withdrawal", Result.OFFBOARDED)]


def test_a_late_withdrawal_that_is_older_than_a_plug_in() -> None:
    """A plug-in is no consent: the household is withdrawn, whatever it plugged in afterwards."""
    world = World().settled()
    world.plug_in(at(1), event_id="plug-in")
    world.answer(GUIDE_PAUSE)
    world.withdraw(at(0.5), event_id="withdrawal")
    assert (world.last.status, world.last.pauses) == (Status.WITHDRAWN, ())
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.plug_in(at(2), enrolment=ENROLMENT)
    assert world.last.status is Status.WITHDRAWN


def test_a_new_consent_while_the_offboarding_is_owed() -> None:
    """It waits until Axle has confirmed the old one, and is then a new site with new ids."""
    world = World().settled()
    world.withdraw(at(0.5), event_id="withdrawal")
    world.plug_in(at(1), enrolment=consented(at(1)), event_id="plug-in")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.owed == [Onboard("home-1", "c-1", consented(at(1)), 7.4, None)]
    world.onboard(axle_site="new-site")
    world.answer(GUIDE_PAUSE)
    assert world.results[1:] == [("withdrawal", Result.OFFBOARDED), ("plug-in", Result.MODIFIED)]
    assert world.site.axle_site_id == "new-site"


def test_two_chargers_at_one_home() -> None:
    """One onboarding after the other, one site; each charger is paused by itself."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard()
    world.onboard("c-2")
    assert world.site.enrolment is None
    world.answer(GUIDE_PAUSE)
    world.answer(charger="c-2")
    assert [(record.charger_id, record.status) for record in world.records[-2:]] == [
        ("c-1", Status.MODIFIED),
        ("c-2", Status.UNCHANGED),
    ]
    assert [c.axle_asset_id for c in world.enrolment_statuses[-1].chargers] == ["axle-c-1", "axle-c-2"]


def test_one_of_two_chargers_is_removed() -> None:
    """It is deleted at Axle; the other one goes on, and takes the site with it when it goes too."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    world.answer(GUIDE_PAUSE, "c-2")
    world.withdraw(at(0.5), charger="c-1", event_id="first")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    world.boost(at(0.6), at(2), charger="c-2")
    world.answer(charger="c-2")
    world.withdraw(at(0.7), charger="c-2", event_id="second")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert (world.outcome("first"), world.outcome("second")) == ([Result.OFFBOARDED], [Result.OFFBOARDED])
    assert world.charger.enrolled is Enrolled.REMOVED


def test_axle_answers_after_we_gave_up() -> None:
    """The wish was final by then; the late answer changes nothing."""
    world = World().enrolled()
    call = world.question()
    world.wake(world.due_ms or 0)
    assert world.last.status is Status.FALLBACK
    late = ScheduleAnswered("home-1", "c-1", call.number, call.schedule, subtract(call.schedule, GUIDE_PAUSE))
    assert world.tell(late) == ()
    assert world.last.effective == GUIDE_SCHEDULE


def test_axle_is_down_all_night() -> None:
    """The car charges as its driver set it, from the first second to the last."""
    world = World().enrolled()
    world.boost(at(1), at(3))
    world.boost(at(2), action=BoostAction.BOOST_CANCELLED)
    world.wake(END)
    assert all(record.effective == record.requested for record in world.records)
    assert [result for _, result in world.results] == [Result.COALESCED, Result.COALESCED, Result.EXPIRED]


def test_everything_is_replayed() -> None:
    """Each record gets an outcome again, and nothing is published or asked a second time."""
    world = World().settled(GUIDE_PAUSE)
    world.withdraw(at(0.5), event_id="w")
    world.offboard()
    site, records = world.site, len(world.records)
    world.plug_in(T0, enrolment=ENROLMENT, event_id="e1")
    world.withdraw(at(0.5), event_id="w")
    assert world.results[-2:] == [("e1", Result.DUPLICATE), ("w", Result.DUPLICATE)]
    assert (world.site, len(world.records), world.owed) == (site, records, [])


def test_a_boost_before_its_plug_in() -> None:
    """Drivers tap first and plug in then: the boost is published alone, then on top of the schedule."""
    world = World().settled()
    world.boost(at(0.5), at(2), event_id="boost")
    world.plug_in(at(0.55), event_id="plug-in")
    assert world.last.requested == ((at(0.5), END),)
    world.answer(((at(1.5), at(2.25)),))
    assert world.last.pauses == ((at(2), at(2.25)),)


def test_a_boost_ends_with_its_session() -> None:
    """Half an hour later the car is plugged in anew: the old boost is no wish of this session."""
    world = World().settled()
    world.boost(at(0.5), at(6))
    world.plug_in(at(1))
    assert world.last.requested == GUIDE_SCHEDULE


def test_the_driver_did_something_that_we_do_not_understand() -> None:
    """No pause is left, Axle is not asked, and the next action that we understand sets all right."""
    world = World().settled(GUIDE_PAUSE)
    world.unreadable(at(0.5), event_id="what")
    assert (world.last.status, world.last.effective) == (Status.FALLBACK, GUIDE_SCHEDULE)
    assert (world.outcome("what"), world.owed) == ([Result.INVALID], [])
    world.boost(at(1), at(2), event_id="boost")
    world.answer(GUIDE_PAUSE)
    assert world.outcome("boost") == [Result.MODIFIED]


def test_a_charger_moves_in_from_a_neighbour() -> None:
    """409, and the meter is another one: nothing is taken over, the driver charges, a person is told."""
    world = World()
    world.plug_in(enrolment=ENROLMENT, event_id="plug-in")
    world.refuse_onboarding(Refusal.EXISTS)
    world.look_up("9999999999999")
    assert (world.outcome("plug-in"), world.alarms) == ([Result.NOT_ENROLLED], ["charger_conflict"])
    world.withdraw(at(1), event_id="withdrawal")
    assert (world.outcome("withdrawal"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])
