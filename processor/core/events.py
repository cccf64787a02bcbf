"""What happened: the only things that `decide` is ever told.

Four families, all immutable: what the platform says (`PlugIn`, `UserBoost`, `ConsentWithdrawn`, `Unreadable`), what is
ordered here (`Erase`, `StillListed`), what Axle answers (`Onboarded` ... `CallFailed`), and that time passed (`Due`).
No behaviour lives here. Times are UTC milliseconds. `occurred_at_ms` is always the *counted* time: one that runs ahead
of the broker's clock was set back to it before it got here, so the core never doubts a time again.
"""

from enum import StrEnum

from processor.core.schedule import Schedule
from processor.core.value import Value


class Input(StrEnum):
    """The kinds of input that the platform sends; what a record says it was caused by."""

    PLUG_IN = "PLUG_IN"
    USER_BOOST = "USER_BOOST"
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"


class BoostAction(StrEnum):
    """What a driver did in the app."""

    BOOST = "BOOST"
    SCHEDULE_CHANGED = "SCHEDULE_CHANGED"
    BOOST_CANCELLED = "BOOST_CANCELLED"
    UNKNOWN = "UNKNOWN"


class WithdrawalReason(StrEnum):
    """Why a site or a charger leaves. Whatever we do not know is a withdrawal of the site: privacy wins."""

    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    CHARGER_DISCONNECTED = "CHARGER_DISCONNECTED"
    UNKNOWN = "UNKNOWN"


class Source(Value, frozen=True, array_like=True):
    """Where an input record stood. It names the one outcome that the record gets."""

    topic: str
    partition: int
    offset: int


class Enrolment(Value, frozen=True, array_like=True):
    """What Axle needs to know of a household. Personal data: kept only while an onboarding is owed, never printed."""

    mpan: str
    postcode: str
    street_address: str
    boundary_meter_consent_at_ms: int
    consented_at_ms: int
    email: str | None = None

    def __repr__(self) -> str:
        return "Enrolment(...)"


class PlugIn(Value, frozen=True):
    """A car was plugged in, with the charging schedule that its driver has set."""

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str
    charger_id: str
    schedule: Schedule
    power_kw: float | None = None
    enrolment: Enrolment | None = None


class UserBoost(Value, frozen=True):
    """A driver boosted, cancelled a boost, or changed the schedule.

    `boost_until_ms` is set for BOOST alone (an open end was closed when the record was read); `schedule` where the
    action carries a new base schedule.
    """

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str
    charger_id: str
    action: BoostAction
    boost_until_ms: int | None = None
    schedule: Schedule | None = None


class ConsentWithdrawn(Value, frozen=True):
    """A household withdrew its consent, or one of its chargers was disconnected."""

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str
    charger_id: str | None = None
    reason: WithdrawalReason = WithdrawalReason.CONSENT_WITHDRAWN


class Unreadable(Value, frozen=True):
    """A driver did something that broke a rule of the input contract, at a charger that we could still read.

    The driver's wish is unknown, so no pause may stand in its way (the *halted* register).
    """

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str
    charger_id: str
    kind: Input


class Erase(Value, frozen=True):
    """An operator's order to forget a household: offboard it whatever the settings say, then keep nothing of it.

    Nothing but a keyed hash, so that a replay of its old events cannot bring it back. If its drivers act again, what
    they do is kept like anybody's: they are to be heard.
    """

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str


class StillListed(Value, frozen=True):
    """An order to look for a charger that left: Axle's list of chargers has it, and nothing about it is owed.

    `left_at_ms`: when it had left, for all that was known when the order was given. Who came back or left anew since
    is not meant.
    """

    event_id: str
    occurred_at_ms: int
    source: Source
    site_id: str
    charger_id: str
    left_at_ms: int


Action = PlugIn | UserBoost | Unreadable
"""What a driver does at one charger."""


InputEvent = Action | ConsentWithdrawn | Erase | StillListed
"""What waits for an outcome of its own."""


class Refusal(StrEnum):
    """Why Axle said no, as far as it makes a difference to us."""

    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    EXISTS = "EXISTS"
    FORBIDDEN = "FORBIDDEN"
    UNKNOWN_CHARGER = "UNKNOWN_CHARGER"
    INVALID = "INVALID"


class Onboarded(Value, frozen=True):
    """Axle has the site and the charger now. Never ignored: it may have to be offboarded again."""

    site_id: str
    charger_id: str
    axle_site_id: str
    axle_asset_id: str


class OnboardingRefused(Value, frozen=True):
    """Axle did not take the charger: not eligible, it exists already (409), or our request was at fault.

    `consented_at_ms` is that of the enrolment that was sent: a newer one may have come since.
    """

    site_id: str
    charger_id: str
    why: Refusal
    consented_at_ms: int


class Found(Value, frozen=True):
    """What a look-up of a charger told: Axle's ids and the meter of the site that it is at."""

    axle_site_id: str
    axle_asset_id: str
    mpan: str | None

    def __repr__(self) -> str:
        return f"Found({self.axle_site_id!r}, {self.axle_asset_id!r}, ...)"


class LookedUp(Value, frozen=True):
    """The answer to a look-up of a charger by our own id; `found` is None when Axle does not know it.

    `for_question`: a question waits for it, and it says nothing to an enrolment that is looked up at the same time.
    """

    site_id: str
    charger_id: str
    found: Found | None
    for_question: bool = False


class ScheduleAnswered(Value, frozen=True):
    """Axle's answer to the question `number`: what was sent then, and the schedule that came back.

    `answered` is None when the body told no schedule that we can believe (no zone, wrong shape).
    """

    site_id: str
    charger_id: str
    number: int
    sent: Schedule
    answered: Schedule | None


class ScheduleRefused(Value, frozen=True):
    """Axle refused the question `number`: 403, 404, or a request that it calls invalid."""

    site_id: str
    charger_id: str
    number: int
    why: Refusal


class Removed(Value, frozen=True):
    """Axle does not have this asset any more (it was deleted, or was not there)."""

    site_id: str
    charger_id: str
    axle_asset_id: str


class Offboarded(Value, frozen=True):
    """Axle does not have this site any more (it was offboarded, or was not there).

    `kept`: it was unenrolled, so Axle does nothing with it any more, but still has it and its payments.
    """

    site_id: str
    axle_site_id: str
    kept: bool = False


class CallFailed(Value, frozen=True):
    """Axle refused a call that may not be given up (a removal, an offboarding, a look-up): still owed, and alarming."""

    site_id: str
    charger_id: str | None
    status: int


class Due(Value, frozen=True):
    """The time that the site asked to be woken at has come."""

    site_id: str


Answer = (
    Onboarded | OnboardingRefused | LookedUp | ScheduleAnswered | ScheduleRefused | Removed | Offboarded | CallFailed
)
Event = InputEvent | Answer | Due
