"""Intake and the CloudEvents headers of inputs: welcome, kept, and never believed against the value."""

import pytest

from processor.core.events import ConsentWithdrawn, PlugIn, UserBoost
from processor.shell.intake import event_of
from processor.shell.partition import task_of
from processor.shell.records import Headers
from processor.wire.inputs import RejectCode, Rejected
from tests.shell.parts import NAMES, NOW_MS, TASKS, boost, intake, plug_in, record, withdrawal

HERE = task_of("s-1", TASKS)
TRUE: Headers = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"ev.plug-in.v1"),
    ("ce_id", b"p-1"),
    ("ce_source", b"/platform"),
    ("ce_time", b"2025-11-22T08:27:00Z"),
    ("content-type", b"application/avro"),
]
LYING: Headers = [
    ("ce_specversion", b"0.3"),
    ("ce_type", b"ev.consent-withdrawn.v1"),
    ("ce_id", b"another"),
    ("ce_subject", b"s-2"),
    ("ce_time", b"1999-01-01T00:00:00Z"),
    ("ce_partitionkey", b"s-2"),
    ("content-type", b"text/plain"),
]
BROKEN: Headers = [("ce_specversion", None), ("ce_id", b"\xff"), ("ce_id", b""), ("ce_", b"1"), ("CE_TYPE", b"x")]
INPUTS = ((plug_in(), NAMES.plug_in), (boost(), NAMES.user_boost), (withdrawal(), NAMES.consent_withdrawn))


@pytest.mark.parametrize("headers", [TRUE, LYING, BROKEN])
@pytest.mark.parametrize(("event", "topic"), INPUTS)
def test_headers_change_nothing(event: PlugIn | UserBoost | ConsentWithdrawn, topic: str, headers: Headers) -> None:
    """An input is the same event with CloudEvents headers, without any, and with such as say something else."""
    part = intake()
    bare = part.read(record(event, topic, HERE), NOW_MS)
    dressed = part.read(record(event, topic, HERE, headers=headers), NOW_MS)

    assert isinstance(event_of(bare), type(event))
    assert event_of(dressed) == event_of(bare)
    assert (dressed.task, dressed.is_here, dressed.first_read_ms) == (bare.task, bare.is_here, bare.first_read_ms)


def test_headers_stay_through_a_hop_and_in_a_dead_letter() -> None:
    """What a producer wrote into headers is still there where somebody looks at the record again."""
    part = intake()
    elsewhere = record(plug_in(), partition=(HERE + 1) % TASKS, headers=TRUE)
    broken = record(b"junk", headers=TRUE)
    arrival = part.read(broken, NOW_MS)
    assert isinstance(arrival.said, Rejected)

    assert list(part.hop(elsewhere, part.read(elsewhere, NOW_MS)).headers)[: len(TRUE)] == TRUE
    assert list(part.dead_letter(broken, arrival, arrival.said).headers)[: len(TRUE)] == TRUE


def test_structured_mode_is_refused_with_its_reason() -> None:
    """A whole CloudEvent as JSON in the value is no record of ours: a dead letter that says so."""
    value = b'{"specversion": "1.0", "type": "ev.plug-in.v1", "id": "p-1", "source": "/platform", "data": {}}'
    headers: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    said = intake().read(record(value, partition=HERE, headers=headers), NOW_MS).said

    assert isinstance(said, Rejected)
    assert (said.code, said.dead_letter) == (RejectCode.FRAMING, True)
