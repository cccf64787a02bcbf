"""A modified schedule as an OCPP profile: held against the OCPP schemas, Axle's example, and the record itself."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp.messages import MessageType, get_validator

from processor.core.schedule import HOUR_MS, Block, Schedule, normalise, subtract
from processor.wire.avro import Fields
from processor.wire.ocpp import (
    CHARGES_FROM,
    SET_CHARGING_PROFILE,
    VERSIONS,
    OcppOptions,
    OcppVersion,
    call,
    options_of,
    request,
    schedule_of,
)
from tests.demo.axle_rig import running
from tests.wire.axle_contract import check_answer

NIGHT = 1_751_061_600_000
"""2025-06-27T22:00Z."""
PLAIN = OcppOptions()
EXAMPLE = ("GET", "/examples/ocpp-charging-profile")

Stretch = tuple[int, int, bool]
"""From when until when (ms), and whether a car may charge then."""


def record(requested: Schedule, pauses: Schedule = (), decided_at_ms: int = NIGHT - HOUR_MS) -> Fields:
    """A record of the contract, as far as a charger is told of it."""
    effective = subtract(requested, pauses)
    return {
        "charger_id": "c-1",
        "revision": 1_795_403_589_155,
        "decided_at": decided_at_ms,
        "effective": [{"start": start, "end": end} for start, end in effective],
        "pauses": [{"start": start, "end": end} for start, end in subtract(requested, effective)],
        "valid_until": requested[-1][1] if requested else decided_at_ms,
    }


def schedules(step_ms: int) -> st.SearchStrategy[Schedule]:
    """Up to eight blocks in two days, on a grid of so many milliseconds."""
    at = st.integers(0, 48 * HOUR_MS // step_ms).map(lambda steps: NIGHT + steps * step_ms)
    return st.lists(st.tuples(at, at), max_size=8).map(normalise)


def records(step_ms: int) -> st.SearchStrategy[Fields]:
    """Wishes with pauses, decided on before, amid or after them."""
    decided = st.integers(-HOUR_MS // step_ms, 49 * HOUR_MS // step_ms).map(lambda steps: NIGHT + steps * step_ms)
    some = st.builds(record, schedules(step_ms).filter(bool), schedules(step_ms), decided)
    return some | st.builds(record, st.just(()), decided_at_ms=decided)


OPTIONS = st.builds(
    OcppOptions,
    unit=st.sampled_from(["W", "A"]),
    full_kw=st.sampled_from([99.999, 22.08, 22, 11.04, 7.36, 4.6]),
    phases=st.integers(1, 3),
    volts=st.sampled_from([220, 230, 240]),
    pause_limit=st.sampled_from([0.0, 0.1, 1.0, 5.9]),
    connector=st.integers(1, 4),
    stack_level=st.integers(0, 1100),
    transaction=st.sampled_from(["", "42"]),
)


def limits(message: dict[str, Any]) -> tuple[str, int, list[tuple[int, float]]]:
    """The unit, the start (s), and each limit with the second from which on it holds; read in no way of ours."""
    profile = message.get("csChargingProfiles") or message["chargingProfile"]
    schedule = profile["chargingSchedule"]
    schedule = schedule if isinstance(schedule, dict) else schedule[0]
    assert "duration" not in schedule, "the last period would end"
    assert "validTo" not in profile, "the profile would end"
    # In UTC, with a Z, as chargers want it; NIGHT and a day in June are the yardstick.
    days, clock = schedule["startSchedule"].removesuffix("Z").split("T")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    day = {"2025-06-27": 0, "2025-06-28": 1, "2025-06-29": 2}[days]
    start = NIGHT // 1000 + (day * 24 - 22 + hours) * 3600 + minutes * 60 + seconds
    periods = [(start + each["startPeriod"], each["limit"]) for each in schedule["chargingSchedulePeriod"]]
    assert periods[0][0] == start, "the first period begins with the schedule"
    assert all(one < next_ for (one, _), (next_, _) in pairwise(periods)), "periods are in order"
    return schedule["chargingRateUnit"], start, periods


def stretches(message: dict[str, Any]) -> list[Stretch]:
    """As a charger understands the message; the last stretch, which has no end, lasts a thousand years."""
    unit, start, periods = limits(message)
    ends = [*(at for at, _ in periods[1:]), start + 1000 * 365 * 86_400]
    return [
        (at * 1000, end * 1000, limit >= CHARGES_FROM[unit]) for (at, limit), end in zip(periods, ends, strict=True)
    ]


def validate(message: list[Any], version: OcppVersion) -> None:
    """By the schemas that the Open Charge Alliance publishes with OCPP; from the bytes, tenths as tenths."""
    sent = json.loads(json.dumps(message), parse_float=Decimal)
    assert sent[:3] == [MessageType.Call, "1795403589155", SET_CHARGING_PROFILE]
    get_validator(MessageType.Call, SET_CHARGING_PROFILE, version, parse_float=Decimal).validate(sent[3])


def within(inner: list[Block], outer: Schedule) -> bool:
    """Whether every instant of the one is in the other."""
    return not subtract(normalise(inner), outer)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=1000, deadline=None)
@given(fields=records(1000), options=OPTIONS)
def test_a_profile_is_valid_ends_unlimited_and_holds_every_pause(
    version: OcppVersion, fields: Fields, options: OcppOptions
) -> None:
    """1,000 schedules: the schema holds, each pause is a pause, the end is free, and the way back gives the record."""
    message = call(fields, version, options)
    validate(message, version)
    told = stretches(message[3])
    rests = normalise((start, end) for start, end, charges in told if not charges)
    assert within([(each["start"], each["end"]) for each in fields["pauses"]], rests)
    assert told[-1][2]
    assert limits(message[3])[2][-1][1] == options.full_limit
    effective = tuple((each["start"], each["end"]) for each in fields["effective"])
    assert not subtract(effective, normalise((start, end) for start, end, charges in told if charges))
    assert schedule_of(message[3]) == (effective, max(fields["valid_until"], told[0][0]))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=300, deadline=None)
@given(fields=records(1), options=OPTIONS)
def test_milliseconds_never_cut_a_pause_short(version: OcppVersion, fields: Fields, options: OcppOptions) -> None:
    """Times between whole seconds: pauses are whole, and no charge loses a second at either side."""
    message = call(fields, version, options)
    validate(message, version)
    told = stretches(message[3])
    rests = normalise((start, end) for start, end, charges in told if not charges)
    assert within([(each["start"], each["end"]) for each in fields["pauses"]], rests)
    assert told[-1][2]
    inner = [(each["start"] + 999, each["end"] - 999) for each in fields["effective"]]
    assert not subtract(normalise(inner), normalise((start, end) for start, end, charges in told if charges))


@settings(max_examples=100, deadline=None)
@given(fields=records(1000), options=OPTIONS)
def test_it_has_the_shape_of_axle_s_own_document(fields: Fields, options: OcppOptions) -> None:
    """The 1.6 request is one that Axle's example endpoint might give: no field is missing, none is foreign."""
    check_answer(*EXAMPLE, 200, request(fields, "1.6", options))


