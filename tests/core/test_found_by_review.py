"""What a hard reader found and no random life had told: each is a short story that once ended badly."""

import pytest

from processor.core.decide import decide
from processor.core.events import CallFailed, ConsentWithdrawn, PlugIn, Source, WithdrawalReason
from processor.core.intents import Offboard, Onboard, Remove
from processor.core.outputs import Enrolled, ModifiedSchedule, Output, Result, Status
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.site import Site
from tests.core.world import ENROLMENT, RULES, T0, World, at, consented, look_in_vain, onboarding, two_chargers

UNENROL = Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL)
ELSEWHERE = Rules(onboarding_elsewhere=True)


def revision_of(outputs: tuple[Output, ...]) -> int:
    return next(output.revision for output in outputs if isinstance(output, ModifiedSchedule))


def unenrolling_home(chargers: tuple[str, ...] = ("c-1", "c-2")) -> World:
    """Chargers that Axle has, of a household that would be unenrolled and not deleted."""
    world = World(rules=UNENROL)
    for charger in chargers:
        world.plug_in(enrolment=ENROLMENT, charger=charger)
        world.onboard(charger)
        world.answer((), charger)
    return world


def test_revisions_rise_when_a_charger_moves_within_one_round() -> None:
    """Both homes of a charger speak at one instant; the new home's word is the higher one, so it is applied."""
    old = World().settled().site
    source, now_ms = Source("in", 0, 1), at(5)
    gone = ConsentWithdrawn("x", at(1), source, "home-1", "c-1", WithdrawalReason.CHARGER_DISCONNECTED)
    back = PlugIn("p", at(3), source, "home-2", "c-1", ((at(3), at(10)),))
    last_of_old = revision_of(decide(old, gone, now_ms, RULES).outputs)
    first_of_new = revision_of(decide(Site("home-2"), back, now_ms, RULES).outputs)
    assert first_of_new > last_of_old


def test_revisions_rise_when_a_driver_acts_at_the_instant_of_the_erasure() -> None:
    """The household was forgotten and with it its last revision; the next one is higher all the same."""
    world = World()
    world.plug_in()
    world.now_ms = at(1)
    world.erase()
    forgotten = world.last.revision
    world.boost(at(1) - 1000, at(3))
    assert world.last.revision > forgotten


def test_an_unenrolled_site_still_loses_the_charger_that_was_disconnected() -> None:
    """Axle keeps such a site with all its chargers, so the removal that was owed before stays owed."""
    world = unenrolling_home()
    world.withdraw(T0 + MINUTE_MS, charger="c-1", event_id="gone")
    world.withdraw(T0 + 2 * MINUTE_MS, event_id="withdrawn")
    world.offboard(kept=True)
    assert (world.outcome("gone"), world.outcome("withdrawn")) == ([], [Result.OFFBOARDED])
    assert [type(call) for call in world.owed] == [Remove]
    world.remove("c-1")
    assert (world.outcome("gone"), world.owed) == ([Result.OFFBOARDED], [])


def test_a_withdrawal_of_long_ago_does_not_keep_an_emptied_site() -> None:
    """The last charger of a household that has consented since is disconnected: its site is deleted."""
    world = World(rules=UNENROL)
    world.withdraw(at(-1000))
    world.plug_in(enrolment=ENROLMENT)
    world.onboard()
    world.answer(())
    world.withdraw(T0 + MINUTE_MS, charger="c-1")
    assert world.owed == [Offboard("home-1", "axle-site", unenrol=False)]


def test_a_new_consent_does_not_turn_an_unenrolment_into_a_deletion() -> None:
    """The offboarding that the withdrawal asked for stays what it was, until Axle confirms it."""
    world = unenrolling_home(("c-1",))
    world.withdraw(T0 + MINUTE_MS)
    world.plug_in(T0 + 2 * MINUTE_MS, enrolment=consented(T0 + 2 * MINUTE_MS))
    assert world.owed == [Offboard("home-1", "axle-site", unenrol=True)]


def test_a_look_up_in_vain_uses_up_no_consent() -> None:
    """The household's consent is there for the charger that Axle did not know yet: it is onboarded with it."""
    world = World(rules=ELSEWHERE)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    world.plug_in(charger="c-1")
    world.look_up(None, "c-1")
    assert world.last.status is Status.NOT_ENROLLED
    tomorrow = world.now_ms + 25 * HOUR_MS
    world.plug_in(tomorrow, enrolment=ENROLMENT, charger="c-1", schedule=((tomorrow, tomorrow + 4 * HOUR_MS),))
    assert [type(call) for call in world.owed] == [Onboard]


def test_a_consent_that_waited_too_long_does_not_hide_an_offboarding() -> None:
    """The onboarding that never had its turn is given up; that Axle was told, and confirmed, is told all the same."""
    world = World().settled()
    world.withdraw(T0 + MINUTE_MS)
    world.plug_in(T0 + 2 * MINUTE_MS, enrolment=consented(T0 + 2 * MINUTE_MS))
    world.wake(T0 + 2 * MINUTE_MS + 24 * HOUR_MS)
    told = [world.enrolment_statuses[-1].chargers[0].status]
    world.offboard()
    told.append(world.enrolment_statuses[-1].chargers[0].status)
    assert told == [Enrolled.LEAVING, Enrolled.REMOVED]


