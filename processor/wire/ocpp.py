"""A modified schedule as the OCPP request that makes a charger follow it, and such a request read back.

Here live `SetChargingProfile` of OCPP 1.6 and 2.0.1, and what chargers differ in, as options. Nothing here talks to a
charger. The one idea: the profile says the whole record in absolute UTC times, every stretch without charging has an
end, and the last period has no limit and no end, so a charger that hears nothing more charges.

Limits are in whole watts, rounded to the nearest, or in tenths of an ampere for each phase, rounded down, so that
nothing exceeds `full_kw`. OCPP counts whole seconds: a stretch without charging is rounded outward, so a pause is never
cut short, and a charge may lose less than a second at either side.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

from processor.core.schedule import Schedule, normalise, subtract, window
from processor.wire.avro import Fields
from processor.wire.instants import instant_ms, iso_z

OcppVersion = Literal["1.6", "2.0.1"]
VERSIONS: tuple[OcppVersion, ...] = get_args(OcppVersion)
SET_CHARGING_PROFILE = "SetChargingProfile"
CHARGES_FROM = {"A": 6.0, "W": 600.0}
"""Below this no car charges: IEC 61851 knows no current under 6 A, and no mains is under 100 V."""

_CALL = 2
_TRANSACTION_MAX = 36


@dataclass(frozen=True, slots=True)
class OcppOptions:
    """What chargers differ in. The defaults suit most; Axle's own example has TxProfile and stack level 1100.

    Raises ValueError, with a sentence, for what no charger could follow.
    """

    unit: str = "W"
    """W, or A for the many AC chargers that take nothing else."""
    full_kw: float = 99.999
    """The limit where there is none; by default Axle's own word for that. Some chargers refuse more than they have."""
    phases: int = 3
    """How many the charger is wired to; OCPP takes 3 for granted, so it is said only where it is less."""
    volts: int = 230
    """Between a phase and neutral: makes amperes of `full_kw`."""
    pause_limit: float = 0.0
    """The limit of a pause, in `unit`: where 0 faults or wakes cars, try 0.1 or 1. It never lets a car charge."""
    connector: int = 1
    """The connector (1.6) or EVSE (2.0.1)."""
    stack_level: int = 1
    """At most the charger's ChargeProfileMaxStackLevel; some cannot clear level 0."""
    profile_id: int = 1
    """Always the same: so each profile takes the place of the one before it."""
    transaction: str = ""
    """Of the running transaction: makes the profile a TxProfile, which ends with it; else it is a TxDefaultProfile."""
    backdate_seconds: int = 0
    """How much sooner the profile begins: a charger whose clock is slow ignores it until it begins."""
    periods_max: int = 1024
    """The charger's ChargingScheduleMaxPeriods."""

    def __post_init__(self) -> None:
        if self.unit not in CHARGES_FROM:
            raise ValueError(f"unit is {self.unit!r}: give W or A")
        for name, least, most in _RANGES:
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}: give {least} to {most}")
        if self.full_limit < CHARGES_FROM[self.unit]:
            raise ValueError(f"full_kw is {self.full_kw}: with so little no car charges, so no pause would end")
        if not 0 <= self.pause_limit < CHARGES_FROM[self.unit] or round(self.pause_limit, 1) != self.pause_limit:
            raise ValueError(
                f"pause_limit is {self.pause_limit} {self.unit}: give tenths, from 0 to less than the "
                f"{CHARGES_FROM[self.unit]:g} {self.unit} with which a car would charge"
            )
        if len(self.transaction) > _TRANSACTION_MAX:
            raise ValueError(f"transaction has {len(self.transaction)} characters, OCPP allows {_TRANSACTION_MAX}")
        if self.transaction and not self.connector:
            raise ValueError("connector is 0, the whole charger, but a transaction has a connector of its own")

    @property
    def full_limit(self) -> float:
        """`full_kw` in `unit`."""
        watts = round(self.full_kw * 1000)
        return watts if self.unit == "W" else watts * 10 // (self.volts * self.phases) / 10


_INT_MAX = 2**31 - 1
_RANGES = (
    ("full_kw", 0, 1000),
    ("phases", 1, 3),
    ("volts", 100, 400),
    ("connector", 0, _INT_MAX),
    ("stack_level", 0, _INT_MAX),
    ("profile_id", 1, _INT_MAX),
    ("backdate_seconds", 0, 3600),
    ("periods_max", 1, 1024),
)


def options_of(words: Iterable[str]) -> OcppOptions:
    """The options that `NAME=VALUE` words give; the others keep their defaults. Raises ValueError with a sentence."""
    kinds: dict[str, Any] = {field.name: field.type for field in fields(OcppOptions)}
    given: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in kinds:
            raise ValueError(f"{word!r} sets no option: give NAME=VALUE with {', '.join(kinds)}")
        try:
            given[name] = kinds[name](value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}: give a number") from None
    return OcppOptions(**given)


