"""The charger service: what it applies, what it leaves, and what each charger does then."""

import pytest
from msgspec.structs import replace

from processor.core.outputs import ModifiedSchedule, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, subtract
from processor.demo.charger import ChargerService, Doing, Heard
from tests.demo.tale import CHARGER, NIGHT, PAUSE, T0, right_tale


def record(number: int) -> ModifiedSchedule:
    """One of the tale's records: 0 REQUESTED, 1 MODIFIED."""
    return right_tale().history.published[number].record


def test_a_higher_revision_replaces_the_schedule() -> None:
    """The newest revision is in force, whole."""
    service = ChargerService()
    assert service.hear(record(0)) is Heard.APPLIED
    assert service.hear(record(1)) is Heard.APPLIED
    assert service.in_force(CHARGER, T0 + HOUR_MS) == record(1)
    assert list(service) == [record(1)]


@pytest.mark.parametrize("older_by", [0, 1])
def test_an_old_revision_is_left_aside(older_by: int) -> None:
    """A record that comes late, or twice, changes nothing."""
    service = ChargerService()
    service.hear(record(1))
    old = replace(record(0), revision=record(1).revision - older_by)
    assert service.hear(old) is Heard.OLD
    assert service.in_force(CHARGER, T0 + HOUR_MS) == record(1)
    assert service.tally.old == 1


def test_a_charger_is_not_told_what_it_does_already() -> None:
    """A record that asks for the same from now on is in force, and nothing is sent to the charger."""
    service = ChargerService()
    service.hear(record(0))
    later = replace(record(0), revision=record(0).revision + 1, status=Status.UNCHANGED)
    assert service.hear(later) is Heard.SAME
    assert (service.tally.applied, service.tally.same) == (1, 1)


@pytest.mark.parametrize(
    ("at_ms", "doing"),
    [
        (T0 - 1, Doing.WAITING),
        (T0, Doing.CHARGING),
        (PAUSE[0][0] - 1, Doing.CHARGING),
        (PAUSE[0][0], Doing.PAUSED),
        (PAUSE[0][1] - 1, Doing.PAUSED),
        (PAUSE[0][1], Doing.CHARGING),
        (NIGHT[0][1], Doing.FREE),
    ],
)
def test_a_charger_does_what_its_schedule_says(at_ms: int, doing: Doing) -> None:
    """It waits, charges and pauses at the very instants of the schedule, and charges freely once that is over."""
    service = ChargerService()
    service.hear(record(1))
    assert service.doing(CHARGER, at_ms) is doing


def test_a_charger_that_was_told_nothing_is_free() -> None:
    """No schedule means no limit."""
    assert ChargerService().doing("c-99", T0) is Doing.FREE


def test_between_two_blocks_a_charger_waits() -> None:
    """A gap that the driver set is no pause."""
    gap = ((T0 + HOUR_MS, T0 + HOUR_MS + MINUTE_MS),)
    wanted = subtract(NIGHT, gap)
    service = ChargerService()
    service.hear(replace(record(0), requested=wanted, effective=wanted))
    assert service.doing(CHARGER, gap[0][0]) is Doing.WAITING
