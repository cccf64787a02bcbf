"""Every word that people read of a decision: the reasons of published schedules, and the details of alarms.

Drivers, support and operators know these sentences. All states, events and times of the table are run through, so a
sentence that changes, appears or disappears shows up here.
"""

from itertools import product

from processor.core.conditions import names_no_charger
from processor.core.decide import TABLE, decide
from processor.core.events import CallFailed
from processor.core.outputs import Alarm, ModifiedSchedule, Outcome, Status
from processor.core.site import Site
from tests.core.table import PAIRS, TIMES
from tests.core.world import (
    ENROLMENT,
    GUIDE_PAUSE,
    GUIDE_SCHEDULE,
    RULES,
    T0,
    World,
    at,
    consented,
    two_chargers,
)

REASONS = {
    (Status.EXPIRED, "Nothing of the schedule lies ahead."),
    (Status.EXPIRED, "The session was over before Axle answered."),
    (Status.FALLBACK, "A newer action of the driver could not be understood; no pauses."),
    (Status.FALLBACK, "Axle could not read our onboarding; the driver's wish stays in force."),
    (Status.FALLBACK, "Axle could not read our question; the driver's wish stays in force."),
    (Status.FALLBACK, "Axle did not answer in time; the driver's wish stays in force."),
    (Status.FALLBACK, "Axle never answered our onboarding; the driver's wish stays."),
    (Status.FALLBACK, "Too little of the session is left for a pause; the driver's wish is in force."),
    (Status.FALLBACK, "The driver's newest action could not be understood; all pauses are lifted."),
    (Status.MODIFIED, "Axle pauses charging for 60 minutes in all; the rest is as the driver wishes."),
    (Status.NOT_ENROLLED, "Axle does not manage this charger; the driver's wish is in force."),
    (Status.NOT_ENROLLED, "Axle holds no consent for this site; the driver's wish is in force."),
    (Status.NOT_ENROLLED, "The consent to ask Axle with was withdrawn; no pauses."),
    (Status.REJECTED, "Axle's answer broke a rule; the driver's wish stays in force."),
    (Status.REQUESTED, "The driver's wish is in force; Axle is being asked."),
    (Status.UNCHANGED, "Axle changed nothing; the driver's wish is in force."),
    (Status.UNCHANGED, "No pause of Axle's is left to be made; the driver's wish is in force."),
    (Status.WITHDRAWN, "The charger was disconnected; the driver's wish is in force without pauses."),
    (Status.WITHDRAWN, "The household is being forgotten; the driver's wish is in force."),
    (Status.WITHDRAWN, "The household withdrew; the driver's wish is in force without pauses."),
    (Status.WITHDRAWN, "There is no consent for pauses; the driver's wish is in force."),
}
ALARMS = {
    ("answer_rejected", "empty"),
    ("answer_rejected", "not_a_subset"),
    ("answer_rejected", "pause_too_long"),
    ("answer_rejected", "unreadable"),
    ("charger_conflict", "CONFLICT"),
    ("consent_missing_at_axle", "403"),
    ("event_budget_spent", "questions"),
    ("look_up_refused", "403"),
    ("offboarding_refused", "400"),
    ("offboarding_refused", "403"),
    ("our_request_invalid", "onboard"),
    ("our_request_invalid", "schedule"),
    ("unowned_site_found", "look_up"),
}


def said() -> list[tuple[Site, ModifiedSchedule | Alarm | Outcome]]:
    """All that is said in the table, each with the site that it was said of."""
    return [
        (site, output)
        for (_, site, rules, event), now_ms in product(PAIRS, TIMES)
        for output in decide(site, event, now_ms, rules).outputs
        if isinstance(output, ModifiedSchedule | Alarm | Outcome)
    ]


def test_the_reasons_are_these() -> None:
    """One plain sentence for each way that a schedule comes to be."""
    records = [output for _, output in said() if isinstance(output, ModifiedSchedule)]
    found = {(record.status, record.reason) for record in records}
    paused, trimmed, given_up = World().settled(GUIDE_PAUSE), World().enrolled(), World().enrolled()
    trimmed.now_ms = at(3)
    trimmed.answer(((at(3), at(3, 5)),))
    given_up.wake(GUIDE_SCHEDULE[-1][1] - RULES.pause_min_ms)
    others = {(world.last.status, world.last.reason) for world in (paused, trimmed, given_up, consent_lost())}
    assert (len(others), found | others) == (4, REASONS)


def consent_lost() -> World:
    """A charger was to join with a consent that was withdrawn, while another one brought a newer consent."""
    world = World().settled()
    world.plug_in(T0 + 1, enrolment=ENROLMENT, charger="c-2")
    world.plug_in(at(0.2), enrolment=consented(at(0.2)))
    world.withdraw(at(0.1))
    return world


def test_the_alarms_are_these() -> None:
    """The kind says what to look at, the detail which rule or status it was; a charger is named where there is one."""
    outputs = said()
    assert {output.site_id for _, output in outputs} == {"home-1"}
    alarms = [output for _, output in outputs if isinstance(output, Alarm)]
    assert {(alarm.kind.value, alarm.detail) for alarm in alarms} == ALARMS
    named = {(alarm.kind.value, alarm.charger_id) for alarm in alarms}
    assert {kind for kind, charger in named if charger is None} == {"offboarding_refused"}
    assert {kind for kind, charger in named if charger == "c-1"} == {kind for kind, _ in ALARMS}


def test_each_charger_of_a_home_is_named_in_its_own_outcome() -> None:
    """Two removals that an offboarding settles are two outcomes, each of its charger."""
    world = two_chargers()
    world.withdraw(at(0.2), "c-1", event_id="one")
    world.withdraw(at(0.3), event_id="all")
    world.offboard()
    assert [(o.event_id, o.charger_id) for o in world.outcomes[-2:]] == [("one", "c-1"), ("all", None)]


def test_a_wish_that_replaces_another_is_not_the_end_of_the_session() -> None:
    """The asker of the older one hears that it was coalesced, whether or not Axle is asked about the newer one."""
    world = World().enrolled()
    world.boost(at(0.1), at(2), event_id="b")
    world.now_ms = at(0.2)
    world.unreadable(at(8), event_id="u")
    assert [result.value for _, result in world.results] == ["COALESCED", "COALESCED", "INVALID"]
    world.plug_in(at(0.3), schedule=GUIDE_SCHEDULE, event_id="p")
    assert world.last.reason == "A newer action of the driver could not be understood; no pauses."


def test_a_refused_call_has_its_sentence_in_the_table() -> None:
    """What the page of the table tells of a refusal is this, whichever call was refused."""
    told = {row.then.__doc__ for row in TABLE[CallFailed] if "refused" in row.says and row.when is not names_no_charger}
    assert told == {"Tell a person; the call is still owed."}
