"""Which event moves which register, and what it is called when it moves none."""

import pytest
from msgspec.structs import replace

from processor.core.events import BoostAction, ConsentWithdrawn, Source, UserBoost, WithdrawalReason
from processor.core.outputs import Result
from processor.core.registers import concerns_one_charger, is_unknown
from processor.core.schedule import HOUR_MS
from processor.core.site import Stamp
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, NIGHT, T0, World, at, consented, results_of

LATER = ((NIGHT + HOUR_MS, NIGHT + 5 * HOUR_MS),)
SOURCE = Source("in", 0, 0)


def test_a_plug_in_moves_plugged_and_base() -> None:
    """Its time and id become the stamp of both, its schedule the base."""
    world = World()
    world.plug_in(event_id="p")
    assert world.charger.plugged == Stamp(T0, "p")
    assert world.charger.base is not None
    assert (world.charger.base.stamp, world.charger.base.schedule) == (Stamp(T0, "p"), GUIDE_SCHEDULE)
    assert world.charger.boost is None


def test_an_older_plug_in_moves_nothing_and_is_stale() -> None:
    """A newer session stays; the late record gets its outcome and no schedule is published for it."""
    world = World()
    world.plug_in(at(1), schedule=LATER)
    before = world.charger
    assert results_of(world.plug_in(at(0), event_id="late")) == [Result.STALE]
    assert world.charger == before


def test_the_same_event_again_is_a_duplicate_even_at_another_counted_time() -> None:
    """The id tells it, whatever time it counts as."""
    world = World()
    world.plug_in(event_id="p")
    assert results_of(world.plug_in(at(1), event_id="p")) == [Result.DUPLICATE]
    world.boost(at(1), at(2), event_id="b")
    assert results_of(world.boost(at(1.5), at(2), event_id="b")) == [Result.DUPLICATE]
    assert world.charger.plugged == Stamp(T0, "p")


def test_a_replay_that_one_register_still_holds_is_a_duplicate() -> None:
    """A boost that also set the base stays known while only its boost is the newest word."""
    world = World()
    world.plug_in()
    world.boost(at(0.1), at(2), schedule=LATER, event_id="b")
    world.boost(at(0.2), action=BoostAction.SCHEDULE_CHANGED, schedule=GUIDE_SCHEDULE)
    assert results_of(world.boost(at(0.1), at(2), schedule=LATER, event_id="b")) == [Result.DUPLICATE]
    assert world.charger.base is not None
    assert world.charger.base.schedule == GUIDE_SCHEDULE


def test_equal_times_go_by_the_id() -> None:
    """Of two changes at the same instant the higher id is the newer, in either order of arrival."""
    ends = []
    for first, second in (("a", "b"), ("b", "a")):
        world = World()
        for event_id in (first, second):
            schedule = LATER if event_id == "b" else GUIDE_SCHEDULE
            world.boost(T0, action=BoostAction.SCHEDULE_CHANGED, schedule=schedule, event_id=event_id)
        assert world.charger.base is not None
        ends.append(world.charger.base.schedule)
    assert ends == [LATER, LATER]


def test_registers_are_never_compared_with_each_other() -> None:
    """A late change of the schedule counts although a newer boost was read before it."""
    world = World()
    world.plug_in()
    world.boost(at(1), at(3))
    assert results_of(world.boost(at(0.5), action=BoostAction.SCHEDULE_CHANGED, schedule=LATER)) == [
        Result.NOT_ENROLLED
    ]
    assert world.last.requested == ((at(1), NIGHT + 5 * HOUR_MS),)


@pytest.mark.parametrize("action", [BoostAction.BOOST_CANCELLED, BoostAction.UNKNOWN])
def test_a_schedule_with_a_cancel_or_an_unknown_action_is_ignored(action: BoostAction) -> None:
    """Only a boost and a change set the base."""
    world = World()
    world.plug_in(event_id="p")
    world.boost(at(0.1), at(2))
    world.boost(at(0.2), action=action, schedule=LATER)
    assert world.charger.base is not None
    assert world.charger.base.stamp == Stamp(T0, "p")


def test_a_change_leaves_the_boost_in_force() -> None:
    """The window of the boost is added to the changed schedule."""
    world = World()
    world.plug_in()
    world.boost(at(0), at(3))
    world.boost(at(0.5), action=BoostAction.SCHEDULE_CHANGED, schedule=LATER)
    assert world.last.requested == ((at(0), NIGHT + 5 * HOUR_MS),)


def test_a_boost_may_set_the_base_too() -> None:
    """A schedule that comes with a boost is the new base, and the boost comes on top."""
    world = World()
    world.plug_in()
    world.boost(at(0.1), at(1), schedule=LATER)
    assert world.last.requested == ((at(0.1), at(1)), *LATER)


