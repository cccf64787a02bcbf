"""Bytes and records: what is written can be read, and nothing from outside gets past the list of schemas."""

import contextlib
import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.events import BoostAction, ConsentWithdrawn, Input, PlugIn, Source, UserBoost
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
from processor.core.schedule import normalise
from processor.shell.schema_files import schema_texts
from processor.wire.avro import (
    INPUT_RECORDS,
    VALUE_MAX_BYTES,
    Codec,
    Framing,
    Record,
    Undecodable,
    fingerprint_of,
)

TEXTS = schema_texts()
CODEC = Codec(TEXTS)
AT_MS = 1_763_800_000_000
SOURCE = Source("ev.plug-in.v1", 3, 1_234)
PLUG_IN = PlugIn("e-1", AT_MS, SOURCE, "s-1", "c-1", ((AT_MS, AT_MS + 3_600_000),), 7.4)
BOOST = UserBoost("e-2", AT_MS, SOURCE, "s-1", "c-1", BoostAction.BOOST, AT_MS + 1)
WITHDRAWAL = ConsentWithdrawn("e-3", AT_MS, SOURCE, "s-1")
EXAMPLES = ((Input.PLUG_IN, PLUG_IN), (Input.USER_BOOST, BOOST), (Input.CONSENT_WITHDRAWN, WITHDRAWAL))