def call(record: Fields, version: OcppVersion, options: OcppOptions) -> list[Any]:
    """The message as it goes over the charger's own connection; its id is the record's revision.

    `record` has the names of `ev.modified-schedule.v1`, times in UTC milliseconds. Raises ValueError as `request`.
    """
    return [_CALL, str(record["revision"]), SET_CHARGING_PROFILE, request(record, version, options)]


def request(record: Fields, version: OcppVersion, options: OcppOptions) -> dict[str, Any]:
    """The `SetChargingProfile` request alone. `record` is as in `call`.

    Raises ValueError when the charger takes fewer periods than that needs, or the version no such transaction.
    """
    start_ms, periods = _periods(record, options)
    if len(periods) > options.periods_max:
        raise ValueError(
            f"the schedule needs {len(periods)} periods, and the charger takes {options.periods_max} (periods_max)"
        )
    schedule = {
        "startSchedule": iso_z(start_ms),
        "chargingRateUnit": options.unit,
        "chargingSchedulePeriod": periods,
    }
    profile: dict[str, Any] = {
        "stackLevel": options.stack_level,
        "chargingProfilePurpose": "TxProfile" if options.transaction else "TxDefaultProfile",
        "chargingProfileKind": "Absolute",
    }
    if version == "1.6":
        if options.transaction:
            profile["transactionId"] = _transaction_number(options.transaction)
        profile |= {"chargingProfileId": options.profile_id, "chargingSchedule": schedule}
        return {"connectorId": options.connector, "csChargingProfiles": profile}
    if options.transaction:
        profile["transactionId"] = options.transaction
    profile |= {"id": options.profile_id, "chargingSchedule": [{"id": 1, **schedule}]}
    return {"evseId": options.connector, "chargingProfile": profile}


def schedule_of(request: dict[str, Any]) -> tuple[Schedule, int]:
    """What a request of either version says: the blocks to charge in, and from when on (ms) the car charges freely.

    It is `request` the other way round: for a record in whole seconds the blocks are `effective`, the time is
    `valid_until`. Raises ValueError when the profile is not absolute, or ends with a limit that no car charges with;
    KeyError, IndexError or TypeError where its schema does not hold.
    """
    profile = request["csChargingProfiles" if "csChargingProfiles" in request else "chargingProfile"]
    if profile["chargingProfileKind"] != "Absolute":
        raise ValueError(f"the profile is {profile['chargingProfileKind']}: only an absolute one tells instants")
    each = profile["chargingSchedule"]
    schedule = each[0] if isinstance(each, list) else each
    start_ms, least = instant_ms(schedule["startSchedule"]), CHARGES_FROM[schedule["chargingRateUnit"]]
    edges = [
        (start_ms + period["startPeriod"] * 1000, period["limit"] >= least)
        for period in schedule["chargingSchedulePeriod"]
    ]
    if "duration" in schedule:
        edges.append((start_ms + schedule["duration"] * 1000, True))
    if not edges[-1][1]:
        raise ValueError("the last period lets no car charge and has no end")
    blocks = normalise((begin, end) for (begin, charges), (end, _) in pairwise(edges) if charges)
    return blocks, edges[-1][0]


def _periods(record: Fields, options: OcppOptions) -> tuple[int, list[dict[str, Any]]]:
    """When the profile begins (ms), and its periods: they change at each edge of a rest, and once more at the end."""
    effective, pauses = _blocks(record["effective"]), _blocks(record["pauses"])
    until_ms = _up(record["valid_until"])
    first_ms = min([record["decided_at"], *(begin for begin, _ in effective + pauses)])
    rests = normalise(
        (_down(begin), _up(end)) for begin, end in subtract(window(first_ms, record["valid_until"]), effective)
    )
    start_ms = _down(first_ms) - options.backdate_seconds * 1000
    if rests and rests[0][0] == _down(first_ms):
        rests = ((start_ms, rests[0][1]), *rests[1:])
    edges = {start_ms: True, max(until_ms, start_ms): True}
    edges |= {end: True for _, end in rests} | {begin: False for begin, _ in rests}
    phases = {"numberPhases": options.phases} if options.phases != 3 else {}
    return start_ms, [
        {
            "startPeriod": (at_ms - start_ms) // 1000,
            "limit": _short(options.full_limit if charges else options.pause_limit),
            **phases,
        }
        for at_ms, charges in sorted(edges.items())
    ]


def _blocks(blocks: list[Fields]) -> Schedule:
    return normalise((block["start"], block["end"]) for block in blocks)


def _short(limit: float) -> float:
    return int(limit) if limit == int(limit) else limit


def _down(instant_ms: int) -> int:
    return instant_ms // 1000 * 1000


def _up(instant_ms: int) -> int:
    return -(-instant_ms // 1000) * 1000


def _transaction_number(transaction: str) -> int:
    try:
        return int(transaction)
    except ValueError:
        raise ValueError(f"transaction is {transaction!r}: OCPP 1.6 numbers its transactions") from None
