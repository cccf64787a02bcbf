"""A charger service: what the schedules on the output topic make each charger do.

Here lives the consumer's half of the contract (design 3): apply a record only when its revision is higher than the last
one, leave the charger alone when it does that already, charge freely once a schedule is over. Where records come from
is `reader.py`'s. The idea: a charger that hears nothing charges, so forgetting everything is always safe.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from processor.core.outputs import ModifiedSchedule
from processor.core.schedule import since


class Doing(StrEnum):
    """What a charger does at an instant."""

    CHARGING = "charging"
    PAUSED = "paused"
    WAITING = "waiting"
    """Its schedule begins later, or goes on later."""
    FREE = "free"
    """No schedule holds: it charges whenever a car asks."""


class Heard(StrEnum):
    """What became of a record."""

    APPLIED = "applied"
    SAME = "same"
    """In force now, but the charger need not be told: it does just that already."""
    OLD = "old"
    """An older revision than the one in force, or that one again."""


@dataclass(slots=True)
class Tally:
    """How many records were applied, asked for nothing new, or came too late."""

    applied: int = 0
    same: int = 0
    old: int = 0


class ChargerService:
    """All chargers of a platform. Give it each record of the output topic; used on one thread."""

    def __init__(self) -> None:
        self._in_force: dict[str, ModifiedSchedule] = {}
        self.tally = Tally()

    def __iter__(self) -> Iterator[ModifiedSchedule]:
        """The schedules in force, by charger."""
        return iter([self._in_force[charger_id] for charger_id in sorted(self._in_force)])

    def hear(self, record: ModifiedSchedule) -> Heard:
        """Take a record, or leave it."""
        last = self._in_force.get(record.charger_id)
        if last is not None and record.revision <= last.revision:
            self.tally.old += 1
            return Heard.OLD
        self._in_force[record.charger_id] = record
        now_ms = record.decided_at_ms
        if last is not None and since(last.effective, now_ms) == since(record.effective, now_ms):
            self.tally.same += 1
            return Heard.SAME
        self.tally.applied += 1
        return Heard.APPLIED

    def in_force(self, charger_id: str, now_ms: int) -> ModifiedSchedule | None:
        """The schedule that the charger follows at `now_ms`, if there is one."""
        record = self._in_force.get(charger_id)
        return record if record is not None and now_ms < record.valid_until_ms else None

    def doing(self, charger_id: str, now_ms: int) -> Doing:
        """What the charger does at `now_ms`."""
        record = self.in_force(charger_id, now_ms)
        if record is None:
            return Doing.FREE
        if any(start <= now_ms < end for start, end in record.effective):
            return Doing.CHARGING
        if any(start <= now_ms < end for start, end in record.pauses):
            return Doing.PAUSED
        return Doing.WAITING
