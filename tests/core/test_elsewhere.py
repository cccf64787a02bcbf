"""Chargers that others may have onboarded (`onboarding.elsewhere`): looked up, believed, remembered, and let go."""

import pytest
from msgspec.structs import replace

from processor.core.events import ConsentWithdrawn, Refusal, WithdrawalReason
from processor.core.intents import AskSchedule, LookUp, Offboard, Remove
from processor.core.outputs import Enrolled, Result, Status
from processor.core.schedule import HOUR_MS
from tests.core.table import ELSEWHERE
from tests.core.world import ENROLMENT, GUIDE_PAUSE, MPAN, STRANGER, World, at, consented


def plugged_in() -> World:
    """A charger without an enrolment was plugged in."""
    world = World(rules=ELSEWHERE)
    world.plug_in(event_id="p")
    return world


def found() -> World:
    """Axle knew it."""
    world = plugged_in()
    world.look_up(STRANGER)
    return world


def test_a_plug_in_of_an_unknown_charger_is_not_enrolled_unless_others_onboard() -> None:
    """By default nobody is asked about it; the wish is final at once."""
    world = World()
    world.plug_in(event_id="p")
    assert (world.statuses, world.owed) == ([Status.NOT_ENROLLED], [])


def test_an_unknown_charger_is_looked_up_and_then_asked_about() -> None:
    """The wish is in force meanwhile; a charger found so counts as enrolled, under the ids that Axle tells."""
    world = plugged_in()
    assert (world.statuses, world.last.final) == ([Status.REQUESTED], False)
    assert world.owed == [LookUp("home-1", "c-1", 0, for_question=True)]
    world.look_up(STRANGER)
    (call,) = world.owed
    assert isinstance(call, AskSchedule)
    assert (call.axle_asset_id, call.number) == ("axle-c-1", world.last.revision)
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.ENROLLED
    world.answer(GUIDE_PAUSE)
    assert (world.last.status, world.last.pauses) == (Status.MODIFIED, GUIDE_PAUSE)
    assert world.outcome("p") == [Result.MODIFIED]


def test_a_charger_that_axle_does_not_know_is_remembered_for_a_day() -> None:
    """It is not enrolled, and not looked up again before that."""
    world = plugged_in()
    world.look_up()
    assert (world.last.status, world.outcome("p")) == (Status.NOT_ENROLLED, [Result.NOT_ENROLLED])
    world.plug_in(at(23.9), schedule=((at(24), at(30)),))
    assert (world.last.status, world.owed) == (Status.NOT_ENROLLED, [])
    world.plug_in(at(24), schedule=((at(24), at(30)),))
    assert world.last.status is Status.REQUESTED
    assert world.owed == [LookUp("home-1", "c-1", 0, for_question=True)]
    world.look_up(STRANGER)
    assert world.charger.not_found_at_ms is None
    assert world.charger.question is not None
    assert world.charger.question.looking_up is False


def test_a_charger_that_axle_loses_is_looked_up_again_a_day_later() -> None:
    """Its ids were stale and its look-up found nothing."""
    world = found()
    world.now_ms = at(1)
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.look_up()
    assert world.last.status is Status.NOT_ENROLLED
    assert world.charger.not_found_at_ms == at(1)


def test_a_boost_at_an_unknown_charger_is_asked_about_too() -> None:
    """Whatever the driver does first."""
    world = World(rules=ELSEWHERE)
    world.boost(until_ms=at(2))
    assert world.owed == [LookUp("home-1", "c-1", 0, for_question=True)]


def test_two_chargers_of_one_home_at_two_sites_are_not_believed() -> None:
    """We could only offboard one of them."""
    world = found()
    world.plug_in(charger="c-2", event_id="p2")
    world.look_up(STRANGER, "c-2", "another-site")
    assert (world.last.charger_id, world.last.status) == ("c-2", Status.NOT_ENROLLED)
    assert world.site.axle_site_id == "axle-site"


def test_a_second_charger_at_the_same_site_is_believed() -> None:
    """It counts as enrolled as the first one does."""
    world = found()
    world.plug_in(charger="c-2")
    world.look_up(STRANGER, "c-2")
    assert world.charger_of("c-2").enrolled is Enrolled.ENROLLED


def test_a_charger_whose_site_moved_at_axle_is_believed_when_it_is_alone() -> None:
    """New ids after a 404 are taken as the first ones were."""
    world = found()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.look_up(STRANGER, axle_site="another-site")
    assert (world.site.axle_site_id, world.is_asking()) == ("another-site", True)


def test_where_we_onboarded_ourselves_the_meter_decides() -> None:
    """What others may have done does not make a stranger's site ours."""
    world = World(rules=ELSEWHERE).enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    world.look_up(STRANGER)
    assert world.last.status is Status.NOT_ENROLLED


def test_a_withdrawal_offboards_the_site_that_others_onboarded() -> None:
    """Withdrawn is withdrawn, whoever had onboarded it."""
    world = found()
    world.withdraw(at(0.5), event_id="w")
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.outcome("w") == [Result.OFFBOARDED]