@pytest.mark.anyio
async def test_axle_s_own_example_is_understood() -> None:
    """The simulated Axle's example reads back as the night that it tells of, and ours of that night is like it."""
    async with running() as rig:
        _, example = await rig.call(*EXAMPLE)
    blocks, free_from_ms = schedule_of(example)
    night = ((NIGHT, NIGHT + 8 * HOUR_MS),)
    pause = ((NIGHT + 2 * HOUR_MS, NIGHT + 3 * HOUR_MS),)
    assert (blocks, free_from_ms) == (subtract(night, pause), NIGHT + 8 * HOUR_MS)
    ours = request(record(night, pause, NIGHT), "1.6", options_of(["stack_level=1100", "transaction=7"]))
    profile, example_profile = ours["csChargingProfiles"], example["csChargingProfiles"]
    assert profile.keys() == example_profile.keys() | {"transactionId"}
    periods, wanted = (each["chargingSchedule"]["chargingSchedulePeriod"] for each in (profile, example_profile))
    assert periods == [*wanted, {"startPeriod": 28_800, "limit": 99_999}]
    same = ("chargingProfileId", "stackLevel", "chargingProfilePurpose", "chargingProfileKind")
    assert [profile[name] for name in same] == [example_profile[name] for name in same]


def test_the_message_is_what_one_would_write_by_hand() -> None:
    """A night with a pause, decided an hour before, for a charger of 7.36 kW on one phase that takes amperes only."""
    fields = record(((NIGHT, NIGHT + 2 * HOUR_MS),), ((NIGHT + HOUR_MS // 2, NIGHT + HOUR_MS),))
    options = options_of(["unit=A", "full_kw=7.36", "phases=1", "pause_limit=0.1", "transaction=tx-9", "connector=2"])
    limited = [(0, 0.1), (3600, 32), (5400, 0.1), (7200, 32), (10_800, 32)]
    periods = [{"startPeriod": start, "limit": limit, "numberPhases": 1} for start, limit in limited]
    schedule = {"startSchedule": "2025-06-27T21:00:00Z", "chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    profile = {
        "id": 1,
        "stackLevel": 1,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Absolute",
        "transactionId": "tx-9",
        "chargingSchedule": [{"id": 1, **schedule}],
    }
    wanted = [2, "1795403589155", "SetChargingProfile", {"evseId": 2, "chargingProfile": profile}]
    assert call(fields, "2.0.1", options) == wanted


def test_a_record_that_says_nothing_frees_the_charger() -> None:
    """Without a wish there is one period, without a limit, so it takes away what was set before."""
    profile = request(record(()), "1.6", PLAIN)["csChargingProfiles"]
    assert profile["chargingSchedule"]["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 99_999}]
    assert profile["chargingProfilePurpose"] == "TxDefaultProfile"


@pytest.mark.parametrize(("decided_ms", "first"), [(NIGHT, True), (NIGHT - HOUR_MS, False)])
def test_a_profile_may_begin_in_the_past(decided_ms: int, first: bool) -> None:  # noqa: FBT001 - a table of cases
    """A charger whose clock is slow does at once what it is to do at the time of the decision."""
    told = request(record(((NIGHT, NIGHT + HOUR_MS),), (), decided_ms), "1.6", OcppOptions(backdate_seconds=60))
    begin_ms, _, charges = stretches(told)[0]
    assert (begin_ms, charges) == (decided_ms - 60_000, first)
    assert stretches(told)[-1][0] == NIGHT + HOUR_MS


@pytest.mark.parametrize(
    ("unit", "kilowatts", "phases", "limit"),
    [
        ("W", 7.36, 1, 7360),
        ("W", 2.3, 1, 2300),
        ("W", 3.6806, 1, 3681),
        ("A", 11.04, 3, 16.0),
        ("A", 11.0, 3, 15.9),
        ("A", 7.4, 1, 32.1),
        ("A", 99.999, 3, 144.9),
    ],
)
def test_power_is_rounded_as_it_is_said(unit: str, kilowatts: float, phases: int, limit: float) -> None:
    """Watts to the nearest, tenths of an ampere down, so that no fuse is asked for more than it has."""
    assert OcppOptions(unit=unit, full_kw=kilowatts, phases=phases).full_limit == limit


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("unit=kW", "unit is 'kW': give W or A"),
        ("stack_level=-1", "stack_level is -1: give 0 to "),
        ("stack_level=high", "stack_level is 'high': give a number"),
        ("amps=6", "'amps=6' sets no option: give NAME=VALUE with unit, full_kw, "),
        ("phases=4", "phases is 4: give 1 to 3"),
        ("full_kw=nan", "full_kw is nan: give 0 to 1000"),
        ("unit=A full_kw=1", "full_kw is 1.0: with so little no car charges"),
        ("pause_limit=600", "pause_limit is 600.0 W: give tenths, from 0 to less than the 600 W"),
        ("pause_limit=0.15", "pause_limit is 0.15 W: give tenths"),
        ("unit=A pause_limit=nan", "pause_limit is nan A: give tenths"),
        ("transaction=0123456789012345678901234567890123456", "transaction has 37 characters, OCPP allows 36"),
        ("transaction=7 connector=0", "connector is 0, the whole charger, but "),
    ],
)
def test_an_option_that_no_charger_could_follow_is_refused(words: str, says: str) -> None:
    """Each in a sentence that says what there is."""
    with pytest.raises(ValueError, match="^" + says.replace("(", r"\(")):
        options_of(words.split())


def test_what_a_charger_cannot_be_told_is_refused() -> None:
    """More periods than it takes; for 1.6, a transaction without a number."""
    fields = record(((NIGHT, NIGHT + 2 * HOUR_MS),), ((NIGHT + HOUR_MS // 2, NIGHT + HOUR_MS),))
    with pytest.raises(ValueError, match=r"needs 5 periods, and the charger takes 4 \(periods_max\)"):
        call(fields, "1.6", OcppOptions(periods_max=4))
    with pytest.raises(ValueError, match=r"transaction is 'tx-9': OCPP 1\.6 numbers its transactions"):
        call(fields, "1.6", OcppOptions(transaction="tx-9"))


def test_a_profile_that_never_frees_is_not_read_as_a_schedule() -> None:
    """One that ends at 0 would hold a car for ever; one that is not absolute tells no instants."""
    told = request(record(((NIGHT, NIGHT + HOUR_MS),)), "2.0.1", PLAIN)
    told["chargingProfile"]["chargingSchedule"][0]["chargingSchedulePeriod"][-1]["limit"] = 0
    with pytest.raises(ValueError, match="lets no car charge and has no end"):
        schedule_of(told)
    told["chargingProfile"]["chargingProfileKind"] = "Relative"
    with pytest.raises(ValueError, match="the profile is Relative: only an absolute one"):
        schedule_of(told)
