"""What `decide` says: the records that are published, the outcome of each input, and alarms for people.

Values only. How they look as bytes is in `wire/avro.py`; the shell publishes all of one decision in one transaction.
"""

from enum import StrEnum

from processor.core.events import Input, Source
from processor.core.schedule import Schedule
from processor.core.value import Value


class Status(StrEnum):
    """How a published schedule came to be (a closed set; design section 3)."""

    REQUESTED = "REQUESTED"
    MODIFIED = "MODIFIED"
    UNCHANGED = "UNCHANGED"
    FALLBACK = "FALLBACK"
    REJECTED = "REJECTED"
    NOT_ENROLLED = "NOT_ENROLLED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"


class Result(StrEnum):
    """The one outcome that every input record gets."""

    MODIFIED = "MODIFIED"
    UNCHANGED = "UNCHANGED"
    FALLBACK = "FALLBACK"
    REJECTED = "REJECTED"
    NOT_ENROLLED = "NOT_ENROLLED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    COALESCED = "COALESCED"
    STALE = "STALE"
    DUPLICATE = "DUPLICATE"
    INVALID = "INVALID"
    OFFBOARDED = "OFFBOARDED"
    NOTHING_TO_OFFBOARD = "NOTHING_TO_OFFBOARD"
    UNKNOWN_ACTION = "UNKNOWN_ACTION"


class Cause(Value, frozen=True):
    """The platform's event that a published schedule goes back to."""

    event_id: str
    kind: Input
    occurred_at_ms: int


class ModifiedSchedule(Value, frozen=True):
    """The schedule that a charger shall follow from now on; it replaces the one before it whole."""

    site_id: str
    charger_id: str
    revision: int
    replaces: int | None
    decided_at_ms: int
    caused_by: Cause
    status: Status
    reason: str
    final: bool
    requested: Schedule
    effective: Schedule
    pauses: Schedule
    valid_until_ms: int


class ConsentState(StrEnum):
    """What we hold of a household's consent."""

    NONE = "NONE"
    GIVEN = "GIVEN"
    WITHDRAWN = "WITHDRAWN"


class Enrolled(StrEnum):
    """How a charger stands with Axle."""

    UNKNOWN = "UNKNOWN"
    ENROLLED = "ENROLLED"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    REFUSED = "REFUSED"
    LEAVING = "LEAVING"
    """Only published: it left here, and Axle has not confirmed it yet."""
    REMOVED = "REMOVED"


class ChargerEnrolment(Value, frozen=True):
    """One charger of an `EnrolmentStatus`."""

    charger_id: str
    status: Enrolled
    axle_asset_id: str | None


class EnrolmentStatus(Value, frozen=True):
    """Where a site stands with Axle: the ids that rewards need, and the proof of an offboarding."""

    site_id: str
    consent: ConsentState
    axle_site_id: str | None
    chargers: tuple[ChargerEnrolment, ...]
    changed_at_ms: int


class Outcome(Value, frozen=True):
    """What became of one input record. `revision` names the record that settled it, where one did."""

    event_id: str | None
    source: Source
    site_id: str | None
    charger_id: str | None
    result: Result
    settled_at_ms: int
    revision: int | None = None


class Erased(Value, frozen=True):
    """Nothing of this household is kept any more; whatever is published about it for good is to go too."""

    site_id: str


class AlarmKind(StrEnum):
    """What a person should look at."""

    ANSWER_REJECTED = "answer_rejected"
    OUR_REQUEST_INVALID = "our_request_invalid"
    CHARGER_CONFLICT = "charger_conflict"
    CONSENT_MISSING_AT_AXLE = "consent_missing_at_axle"
    OFFBOARDING_REFUSED = "offboarding_refused"
    LOOK_UP_REFUSED = "look_up_refused"
    UNOWNED_SITE_FOUND = "unowned_site_found"
    EVENT_BUDGET_SPENT = "event_budget_spent"
    TOO_MANY_CHARGERS = "too_many_chargers"
    WITHDRAWAL_UNREADABLE = "withdrawal_unreadable"


class Alarm(Value, frozen=True):
    """A thing for an operator, counted and logged; `detail` names the rule or the status, never a person."""

    kind: AlarmKind
    site_id: str
    charger_id: str | None
    detail: str


Output = ModifiedSchedule | EnrolmentStatus | Outcome | Erased | Alarm
