"""Edge cases of consent, told one by one: C1 to C9.

How a household leaves and comes back while something else is under way. The one idea: withdrawn is withdrawn; it is
carried out here at once, at Axle until Axle confirms it, and undone by nothing but a newer consent.
"""

from collections.abc import Callable
from itertools import product

import pytest
from msgspec.structs import replace

from processor.core.events import CallFailed, ConsentWithdrawn, Enrolment, Refusal, ScheduleAnswered, WithdrawalReason
from processor.core.intents import LookUp, Offboard, Onboard, Remove
from processor.core.outputs import ConsentState, Enrolled, Result, Status
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, subtract, union, window
from processor.core.site import withdrawn
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    MPAN,
    RULES,
    STRANGER,
    World,
    at,
    consented,
    look_in_vain,
    onboarding,
    results_of,
    two_chargers,
)

OFFBOARD = Offboard("home-1", "axle-site")
ELSEWHERE = replace(RULES, onboarding_elsewhere=True)
A_WEEK_MS = 7 * 24 * HOUR_MS


def leave_because(world: World, reason: WithdrawalReason, charger: str | None, event_id: str = "leaves") -> None:
    """A withdrawal with that reason, half an hour into the evening."""
    world.tell(ConsentWithdrawn(event_id, at(0.5), world.source(), "home-1", charger, reason), at(0.5))


AxleAnswers = Callable[[World], object]


@pytest.mark.parametrize(
    ("answers", "was_there"),
    [
        pytest.param(lambda world: world.onboard(), True, id="its answer comes"),
        pytest.param(lambda world: world.look_up(MPAN), True, id="its answer is lost, and the charger is found"),
        pytest.param(look_in_vain, False, id="its answer is lost, and nothing is ever found"),
        pytest.param(lambda world: world.look_up(STRANGER), False, id="its answer is lost, and a neighbour is found"),
    ],
)
def test_c1_a_withdrawal_during_the_onboarding(answers: AxleAnswers, *, was_there: bool) -> None:
    """Data and pauses go at once; what the onboarding left at Axle is found out and offboarded, and nobody else's."""
    world = onboarding()
    world.withdraw(at(0.01), event_id="withdrawal")
    assert (world.last.status, world.last.effective) == (Status.WITHDRAWN, GUIDE_SCHEDULE)
    assert world.outcome("e1") == [Result.WITHDRAWN]
    assert world.site.enrolment is None
    assert world.owed == [LookUp("home-1", "c-1", 0, at(0.01))]

    answers(world)
    assert world.owed == ([OFFBOARD] if was_there else [])
    world.offboard()
    assert world.outcome("withdrawal") == [Result.OFFBOARDED if was_there else Result.NOTHING_TO_OFFBOARD]
    assert withdrawn(world.site)

    # However late the answer comes after all: no enrolled site is left behind a withdrawn mark.
    world.onboard()
    assert world.owed == [OFFBOARD]
    world.offboard()
    assert world.owed == []
    assert len(world.outcome("withdrawal")) == 1

    # The onboarding of a second charger: the site that is known goes first, then what the onboarding may have made.
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.01), event_id="withdrawal")
    assert world.owed == [OFFBOARD]
    world.offboard()
    assert world.owed == [LookUp("home-1", "c-2", 0, at(0.01))]
    world.onboard("c-2", axle_site="another-site")
    assert world.owed == [Offboard("home-1", "another-site")]
    world.offboard("another-site")
    assert (world.outcome("withdrawal"), world.owed) == ([Result.OFFBOARDED], [])