def test_a_withdrawal_looks_for_a_charger_that_is_not_known() -> None:
    """Found, it is offboarded; one look-up that finds nothing is enough, for none of our own calls is at stake."""
    for knows_axle in (True, False):
        world = World(rules=ELSEWHERE)
        event = ConsentWithdrawn("w", at(0.5), world.source(), "home-1", "c-1", WithdrawalReason.CONSENT_WITHDRAWN)
        world.tell(event, at(0.5))
        assert world.owed == [LookUp("home-1", "c-1", 0, at(0.5))]
        world.look_up(STRANGER if knows_axle else None)
        if knows_axle:
            assert world.owed == [Offboard("home-1", "axle-site")]
            world.offboard()
        assert world.owed == []
        assert world.outcome("w") == [Result.OFFBOARDED if knows_axle else Result.NOTHING_TO_OFFBOARD]


def test_a_withdrawal_looks_again_whatever_was_not_found_before() -> None:
    """Others may have onboarded the charger since: the memory of a day is for questions only."""
    world = plugged_in()
    world.look_up()
    world.withdraw(at(0.5), event_id="w")
    assert world.owed == [LookUp("home-1", "c-1", 0, at(0.5))]
    world.look_up()
    assert (world.outcome("w"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])


def test_a_charger_found_after_its_withdrawal_leaves_without_a_second_outcome() -> None:
    """A driver's action at a withdrawn home makes us look; what is found there goes."""
    world = World(rules=ELSEWHERE)
    world.withdraw(at(0.5), event_id="w")
    assert world.outcome("w") == [Result.NOTHING_TO_OFFBOARD]
    world.plug_in(at(1), event_id="p")
    assert (world.last.status, world.outcome("p")) == (Status.WITHDRAWN, [Result.WITHDRAWN])
    assert world.owed == [LookUp("home-1", "c-1", 0, at(1))]
    world.look_up(STRANGER)
    world.offboard()
    assert (world.outcome("w"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])
    assert world.charger.axle_asset_id is None


def test_a_withdrawn_home_is_not_looked_up_at_every_action() -> None:
    """What was not found is remembered for a day here too."""
    world = World(rules=ELSEWHERE)
    world.withdraw(at(0.5))
    world.plug_in(at(1))
    world.look_up()
    world.boost(at(1.1), at(2))
    assert world.owed == []


def test_a_disconnected_charger_is_removed_and_the_site_of_others_stays() -> None:
    """It may have chargers that we have not heard of, so it is not offboarded with its last known one."""
    world = found()
    world.withdraw(at(0.5), "c-1", event_id="w")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert (world.owed, world.outcome("w")) == ([], [Result.OFFBOARDED])


def test_a_disconnected_charger_that_is_not_known_is_looked_for_once() -> None:
    """And removed where it is found; else there is nothing to do."""
    for knows_axle in (True, False):
        world = World(rules=ELSEWHERE)
        world.plug_in()
        world.look_up()
        world.withdraw(at(0.5), "c-1", event_id="w")
        assert world.owed == [LookUp("home-1", "c-1", 0, at(0.5))]
        world.look_up(STRANGER if knows_axle else None)
        if knows_axle:
            assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
            world.remove()
        assert world.owed == []
        assert world.outcome("w") == [Result.OFFBOARDED if knows_axle else Result.NOTHING_TO_OFFBOARD]


def test_a_disconnected_charger_is_looked_for_again_a_day_later() -> None:
    """When its driver does something: others may have onboarded it since."""
    world = World(rules=ELSEWHERE)
    world.plug_in()
    world.look_up()
    world.withdraw(at(0.5), "c-1")
    world.look_up()
    world.plug_in(at(25))
    assert world.owed == [LookUp("home-1", "c-1", 0, at(25))]


def test_an_enrolment_goes_before_a_look_up() -> None:
    """A plug-in that brings a consent is onboarded by us, as ever."""
    world = World(rules=ELSEWHERE)
    world.plug_in(enrolment=ENROLMENT)
    (call,) = world.owed
    assert type(call).__name__ == "Onboard"


def test_a_consent_that_comes_during_the_look_up_is_not_used_up_by_it() -> None:
    """The look-up may find nothing before our own onboarding is answered: the question then waits for that one."""
    for mpan in (None, STRANGER):
        world = plugged_in()
        world.plug_in(at(-0.2), enrolment=ENROLMENT)
        assert [type(call).__name__ for call in world.owed] == ["Onboard", "LookUp"]
        assert world.look_up(mpan) == ()
        assert [type(call).__name__ for call in world.owed] == ["Onboard"]
        world.onboard()
        world.answer(GUIDE_PAUSE)
        assert world.outcome("p") == [Result.MODIFIED]


def test_a_home_that_is_being_offboarded_is_not_looked_up() -> None:
    """What is owed first is that it is gone."""
    world = found()
    world.withdraw(at(0.5))
    world.plug_in(at(1), charger="c-2")
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_the_memory_of_what_was_not_found_is_a_setting() -> None:
    """An hour, where somebody onboards often."""
    world = World(rules=replace(ELSEWHERE, not_found_memory_ms=HOUR_MS))
    world.plug_in()
    world.look_up()
    world.plug_in(at(1))
    assert world.last.status is Status.REQUESTED


@pytest.mark.parametrize("mpan", [MPAN, STRANGER])
def test_a_newer_consent_after_a_removal_is_onboarded_by_us(mpan: str) -> None:
    """Whoever had onboarded the charger before."""
    world = plugged_in()
    world.look_up(mpan)
    world.withdraw(at(0.5), "c-1")
    world.remove()
    world.plug_in(at(1), enrolment=consented(at(1)))
    assert type(world.owed[0]).__name__ == "Onboard"
