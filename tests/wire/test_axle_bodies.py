"""What Axle's answers carry: schedules, ids and meters are read exactly, and nothing hostile gets through."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.core.events import Answer, Found, LookedUp, Onboarded, Refusal, ScheduleAnswered
from processor.core.intents import AskSchedule
from processor.core.schedule import HOUR_MS, Schedule
from processor.wire.axle import Again, Endpoint, Reply, Request, conclude, request
from processor.wire.instants import iso, iso_z
from tests.wire.axle_samples import (
    ASSET,
    AXLE_ASSET,
    AXLE_SITE,
    AXLES_SITE,
    BOTH,
    CHARGER,
    ENROLLED,
    EVENING,
    INTENTS,
    NIGHT,
    SCHEDULES,
    SITE,
    UPSERT,
    UPSERTED,
    UPSERTED_ASSET,
    UPSERTED_SITE,
    Json,
    blocks,
    concluded,
    onboarding_refused,
    reply,
)


def answered(*modified: Json) -> Schedule | None:
    """The schedule that is read out of these blocks."""
    answer = concluded(Endpoint.SCHEDULE, reply(200, {"modified_charging_schedule": list(modified)}))
    assert isinstance(answer, ScheduleAnswered)
    assert (answer.number, answer.sent) == (7, NIGHT)
    return answer.answered


def block(start: str, end: str) -> Json:
    """One block of an answer."""
    return {"start_timestamp": start, "end_timestamp": end}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"null",
        b"[]",
        b"{}",
        b'{"id": null}',
        b'{"site": {}, "asset": {}}',
        b'{"id": "../..", "site_id": "..", "external_id": "charger-001"}',
        json.dumps(ASSET | {"external_id": "charger-002"}).encode(),
        json.dumps(BOTH | {"asset": ASSET | {"external_id": "charger-002"}}).encode(),
        json.dumps(BOTH | {"site": {"id": "a" * 65}}).encode(),
        json.dumps(UPSERTED | {"assets": []}).encode(),
        json.dumps(UPSERTED | {"assets": [UPSERTED_ASSET | {"external_id": "charger-002"}]}).encode(),
        json.dumps(UPSERTED | {"assets": [UPSERTED_ASSET, UPSERTED_ASSET | {"asset_id": AXLE_SITE}]}).encode(),
        json.dumps(UPSERTED | {"assets": [UPSERTED_ASSET | {"asset_id": ".."}]}).encode(),
        json.dumps(UPSERTED | {"site": UPSERTED_SITE | {"site_id": None}}).encode(),
        b"[" * 100_000,
        b'{"x":' * 100_000,
        b'{"id": "\xff"}',
    ],
)
def test_a_success_that_tells_nothing_means_try_later(body: bytes) -> None:
    """Broken JSON, missing or impossible ids, and another charger's ids count as trouble on Axle's side."""
    for endpoint in (Endpoint.ONBOARD, Endpoint.ADD_ASSET, Endpoint.UPSERT, Endpoint.LOOK_UP):
        assert isinstance(concluded(endpoint, Reply(200, body)), Again)


def test_a_site_whose_meter_is_not_told_is_found_without_one() -> None:
    """A site without an MPAN is a site, and one that cannot be read is asked for again."""
    found = LookedUp(SITE, CHARGER, Found(AXLE_SITE, AXLE_ASSET, None))
    assert concluded(Endpoint.LOOK_UP_SITE, reply(200, {"id": AXLE_SITE})) == found
    assert isinstance(concluded(Endpoint.LOOK_UP_SITE, reply(200, AXLES_SITE | {"mpan": 7})), Again)


def test_a_further_charger_stays_at_the_site_it_was_added_to() -> None:
    """An answer cannot move the household to another of Axle's sites."""
    elsewhere = ASSET | {"site_id": "0198a2c0-1111-4abc-8def-00000000000f"}
    assert concluded(Endpoint.ADD_ASSET, reply(200, elsewhere)) == ENROLLED


def test_an_upsert_says_itself_which_site_it_found() -> None:
    """The newer form finds the site by its meter, so where the charger is now comes from the answer alone."""
    elsewhere = "0198a2c0-1111-4abc-8def-00000000000f"
    other = UPSERTED_ASSET | {"asset_id": elsewhere, "external_id": "charger-000"}
    body = UPSERTED | {"site": UPSERTED_SITE | {"site_id": elsewhere}, "assets": [other, UPSERTED_ASSET]}
    further = replace(UPSERT, axle_site_id=AXLE_SITE)
    assert conclude(further, (reply(200, body),)) == Onboarded(SITE, CHARGER, elsewhere, AXLE_ASSET)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"detail": {}}', b'{"detail": null}', b"\xff"])
def test_a_refusal_without_a_sentence_is_our_fault(body: bytes) -> None:
    """Only a sentence says that a home is not eligible; nobody's eligibility hangs on a broken body."""
    for endpoint in (Endpoint.ONBOARD, Endpoint.UPSERT):
        assert concluded(endpoint, Reply(422, body)) == onboarding_refused(Refusal.INVALID)


# Schedules.

