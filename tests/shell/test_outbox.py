"""The outbox: which topic, key, partition and headers each record gets."""

from msgspec.structs import replace

from processor.core.events import Input, Source
from processor.core.outputs import (
    Alarm,
    AlarmKind,
    Cause,
    ConsentState,
    EnrolmentStatus,
    Erased,
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
from processor.shell.records import Produce
from processor.wire.state import CHECKPOINT_KEY, STATE_VERSION, decode_checkpoint, decode_site, erased_key, read_headers
from tests.shell.parts import CODEC, NAMES, NOW_MS, enrolment
from tests.wire.state_samples import IMAGINED, MEDIAN, imagined_bytes, rows_of, surplus

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


def test_an_erasure_takes_back_what_was_told_of_the_site() -> None:
    """The topic that keeps where a site stands for good gets a record without a value, and nothing beside the key."""
    assert OUTBOX.record(Erased("s-1")) == Produce(NAMES.enrolment_status, b"s-1", None, [], None)


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


def test_a_changed_site_is_one_record_of_the_changelog() -> None:
    """As long as anything is known of it, its state stands under its own id."""
    withdrawn = Site("s-1", withdrawal=Stamp(7, "w"))
    assert OUTBOX.states(3, withdrawn, NOW_MS, None, owes=False) == [OUTBOX.state(3, withdrawn, NOW_MS)]


def test_an_erased_site_leaves_its_key_and_only_a_hash_stays() -> None:
    """A tombstone for its id; its withdrawal under the hash, with marks, in the same partition, and its id nowhere."""
    gone, left = OUTBOX.states(
        3, Site("site-00001234", withdrawal=Stamp(7, "")), NOW_MS, imagined_bytes(MEDIAN), owes=False
    )
    key = erased_key("site-00001234", Rules().secret)
    assert gone == Produce(NAMES.state, b"site-00001234", None, [], 3)
    assert (left.topic, left.key, left.partition) == (NAMES.state, key.encode(), 3)
    assert (left.value or b"")[0] == STATE_VERSION
    assert decode_site(left.value or b"") == Site(key.split("/")[1], withdrawal=Stamp(7, ""))
    marks = read_headers(left.headers)
    assert (marks.due_at_ms, marks.owes, marks.withdrawn_since_ms) == (None, False, 7)
    assert b"1234" not in (left.value or b"").replace(key.split("/")[1].encode(), b"")


def test_the_version_that_was_asked_for_is_written() -> None:
    """One lower while older programs read the topic, else this program's own; states and checkpoints alike."""
    before = Outbox(NAMES, CODEC, Rules(), "/test", write_version=STATE_VERSION - 1)
    for outbox, version in ((before, STATE_VERSION - 1), (OUTBOX, STATE_VERSION)):
        written = [outbox.state(0, MEDIAN, NOW_MS), outbox.checkpoint(0, {}, released=False)]
        assert [(produce.value or b"")[0] for produce in written] == [version, version]


def test_what_a_newer_program_wrote_stays_in_a_state() -> None:
    """The state before is asked for what we do not know."""
    changed = replace(MEDIAN, withdrawal=Stamp(7, "w"))
    (state,) = OUTBOX.states(0, changed, NOW_MS, imagined_bytes(MEDIAN), owes=False)
    assert state.value is not None
    assert (state.value[0], decode_site(state.value)) == (IMAGINED, changed)
    assert rows_of(state.value)[-2:] == surplus(MEDIAN)
