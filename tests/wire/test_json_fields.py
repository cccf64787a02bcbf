"""JSON that people write, held against the published schemas: what is taken, what is refused, and in which words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.events import Input
from processor.core.outputs import EnrolmentStatus, ModifiedSchedule, Outcome
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec, Fields, Record
from processor.wire.json_fields import JsonForm
from tests.core.world import GUIDE_PAUSE, World

TEXTS = schema_texts()
CODEC = Codec(TEXTS)
FORM = JsonForm(TEXTS["ev.plug-in.v1"])
SECRET = "Baker Street"
ENROLMENT = {
    "mpan": "1" * 13,
    "postcode": "AB1 2CD",
    "street_address": SECRET,
    "boundary_meter_consent_at": "2026-11-01T12:00:00Z",
    "consented_at": "2026-11-01T13:00:00+01:00",
}
PLUG_IN: dict[str, Any] = {
    "event_id": "pi-1",
    "occurred_at": "2026-11-23T22:00:00.250Z",
    "site_id": "home-1",
    "charger_id": "c-1",
    "schedule": [{"start": "2026-11-23T22:00:00Z", "end": 1795500000000}],
    "power_kw": 7,
    "enrolment": ENROLMENT,
}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PLUG_IN, *ENROLMENT]), inner),
    max_leaves=10,
)


def test_what_fits_is_what_the_codec_takes() -> None:
    """Text and milliseconds are both instants, what may be left out takes its default, and the bytes say the same."""
    fields, misfits = FORM.read(PLUG_IN)
    decoded = CODEC.decode(Input.PLUG_IN, CODEC.encode_fields(Input.PLUG_IN, fields))
    assert misfits == []
    assert decoded == fields
    assert (fields["occurred_at"], fields["session_id"]) == (1_795_471_200_250, None)
    assert fields["schedule"] == [{"start": 1_795_471_200_000, "end": 1_795_500_000_000}]
    assert fields["enrolment"]["boundary_meter_consent_at"] == fields["enrolment"]["consented_at"]


def test_what_is_shown_can_be_read_again() -> None:
    """Of each kind of record that is published, JSON is the same record, written otherwise."""
    said = World().settled(GUIDE_PAUSE).outputs
    topics: dict[str, type[Record]] = {
        "ev.modified-schedule.v1": ModifiedSchedule,
        "ev.enrolment-status.v1": EnrolmentStatus,
        "axle-processor.outcomes.v1": Outcome,
    }
    for topic, kind in topics.items():
        form = JsonForm(TEXTS[topic])
        record = next(output for output in said if isinstance(output, Record) and type(output) is kind)
        fields = CODEC.output_fields(kind, CODEC.encode(record))
        assert form.read(json.loads(json.dumps(form.show(fields)))) == (fields, [])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"occurred_at": 1.5}, "occurred_at: it is a number, not a time; give 2026-11-23T22:00:00Z, with its zone"),
        ({"occurred_at": True}, "occurred_at: it is true or false, not a time; "),
        ({"occurred_at": 1 << 63}, "occurred_at: it is no plausible time; "),
        ({"occurred_at": "tonight"}, "occurred_at: it is no time with a zone; "),
        ({"site_id": None}, "site_id: it is null, not a text; "),
        ({"site_id": "\ud800"}, "site_id: it is no text that can be written; "),
        ({"schedule": {}}, "schedule: it is an object, not a list; "),
        ({"schedule": [[]]}, "schedule[0]: it is a list, not an object; give one Block: { ... }"),
        ({"schedule": [{"start": 1, "end": 2, "ends": 3}]}, "schedule[0].ends: Block has no such field; did you mean"),
        ({"power_kw": "7"}, "power_kw: it is a text, not a number; give a number, without quotes"),
        ({"colour": 1}, "colour: PlugIn has no such field; there are event_id, occurred_at, "),
        ({"enrolment": []}, "enrolment: it is a list, not an object; give one Enrolment: "),
        ({"enrolment": ENROLMENT | {"mpan": 5}}, "enrolment.mpan: it is a number, not a text; "),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(more: dict[str, Any], says: str) -> None:
    """One sentence: where, why, what to try; and nothing of what was written."""
    _, (misfit,) = FORM.read(PLUG_IN | more)
    assert str(misfit).startswith(says)
    assert SECRET not in str(misfit)


@pytest.mark.parametrize(
    ("topic", "path", "told", "says"),
    [
        ("ev.modified-schedule.v1", "revision", "1", "revision: it is no whole number that fits; "),
        ("ev.modified-schedule.v1", "final", 1, "final: it is a number; give true or false"),
        (
            "axle-processor.outcomes.v1",
            "outcome",
            "LOST",
            "outcome: it is no word that is known here; give MODIFIED or",
        ),
        ("axle-processor.outcomes.v1", "outcome", [], "outcome: it is no word that is known here; give MODIFIED or"),
        ("axle-processor.outcomes.v1", "source", {"partition": 1 << 31}, "source.partition: it is no whole number "),
    ],
)
def test_each_type_has_its_words(topic: str, path: str, told: object, says: str) -> None:
    """Numbers, words and yes or no are held against the schema as well."""
    _, misfits = JsonForm(TEXTS[topic]).read({path: told})
    assert any(str(misfit).startswith(says) for misfit in misfits)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    """All that is missing in an empty event is named in one go, in the schema's order."""
    _, misfits = FORM.read({})
    assert [misfit.field for misfit in misfits] == ["event_id", "occurred_at", "site_id", "charger_id", "schedule"]
    assert str(FORM.read(None)[1][0]) == "the event: it is null, not an object; give one PlugIn: { ... }"


@settings(max_examples=200, deadline=None)
@given(told=st.builds(lambda more: {**PLUG_IN, **more}, st.dictionaries(st.sampled_from(list(PLUG_IN)), ANY_JSON)))
def test_whatever_is_told_is_taken_or_refused(told: dict[str, Any]) -> None:
    """Nothing raises; and what has no misfit can be written and read back unchanged."""
    fields, misfits = FORM.read(told)
    if not misfits:
        back: Fields = CODEC.decode(Input.PLUG_IN, CODEC.encode_fields(Input.PLUG_IN, fields))
        assert back == fields
        FORM.show(back)
