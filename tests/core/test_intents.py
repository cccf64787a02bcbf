"""Which calls a site owes, and which it does not owe any more."""

from msgspec.structs import replace

from processor.core.events import Refusal
from processor.core.intents import AskSchedule, LookUp, Offboard, Onboard, Remove, owed
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.site import Leaving
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, NIGHT, RULES, T0, World, at, consented, two_chargers


def test_a_new_site_owes_its_onboarding() -> None:
    """With the household's data and the charger's power, and no site of Axle's to join."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    assert world.owed == [Onboard("home-1", "c-1", ENROLMENT, 7.4, None)]


def test_a_further_charger_joins_the_site() -> None:
    """Its onboarding names Axle's site, and goes beside the question of the first."""
    world = World().enrolled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    onboard, ask = world.owed
    assert onboard == Onboard("home-1", "c-2", ENROLMENT, 7.4, "axle-site")
    assert isinstance(ask, AskSchedule)


def test_onboardings_go_one_at_a_time() -> None:
    """The second charger waits until the first one is at Axle, so that it can join it."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    assert [call.charger_id for call in world.owed if isinstance(call, Onboard)] == ["c-1"]
    world.onboard()
    assert [call.charger_id for call in world.owed if isinstance(call, Onboard)] == ["c-2"]


def test_a_question_is_computed_afresh_for_each_attempt() -> None:
    """What has passed meanwhile is not sent; the number stays."""
    world = World().enrolled()
    first = world.question()
    assert first.schedule == GUIDE_SCHEDULE
    assert not first.boosted
    world.now_ms = NIGHT + 90 * 1000
    second = world.question()
    assert second == replace(first, schedule=((NIGHT + 2 * MINUTE_MS, GUIDE_SCHEDULE[-1][1]),))


def test_a_question_during_a_boost_says_so() -> None:
    """It goes before others in the queue."""
    world = World().enrolled()
    world.boost(until_ms=at(3))
    assert world.question().boosted


def test_a_question_that_is_given_up_is_not_owed() -> None:
    """Not even before the site is woken for it."""
    world = World().enrolled()
    world.now_ms = (world.due_ms or 0) - 1
    assert isinstance(world.owed[0], AskSchedule)
    world.now_ms += 1
    assert world.owed == []


def test_an_empty_schedule_is_never_sent() -> None:
    """With rules that allow pauses of seconds, less than a minute may be left: that is nothing to ask about."""
    rules = Rules(pause_min_ms=1000, lead_ms=0)
    world = World(rules=rules).enrolled()
    world.now_ms = GUIDE_SCHEDULE[-1][1] - 30_000
    assert world.owed == []


def test_a_question_under_look_up_owes_the_look_up() -> None:
    """And it is known as one for a question."""
    world = World().enrolled()
    world.refuse(Refusal.UNKNOWN_CHARGER)
    assert world.owed == [LookUp("home-1", "c-1", 0, for_question=True)]


def test_an_onboarding_of_what_exists_owes_a_look_up() -> None:
    """After a 409 it is looked up whose it is."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.refuse_onboarding(Refusal.EXISTS)
    assert world.owed == [LookUp("home-1", "c-1", 0)]


def test_a_withdrawn_site_owes_its_offboarding_and_nothing_else() -> None:
    """No question and no onboarding, of any charger."""
    world = World().enrolled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw()
    assert world.owed == [Offboard("home-1", "axle-site")]


def test_a_removal_owes_one_delete() -> None:
    """While another charger stays, only that asset goes; questions of the other go on."""
    world = two_chargers()
    world.plug_in(at(0.1), charger="c-2")
    world.withdraw(charger="c-1")
    remove, ask = world.owed
    assert remove == Remove("home-1", "c-1", "axle-c-1")
    assert isinstance(ask, AskSchedule)


def test_a_question_that_was_asked_for_long_enough_is_not_owed() -> None:
    """Where a time to give up is set, also before the site is woken for it; and a question names its home."""
    world = World(rules=replace(RULES, give_up_after_ms=MINUTE_MS)).enrolled()
    assert world.question().site_id == "home-1"
    world.now_ms += MINUTE_MS
    assert world.owed == []


def test_leaving_goes_before_joining() -> None:
    """A newer consent waits behind the removal and behind the offboarding that are owed."""
    world = two_chargers()
    world.withdraw(charger="c-1")
    world.plug_in(at(0.1), enrolment=consented(at(0.1)))
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert world.owed == [Onboard("home-1", "c-1", consented(at(0.1)), 7.4, "axle-site")]
    world = World().settled()
    world.withdraw()
    world.plug_in(at(0.1), enrolment=consented(at(0.1)))
    assert world.owed == [Offboard("home-1", "axle-site")]
    world.offboard()
    assert world.owed == [Onboard("home-1", "c-1", consented(at(0.1)), 7.4, None)]


def test_the_look_up_that_is_due_first_goes_first() -> None:
    """Two chargers whose onboardings were never answered are looked for in turn."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0))
    assert world.owed == [LookUp("home-1", "c-1", 0, T0)]
    world.look_up()
    assert world.owed == [LookUp("home-1", "c-2", 0, T0)]
    world.look_up(charger="c-2")
    assert world.owed == [LookUp("home-1", "c-1", 1, T0 + MINUTE_MS)]


def test_fewer_look_ups_than_before_are_no_trouble() -> None:
    """A setting may have been shortened while a look-up was waiting; the last delay then holds."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    world.withdraw(at(0))
    charger = replace(world.charger, leaving=Leaving(T0, None, look_ups=3))
    site = world.site.having(charger)
    assert owed(site, T0, Rules(look_up_delays_ms=(0, HOUR_MS))) == (LookUp("home-1", "c-1", 3, T0 + HOUR_MS),)


def test_a_removal_goes_before_the_look_up_of_another() -> None:
    """What is known to be at Axle is deleted first."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.plug_in(enrolment=ENROLMENT, charger="c-3")
    world.withdraw(charger="c-2")
    world.withdraw(charger="c-1")
    assert world.owed == [Remove("home-1", "c-1", "axle-c-1")]
    world.remove()
    assert world.owed == [LookUp("home-1", "c-2", 0, T0)]
