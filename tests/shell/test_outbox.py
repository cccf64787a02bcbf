"""The outbox: which topic, key, partition and headers each record gets."""

from msgspec.structs import replace

from processor.core.events import Input, Source
from processor.core.outputs import (
    Alarm,
    AlarmKind,
    Cause,
    ConsentState,
    EnrolmentStatus,
    ModifiedSchedule,
    Outcome,
    Output,
    Result,
    Status,
)
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS
from processor.core.site import Charger, Enrolling, Site, Stamp
from processor.shell.outbox import Outbox
from processor.wire.state import CHECKPOINT_KEY, decode_checkpoint, decode_site, read_headers
from tests.shell.parts import CODEC, NAMES, NOW_MS, enrolment

OUTBOX = Outbox(NAMES, CODEC, Rules(), "/axle-processor/test")
NIGHT = ((NOW_MS, NOW_MS + HOUR_MS),)
SCHEDULE = ModifiedSchedule(
    "s-1",
    "c-1",
    NOW_MS,
    None,
    NOW_MS,
    Cause("p-1", Input.PLUG_IN, NOW_MS),
    Status.REQUESTED,
    "The driver's wish is in force; Axle is being asked.",
    False,  # noqa: FBT003 - a record in full
    NIGHT,
    NIGHT,
    (),
    NOW_MS + HOUR_MS,
)
OUTCOME = Outcome("p-1", Source(NAMES.plug_in, 3, 41), "s-1", "c-1", Result.STALE, NOW_MS)
STANDING = EnrolmentStatus("s-1", ConsentState.GIVEN, "axle-site", (), NOW_MS)


def sent(output: Output) -> tuple[str, bytes | None, int | None]:
    produce = OUTBOX.record(output)
    assert produce is not None
    assert produce.value == CODEC.encode(output)  # type: ignore[arg-type] # an alarm has no record
    assert ("ce_source", b"/axle-processor/test") in produce.headers
    return produce.topic, produce.key, produce.partition


def test_each_output_has_its_topic_and_key() -> None:
    """Schedules are keyed by charger, everything else by site; the key's hash finds the partition."""
    assert sent(SCHEDULE) == (NAMES.modified_schedule, b"c-1", None)
    assert sent(STANDING) == (NAMES.enrolment_status, b"s-1", None)
    assert sent(OUTCOME) == (NAMES.outcomes, b"s-1", None)


def test_an_outcome_without_a_site_is_keyed_by_where_the_record_stood() -> None:
    """Where no site could be read the record's place is the key."""
    assert sent(replace(OUTCOME, site_id=None)) == (NAMES.outcomes, f"{NAMES.plug_in}-3-41".encode(), None)


def test_an_alarm_is_no_record() -> None:
    """Alarms are for the log and the metrics."""
    assert OUTBOX.record(Alarm(AlarmKind.CHARGER_CONFLICT, "s-1", "c-1", "why")) is None


def test_a_state_goes_to_its_tasks_partition_with_its_marks() -> None:
    """A state is keyed by its site, and its headers say what a restore must not overlook."""
    site = Site(
        "s-1",
        Stamp(NOW_MS - 9, "p"),
        enrolment=enrolment(),
        chargers=(Charger("c-1", enrolling=Enrolling(NOW_MS), pauses=((NOW_MS, NOW_MS + 60_000),)),),
    )
    produce = OUTBOX.state(3, site, NOW_MS)
    assert (produce.topic, produce.key, produce.partition) == (NAMES.state, b"s-1", 3)
    assert decode_site(produce.value or b"") == site
    marks = read_headers(produce.headers)
    assert (marks.due_at_ms, marks.owes) == (NOW_MS + 24 * HOUR_MS, True)
    assert (marks.paused_until_ms, marks.withdrawn_since_ms) == (NOW_MS + 60_000, None)


def test_a_withdrawn_site_says_since_when() -> None:
    """The mark of a withdrawal is in the headers while it stands, and gone with a newer consent."""
    site = Site("s-1", consent=Stamp(5, "p"), withdrawal=Stamp(7, "w"))
    assert read_headers(OUTBOX.state(0, site, NOW_MS).headers).withdrawn_since_ms == 7
    given_again = replace(site, consent=Stamp(8, "p"))
    assert read_headers(OUTBOX.state(0, given_again, NOW_MS).headers).withdrawn_since_ms is None


def test_a_checkpoint_stands_beside_the_states() -> None:
    """A checkpoint goes to the task's own partition of the changelog and tells all positions."""
    positions = {(NAMES.plug_in, 2): 5, (NAMES.reroute, 2): 0}
    produce = OUTBOX.checkpoint(2, positions, released=True)
    checkpoint = decode_checkpoint(produce.value or b"")
    assert (produce.topic, produce.key, produce.partition) == (NAMES.state, CHECKPOINT_KEY, 2)
    assert (checkpoint.offsets, checkpoint.released) == (positions, True)