HALF_PAST, LATE = "2025-06-27T22:30:00Z", "2025-06-28T02:00:00Z"


def test_an_answer_is_read_in_any_offset() -> None:
    """The same instants come out of Z, +00:00, +01:00 and fractions."""
    assert answered(
        block("2025-06-27T22:00:00Z", "2025-06-27T23:30:00+01:00"),
        block("2025-06-28T00:00:00.000+01:00", "2025-06-28T02:00:00.000000+00:00"),
    ) == ((EVENING, EVENING + HOUR_MS // 2), (EVENING + HOUR_MS, EVENING + 4 * HOUR_MS))


def test_the_night_the_clocks_go_back_is_read_in_instants() -> None:
    """From 01:30 summer time to 01:30 winter time is one hour of charging."""
    night = answered(block("2025-10-26T01:30:00+01:00", "2025-10-26T01:30:00+00:00"))
    assert night is not None
    assert [end - start for start, end in night] == [HOUR_MS]


def test_the_night_the_clocks_go_forward_is_read_in_instants() -> None:
    """From 00:30 winter time to 02:30 summer time is one hour of charging."""
    night = answered(block("2025-03-30T00:30:00+00:00", "2025-03-30T02:30:00+01:00"))
    assert night is not None
    assert [end - start for start, end in night] == [HOUR_MS]


def test_unsorted_and_overlapping_blocks_are_made_normal() -> None:
    """Only the set of instants counts, not how it was cut."""
    assert (
        answered(
            block("2025-06-28T00:00:00Z", LATE),
            block("2025-06-27T22:00:00Z", "2025-06-27T23:00:00Z"),
            block(HALF_PAST, "2025-06-28T00:00:00Z"),
        )
        == NIGHT
    )


def test_edges_are_rounded_towards_charging() -> None:
    """Below a millisecond a start goes down and an end goes up."""
    assert answered(block("2025-06-27T22:00:00.0009999Z", "2025-06-28T01:59:59.9990001Z")) == NIGHT


def test_an_empty_answer_is_an_empty_schedule() -> None:
    """No block at all is a schedule; whether it is believed is not decided here."""
    assert answered() == ()


@pytest.mark.parametrize(
    "modified",
    [
        [block("2025-06-27T22:00:00", LATE)],
        [block("2025-06-27T22:00:00Z", "2025-06-28T02:00:00")],
        [block(LATE, HALF_PAST)],
        [block(HALF_PAST, HALF_PAST)],
        [block("2025-06-27T22:00:00Z", HALF_PAST), block("tonight", LATE)],
        [{"start_timestamp": HALF_PAST}],
        [{"start_timestamp": EVENING, "end_timestamp": EVENING + HOUR_MS}],
        [None],
        ["2025-06-27T22:00:00Z"],
        "tonight",
        {},
        None,
    ],
)
def test_an_answer_that_cannot_be_believed_is_told_as_such(modified: object) -> None:
    """No zone, a block that ends before it starts, or no list of blocks: an answer, but no schedule."""
    outcome = concluded(Endpoint.SCHEDULE, reply(200, {"modified_charging_schedule": modified}))
    assert outcome == ScheduleAnswered(SITE, CHARGER, 7, NIGHT, None)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"<html>", b'{"modified_charging_schedule":', b"\xff"])
def test_an_answer_without_a_schedule_means_try_later(body: bytes) -> None:
    """Broken JSON and a missing field are no answer to the question."""
    assert isinstance(concluded(Endpoint.SCHEDULE, Reply(200, body)), Again)


@given(SCHEDULES, st.sampled_from([iso, iso_z]), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_a_schedule_survives_the_way_there_and_back(
    schedule: Schedule, write: Callable[[int], str], shuffler: Any
) -> None:
    """What is sent and comes back unchanged, in any order and either form of UTC, is the same schedule."""
    asked = AskSchedule(SITE, CHARGER, 1, AXLE_ASSET, schedule, boosted=False)
    assert json.loads(request(asked).body or b"")["charging_schedule"] == blocks(schedule)
    shuffled = blocks(schedule, write)
    shuffler.shuffle(shuffled)
    outcome = conclude(asked, (reply(200, {"modified_charging_schedule": shuffled}),))
    assert outcome == ScheduleAnswered(SITE, CHARGER, 1, schedule, schedule)


KEYS = st.sampled_from(
    ["id", "site", "asset", "assets", "asset_id", "site_id", "external_id", "mpan", "detail",
     "modified_charging_schedule", "start_timestamp", "end_timestamp", "access_token"]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from([CHARGER, LATE])
)
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))
BODIES = st.one_of(st.binary(max_size=60), ANY_JSON.map(lambda value: json.dumps(value).encode()))


@given(st.sampled_from(list(INTENTS)), st.sampled_from([200, 204, 400, 404, 422, 500]), BODIES)
@settings(max_examples=300, deadline=None)
def test_no_answer_of_axles_raises(endpoint: Endpoint, status: int, body: bytes) -> None:
    """Whatever the bytes are, the outcome is an answer, one more call, or try later."""
    assert isinstance(concluded(endpoint, Reply(status, body)), Again | Request | Answer)
