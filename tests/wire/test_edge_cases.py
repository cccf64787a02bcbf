"""The edge cases that show in bytes: what platforms and Axle send, and how we read and write it.

Their counterparts in the core are in `tests/core/test_edge_cases*.py`; a case has the same number in both. The one
idea: what can be read is read exactly, and what cannot is never guessed at.
"""

import json
from datetime import datetime
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fastavro import parse_schema, schemaless_writer
from msgspec.structs import replace

from processor.core.events import (
    BoostAction,
    CallFailed,
    ConsentWithdrawn,
    Input,
    Offboarded,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    Source,
    UserBoost,
    WithdrawalReason,
)
from processor.core.outputs import Result
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, union, window
from processor.core.site import withdrawn
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec, fingerprint_of
from processor.wire.axle import Again, Endpoint, Reply, request
from processor.wire.inputs import InputLimits, RejectCode, Rejected, read_input
from tests.core.world import GUIDE_SCHEDULE, World, at, consented
from tests.wire.axle_samples import (
    ASK,
    ASSET,
    AXLES_SITE,
    BOTH,
    EVENING,
    FAULTS,
    MODIFIED,
    NIGHT,
    SENTENCE,
    UNENROLLED,
    UPSERTED,
    concluded,
    onboarding_refused,
    question_refused,
    reply,
)

TEXTS = schema_texts()
CODEC = Codec(TEXTS)
LIMITS = InputLimits()
SOURCE = Source("in", 0, 1)
SECOND_MS = 1000
DAY_MS = 24 * HOUR_MS

Event = PlugIn | UserBoost | ConsentWithdrawn
KINDS: dict[type[Event], Input] = {
    PlugIn: Input.PLUG_IN,
    UserBoost: Input.USER_BOOST,
    ConsentWithdrawn: Input.CONSENT_WITHDRAWN,
}


def sent(event: Event, first_read_ms: int) -> Event | Rejected:
    """What becomes of this event when a platform sends it and it is first read at that time."""
    return read_input(KINDS[type(event)], CODEC.encode_input(event), SOURCE, first_read_ms, CODEC, LIMITS)


def heard(event: Event, first_read_ms: int) -> Event:
    """As `sent`, of an event that keeps the contract."""
    read = sent(event, first_read_ms)
    assert not isinstance(read, Rejected)
    return read


def answered(*blocks: tuple[str, str]) -> Schedule | None:
    """What is read from an answer of Axle's with these blocks, each told by its start and its end."""
    told = [{"start_timestamp": start, "end_timestamp": end} for start, end in blocks]
    answer = concluded(Endpoint.SCHEDULE, reply(200, {"modified_charging_schedule": told}))
    assert isinstance(answer, ScheduleAnswered)
    return answer.answered


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(("2025-06-27T22:00:00", "2025-06-28T02:00:00"), id="no zone at all"),
        pytest.param(("2025-06-27T22:00:00", "2025-06-28T02:00:00Z"), id="none at the start"),
        pytest.param(("2025-06-27T22:00:00Z", "2025-06-28T02:00:00.5"), id="none at the end"),
        pytest.param(("2025-06-27", "2025-06-28T02:00:00Z"), id="a date alone"),
    ],
)
def test_t1_a_time_without_a_zone_tells_no_instant(block: tuple[str, str]) -> None:
    """None of Axle's times is guessed at, all of ours name their zone, and what platforms send is UTC by contract."""
    good = ("2025-06-28T03:00:00Z", "2025-06-28T04:00:00Z")
    assert answered(good) is not None
    assert answered(good, block) is None
    asked = json.loads(request(ASK).body or b"")
    assert all(text.endswith("+00:00") for told in asked["charging_schedule"] for text in told.values())
    assert all("local-timestamp" not in text for text in TEXTS.values())

    plug_in = PlugIn("plug-in", EVENING, SOURCE, "home-1", "c-1", NIGHT)
    for other_unit in (EVENING // SECOND_MS, EVENING * SECOND_MS):
        refused = sent(replace(plug_in, schedule=((other_unit, EVENING * SECOND_MS),)), EVENING)
        assert isinstance(refused, Rejected)
        assert refused.code is RejectCode.BAD_TIME
        assert refused.unreadable is not None, "the charger is not paused: its driver's wish is not known"


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(("2025-06-27T22:00:00Z", "2025-06-28T02:00:00Z"), id="Z"),
        pytest.param(("2025-06-27T22:00:00+00:00", "2025-06-28T02:00:00+00:00"), id="+00:00"),
        pytest.param(("2025-06-27T23:00:00+01:00", "2025-06-28T03:00:00+01:00"), id="British summer time"),
        pytest.param(("2025-06-27T22:00:00Z", "2025-06-28T03:00:00+01:00"), id="two zones in one block"),
        pytest.param(("2025-06-27T22:00:00.000Z", "2025-06-28T02:00:00.000000Z"), id="fractions of nothing"),
        pytest.param(("2025-06-27T22:00:00.0009Z", "2025-06-28T01:59:59.9991Z"), id="fractions of a millisecond"),
    ],
)
def test_t2_every_zone_and_fraction_is_read_and_rounded_towards_charging(block: tuple[str, str]) -> None:
    """However Axle writes the same night, it is the same night; what is finer than we count never costs charging."""
    assert answered(block) == NIGHT
    assert json.loads(request(ASK).body or b"") == {
        "charging_schedule": [
            {"start_timestamp": "2025-06-27T22:00:00+00:00", "end_timestamp": "2025-06-28T02:00:00+00:00"}
        ]
    }


