"""A charger, what is owed for it, and what Axle answers: the samples that the tests of Axle's interface share.

No test lives here. Answers are samples as Axle's document has them; `test_axle.py` checks that.
"""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from processor.core.events import Answer, Enrolment, Onboarded, OnboardingRefused, Refusal, ScheduleRefused
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove
from processor.core.rules import OnboardingForm
from processor.core.schedule import HOUR_MS, Schedule, normalise
from processor.wire.axle import Again, Endpoint, Reply, Request, conclude
from processor.wire.instants import iso

SITE, CHARGER = "home:1", "charger-001"
AXLE_SITE = "0198a2c0-1111-4abc-8def-000000000001"
AXLE_ASSET = "0198a2c0-1111-4abc-8def-000000000002"
EVENING = 1_751_061_600_000  # 2025-06-27T22:00:00Z
NIGHT: Schedule = ((EVENING, EVENING + 4 * HOUR_MS),)
CONSENTED = 1_735_732_800_000  # 2025-01-01T12:00:00Z
HOUSEHOLD = Enrolment("1234567890123", "SW1A 1AA", "10 Downing Street", CONSENTED, CONSENTED, "test@example.com")

ONBOARD = Onboard(SITE, CHARGER, HOUSEHOLD, 7.4, None)
ADD_ASSET = Onboard(SITE, CHARGER, HOUSEHOLD, 7.4, AXLE_SITE)
UPSERT = Onboard(SITE, CHARGER, HOUSEHOLD, 7.4, None, OnboardingForm.UPSERT)
LOOK_UP = LookUp(SITE, CHARGER, 0)
ASK = AskSchedule(SITE, CHARGER, 7, AXLE_ASSET, NIGHT, boosted=False)
REMOVE = Remove(SITE, CHARGER, AXLE_ASSET)
OFFBOARD = Offboard(SITE, AXLE_SITE)
UNENROL = Offboard(SITE, AXLE_SITE, unenrol=True)
INTENTS: dict[Endpoint, Intent] = {
    Endpoint.ONBOARD: ONBOARD,
    Endpoint.ADD_ASSET: ADD_ASSET,
    Endpoint.UPSERT: UPSERT,
    Endpoint.LOOK_UP: LOOK_UP,
    Endpoint.LOOK_UP_SITE: LOOK_UP,
    Endpoint.SCHEDULE: ASK,
    Endpoint.REMOVE: REMOVE,
    Endpoint.OFFBOARD: OFFBOARD,
    Endpoint.UNENROL: UNENROL,
}

Json = dict[str, Any]
ASSET: Json = {"id": AXLE_ASSET, "external_id": CHARGER, "type": "charger", "site_id": AXLE_SITE}
AXLES_SITE: Json = {"id": AXLE_SITE, "mpan": "1234567890123", "postcode": "SW1A 1AA", "asset_ids": [AXLE_ASSET]}
BOTH: Json = {"site": AXLES_SITE, "asset": ASSET}
UPSERTED_SITE: Json = {"site_id": AXLE_SITE, "site_created": True, "fields_updated": [], "warnings": []}
UPSERTED_ASSET: Json = {"asset_id": AXLE_ASSET, "external_id": CHARGER, "asset_created": True}
UPSERTED: Json = {
    "site": UPSERTED_SITE,
    "assets": [UPSERTED_ASSET],
    "enrolment": {"site_id": AXLE_SITE, "status": "enrolled"},
}
UNENROLLED: Json = {"site_id": AXLE_SITE, "status": "unenrolled"}
SENTENCE: Json = {"detail": "This household is not eligible."}
FAULTS: Json = {"detail": [{"loc": ["body", "site"], "msg": "field required", "type": "value_error.missing"}]}
LOOKED_UP_FIRST = Reply(200, json.dumps(ASSET).encode())


def blocks(schedule: Schedule, write: Callable[[int], str] = iso) -> list[Json]:
    """A schedule as Axle writes it."""
    return [{"start_timestamp": write(start), "end_timestamp": write(end)} for start, end in schedule]


def reply(status: int, body: object = None) -> Reply:
    """An answer with a JSON body, or with none."""
    return Reply(status, b"" if body is None else json.dumps(body).encode())


def concluded(endpoint: Endpoint, last: Reply) -> Answer | Again | Request:
    """What an answer of this endpoint's means, its intent's earlier answers being good."""
    before = (LOOKED_UP_FIRST,) if endpoint is Endpoint.LOOK_UP_SITE else ()
    return conclude(INTENTS[endpoint], (*before, last))


MODIFIED: Json = {"modified_charging_schedule": blocks(NIGHT)}


def onboarding_refused(why: Refusal) -> OnboardingRefused:
    """The charger of this test was refused."""
    return OnboardingRefused(SITE, CHARGER, why, CONSENTED)


def question_refused(why: Refusal) -> ScheduleRefused:
    """The question of this test was refused."""
    return ScheduleRefused(SITE, CHARGER, 7, why)


TO_THE_SITE = Request(Endpoint.LOOK_UP_SITE, "GET", f"/entities/site/{AXLE_SITE}")
ENROLLED = Onboarded(SITE, CHARGER, AXLE_SITE, AXLE_ASSET)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
IDS = st.text("abcXYZ019_:-", min_size=1, max_size=64)
TIMES = st.integers(0, 253_402_300_799_999)
UUIDS = st.uuids().map(str)
SCHEDULES = st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=4).map(normalise)
HOUSEHOLDS = st.builds(Enrolment, TEXTS, TEXTS, TEXTS, TIMES, TIMES, st.none() | TEXTS)
POWERS = st.none() | st.floats(0, 1000)