def test_back_ends_hear_that_a_charger_has_to_leave_again() -> None:
    """Axle onboarded it after all: what was told as gone is told as leaving."""
    world = onboarding()
    world.withdraw(T0 + 1)
    look_in_vain(world)
    world.onboard()
    assert [type(call) for call in world.owed] == [Offboard]
    assert world.enrolment_statuses[-1].chargers[0].status is Enrolled.LEAVING


def test_no_charger_goes_on_joining_without_a_consent_to_join_with() -> None:
    """A withdrawal comes late, and only another charger brought a newer consent: this one is not asked about."""
    world = World()
    world.plug_in(T0, enrolment=consented(at(-1)))
    world.onboard()
    world.answer(())
    world.plug_in(T0 + MINUTE_MS, enrolment=consented(at(-1)), charger="c-2", event_id="second")
    world.plug_in(T0 + 10 * MINUTE_MS, enrolment=consented(T0 + 10 * MINUTE_MS))
    world.now_ms = T0 + 11 * MINUTE_MS
    world.withdraw(T0 + 5 * MINUTE_MS)
    assert (world.site.enrolment, world.charger_of("c-2").enrolling) == (None, None)
    assert world.outcome("second") == [Result.NOT_ENROLLED]
    world.boost(T0 + 20 * MINUTE_MS, at(3), charger="c-2")
    assert (world.last.status, world.last.final) == (Status.NOT_ENROLLED, True)


def test_what_can_never_be_asked_is_said_at_once() -> None:
    """Too little of the session is left for a pause: one record, and it is the last word."""
    world = World().settled()
    before = len(world.records)
    world.plug_in(T0 + MINUTE_MS, schedule=((T0, T0 + 5 * MINUTE_MS),))
    assert len(world.records) == before + 1
    assert (world.last.status, world.last.final, world.owed) == (Status.FALLBACK, True, [])
    assert world.last.reason.startswith("Too little of the session is left")


@pytest.mark.parametrize("disconnection_first", [False, True])
def test_another_chargers_consent_brings_no_disconnected_charger_back(*, disconnection_first: bool) -> None:
    """Whichever is read first: who was disconnected leaves, until it plugs in itself."""
    world = two_chargers()

    def disconnect() -> None:
        world.withdraw(T0 + 5 * MINUTE_MS, charger="c-1", event_id="gone")

    def consent() -> None:
        world.plug_in(T0 + 6 * MINUTE_MS, enrolment=consented(T0 + 6 * MINUTE_MS), charger="c-2")

    world.now_ms = T0 + 7 * MINUTE_MS
    for happens in (disconnect, consent) if disconnection_first else (consent, disconnect):
        happens()
    assert [call for call in world.owed if isinstance(call, Remove)] == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove("c-1")
    assert world.outcome("gone") == [Result.OFFBOARDED]
    world.plug_in(T0 + 8 * MINUTE_MS, enrolment=consented(T0 + 6 * MINUTE_MS), charger="c-1")
    assert [call.charger_id for call in world.owed if isinstance(call, Onboard)] == ["c-1"]


def test_a_refused_look_up_is_no_refused_offboarding() -> None:
    """Nobody is woken about privacy when Axle refuses to say what it knows of a charger."""
    world = World(rules=ELSEWHERE)
    world.plug_in()
    world.tell(CallFailed("home-1", "c-1", 403))
    assert world.alarms == ["look_up_refused"]


def test_a_removal_that_is_refused_lets_the_next_one_go_first() -> None:
    """Two chargers leave, and Axle refuses one of them: the other is deleted meanwhile."""
    world = two_chargers()
    world.plug_in(enrolment=ENROLMENT, charger="c-3")
    world.onboard("c-3")
    for charger in ("c-1", "c-2"):
        world.withdraw(T0 + MINUTE_MS, charger=charger)
    for refused, tried_next in (("c-1", "c-2"), ("c-2", "c-1")):
        world.now_ms += 1
        world.tell(CallFailed("home-1", refused, 403))
        assert [call.charger_id for call in world.owed if isinstance(call, Remove)] == [tried_next]


def test_a_second_disconnection_looks_no_longer_than_the_first() -> None:
    """Others may have onboarded it: one look is enough, and what was never known is not told as removed."""
    world = World(rules=ELSEWHERE)
    world.plug_in()
    world.withdraw(T0 + MINUTE_MS, charger="c-1", event_id="one")
    world.withdraw(T0 + 2 * MINUTE_MS, charger="c-1", event_id="two")
    assert (world.outcome("one"), world.charger.enrolled) == ([Result.COALESCED], Enrolled.UNKNOWN)
    world.look_up(None)
    assert (world.outcome("two"), world.owed) == ([Result.NOTHING_TO_OFFBOARD], [])


def test_what_axle_confirmed_as_gone_stays_gone_when_the_household_leaves() -> None:
    """The charger that was removed before the withdrawal is not told as leaving once more."""
    world = two_chargers()
    world.withdraw(T0 + MINUTE_MS, charger="c-1")
    world.remove("c-1")
    world.withdraw(T0 + 2 * MINUTE_MS)
    told = {charger.charger_id: charger.status for charger in world.enrolment_statuses[-1].chargers}
    assert told == {"c-1": Enrolled.REMOVED, "c-2": Enrolled.LEAVING}