LONDON = ZoneInfo("Europe/London")


def london(shown: str) -> int:
    """The instant at which clocks in London show this."""
    return round(datetime.fromisoformat(shown).replace(tzinfo=LONDON).timestamp()) * SECOND_MS


@pytest.mark.parametrize(
    ("first", "last", "hours", "is_taken"),
    [
        pytest.param("2026-03-28T12:00", "2026-03-29T12:00", 23, True, id="a day in March"),
        pytest.param("2026-10-24T12:00", "2026-10-25T12:00", 25, True, id="a day in October"),
        pytest.param("2026-03-28T12:00", "2026-03-30T13:00", 48, True, id="clocks show 49 hours in March"),
        pytest.param("2026-10-24T12:00", "2026-10-26T12:00", 49, False, id="clocks show 48 hours in October"),
    ],
)
def test_t3_the_longest_schedule_is_measured_in_instants(first: str, last: str, hours: int, *, is_taken: bool) -> None:
    """A schedule may be 48 hours long, whatever London's clocks show in the night of the change."""
    schedule = window(london(first), london(last))
    assert schedule[0][1] - schedule[0][0] == hours * HOUR_MS
    plugged_in = schedule[0][0]
    read = sent(PlugIn("plug-in", plugged_in, SOURCE, "home-1", "c-1", schedule), plugged_in)
    if is_taken:
        assert isinstance(read, PlugIn)
        assert read.schedule == schedule
    else:
        assert isinstance(read, Rejected)
        assert read.code is RejectCode.BAD_SCHEDULE


def test_t5_a_clock_that_runs_ahead() -> None:
    """A time more than five minutes ahead counts as the time of the reading, so that it cannot outrank what follows."""
    read_at = at(0.5)
    boost = UserBoost("boost", read_at + 2 * HOUR_MS, SOURCE, "home-1", "c-1", BoostAction.BOOST, at(6))
    withdrawal = ConsentWithdrawn("withdrawal", read_at + 2 * HOUR_MS, SOURCE, "home-1")
    a_little_ahead = read_at + 5 * MINUTE_MS
    for event in (boost, withdrawal):
        assert heard(event, read_at) == replace(event, occurred_at_ms=read_at)
        assert heard(replace(event, occurred_at_ms=a_little_ahead), read_at).occurred_at_ms == a_little_ahead
        assert heard(replace(event, occurred_at_ms=a_little_ahead + 1), read_at).occurred_at_ms == read_at

    # The boost ends with its session, although its phone said that it was tapped after the next plug-in.
    world = World().settled()
    world.tell(heard(boost, read_at), read_at)
    assert world.last.effective == union(window(read_at, at(6)), GUIDE_SCHEDULE)
    world.plug_in(at(1))
    assert world.last.requested == GUIDE_SCHEDULE
    # Read once more after a replay, another time counts for it; it is the same event all the same.
    world = World().settled()
    world.tell(heard(boost, read_at), read_at)
    world.tell(heard(boost, at(0.6)), at(0.6))
    assert world.outcome("boost") == [Result.DUPLICATE]

    # A household that comes back after its withdrawal is back, although that said it was made later.
    world = World().settled()
    world.tell(heard(withdrawal, read_at), read_at)
    assert withdrawn(world.site)
    world.plug_in(at(1), enrolment=consented(at(1)))
    assert not withdrawn(world.site)


@pytest.mark.parametrize("endpoint", [Endpoint.OFFBOARD, Endpoint.UNENROL, Endpoint.REMOVE])
def test_c3_what_confirms_that_a_household_left(endpoint: Endpoint) -> None:
    """Done, or not there: it left. Trouble at Axle: try later. A refusal: an alarm, and it stays owed."""
    for status in (204, 404):
        assert isinstance(concluded(endpoint, reply(status)), Offboarded | Removed)
    for status in (301, 401, 408, 409, 429, 500, 502, 503, 504):
        assert isinstance(concluded(endpoint, reply(status)), Again)
    for status in (400, 403, 422):
        assert isinstance(concluded(endpoint, reply(status, SENTENCE)), CallFailed)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param((("22:00", "00:00"), ("00:00", "02:00")), id="two blocks that touch"),
        pytest.param((("00:00", "02:00"), ("22:00", "00:00")), id="the later one first"),
        pytest.param((("22:00", "01:00"), ("23:00", "02:00")), id="two blocks that overlap"),
        pytest.param((("22:00", "02:00"), ("23:00", "23:30"), ("22:00", "02:00")), id="the same time several times"),
    ],
)
def test_a2_the_same_time_in_more_blocks_is_the_same_schedule(blocks: tuple[tuple[str, str], ...]) -> None:
    """In however many pieces and in whichever order Axle tells it, the night that comes back is the one we sent."""

    def written(clock: str) -> str:
        day = "2025-06-27" if clock.startswith("2") else "2025-06-28"
        return f"{day}T{clock}:00Z"

    assert answered(*((written(start), written(end)) for start, end in blocks)) == NIGHT == ASK.schedule


