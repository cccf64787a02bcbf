"""What tests of the shell share: a clock to turn by hand, records as they come from Kafka, and plain events.

Only values and the real parts' constructors; nothing here stands in for a part of the shell.
"""

import asyncio
import time
from collections.abc import Callable

from processor.core.events import BoostAction, ConsentWithdrawn, Enrolment, PlugIn, Source, UserBoost
from processor.core.schedule import HOUR_MS
from processor.shell.intake import Intake
from processor.shell.leases import Lease
from processor.shell.records import Headers, Record
from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits

NOW_MS = 1_763_800_020_000
"""On a whole minute."""
CODEC = Codec(schema_texts())
NAMES = TopicNames()
TASKS = 4
NOWHERE = Source("", 0, 0)


class HandClock:
    """A clock that stands still until it is turned; wall and monotonic time can be turned apart."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.wall_ms = now_ms
        self.seconds = 100.0

    def now_ms(self) -> int:
        """UTC."""
        return self.wall_ms

    def monotonic(self) -> float:
        """Seconds since some start."""
        return self.seconds

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_ms += round(seconds * 1000)
        self.seconds += seconds


def enrolment() -> Enrolment:
    """A household's personal data."""
    return Enrolment("1234567890123", "AB1 2CD", "1 Example Street", NOW_MS - 1000, NOW_MS - 1000)


def plug_in(
    site: str = "s-1", charger: str = "c-1", event_id: str = "p-1", at_ms: int = NOW_MS, *, enrol: bool = True
) -> PlugIn:
    """A car that charges for eight hours from now on."""
    night = ((at_ms, at_ms + 8 * HOUR_MS),)
    return PlugIn(event_id, at_ms, NOWHERE, site, charger, night, 7.4, enrolment() if enrol else None)


def boost(site: str = "s-1", charger: str = "c-1", event_id: str = "b-1", at_ms: int = NOW_MS) -> UserBoost:
    """A boost of an hour."""
    return UserBoost(event_id, at_ms, NOWHERE, site, charger, BoostAction.BOOST, at_ms + HOUR_MS)


def withdrawal(site: str = "s-1", event_id: str = "w-1", at_ms: int = NOW_MS) -> ConsentWithdrawn:
    """A household that leaves."""
    return ConsentWithdrawn(event_id, at_ms, NOWHERE, site)


def record(
    event: PlugIn | UserBoost | ConsentWithdrawn | bytes | None,
    topic: str = NAMES.plug_in,
    partition: int = 0,
    offset: int = 7,
    *,
    key: bytes | None = b"k",
    headers: Headers | None = None,
    appended_ms: int | None = NOW_MS,
    lease: Lease | None = None,
) -> Record:
    """The record of an event, or of these bytes."""
    value = event if event is None or isinstance(event, bytes) else CODEC.encode_input(event)
    lease = lease or Lease(topic, partition)
    return Record(topic, partition, offset, key, value, headers or [], appended_ms, lease)


def intake(names: TopicNames = NAMES, tasks: int = TASKS, **partitions: int) -> Intake:
    """An intake for so many tasks; each input topic has as many partitions, or those that are given by field name."""
    inputs = ("plug_in", "user_boost", "consent_withdrawn")
    counts = {getattr(names, field): partitions.get(field, tasks) for field in inputs}
    return Intake(names, counts, tasks, CODEC, InputLimits(), "a-group")


async def until(holds: Callable[[], object], seconds: float = 10.0, what: str = "the condition") -> None:
    """Return as soon as it holds, with the event loop going on meanwhile; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.002)