def test_c2_a_withdrawal_during_a_schedule_call() -> None:
    """The driver's schedule is in force before Axle is told of anything, and the answer to the call is dropped."""
    world = World().enrolled()
    asked = world.question()
    told = world.withdraw(at(0.5), event_id="withdrawal")
    assert results_of(told) == [Result.WITHDRAWN]
    assert (world.last.status, world.last.final) == (Status.WITHDRAWN, True)
    assert (world.last.effective, world.last.caused_by.event_id) == (GUIDE_SCHEDULE, "withdrawal")
    assert world.owed == [OFFBOARD]

    paused = subtract(asked.schedule, GUIDE_PAUSE)
    assert world.tell(ScheduleAnswered("home-1", "c-1", asked.number, asked.schedule, paused)) == ()
    world.offboard()
    assert world.last.status is Status.WITHDRAWN
    assert world.results == [("e1", Result.WITHDRAWN), ("withdrawal", Result.OFFBOARDED)]


def test_c3_an_offboarding_is_owed_until_axle_confirms_it() -> None:
    """Silence and refusals keep it owed without end; other events go on, and a restart finds it in the state."""
    world = World().settled(GUIDE_PAUSE)
    world.withdraw(at(0.5), event_id="withdrawal")
    for status in (400, 403, 422):
        world.tell(CallFailed("home-1", None, status))
        assert world.owed == [OFFBOARD]
    assert world.alarms == ["offboarding_refused"] * 3
    world.plug_in(at(1), event_id="meanwhile")
    assert world.outcome("meanwhile") == [Result.WITHDRAWN]

    restarted = World(site=world.site, now_ms=at(1) + A_WEEK_MS)
    restarted.wake(restarted.now_ms)
    assert restarted.owed == [OFFBOARD]
    assert restarted.enrolment_statuses == []
    # A 404 reaches us as the same confirmation: the site is not there any more.
    restarted.offboard()
    assert restarted.outcome("withdrawal") == [Result.OFFBOARDED]
    assert restarted.enrolment_statuses[-1].chargers[0].status is Enrolled.REMOVED
    assert restarted.owed == []


@pytest.mark.parametrize("confirmed", [False, True], ids=["while the offboarding is owed", "after it was confirmed"])
@pytest.mark.parametrize("enrolment", [None, ENROLMENT], ids=["without a consent", "with the old consent"])
def test_c4_a_plug_in_after_the_withdrawal(enrolment: Enrolment | None, *, confirmed: bool) -> None:
    """The driver's schedule passes through as the last word; nothing is asked, nothing about the home is kept."""
    world = World().settled(GUIDE_PAUSE)
    world.withdraw(at(0.5))
    if confirmed:
        world.offboard()
    owed = world.owed
    world.plug_in(at(1), enrolment=enrolment, event_id="plug-in")
    assert (world.last.status, world.last.final, world.last.pauses) == (Status.WITHDRAWN, True, ())
    assert world.last.effective == GUIDE_SCHEDULE
    assert world.outcome("plug-in") == [Result.WITHDRAWN]
    assert world.owed == owed == ([] if confirmed else [OFFBOARD])
    assert world.site.enrolment is None
    boost = window(at(1.5), at(3))
    world.boost(*boost[0], event_id="boost")
    assert world.outcome("boost") == [Result.WITHDRAWN]
    assert world.last.effective == union(boost, GUIDE_SCHEDULE)


UPSERT = replace(RULES, onboarding_form=OnboardingForm.UPSERT)
UNENROL = replace(UPSERT, withdrawal_action=WithdrawalAction.UNENROL)


