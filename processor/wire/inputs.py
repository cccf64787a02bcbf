"""What an input record must say, beyond its schema, before the core hears of it.

Here live the table of validity (design section 3) and the counted time. How bytes become fields is in `avro.py`; what
an event does is the core's business. The one idea: an event is either true to the contract or `Rejected`, and one that
breaks it at a charger that can still be read tells the core so, because a pause must never stand in the way of a wish
that we did not understand.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Enrolment,
    Input,
    PlugIn,
    Source,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, normalise
from processor.wire.avro import Codec, Fields, Undecodable

INSTANT_MIN_MS = 100_000_000_000
"""March 1973. What is below was given in seconds; read as milliseconds it would be an age ago, and silently so."""
INSTANT_MAX_MS = 253_402_300_799_999
"""The end of the year 9999. What is above was given in microseconds."""
POWER_MAX_KW = 1000.0
POSTCODE_MAX = 16
STREET_ADDRESS_MAX = 256
EMAIL_MAX = 254

# "." and ".." are no ids: in a URL of Axle's they would mean another resource, even when they are quoted.
_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:-]{1,64}")
_MPAN = re.compile(r"[0-9]{13}")


class RejectCode(StrEnum):
    """Why a record was refused: a closed set, short enough to be counted by."""

    NO_VALUE = "no_value"
    OVERSIZE = "oversize"
    FRAMING = "framing"
    SCHEMA = "schema"
    DECODE = "decode"
    TRAILING_BYTES = "trailing_bytes"
    BAD_ID = "bad_id"
    BAD_TIME = "bad_time"
    TOO_OLD = "too_old"
    BAD_SCHEDULE = "bad_schedule"
    BAD_BOOST = "bad_boost"
    BAD_POWER = "bad_power"
    BAD_ENROLMENT = "bad_enrolment"
    CRASHED = "crashed"
    """Reading it ended the process, again and again; see `shell/breadcrumb.py`."""
    UNPACKABLE = "unpackable"
    """The batch that it came in cannot be unpacked; see `shell/reading.py`."""


@dataclass(frozen=True, slots=True)
class InputLimits:
    """The numbers of the table; each is a setting, and these are the defaults. Raises ValueError where two collide."""

    age_max_ms: int = 30 * 24 * HOUR_MS
    """An action of a driver that happened longer ago is refused; a withdrawal never is."""
    ahead_max_ms: int = 5 * MINUTE_MS
    """A time further ahead of the first reading counts as the time of that reading."""
    schedule_span_max_ms: int = 48 * HOUR_MS
    """From the first start to the last end."""
    schedule_blocks_max: int = 300
    """Merged blocks: one for each ten minutes of the longest schedule."""
    boost_open_end_ms: int = 12 * HOUR_MS
    """How long a boost without an end lasts."""
    boost_max_ms: int = 48 * HOUR_MS
    """A boost that ends later than this after it began is cut to it: the charger charges freely after that anyway."""

    def __post_init__(self) -> None:
        checks = (
            (self.age_max_ms > 0, "age_max must be above 0"),
            (self.ahead_max_ms >= 0, "ahead_max must not be negative"),
            (self.schedule_span_max_ms > 0, "schedule_span_max must be above 0"),
            (self.schedule_blocks_max >= 1, "schedule_blocks_max must be at least 1"),
            (
                0 < self.boost_open_end_ms <= self.boost_max_ms,
                "boost_open_end must be above 0 and at most boost_max",
            ),
        )
        for holds, sentence in checks:
            if not holds:
                raise ValueError(sentence)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that broke the contract. `reason` names the field and the problem, and quotes nothing of the record.

    The ids are those that could be read. `unreadable` is what the core must hear so that the charger is not paused.
    """

    code: RejectCode
    reason: str
    event_id: str | None = None
    site_id: str | None = None
    charger_id: str | None = None
    unreadable: Unreadable | None = None
    dead_letter: bool = True


