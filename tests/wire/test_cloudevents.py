"""The headers of published records, as a CloudEvents reader sees them."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.core.events import Input, Source
from processor.core.outputs import (
    Cause,
    ChargerEnrolment,
    ConsentState,
    Enrolled,
    EnrolmentStatus,
    ModifiedSchedule,
    Outcome,
    Result,
    Status,
)
from processor.wire.cloudevents import headers

AT_MS = 1_763_800_000_007
CAUSE = Cause("e-1", Input.PLUG_IN, AT_MS)
SCHEDULE = ModifiedSchedule(
    site_id="s-1",
    charger_id="c-1",
    revision=AT_MS + 2,
    replaces=None,
    decided_at_ms=AT_MS,
    caused_by=CAUSE,
    status=Status.UNCHANGED,
    reason="Axle answered without a pause.",
    final=True,
    requested=(),
    effective=(),
    pauses=(),
    valid_until_ms=AT_MS,
)
CHARGER = ChargerEnrolment("c-1", Enrolled.ENROLLED, "a-1")
ENROLMENT = EnrolmentStatus("s-1", ConsentState.GIVEN, "x-1", (CHARGER,), AT_MS)
OUTCOME = Outcome("e-1", Source("ev.plug-in.v1", 3, 12), "s-1", "c-1", Result.UNCHANGED, AT_MS)
SOURCE = "/axle-processor/test"


def seen(record: ModifiedSchedule | EnrolmentStatus | Outcome) -> dict[str, str]:
    """The headers as text; a header that comes twice is a mistake."""
    pairs = headers(record, SOURCE)
    assert len(dict(pairs)) == len(pairs)
    return {name: value.decode() for name, value in pairs}


def test_a_modified_schedule_says_what_it_answers() -> None:
    """A modified schedule is known by charger and revision, and by the platform's event that it goes back to."""
    assert seen(SCHEDULE) == {
        "ce_specversion": "1.0",
        "ce_type": "ev.modified-schedule.v1",
        "ce_id": "c-1.1763800000009",
        "ce_source": SOURCE,
        "ce_subject": "c-1",
        "ce_time": "2025-11-22T08:26:40.007Z",
        "ce_correlationid": "e-1",
        "content-type": "application/avro",
    }


def test_an_enrolment_status_is_about_its_site() -> None:
    """An enrolment status has its site as the subject and no event to go back to."""
    found = seen(ENROLMENT)
    assert (found["ce_type"], found["ce_subject"]) == ("ev.enrolment-status.v1", "s-1")
    assert "ce_correlationid" not in found


def test_an_outcome_is_known_by_its_input_record() -> None:
    """The id of an outcome is the place of its input record, so there is one per record."""
    found = seen(OUTCOME)
    assert (found["ce_type"], found["ce_id"]) == ("axle-processor.outcomes.v1", "ev.plug-in.v1-3-12")
    assert (found["ce_subject"], found["ce_correlationid"]) == ("c-1", "e-1")


def test_an_outcome_of_an_unread_record_has_no_subject() -> None:
    """Where nothing could be read, subject and correlation are left out instead of empty."""
    found = seen(replace(OUTCOME, event_id=None, site_id=None, charger_id=None))
    assert not {"ce_subject", "ce_correlationid"} & found.keys()
    assert seen(replace(OUTCOME, charger_id=None))["ce_subject"] == "s-1"


def test_ids_are_repeated_with_the_record_and_only_then() -> None:
    """The same status has the same id; another word about the site in the same millisecond has another."""
    other = replace(ENROLMENT, consent=ConsentState.WITHDRAWN)
    assert seen(ENROLMENT)["ce_id"] == seen(replace(ENROLMENT))["ce_id"] != seen(other)["ce_id"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 253_402_300_799_999))
def test_times_are_exact(at_ms: int) -> None:
    """`ce_time` is RFC 3339 in UTC, to the millisecond."""
    found = seen(replace(SCHEDULE, decided_at_ms=at_ms))["ce_time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found)
    assert int(found[20:23]) == at_ms % 1000