@pytest.mark.parametrize(
    ("rules", "overrides", "kept", "site_afterwards"),
    [
        pytest.param(RULES, False, False, "new-site", id="as the guide has it"),
        pytest.param(UPSERT, True, False, "new-site", id="in the newer form"),
        pytest.param(UNENROL, True, True, "axle-site", id="in the newer form, after it was only unenrolled"),
    ],
)
def test_c5_a_household_that_consents_again(rules: Rules, site_afterwards: str, *, overrides: bool, kept: bool) -> None:
    """Only a consent given after the withdrawal counts; it waits until Axle has confirmed that the household left."""
    leave = Offboard("home-1", "axle-site", unenrol=kept)
    world = World(rules=rules)
    world.plug_in(enrolment=ENROLMENT)
    assert world.owed == [Onboard("home-1", "c-1", ENROLMENT, 7.4, None, rules.onboarding_form)]
    world.onboard()
    world.withdraw(at(0.5), event_id="withdrawal")

    given_before = consented(at(0.4))
    world.plug_in(at(0.6), enrolment=given_before)
    assert (world.last.status, world.site.enrolment) == (Status.WITHDRAWN, None)
    plugged_in_before, said_to_be_given_after = at(0.45), consented(at(0.7))
    world.plug_in(plugged_in_before, enrolment=said_to_be_given_after)
    assert (withdrawn(world.site), world.site.enrolment) == (True, None)

    # A later withdrawal discards a consent that still waits.
    world.plug_in(at(1), enrolment=consented(at(1)), event_id="again")
    assert (world.last.status, world.owed) == (Status.REQUESTED, [leave])
    world.withdraw(at(1.1), event_id="withdrawn again")
    assert (world.outcome("again"), world.site.enrolment) == ([Result.WITHDRAWN], None)

    given_after = consented(at(1.5))
    world.plug_in(at(1.5), enrolment=given_after, event_id="at last")
    assert (world.last.status, world.owed) == (Status.REQUESTED, [leave])
    world.offboard(kept=kept)
    onboard = Onboard("home-1", "c-1", given_after, 7.4, None, rules.onboarding_form, override_withdrawal=overrides)
    assert world.owed == [onboard]
    world.onboard(axle_site=site_afterwards)
    world.answer(GUIDE_PAUSE)
    assert (world.outcome("withdrawal"), world.outcome("withdrawn again")) == ([Result.COALESCED], [Result.OFFBOARDED])
    assert world.outcome("at last") == [Result.MODIFIED]
    assert world.enrolment_statuses[-1].consent is ConsentState.GIVEN
    assert world.site.axle_site_id == site_afterwards

    # What is still on its way from the first time touches nothing of the second.
    assert world.offboard() == ()
    assert (world.site.axle_site_id, world.owed) == (site_afterwards, [])


def test_c6_a_consent_and_a_withdrawal_out_of_order() -> None:
    """Whichever is read first, the later one counts, and at the same time it is the withdrawal."""
    withdrawal_at = at(1)
    for consent_at, consent_is_read_first in product((at(1) - 1, at(1), at(1) + 1), (True, False)):
        world = World()
        if consent_is_read_first:
            world.plug_in(at(1.5), enrolment=consented(consent_at))
            world.withdraw(withdrawal_at, event_id="withdrawal")
        else:
            world.withdraw(withdrawal_at, event_id="withdrawal")
            world.plug_in(at(1.5), enrolment=consented(consent_at))
        stays = consent_at > withdrawal_at
        assert withdrawn(world.site) is not stays
        assert world.last.status is (Status.REQUESTED if stays else Status.WITHDRAWN)
        assert any(isinstance(call, Onboard) for call in world.owed) is stays
        assert (world.site.enrolment is not None) is stays
        if stays and consent_is_read_first:
            assert world.outcome("withdrawal") == [Result.STALE]