class _BrokenRuleError(Exception):
    def __init__(self, code: RejectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def read_input(
    kind: Input,
    value: bytes | None,
    source: Source,
    first_read_ms: int,
    codec: Codec,
    limits: InputLimits,
) -> PlugIn | UserBoost | ConsentWithdrawn | Rejected:
    """The event that a record tells, or why it is refused. Never raises, whatever the bytes are.

    `first_read_ms`: the broker's time of the record, or our clock when it was first read; it stays the same when the
    record is rerouted or replayed. `occurred_at_ms` of what is returned is the counted time.
    """
    if value is None:
        return Rejected(RejectCode.NO_VALUE, "the record has no value", dead_letter=False)
    try:
        fields = codec.decode(kind, value)
    except Undecodable as undecodable:
        return Rejected(RejectCode(undecodable.code), undecodable.reason)
    try:
        return _READERS[kind](fields, source, first_read_ms, limits)
    except _BrokenRuleError as broken:
        return _rejected(kind, fields, source, first_read_ms, limits, broken)


def _plug_in(fields: Fields, source: Source, first_read_ms: int, limits: InputLimits) -> PlugIn:
    enrolment = fields["enrolment"]
    return PlugIn(
        event_id=_id(fields, "event_id"),
        site_id=_id(fields, "site_id"),
        charger_id=_id(fields, "charger_id"),
        occurred_at_ms=_recent(fields, first_read_ms, limits),
        source=source,
        schedule=_schedule(fields["schedule"], limits),
        power_kw=_power_kw(fields["power_kw"]),
        enrolment=None if enrolment is None else _enrolment(enrolment, first_read_ms, limits),
    )


def _user_boost(fields: Fields, source: Source, first_read_ms: int, limits: InputLimits) -> UserBoost:
    event_id = _id(fields, "event_id")
    site_id = _id(fields, "site_id")
    charger_id = _id(fields, "charger_id")
    occurred_at_ms = _recent(fields, first_read_ms, limits)
    action = BoostAction(fields["action"])
    blocks = fields["schedule"]
    boost_until_ms: int | None = None
    schedule: Schedule | None = None
    if action is BoostAction.BOOST:
        boost_until_ms = _boost_until(fields["boost_until"], occurred_at_ms, limits)
        schedule = None if blocks is None else _schedule(blocks, limits)
    elif action is BoostAction.SCHEDULE_CHANGED:
        if blocks is None:
            raise _BrokenRuleError(RejectCode.BAD_SCHEDULE, "schedule is missing, and SCHEDULE_CHANGED needs one")
        schedule = _schedule(blocks, limits)
    return UserBoost(event_id, occurred_at_ms, source, site_id, charger_id, action, boost_until_ms, schedule)


def _consent_withdrawn(fields: Fields, source: Source, first_read_ms: int, limits: InputLimits) -> ConsentWithdrawn:
    event_id = _id(fields, "event_id")
    site_id = _id(fields, "site_id")
    reason = WithdrawalReason(fields["reason"])
    # With another reason the whole site leaves; a charger's id beside it must not stand in the way, even a broken one.
    charger_id = _id_or_none(fields["charger_id"])
    if reason is WithdrawalReason.CHARGER_DISCONNECTED and fields["charger_id"] is not None:
        charger_id = _id(fields, "charger_id")
    occurred_at_ms = _counted(fields["occurred_at"], "occurred_at", first_read_ms, limits)
    return ConsentWithdrawn(event_id, occurred_at_ms, source, site_id, charger_id, reason)


_READERS: dict[Input, Callable[[Fields, Source, int, InputLimits], PlugIn | UserBoost | ConsentWithdrawn]] = {
    Input.PLUG_IN: _plug_in,
    Input.USER_BOOST: _user_boost,
    Input.CONSENT_WITHDRAWN: _consent_withdrawn,
}


def _id(fields: Fields, name: str) -> str:
    text: str = fields[name]
    if not _ID.fullmatch(text):
        raise _BrokenRuleError(RejectCode.BAD_ID, f"{name} is not 1 to 64 of A-Z a-z 0-9 . _ : -, or is . or ..")
    return text


def _instant(at_ms: int, name: str) -> int:
    if not INSTANT_MIN_MS <= at_ms <= INSTANT_MAX_MS:
        raise _BrokenRuleError(RejectCode.BAD_TIME, f"{name} is no plausible UTC time in milliseconds")
    return at_ms


def _counted(at_ms: int, name: str, first_read_ms: int, limits: InputLimits) -> int:
    """The time that counts: as told, or that of the first reading when it runs too far ahead of that."""
    return first_read_ms if _instant(at_ms, name) > first_read_ms + limits.ahead_max_ms else at_ms


def _recent(fields: Fields, first_read_ms: int, limits: InputLimits) -> int:
    at_ms = _counted(fields["occurred_at"], "occurred_at", first_read_ms, limits)
    if at_ms < first_read_ms - limits.age_max_ms:
        days = limits.age_max_ms / (24 * HOUR_MS)
        raise _BrokenRuleError(RejectCode.TOO_OLD, f"occurred_at is more than {days:g} days before the record was read")
    return at_ms


def _schedule(blocks: list[Fields], limits: InputLimits) -> Schedule:
    told = [(block["start"], block["end"]) for block in blocks]
    for number, (start_ms, end_ms) in enumerate(told, 1):
        if not INSTANT_MIN_MS <= start_ms < end_ms <= INSTANT_MAX_MS:
            _instant(start_ms, f"start of block {number} of schedule")
            _instant(end_ms, f"end of block {number} of schedule")
            sentence = f"block {number} of schedule does not end after its start"
            raise _BrokenRuleError(RejectCode.BAD_SCHEDULE, sentence)
    if not told:
        raise _BrokenRuleError(RejectCode.BAD_SCHEDULE, "schedule has no block")
    schedule = normalise(told)
    if schedule[-1][1] - schedule[0][0] > limits.schedule_span_max_ms:
        hours = limits.schedule_span_max_ms / HOUR_MS
        raise _BrokenRuleError(RejectCode.BAD_SCHEDULE, f"schedule is longer than {hours:g} hours in all")
    if len(schedule) > limits.schedule_blocks_max:
        sentence = f"schedule has more than {limits.schedule_blocks_max} blocks once merged"
        raise _BrokenRuleError(RejectCode.BAD_SCHEDULE, sentence)
    return schedule


def _boost_until(until_ms: int | None, occurred_at_ms: int, limits: InputLimits) -> int:
    if until_ms is None:
        return occurred_at_ms + limits.boost_open_end_ms
    if _instant(until_ms, "boost_until") <= occurred_at_ms:
        raise _BrokenRuleError(RejectCode.BAD_BOOST, "boost_until is not after the time that the boost began")
    return min(until_ms, occurred_at_ms + limits.boost_max_ms)


def _power_kw(power_kw: float | None) -> float | None:
    # Written so that a NaN, which compares false with everything, is refused.
    if power_kw is not None and not 0 <= power_kw <= POWER_MAX_KW:
        raise _BrokenRuleError(RejectCode.BAD_POWER, f"power_kw is not between 0 and {POWER_MAX_KW:.0f}")
    return power_kw


def _enrolment(fields: Fields, first_read_ms: int, limits: InputLimits) -> Enrolment:
    if not _MPAN.fullmatch(fields["mpan"]):
        raise _BrokenRuleError(RejectCode.BAD_ENROLMENT, "enrolment.mpan does not have 13 digits")
    email = fields["email"]
    meter_at_ms = fields["boundary_meter_consent_at"]
    return Enrolment(
        mpan=fields["mpan"],
        postcode=_text(fields["postcode"], "enrolment.postcode", POSTCODE_MAX),
        street_address=_text(fields["street_address"], "enrolment.street_address", STREET_ADDRESS_MAX),
        boundary_meter_consent_at_ms=_counted(
            meter_at_ms, "enrolment.boundary_meter_consent_at", first_read_ms, limits
        ),
        consented_at_ms=_consented_at_ms(fields["consented_at"], first_read_ms, limits),
        email=None if email is None else _text(email, "enrolment.email", EMAIL_MAX),
    )


def _consented_at_ms(at_ms: int, first_read_ms: int, limits: InputLimits) -> int:
    """A consent's time is never moved: one told again at a later reading would pass for a newer consent."""
    if _instant(at_ms, "enrolment.consented_at") > first_read_ms + limits.ahead_max_ms:
        minutes = limits.ahead_max_ms / MINUTE_MS
        raise _BrokenRuleError(
            RejectCode.BAD_ENROLMENT,
            f"enrolment.consented_at is more than {minutes:g} minutes ahead; check the clock that told it",
        )
    return at_ms


def _text(text: str, name: str, length_max: int) -> str:
    if not text.strip() or len(text) > length_max:
        raise _BrokenRuleError(RejectCode.BAD_ENROLMENT, f"{name} is not 1 to {length_max} characters")
    return text


def _rejected(
    kind: Input, fields: Fields, source: Source, first_read_ms: int, limits: InputLimits, broken: _BrokenRuleError
) -> Rejected:
    event_id = _id_or_none(fields["event_id"])
    site_id = _id_or_none(fields["site_id"])
    charger_id = _id_or_none(fields["charger_id"])
    unreadable: Unreadable | None = None
    if kind is not Input.CONSENT_WITHDRAWN and site_id and charger_id:
        try:
            occurred_at_ms = _recent(fields, first_read_ms, limits)
        except _BrokenRuleError:
            occurred_at_ms = None
        if occurred_at_ms is not None:
            # A stamp needs an id. Where the record stood is one that a replay derives again.
            stamp_id = event_id or f"{kind}.{source.partition}.{source.offset}"
            unreadable = Unreadable(stamp_id, occurred_at_ms, source, site_id, charger_id, kind)
    return Rejected(broken.code, broken.reason, event_id, site_id, charger_id, unreadable)


def _id_or_none(text: str | None) -> str | None:
    return text if text is not None and _ID.fullmatch(text) else None