def test_a_consent_counts_from_the_earlier_of_its_two_times() -> None:
    """No one consents ahead: a consent that claims to be later than its plug-in counts as the plug-in's time."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    assert world.site.consent is not None
    assert world.site.consent.at_ms == ENROLMENT.consented_at_ms
    world.plug_in(at(1), enrolment=consented(at(5)))
    assert world.site.consent.at_ms == at(1)


def test_a_stale_or_doubled_plug_in_still_brings_its_consent() -> None:
    """The consent is a matter of its own."""
    world = World()
    world.plug_in(at(1), event_id="p")
    assert results_of(world.plug_in(at(0.5), enrolment=consented(at(0.4)))) == [Result.STALE]
    assert world.site.consent is not None
    assert world.site.consent.at_ms == at(0.4)
    assert results_of(world.plug_in(at(1), enrolment=consented(at(0.9)), event_id="p")) == [Result.DUPLICATE]
    assert world.site.consent.at_ms == at(0.9)


def test_an_unknown_or_unreadable_action_moves_only_the_halt() -> None:
    """The newest of them is remembered, an older one is not."""
    world = World()
    world.plug_in(event_id="p")
    before = world.charger
    world.unreadable(at(0.5), event_id="u")
    world.boost(at(0.2), action=BoostAction.UNKNOWN)
    assert world.charger == replace(before, halted=Stamp(at(0.5), "u"), revision=world.charger.revision)


def test_a_plug_in_ends_the_count_of_pauses() -> None:
    """Pauses of the session before it are no part of the new one."""
    world = World().settled(((at(2), at(2.5)),))
    world.boost(at(2.25), at(2.3))
    earlier = world.charger.served
    world.plug_in(at(3))
    assert (earlier, world.charger.served) == (((at(2), at(2.25)),), ())
    assert world.charger.pauses == ()


def test_a_plug_in_that_is_read_late_ends_only_the_count_before_it() -> None:
    """Pauses after the plug-in's own time belong to its session, however late it is read."""
    world = World().settled(((at(2), at(2.5)),))
    world.now_ms = at(3)
    world.plug_in(at(2.25), event_id="late")
    assert world.charger.served == ((at(2.25), at(2.5)),)


@pytest.mark.parametrize(
    ("reason", "charger_id", "one"),
    [
        (WithdrawalReason.CHARGER_DISCONNECTED, "c-1", True),
        (WithdrawalReason.CHARGER_DISCONNECTED, None, False),
        (WithdrawalReason.CONSENT_WITHDRAWN, "c-1", False),
        (WithdrawalReason.UNKNOWN, "c-1", False),
    ],
)
def test_only_a_plain_disconnection_is_about_one_charger(
    reason: WithdrawalReason, charger_id: str | None, *, one: bool
) -> None:
    """Whatever is less than plain is about the whole site: privacy wins."""
    assert concerns_one_charger(ConsentWithdrawn("w", T0, SOURCE, "home-1", charger_id, reason)) is one


def test_withdrawals_of_a_site_and_of_a_charger_have_registers_of_their_own() -> None:
    """Each keeps its newest; an older one is stale, the same one a duplicate."""
    world = World().settled()
    world.withdraw(at(2), charger="c-1", event_id="d")
    assert world.charger.removed == Stamp(at(2), "d")
    assert world.site.withdrawal is None
    assert results_of(world.withdraw(at(1), charger="c-1")) == [Result.STALE]
    assert results_of(world.withdraw(at(2), charger="c-1", event_id="d")) == [Result.DUPLICATE]
    world.withdraw(at(1), event_id="w")
    assert world.site.withdrawal == Stamp(at(1), "w")
    assert results_of(world.withdraw(at(0), event_id="older")) == [Result.STALE]
    assert results_of(world.withdraw(at(3), event_id="w")) == [Result.DUPLICATE]


def test_what_we_do_not_know_is_unknown() -> None:
    """An action without a name that we know is one; a boost is not."""
    boost = UserBoost("b", T0, SOURCE, "home-1", "c-1", BoostAction.BOOST, at(1))
    assert not is_unknown(boost)
    assert is_unknown(replace(boost, action=BoostAction.UNKNOWN))


def test_a_change_without_a_schedule_moves_nothing() -> None:
    """The reader of inputs lets none through; were there one, it would be stale."""
    world = World()
    assert results_of(world.boost(T0, action=BoostAction.SCHEDULE_CHANGED)) == [Result.STALE]
    assert world.site.chargers == ()