texts = st.text(max_size=40)
instants = st.integers(0, 253_402_300_799_999)
schedules = st.lists(st.tuples(instants, instants), max_size=4).map(normalise)
causes = st.builds(Cause, texts, st.sampled_from(Input), instants)
sources = st.builds(Source, texts, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
modified_schedules = st.builds(
    ModifiedSchedule,
    texts,
    texts,
    instants,
    st.none() | instants,
    instants,
    causes,
    st.sampled_from(Status),
    texts,
    st.booleans(),
    schedules,
    schedules,
    schedules,
    instants,
)
charger_enrolments = st.builds(ChargerEnrolment, texts, st.sampled_from(Enrolled), st.none() | texts)
enrolment_statuses = st.builds(
    EnrolmentStatus,
    texts,
    st.sampled_from(ConsentState),
    st.none() | texts,
    st.lists(charger_enrolments, max_size=3).map(tuple),
    instants,
)
outcomes = st.builds(
    Outcome,
    st.none() | texts,
    sources,
    st.none() | texts,
    st.none() | texts,
    st.sampled_from(Result),
    instants,
    st.none() | instants,
)


def schema_of(name: str) -> dict[str, Any]:
    """The published schema of that full name, as a value that a test may change."""
    loaded: list[dict[str, Any]] = [json.loads(text) for text in TEXTS.values()]
    return next(schema for schema in loaded if f"{schema['namespace']}.{schema['name']}" == name)


def written_with(schema: dict[str, Any], fields: dict[str, Any]) -> bytes:
    """A record as a producer with a schema of its own would send it."""
    buffer = io.BytesIO()
    buffer.write(b"\xc3\x01" + fingerprint_of(json.dumps(schema)))
    schemaless_writer(buffer, parse_schema(schema), fields)
    return buffer.getvalue()


def code_of(kind: Input, value: bytes, codec: Codec = CODEC) -> str:
    """The code that a value is refused with."""
    with pytest.raises(Undecodable) as caught:
        codec.decode(kind, value)
    return caught.value.code


@settings(max_examples=80, deadline=None)
@given(st.one_of(modified_schedules, enrolment_statuses, outcomes))
def test_output_round_trip(record: Record) -> None:
    """What is published reads back as the same value, whatever it says."""
    assert CODEC.decode_output(type(record), CODEC.encode(record)) == record


@pytest.mark.parametrize(
    ("text", "little_endian"),
    [('"null"', "8a8f25cce724dd63"), ('"int"', "8f5c393f1ad57572"), ('"string"', "c70345637248018f")],
)
def test_fingerprints_are_those_of_the_specification(text: str, little_endian: str) -> None:
    """The fingerprint is CRC-64-AVRO, least significant byte first, as in the specification's own test cases."""
    assert fingerprint_of(text).hex() == little_endian


@pytest.mark.parametrize(("kind", "event"), EXAMPLES)
def test_a_stranger_with_the_published_schema_reads_it(kind: Input, event: PlugIn | UserBoost) -> None:
    """Behind the ten bytes of header, any Avro reader with the published schema finds the record, with real times."""
    schema = schema_of(INPUT_RECORDS[kind])
    value = CODEC.encode_input(event)
    assert value[:10] == b"\xc3\x01" + fingerprint_of(json.dumps(schema))
    record = schemaless_reader(io.BytesIO(value[10:]), parse_schema(schema))
    assert isinstance(record, dict)
    assert record["occurred_at"] == datetime.fromtimestamp(AT_MS / 1000, UTC)


def test_instants_are_integers() -> None:
    """A decoded record has milliseconds, no datetimes, so that no zone can slip in."""
    fields = CODEC.decode(Input.PLUG_IN, CODEC.encode_input(PLUG_IN))
    assert fields["occurred_at"] == AT_MS
    assert fields["schedule"] == [{"start": AT_MS, "end": AT_MS + 3_600_000}]


def test_ids_of_modified_schedules_are_derived() -> None:
    """The id of a modified schedule is its charger and its revision."""
    record = ModifiedSchedule(
        site_id="s-1",
        charger_id="c-1",
        revision=7,
        replaces=None,
        decided_at_ms=AT_MS,
        caused_by=Cause("e-1", Input.PLUG_IN, AT_MS),
        status=Status.UNCHANGED,
        reason="Axle answered without a pause.",
        final=True,
        requested=(),
        effective=(),
        pauses=(),
        valid_until_ms=AT_MS,
    )
    schema = parse_schema(schema_of("ev.v1.ModifiedSchedule"))
    read = schemaless_reader(io.BytesIO(CODEC.encode(record)[10:]), schema)
    assert isinstance(read, dict)
    assert read["event_id"] == "c-1.7"


@pytest.mark.parametrize(("kind", "event"), EXAMPLES)
def test_bytes_after_the_end_are_refused(kind: Input, event: PlugIn | UserBoost) -> None:
    """A record must end where its value ends."""
    assert code_of(kind, CODEC.encode_input(event) + b"\x00") == "trailing_bytes"


@pytest.mark.parametrize(("kind", "event"), EXAMPLES)
def test_every_truncation_is_refused(kind: Input, event: PlugIn | UserBoost) -> None:
    """Whatever is cut off at the end, the rest is not taken for a record."""
    value = CODEC.encode_input(event)
    assert {code_of(kind, value[:size]) for size in range(10)} == {"framing"}
    assert {code_of(kind, value[:size]) for size in range(10, len(value))} == {"decode"}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_flipped_bits_never_raise_anything_else(
    example: tuple[Input, PlugIn | UserBoost | ConsentWithdrawn], data: st.DataObject
) -> None:
    """Flipped bits make a record of the schema, or Undecodable, and nothing else."""
    kind, event = example
    value = bytearray(CODEC.encode_input(event))
    for at in data.draw(st.lists(st.integers(0, len(value) * 8 - 1), min_size=1, max_size=6)):
        value[at // 8] ^= 1 << at % 8
    try:
        fields = CODEC.decode(kind, bytes(value))
    except Undecodable:
        return
    assert fields.keys() == {field["name"] for field in schema_of(INPUT_RECORDS[kind])["fields"]}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(EXAMPLES), st.binary(max_size=80))
def test_any_payload_behind_a_good_header_is_survived(
    example: tuple[Input, PlugIn | UserBoost | ConsentWithdrawn], payload: bytes
) -> None:
    """Any bytes behind a good header are a record or Undecodable."""
    kind, event = example
    with contextlib.suppress(Undecodable):
        CODEC.decode(kind, CODEC.encode_input(event)[:10] + payload)


def test_an_oversize_value_is_not_read() -> None:
    """A value of more than 256 KiB is refused before anything in it is looked at."""
    assert code_of(Input.PLUG_IN, bytes(VALUE_MAX_BYTES + 1)) == "oversize"
    assert code_of(Input.PLUG_IN, bytes(VALUE_MAX_BYTES)) == "framing"


def test_registry_framing_is_recognised() -> None:
    """Who sends registry framing without a registry set is told which setting is missing."""
    with pytest.raises(Undecodable, match=r"registry") as caught:
        CODEC.decode(Input.PLUG_IN, b"\x00\x00\x00\x00\x07" + bytes(20))
    assert caught.value.code == "framing"


def test_a_record_of_another_topic_is_named() -> None:
    """A record on the wrong topic is refused, and the reason names both kinds."""
    with pytest.raises(Undecodable, match=re.escape("is a ev.v1.UserBoost, but this topic carries ev.v1.PlugIn")):
        CODEC.decode(Input.PLUG_IN, CODEC.encode_input(BOOST))


def test_an_unknown_schema_is_never_read_on() -> None:
    """A fingerprint that is not on the list is refused, and the reason shows it."""
    value = bytearray(CODEC.encode_input(PLUG_IN))
    value[2:10] = bytes(range(8))
    with pytest.raises(Undecodable, match="0001020304050607") as caught:
        CODEC.decode(Input.PLUG_IN, bytes(value))
    assert caught.value.code == "schema"


def test_reasons_quote_nothing_of_the_record() -> None:
    """A reason never carries content of the bytes: they may hold personal data."""
    value = CODEC.encode_input(PLUG_IN).replace(b"e-1", b"\xffSW")
    with pytest.raises(Undecodable) as caught:
        CODEC.decode(Input.PLUG_IN, value)
    assert caught.value.reason == "the bytes do not follow the schema of ev.v1.PlugIn (UnicodeDecodeError)"


def test_another_version_of_a_schema_is_read_when_it_is_listed() -> None:
    """A listed version with a symbol and a field of its own, and without one of ours, is read by Avro's rules."""
    newer = schema_of("ev.v1.UserBoost")
    action = next(field for field in newer["fields"] if field["name"] == "action")
    action["type"]["symbols"].append("BOOST_EXTENDED")
    newer["fields"] = [field for field in newer["fields"] if field["name"] != "boost_until"]
    newer["fields"].append({"name": "tariff", "type": "string"})
    fields = {"event_id": "e", "occurred_at": AT_MS, "site_id": "s", "charger_id": "c", "schedule": None}
    value = written_with(newer, {**fields, "action": "BOOST_EXTENDED", "tariff": "night"})
    assert code_of(Input.USER_BOOST, value) == "schema"
    codec = Codec(TEXTS, older=[json.dumps(newer)])
    assert codec.decode(Input.USER_BOOST, value) == {**fields, "action": "UNKNOWN", "boost_until": None}


def test_a_newer_cause_is_no_core_value() -> None:
    """A published record whose cause is newer than the program is Undecodable, as the core has no word for it."""
    cause = {"event_id": "e", "type": "UNKNOWN", "occurred_at": AT_MS}
    fields = {"event_id": "c.1", "site_id": "s", "charger_id": "c", "revision": 1, "decided_at": 1, "caused_by": cause}
    rest = {"status": "MODIFIED", "reason": "", "final": True, "requested": [], "effective": [], "pauses": []}
    value = written_with(schema_of("ev.v1.ModifiedSchedule"), {**fields, **rest, "valid_until": 1})
    with pytest.raises(Undecodable, match="newer than this program"):
        CODEC.decode_output(ModifiedSchedule, value)


def test_another_framing_fits_in() -> None:
    """A framing with numbered schemas reads and writes the same records behind five bytes."""
    numbers = {text: number.to_bytes(4, "big") for number, text in enumerate(TEXTS.values(), 1)}
    codec = Codec(TEXTS, Framing("registry framing", b"\x00", 4, numbers.__getitem__))
    value = codec.encode_input(PLUG_IN)
    assert value[5:] == CODEC.encode_input(PLUG_IN)[10:]
    assert codec.decode(Input.PLUG_IN, value) == CODEC.decode(Input.PLUG_IN, CODEC.encode_input(PLUG_IN))
    assert code_of(Input.PLUG_IN, b"\x00\x00\x00\x00\x63" + value[5:], codec) == "schema"


def test_a_missing_schema_stops_the_start() -> None:
    """A codec without all six schemas is refused at once, and the sentence names what is missing."""
    texts = {name: text for name, text in TEXTS.items() if name != "ev.plug-in.v1"}
    with pytest.raises(ValueError, match=r"ev\.v1\.PlugIn"):
        Codec(texts)


def record(*fields: object) -> str:
    """A schema with fields of these types."""
    named = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(fields)]
    return json.dumps({"type": "record", "name": "R", "fields": named})


EMPTY = {"type": "record", "name": "E", "fields": []}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no Avro schema"),
        ('{"type": "record"}', "is no Avro schema"),
        (record(["null", "R"]), "contains itself"),
        (record({"type": "map", "values": "R"}), "contains itself"),
        (record({"type": "array", "items": "null"}), "items without bytes"),
        (record({"type": "array", "items": EMPTY}), "items without bytes"),
        (record(EMPTY, {"type": "array", "items": "E"}), "items without bytes"),
        (record({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "items without bytes"),
    ],
)
def test_a_dangerous_schema_is_refused(text: str, problem: str) -> None:
    """A schema with which a few bytes could exhaust the process is refused before any record is read with it."""
    with pytest.raises(ValueError, match=problem):
        Codec(TEXTS, older=[text])


def test_a_harmless_schema_is_taken() -> None:
    """Maps, arrays, enums and fixed sizes are fine in a further schema."""
    enum = {"type": "enum", "name": "N", "symbols": ["A"]}
    fixed = {"type": "fixed", "name": "F", "size": 2}
    kinds = ({"type": "array", "items": enum}, {"type": "map", "values": "N"}, fixed, {"type": "array", "items": "F"})
    Codec(TEXTS, older=[record("null", *kinds)])