@pytest.mark.parametrize(
    ("reason", "charger"),
    [
        pytest.param(WithdrawalReason.CONSENT_WITHDRAWN, None, id="the household withdraws"),
        pytest.param(WithdrawalReason.CONSENT_WITHDRAWN, "c-1", id="it withdraws at one of its chargers"),
        pytest.param(WithdrawalReason.UNKNOWN, "c-1", id="a reason that we do not know"),
        pytest.param(WithdrawalReason.CHARGER_DISCONNECTED, None, id="a charger is gone, nobody says which"),
        pytest.param(WithdrawalReason.CHARGER_DISCONNECTED, "c-1", id="one charger is gone"),
    ],
)
def test_c7_a_home_with_two_chargers(reason: WithdrawalReason, charger: str | None) -> None:
    """Only a named charger that is disconnected leaves alone, the last one with its site; else all leave at once."""
    world = two_chargers()
    leave_because(world, reason, charger)
    alone = reason is WithdrawalReason.CHARGER_DISCONNECTED and charger is not None
    leaving = ["c-1"] if alone else ["c-1", "c-2"]
    freed = [record.charger_id for record in world.records if record.status is Status.WITHDRAWN]
    assert freed == leaving
    assert [c.charger_id for c in world.site.chargers if not c.pauses] == leaving
    assert world.owed == ([Remove("home-1", "c-1", "axle-c-1")] if alone else [OFFBOARD])
    assert withdrawn(world.site) is not alone
    if alone:
        world.remove()
        assert (world.outcome("leaves"), world.owed) == ([Result.OFFBOARDED], [])
        assert world.charger_of("c-2").enrolled is Enrolled.ENROLLED
        world.withdraw(at(0.6), "c-2", event_id="the last one")
        assert world.owed == [OFFBOARD]
    world.offboard()
    assert world.outcome("the last one" if alone else "leaves") == [Result.OFFBOARDED]
    assert [c.status for c in world.enrolment_statuses[-1].chargers] == [Enrolled.REMOVED, Enrolled.REMOVED]
    assert world.owed == []


def test_c8_a_withdrawal_of_a_home_or_charger_that_nobody_knows() -> None:
    """There is nothing to do, and the mark stays: a plug-in that is read later cannot bring an older consent in."""
    for charger in (None, "c-1"):
        world = World()
        world.withdraw(at(0.5), charger, event_id="withdrawal")
        assert (world.outcome("withdrawal"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])
        world.plug_in(at(1), enrolment=ENROLMENT, event_id="plug-in")
        assert (world.last.status, world.last.effective) == (Status.WITHDRAWN, GUIDE_SCHEDULE)
        assert (world.outcome("plug-in"), world.owed, world.site.enrolment) == ([Result.WITHDRAWN], [], None)

    # Where others onboard too, Axle is asked for the charger that was named, and what is found leaves.
    for found, result in ((MPAN, Result.OFFBOARDED), (None, Result.NOTHING_TO_OFFBOARD)):
        world = World(rules=ELSEWHERE)
        leave_because(world, WithdrawalReason.CONSENT_WITHDRAWN, "c-1", event_id="withdrawal")
        assert world.owed == [LookUp("home-1", "c-1", 0, at(0.5))]
        world.look_up(found)
        assert world.owed == ([OFFBOARD] if found else [])
        world.offboard()
        assert world.outcome("withdrawal") == [result]
        assert withdrawn(world.site)


def test_c9_axle_holds_no_consent_for_a_home_that_we_hold_one_for() -> None:
    """It is never granted anew by us: the driver charges, a person is told, until the household consents again."""
    world = World().enrolled()
    world.refuse(Refusal.FORBIDDEN)
    assert (world.last.status, world.last.effective) == (Status.NOT_ENROLLED, GUIDE_SCHEDULE)
    assert (world.outcome("e1"), world.alarms) == ([Result.NOT_ENROLLED], ["consent_missing_at_axle"])
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.FORBIDDEN
    world.plug_in(at(0.2), enrolment=ENROLMENT)
    world.boost(at(0.3), at(2))
    assert (world.statuses[-2:], world.owed) == ([Status.NOT_ENROLLED] * 2, [])
    assert world.site.enrolment is None
    assert len(world.alarms) == 1

    world.plug_in(at(0.5), enrolment=consented(at(0.5)))
    assert (world.last.status, len(world.owed)) == (Status.REQUESTED, 1)

    # It is still a site of ours at Axle, so a withdrawal offboards it.
    world = World().enrolled()
    world.refuse(Refusal.FORBIDDEN)
    world.withdraw(at(0.5), event_id="withdrawal")
    assert world.owed == [OFFBOARD]
    world.offboard()
    assert world.outcome("withdrawal") == [Result.OFFBOARDED]
