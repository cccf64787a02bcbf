"""The verbs that the table is written in."""

import pytest

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Due,
    Input,
    PlugIn,
    Source,
    Unreadable,
    UserBoost,
)
from processor.core.outputs import ModifiedSchedule, Outcome, Result, Status
from processor.core.site import Asker, Charger, Site
from processor.core.turn import NEWCOMER_AHEAD_MS, Turn, asker_of, kind_of
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, NIGHT, RULES, T0, World, at

SOURCE = Source("in", 0, 7)
PLUG_IN = PlugIn("p", T0, SOURCE, "home-1", "c-1", GUIDE_SCHEDULE)
BOOST = UserBoost("b", T0, SOURCE, "home-1", "c-1", BoostAction.BOOST, at(1))
WITHDRAWAL = ConsentWithdrawn("w", T0, SOURCE, "home-1")
ASKER = Asker("p", Input.PLUG_IN, T0, SOURCE)


def turn_of(charger: Charger | None = None, now_ms: int = T0) -> Turn:
    """A plug-in at that charger."""
    site = Site("home-1")
    return Turn(site.having(charger) if charger else site, PLUG_IN, now_ms, RULES)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (PLUG_IN, Input.PLUG_IN),
        (BOOST, Input.USER_BOOST),
        (WITHDRAWAL, Input.CONSENT_WITHDRAWN),
        (Unreadable("u", T0, SOURCE, "home-1", "c-1", Input.PLUG_IN), Input.PLUG_IN),
    ],
)
def test_every_input_is_known_by_its_topic(
    event: PlugIn | UserBoost | ConsentWithdrawn | Unreadable, kind: Input
) -> None:
    """What was unreadable counts as what its topic is for."""
    assert kind_of(event) is kind
    assert asker_of(event) == Asker(event.event_id, kind, T0, SOURCE)


def test_revisions_follow_the_clock_and_never_fall() -> None:
    """The first is a second ahead of the decision; a clock that stands or goes back still gives a higher one."""
    for last, now_ms, revision in (
        (None, T0, T0 + NEWCOMER_AHEAD_MS),
        (T0 - 5, T0, T0),
        (T0, T0, T0 + 1),
        (T0 + 9, T0, T0 + 10),
    ):
        turn = turn_of(Charger("c-1", revision=last), now_ms)
        assert turn.publish(ASKER, Status.REQUESTED, "Because.") == revision
        record = turn.outputs[0]
        assert isinstance(record, ModifiedSchedule)
        assert (record.revision, record.replaces) == (revision, last)
        assert turn.charger.revision == revision


def test_a_record_tells_the_wish_and_its_cause() -> None:
    """Requested, effective, pauses, the end of its validity, and the event that it goes back to."""
    world = World()
    world.plug_in(event_id="p")
    record = world.last
    assert (record.requested, record.effective, record.pauses) == (GUIDE_SCHEDULE, GUIDE_SCHEDULE, ())
    assert record.valid_until_ms == GUIDE_SCHEDULE[-1][1]
    assert (record.caused_by.event_id, record.caused_by.kind, record.caused_by.occurred_at_ms) == (
        "p",
        Input.PLUG_IN,
        T0,
    )
    assert record.decided_at_ms == T0


def test_a_record_of_nothing_is_valid_until_it_was_decided() -> None:
    """An empty schedule has no end of its own."""
    world = World()
    world.boost(until_ms=at(1))
    world.boost(at(0.5), action=BoostAction.BOOST_CANCELLED)
    assert (world.last.status, world.last.requested, world.last.valid_until_ms) == (Status.EXPIRED, (), at(0.5))


def test_only_the_first_record_of_a_question_is_not_final() -> None:
    """Its answer is final, whatever it says; so is a first record that asks nothing."""
    world = World().settled()
    world.withdraw(at(1))
    assert [(record.status, record.final) for record in world.records] == [
        (Status.REQUESTED, False),
        (Status.UNCHANGED, True),
        (Status.WITHDRAWN, True),
    ]


def test_pauses_that_were_in_force_are_counted_as_served() -> None:
    """Up to the moment at which another record replaced them."""
    world = World().settled(((NIGHT, NIGHT + 1_800_000),))
    world.now_ms = NIGHT + 600_000
    world.boost(until_ms=at(3))
    assert world.charger.served == ((NIGHT, NIGHT + 600_000),)
    assert world.charger.pauses == ()


def test_a_turn_without_a_charger_or_an_asker_says_so() -> None:
    """Time speaks of no charger and waits for no outcome: asking for either is a mistake of ours."""
    turn = Turn(Site("home-1"), Due("home-1"), T0, RULES)
    with pytest.raises(ValueError, match="no charger"):
        _ = turn.charger
    with pytest.raises(ValueError, match="no outcome"):
        _ = turn.asker


def test_there_is_nothing_to_close_without_a_question() -> None:
    """Settling or dropping no question, or giving nobody an outcome, says nothing."""
    turn = turn_of()
    turn.settle_question(Status.FALLBACK, "Because.")
    assert turn.drop_question(Result.COALESCED) is False
    turn.settle(None, Result.OFFBOARDED)
    assert turn.outputs == []


def test_an_outcome_names_its_input_and_the_record_that_settled_it() -> None:
    """Source, site, charger, time and revision."""
    world = World()
    world.plug_in(event_id="p")
    outcome = world.outputs[-1]
    assert outcome == Outcome("p", Source("in", 0, 1), "home-1", "c-1", Result.NOT_ENROLLED, T0, world.last.revision)


def test_where_the_site_stands_is_told_with_all_its_chargers() -> None:
    """The ids of each, and whether the household consents."""
    world = World().settled()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    status = world.enrolment_statuses[-1]
    assert status.axle_site_id == "axle-site"
    assert [(c.charger_id, c.status.value, c.axle_asset_id) for c in status.chargers] == [
        ("c-1", "ENROLLED", "axle-c-1"),
        ("c-2", "ENROLLED", "axle-c-2"),
    ]
    assert status.consent.value == "GIVEN"
