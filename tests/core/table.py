"""Households in every condition that the core tells apart, and an event of every kind and shape.

What the tests of the table walk pair by pair, and what the diagram in ARCHITECTURE.md is drawn from.
"""

from collections.abc import Callable, Iterator
from itertools import product

from msgspec.structs import replace

from processor.core.events import (
    BoostAction,
    CallFailed,
    ConsentWithdrawn,
    Due,
    Erase,
    Event,
    Found,
    Input,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    Source,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, Schedule, subtract
from processor.core.site import Site
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    MPAN,
    NIGHT,
    RULES,
    STRANGER,
    T0,
    World,
    at,
    consented,
)

SOURCE = Source("in", 0, 99)
PAST: Schedule = ((T0 - 2 * HOUR_MS, T0 - HOUR_MS),)
ELSEWHERE = replace(RULES, onboarding_elsewhere=True)
_END_MS = GUIDE_SCHEDULE[-1][1]
TIMES = (T0 - HOUR_MS, at(0.3), _END_MS - RULES.pause_min_ms, _END_MS + 1, T0 + 25 * HOUR_MS)


State = tuple[str, Site, Rules]
"""What is known, in a few words; the household; and the rules that it was decided by."""


def states() -> Iterator[State]:
    """Households in every condition that the core tells apart; in each, `c-1` is the one that events speak of."""
    yield from _joining_and_asking()
    yield from _leaving()
    yield from _erased()
    yield from _elsewhere()


def _after(says: str, *steps: Callable[[World], object], rules: Rules = RULES) -> State:
    world = World(rules=rules)
    for step in steps:
        step(world)
    return says, world.site, rules


def _join(world: World) -> None:
    world.plug_in(enrolment=ENROLMENT, event_id="p")


def _enrol(world: World) -> None:
    world.enrolled()


def _settle(world: World) -> None:
    world.settled(GUIDE_PAUSE)


def _second(world: World) -> None:
    world.plug_in(enrolment=ENROLMENT, charger="c-2")


def _return(world: World) -> None:
    world.plug_in(at(0.2), enrolment=consented(at(0.2)))


def _return_elsewhere(world: World) -> None:
    world.plug_in(at(0.2), enrolment=consented(at(0.2)), charger="c-2")


def _look_in_vain_but_once(world: World) -> None:
    for _ in world.rules.look_up_delays_ms[1:]:
        world.now_ms += HOUR_MS
        world.look_up()


def _joining_and_asking() -> Iterator[State]:
    yield _after("nothing is known")
    yield _after("plugged in, not enrolled", lambda w: w.plug_in(event_id="p"))
    yield _after("a session that is over", lambda w: w.plug_in(schedule=PAST, event_id="p"))
    yield _after("a boost alone", lambda w: w.boost(until_ms=at(2)))
    yield _after("an unknown action alone", lambda w: w.unreadable(at(0.1)))
    yield _after("onboarding", _join)
    yield _after("onboarding at a home that has one", lambda w: w.settled(GUIDE_PAUSE, "c-2"), _join)
    yield _after("onboarding, and it exists already", _join, lambda w: w.refuse_onboarding(Refusal.EXISTS))
    yield _after("not eligible", _join, lambda w: w.refuse_onboarding(Refusal.NOT_ELIGIBLE))
    yield _after("an onboarding was given up", _join, lambda w: w.wake(T0 + 24 * HOUR_MS))
    yield _after("asking", _enrol)
    yield _after("asking during a boost", _enrol, lambda w: w.boost(until_ms=at(2)))
    yield _after("looking up for a question", _enrol, lambda w: w.refuse(Refusal.UNKNOWN_CHARGER))
    yield _after(
        "asking again after a look-up",
        _enrol,
        lambda w: w.refuse(Refusal.UNKNOWN_CHARGER),
        lambda w: w.look_up(MPAN),
    )
    yield _after("forbidden", _enrol, lambda w: w.refuse(Refusal.FORBIDDEN))
    yield _after("forbidden, and a newer consent is tried", _enrol, lambda w: w.refuse(Refusal.FORBIDDEN), _return)
    yield _after("paused", _settle)
    yield _after("halted", _settle, lambda w: w.unreadable(at(0.1)))
    yield _after("joined by a second charger", _settle, _second)


