"""A short tale of one home as an onlooker would have seen it, for tests of the verifier: right, until it is changed.

Here lives the tale alone; what is wrong with it once it is changed is each test's own. The idea: every fact is written
down by hand, so the tests of the verifier lean on nothing of the processor's.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Enrolment,
    Input,
    PlugIn,
    Source,
    UserBoost,
    WithdrawalReason,
)
from processor.core.outputs import Cause, ModifiedSchedule, Outcome, Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, subtract
from processor.demo.history import History, Published, Settled
from processor.demo.sender import Put
from processor.demo.traffic import Event, Planned, Twist

T0 = 1_795_365_600_000
SITE, CHARGER, MPAN, AXLE_SITE = "home-1", "c-1", "9900000000013", "axle-site-1"
NIGHT: Schedule = ((T0, T0 + 8 * HOUR_MS),)
PAUSE: Schedule = ((T0 + 3 * HOUR_MS, T0 + 3 * HOUR_MS + 30 * MINUTE_MS),)
BOOST_UNTIL = T0 + 2 * HOUR_MS
TOPICS = {Input.PLUG_IN: "plug-in", Input.USER_BOOST: "user-boost", Input.CONSENT_WITHDRAWN: "consent-withdrawn"}
NOWHERE = Source("", 0, 0)


class Tale:
    """Facts in the order in which they are told; each verb says how much later than `T0` it was, in milliseconds."""

    def __init__(self) -> None:
        self.history = History(axle={"sites": [], "assets": []})
        self._offset = 0

    def put(self, event: Event, kind: Input, at: int, twist: Twist = Twist.NONE) -> Put:
        """An event that the broker acknowledged."""
        self._offset += 1
        put = Put(Planned(event, kind, SITE, twist), Source(TOPICS[kind], 0, self._offset), T0 + at)
        self.history.puts.append(put)
        return put

    def plug_in(
        self, event_id: str, at: int, *, consents: bool = False, schedule: Schedule = NIGHT, twist: Twist = Twist.NONE
    ) -> Put:
        """A plug-in; with a consent, the household agrees to it at that time."""
        enrolment = Enrolment(MPAN, "ZZ99 9ZZ", "1 Example Street", T0 + at, T0 + at) if consents else None
        event = PlugIn(event_id, T0 + at, NOWHERE, SITE, CHARGER, schedule, 7.4, enrolment)
        return self.put(event, Input.PLUG_IN, at, twist)

    def boost(
        self,
        event_id: str,
        at: int,
        action: BoostAction = BoostAction.BOOST,
        until: int | None = BOOST_UNTIL,
        schedule: Schedule | None = None,
        twist: Twist = Twist.NONE,
    ) -> Put:
        """A boost, or another action of the driver's."""
        event = UserBoost(event_id, T0 + at, NOWHERE, SITE, CHARGER, action, until, schedule)
        return self.put(event, Input.USER_BOOST, at, twist)

    def withdraw(self, event_id: str, at: int, charger: str | None = None) -> Put:
        """The household withdraws, or its charger is disconnected."""
        reason = WithdrawalReason.CHARGER_DISCONNECTED if charger else WithdrawalReason.CONSENT_WITHDRAWN
        event = ConsentWithdrawn(event_id, T0 + at, NOWHERE, SITE, charger, reason)
        return self.put(event, Input.CONSENT_WITHDRAWN, at)

    def publish(
        self, cause: str, status: Status, at: int, pauses: Schedule = (), requested: Schedule = NIGHT
    ) -> Published:
        """A schedule that the reader saw; its revision follows the one before."""
        last = self.history.published[-1].record.revision if self.history.published else None
        put = next(put for put in self.history.puts if put.planned.event.event_id == cause)
        record = ModifiedSchedule(
            SITE,
            CHARGER,
            T0 + at,
            last,
            T0 + at,
            Cause(cause, put.planned.kind, put.planned.event.occurred_at_ms),
            status,
            "Because.",
            status is not Status.REQUESTED,
            requested,
            subtract(requested, pauses),
            pauses,
            requested[-1][1],
        )
        self.history.published.append(Published(record, T0 + at))
        return self.history.published[-1]

    def settle(self, put: Put, result: Result, at: int, revision: int | None = None) -> None:
        """An outcome that the reader saw."""
        event, source = put.planned.event, put.place or NOWHERE
        outcome = Outcome(event.event_id, source, SITE, event.charger_id, result, T0 + at, revision)
        self.history.settled.append(Settled(outcome, T0 + at))

    def call(self, endpoint: str, at: int, **told: Any) -> dict[str, Any]:
        """A line of the simulator's log."""
        line = {
            "n": len(self.history.calls) + 1,
            "at_ms": T0 + at,
            "method": "POST",
            "path": "/",
            "endpoint": endpoint,
            "external_id": CHARGER,
            "axle_site_id": AXLE_SITE,
            "asset_id": "axle-asset-1",
            "body": None,
            "answer": None,
            "status": 200,
            "fault": None,
            "effect": True,
        }
        self.history.calls.append(line | told)
        return self.history.calls[-1]

    def ask(self, at: int, pauses: Schedule = (), sent: Schedule = NIGHT) -> dict[str, Any]:
        """A question to Axle, and its answer."""
        answer = {"modified_charging_schedule": blocks(subtract(sent, pauses))}
        return self.call("schedule", at, body={"charging_schedule": blocks(sent)}, answer=answer)

    def change(self, number: int, **fields: Any) -> None:
        """Make a record say something else."""
        published = self.history.published[number]
        self.history.published[number] = replace(published, record=structs.replace(published.record, **fields))


def right_tale() -> Tale:
    """Plug-in with a pause, a boost without one, and a withdrawal: nothing is wrong with it.

    Records: 0 REQUESTED and 1 MODIFIED for the plug-in, 2 REQUESTED and 3 UNCHANGED for the boost, 4 WITHDRAWN.
    """
    tale = Tale()
    plug_in = tale.plug_in("plug", 0, consents=True)
    tale.publish("plug", Status.REQUESTED, 10)
    tale.call("onboard", 20, body={"site": {"mpan": MPAN}})
    tale.ask(30, PAUSE)
    modified = tale.publish("plug", Status.MODIFIED, 40, PAUSE)
    tale.settle(plug_in, Result.MODIFIED, 40, modified.record.revision)
    boost = tale.boost("boost", 1000)
    tale.publish("boost", Status.REQUESTED, 1010)
    tale.ask(1020)
    unchanged = tale.publish("boost", Status.UNCHANGED, 1030)
    tale.settle(boost, Result.UNCHANGED, 1030, unchanged.record.revision)
    withdrawal = tale.withdraw("leave", 2000)
    tale.publish("leave", Status.WITHDRAWN, 2010)
    tale.call("offboard", 2020)
    tale.settle(withdrawal, Result.OFFBOARDED, 2030)
    return tale


def blocks(schedule: Schedule) -> list[dict[str, str]]:
    """A schedule as Axle's JSON has it."""
    return [{"start_timestamp": _iso(start), "end_timestamp": _iso(end)} for start, end in schedule]


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