@pytest.mark.parametrize("endpoint", [Endpoint.ONBOARD, Endpoint.ADD_ASSET, Endpoint.UPSERT])
def test_a6_a_422_with_a_sentence_and_a_422_with_a_list(endpoint: Endpoint) -> None:
    """A sentence tells of the household: not eligible. A list tells of our request; so does whatever else there is."""
    assert concluded(endpoint, reply(422, SENTENCE)) == onboarding_refused(Refusal.NOT_ELIGIBLE)
    without_a_sentence: tuple[object, ...] = (FAULTS, {"detail": []}, {"detail": None}, {}, [], None)
    for fault in without_a_sentence:
        assert concluded(endpoint, reply(422, fault)) == onboarding_refused(Refusal.INVALID)
    # Nobody's eligibility is in question when a schedule is asked about.
    for body in (SENTENCE, FAULTS):
        assert concluded(Endpoint.SCHEDULE, reply(422, body)) == question_refused(Refusal.INVALID)


SUCCESSES: dict[Endpoint, Any] = {
    Endpoint.ONBOARD: BOTH,
    Endpoint.ADD_ASSET: ASSET,
    Endpoint.UPSERT: UPSERTED,
    Endpoint.LOOK_UP: ASSET,
    Endpoint.LOOK_UP_SITE: AXLES_SITE,
    Endpoint.SCHEDULE: MODIFIED,
    Endpoint.OFFBOARD: BOTH,
    Endpoint.UNENROL: UNENROLLED,
}
PROXYS_PAGE = b"<html><body>Please sign in to the network.</body></html>"


@pytest.mark.parametrize("endpoint", SUCCESSES)
def test_a7_a_success_that_axle_did_not_write(endpoint: Endpoint) -> None:
    """Broken JSON, or a page of a proxy's, is trouble on the way: the call stays owed, whatever the status says."""
    whole = json.dumps(SUCCESSES[endpoint]).encode()
    assert not isinstance(concluded(endpoint, Reply(200, whole)), Again)
    for body in (PROXYS_PAGE, whole[:-1], whole[: len(whole) // 2]):
        assert isinstance(concluded(endpoint, Reply(200, body)), Again), body
    for status in (500, 502, 503, 504):
        assert isinstance(concluded(endpoint, Reply(status, PROXYS_PAGE)), Again)


BOOST = UserBoost("boost", EVENING, SOURCE, "home-1", "c-1", BoostAction.BOOST, EVENING + HOUR_MS)
WITHDRAWAL = ConsentWithdrawn("leaves", EVENING, SOURCE, "home-1", "c-1", WithdrawalReason.CHARGER_DISCONNECTED)


def in_newer_words(event: UserBoost | ConsentWithdrawn, field: str, word: str) -> tuple[str, bytes]:
    """A later schema whose enum has one more word, and the event as a platform sends it with that word."""
    kind = KINDS[type(event)]
    text = next(text for name, text in TEXTS.items() if name.endswith(kind.lower().replace("_", "-") + ".v1"))
    schema = json.loads(text)
    enum = next(each["type"] for each in schema["fields"] if each["name"] == field)
    enum["symbols"].append(word)
    newer = json.dumps(schema)
    value = BytesIO()
    value.write(b"\xc3\x01" + fingerprint_of(newer))
    schemaless_writer(value, parse_schema(schema), CODEC.decode(kind, CODEC.encode_input(event)) | {field: word})
    return newer, value.getvalue()


def test_s2_a_tombstone_an_unknown_schema_and_an_unknown_word() -> None:
    """Nothing is nothing; bytes of a schema nobody vetted are kept aside unread; a new word means the safe side."""
    for kind in Input:
        tombstone = read_input(kind, None, SOURCE, EVENING, CODEC, LIMITS)
        assert isinstance(tombstone, Rejected)
        assert (tombstone.code, tombstone.dead_letter, tombstone.unreadable) == (RejectCode.NO_VALUE, False, None)

    for event, field in ((BOOST, "action"), (WITHDRAWAL, "reason")):
        newer, value = in_newer_words(event, field, "NOT_HEARD_OF_YET")
        kind = KINDS[type(event)]
        unvetted = read_input(kind, value, SOURCE, EVENING, CODEC, LIMITS)
        assert isinstance(unvetted, Rejected)
        assert (unvetted.code, unvetted.dead_letter) == (RejectCode.SCHEMA, True)
        vetted = read_input(kind, value, SOURCE, EVENING, Codec(TEXTS, older=[newer]), LIMITS)
        if isinstance(event, UserBoost):
            assert vetted == replace(event, action=BoostAction.UNKNOWN, boost_until_ms=None)
        else:
            assert vetted == replace(event, reason=WithdrawalReason.UNKNOWN), "the whole site leaves"