def _leaving() -> Iterator[State]:
    yield _after("withdrawn and owed", _settle, lambda w: w.withdraw(at(0.1), event_id="w"))
    yield _after("withdrawn, done", _settle, lambda w: w.withdraw(at(0.1), event_id="w"), lambda w: w.offboard())
    yield _after("withdrawn during the onboarding", _join, lambda w: w.withdraw(at(0.1), event_id="w"))
    yield _after("looked for almost to the end", _join, lambda w: w.withdraw(at(0.1)), _look_in_vain_but_once)
    yield _after("looked for, and a newer consent waits", _join, lambda w: w.withdraw(at(0.1)), _return)
    yield _after(
        "looked for, and another's newer consent waits", _join, lambda w: w.withdraw(at(0.1)), _return_elsewhere
    )
    yield _after("withdrawn, and a newer consent waits", _settle, lambda w: w.withdraw(at(0.1)), _return)
    yield _after(
        "withdrawn, and another's newer consent waits", _settle, lambda w: w.withdraw(at(0.1)), _return_elsewhere
    )
    yield _after("being removed", _settle, _second, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield _after("being removed, the last one", _settle, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield _after("removed during the onboarding", _join, lambda w: w.withdraw(at(0.1), "c-1", event_id="w"))
    yield _after("removed, and a newer consent waits", _settle, _second, lambda w: w.withdraw(at(0.1), "c-1"), _return)
    yield _after(
        "removed, and another's newer consent waits",
        _settle,
        _second,
        lambda w: w.withdraw(at(0.1), "c-1"),
        _return_elsewhere,
    )
    yield _after(
        "withdrawn and then removed", _settle, lambda w: w.withdraw(at(0.1)), lambda w: w.withdraw(at(0.1), "c-1")
    )
    yield _after(
        "withdrawn, and what was left behind is found",
        _join,
        lambda w: w.withdraw(at(0.1)),
        lambda w: w.look_up(MPAN),
    )


def _erased() -> Iterator[State]:
    yield _after("to be forgotten", _settle, lambda w: w.erase(at(0.1), event_id="o"))
    yield _after("forgotten", _settle, lambda w: w.erase(at(0.1), event_id="o"), lambda w: w.offboard())


def _elsewhere() -> Iterator[State]:
    yield _after("nothing is known here", rules=ELSEWHERE)
    yield _after("perhaps onboarded elsewhere", lambda w: w.plug_in(event_id="p"), rules=ELSEWHERE)
    yield _after("onboarded elsewhere", lambda w: w.plug_in(event_id="p"), lambda w: w.look_up(MPAN), rules=ELSEWHERE)
    yield _after(
        "looked up elsewhere, and a consent came meanwhile",
        lambda w: w.plug_in(event_id="p"),
        lambda w: w.plug_in(at(-0.2), enrolment=ENROLMENT),
        rules=ELSEWHERE,
    )
    yield _after("not known elsewhere", lambda w: w.plug_in(event_id="p"), lambda w: w.look_up(), rules=ELSEWHERE)
    yield _after("withdrawn, perhaps onboarded elsewhere", lambda w: w.withdraw(at(0.1)), _second, rules=ELSEWHERE)
    yield _after(
        "withdrawn and looked for elsewhere",
        lambda w: w.withdraw(at(0.1)),
        lambda w: w.plug_in(at(0.2)),
        rules=ELSEWHERE,
    )


def events(site: Site) -> Iterator[Event]:
    """One of every kind of event, in every shape that makes a difference, timely and late."""
    charger = site.charger("c-1")
    number = charger.question.number if charger and charger.question else 0
    for at_ms, event_id in ((at(-3), "p"), (at(0.15), "p"), (at(0.15), "w"), (at(-3), "new"), (at(0.3), "new")):
        for enrolment, schedule in product((None, ENROLMENT, consented(at_ms)), (GUIDE_SCHEDULE, PAST)):
            yield PlugIn(event_id, at_ms, SOURCE, "home-1", "c-1", schedule, None, enrolment)
        for action, until_ms in product(BoostAction, (None, at(0.2), at(3))):
            schedule = GUIDE_SCHEDULE if action is BoostAction.SCHEDULE_CHANGED else ()
            yield UserBoost(event_id, at_ms, SOURCE, "home-1", "c-1", action, until_ms, schedule or None)
        for reason, charger_id in product(WithdrawalReason, (None, "c-1")):
            yield ConsentWithdrawn(event_id, at_ms, SOURCE, "home-1", charger_id, reason)
        yield Erase("o" if event_id == "w" else event_id, at_ms, SOURCE, "home-1")
        yield Unreadable(event_id, at_ms, SOURCE, "home-1", "c-1", Input.PLUG_IN)
    for left_at_ms in (at(-3), at(0.1)):
        yield StillListed("listed", at(0.3), SOURCE, "home-1", "c-1", left_at_ms)
    yield PlugIn("another", at(0.3), SOURCE, "home-1", "c-2", GUIDE_SCHEDULE, None, consented(at(0.3)))
    for axle_site, asset in (("axle-site", "axle-c-1"), ("other-site", "other-asset")):
        yield Onboarded("home-1", "c-1", axle_site, asset)
        yield Offboarded("home-1", axle_site)
        yield Offboarded("home-1", axle_site, kept=True)
        yield Removed("home-1", "c-1", asset)
        for mpan in (None, MPAN, STRANGER):
            yield LookedUp("home-1", "c-1", Found(axle_site, asset, mpan))
            yield LookedUp("home-1", "c-1", Found(axle_site, asset, mpan), for_question=True)
    yield LookedUp("home-1", "c-1", None)
    yield LookedUp("home-1", "c-1", None, for_question=True)
    for why in Refusal:
        yield OnboardingRefused("home-1", "c-1", why, ENROLMENT.consented_at_ms)
        yield OnboardingRefused("home-1", "c-1", why, ENROLMENT.consented_at_ms - 1)
        yield ScheduleRefused("home-1", "c-1", number, why)
        yield ScheduleRefused("home-1", "c-1", number - 1, why)
    paused = subtract(GUIDE_SCHEDULE, GUIDE_PAUSE)
    for answered in (None, (), PAST, GUIDE_SCHEDULE, paused, ((NIGHT, NIGHT + HOUR_MS),)):
        yield ScheduleAnswered("home-1", "c-1", number, GUIDE_SCHEDULE, answered)
        yield ScheduleAnswered("home-1", "c-1", number + 1, GUIDE_SCHEDULE, answered)
    yield CallFailed("home-1", None, 400)
    yield CallFailed("home-1", "c-1", 403)
    yield Due("home-1")


PAIRS = [(says, site, rules, event) for says, site, rules in states() for event in events(site)]
"""Every event in every condition."""
