"""Avro records as bytes, and bytes as Avro records.

Here live framing, the list of schemas that may be read, and the translation between core values and Avro's fields.
What an input must say beyond its schema is the business of `inputs.py`; schema texts are handed in, no file is opened.
The one idea: a record is a constant header, which names the schema it was written with, and a payload. A header that
is not on our list is never read on, because bytes of a schema that nobody vetted can take the process down.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Literal, TypeVar, cast

import orjson
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from processor.core.events import ConsentWithdrawn, Enrolment, Input, PlugIn, Source, UserBoost
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
from processor.core.schedule import Schedule
from processor.wire.avro_writer import writer_of
from processor.wire.vetting import smallest_size, strict, without_logical_types

VALUE_MAX_BYTES = 256 * 1024
"""A longer value is not looked at: Avro has no limits of its own."""

INPUT_RECORDS = {
    Input.PLUG_IN: "ev.v1.PlugIn",
    Input.USER_BOOST: "ev.v1.UserBoost",
    Input.CONSENT_WITHDRAWN: "ev.v1.ConsentWithdrawn",
}
OUTPUT_RECORDS: dict[type, str] = {
    ModifiedSchedule: "ev.v1.ModifiedSchedule",
    EnrolmentStatus: "ev.v1.EnrolmentStatus",
    Outcome: "ev.v1.Outcome",
}

Record = ModifiedSchedule | EnrolmentStatus | Outcome
"""What is published as Avro."""

RecordT = TypeVar("RecordT", bound=Record)
Fields = dict[str, Any]
"""One decoded record: Avro's field names, instants as integer milliseconds, enums as their symbols."""
Code = Literal["oversize", "framing", "schema", "decode", "trailing_bytes"]


class Undecodable(Exception):
    """These bytes are no record that we read. `reason` is a sentence, and quotes nothing of them."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code: Code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Framing:
    """How a header names a schema: `magic`, then `id_size` bytes that `id_of` gives for a schema's text."""

    name: str
    magic: bytes
    id_size: int
    id_of: Callable[[str], bytes]


def fingerprint_of(text: str) -> bytes:
    """The CRC-64-AVRO fingerprint of a schema's canonical form: 8 bytes, little-endian, as single-object encoding has.

    Documentation, defaults and logical types are no part of it.
    """
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(orjson.loads(text)), "CRC-64-AVRO"))


SINGLE_OBJECT = Framing("Avro single-object encoding", b"\xc3\x01", 8, fingerprint_of)
"""Needs no registry. Source: the Avro specification, 'Single object encoding'."""


@dataclass(frozen=True, slots=True)
class _Schema:
    name: str
    header: bytes
    parsed: Any
    strict: Any
    """The same, for reading what was written with it."""


class Codec:
    """Reads and writes every record of the product. Parse schemas once, keep one Codec for the life of the process.

    `texts`: the schema of each record, under any name (it is only used in error sentences). `older`: further schemas
    that inputs and outputs may have been written with, earlier or later versions of the same records; what they lack
    takes its default, and enum symbols that we do not know become the enum's default symbol.
    Raises ValueError when a schema is missing, is none, or could be used to exhaust us.
    """

    def __init__(self, texts: Mapping[str, str], framing: Framing = SINGLE_OBJECT, older: Iterable[str] = ()) -> None:
        self._framing = framing
        self._header_size = len(framing.magic) + framing.id_size
        schemas = [_schema(name, text, framing) for name, text in texts.items()]
        self._own = {schema.name: schema for schema in schemas}
        missing = {*INPUT_RECORDS.values(), *OUTPUT_RECORDS.values()} - self._own.keys()
        if missing:
            raise ValueError(f"No schema was handed in for {', '.join(sorted(missing))}: is the install complete?")
        others = [_schema(f"further schema {number}", text, framing) for number, text in enumerate(older, 1)]
        self._writers = {(schema.name, schema.header): schema for schema in (*others, *schemas)}
        self._encoders = {
            kind: (self._own[name].header, writer_of(self._own[name].parsed)) for kind, name in OUTPUT_RECORDS.items()
        }

    def decode(self, kind: Input, value: bytes) -> Fields:
        """The fields of an input record. Raises Undecodable, whatever the bytes are."""
        return self._read(INPUT_RECORDS[kind], value)

    def decode_output(self, kind: type[RecordT], value: bytes) -> RecordT:
        """A published record as a core value, for readers of our own topics. Raises Undecodable."""
        fields = self._read(OUTPUT_RECORDS[kind], value)
        try:
            return cast("RecordT", _FROM_FIELDS[kind](fields))
        except ValueError:
            raise Undecodable("decode", "the record uses a word that is newer than this program") from None

    def output_fields(self, kind: type[Record], value: bytes) -> Fields:
        """As `decode_output`, by the names that the contract has. Raises Undecodable."""
        return self._read(OUTPUT_RECORDS[kind], value)

    def encode(self, record: Record) -> bytes:
        """A record to publish, as bytes."""
        kind = type(record)
        header, write = self._encoders[kind]
        return header + write(_TO_FIELDS[kind](record))

    def encode_input(self, event: PlugIn | UserBoost | ConsentWithdrawn) -> bytes:
        """An input record as a platform would send it (without its `source`): for producers, the demo and tests."""
        if isinstance(event, PlugIn):
            return self._write(INPUT_RECORDS[Input.PLUG_IN], _plug_in_fields(event))
        if isinstance(event, UserBoost):
            return self._write(INPUT_RECORDS[Input.USER_BOOST], _user_boost_fields(event))
        return self._write(INPUT_RECORDS[Input.CONSENT_WITHDRAWN], _withdrawal_fields(event))

    def encode_fields(self, kind: Input, fields: Fields) -> bytes:
        """As `encode_input`, from fields that have the schema's types (`json_fields.py` sees to that)."""
        return self._write(INPUT_RECORDS[kind], fields)

    def _write(self, name: str, fields: Fields) -> bytes:
        schema = self._own[name]
        buffer = BytesIO()
        buffer.write(schema.header)
        schemaless_writer(buffer, schema.parsed, fields)
        return buffer.getvalue()

    def _read(self, name: str, value: bytes) -> Fields:
        if len(value) > VALUE_MAX_BYTES:
            raise Undecodable("oversize", f"the value has {len(value)} bytes, more than {VALUE_MAX_BYTES}")
        header = value[: self._header_size]
        writer = self._writers.get((name, header))
        if writer is None:
            writer = self._unlisted(name, value)
        own = self._own[name]
        payload = BytesIO(value)
        payload.seek(len(writer.header))
        # fastavro raises nearly every class there is on hostile bytes, MemoryError and RecursionError included.
        try:
            fields = schemaless_reader(payload, writer.strict, None if writer.parsed is own.parsed else own.parsed)
        except Exception as error:
            reason = f"the bytes do not follow the schema of {name} ({type(error).__name__})"
            raise Undecodable("decode", reason) from None
        left = len(value) - payload.tell()
        if left:
            raise Undecodable("trailing_bytes", f"the value goes on for {left} bytes after the end of its {name}")
        return cast("Fields", fields)

    def _list(self, name: str, label: str, text: str, header: bytes) -> None:
        """Read records of that name with another schema, too, where they begin so. Raises ValueError."""
        self._writers[name, header] = replace(_schema(label, text, self._framing), header=header)

    def _unlisted(self, name: str, value: bytes) -> _Schema:
        """The writer's schema of a value that begins as none on the list does. Raises Undecodable."""
        framing, header = self._framing, value[: self._header_size]
        if len(header) < self._header_size or not header.startswith(framing.magic):
            registry = header.startswith(b"\x00") and not framing.magic.startswith(b"\x00")
            hint = "; it looks like a schema registry's framing: is schema_registry.url set?" if registry else ""
            raise Undecodable("framing", f"the value does not begin as {framing.name} does{hint}")
        others = sorted(other for other, known in self._writers if known == header)
        if others:
            raise Undecodable("schema", f"the value is a {others[0]}, but this topic carries {name}")
        schema_id = header[len(framing.magic) :].hex()
        raise Undecodable("schema", f"the value was written with schema {schema_id}, which is no known form of {name}")


def _schema(label: str, text: str, framing: Framing) -> _Schema:
    try:
        parsed: Any = parse_schema(without_logical_types(orjson.loads(text)))
        smallest_size(parsed, {})
        name = parsed["name"]
    except Exception as error:
        raise ValueError(f"{label} is no Avro schema that can be used: {error}") from error
    header = framing.magic + framing.id_of(text)
    return _Schema(name, header, parsed, strict(parsed))


def _blocks(schedule: Schedule) -> list[Fields]:
    return [{"start": start, "end": end} for start, end in schedule]


def _schedule(blocks: list[Fields]) -> Schedule:
    return tuple((block["start"], block["end"]) for block in blocks)


def _modified_schedule_fields(record: ModifiedSchedule) -> Fields:
    cause = record.caused_by
    return {
        "event_id": f"{record.charger_id}.{record.revision}",
        "site_id": record.site_id,
        "charger_id": record.charger_id,
        "revision": record.revision,
        "replaces": record.replaces,
        "decided_at": record.decided_at_ms,
        "caused_by": {"event_id": cause.event_id, "type": cause.kind, "occurred_at": cause.occurred_at_ms},
        "status": record.status,
        "reason": record.reason,
        "final": record.final,
        "requested": _blocks(record.requested),
        "effective": _blocks(record.effective),
        "pauses": _blocks(record.pauses),
        "valid_until": record.valid_until_ms,
    }


def _modified_schedule(fields: Fields) -> ModifiedSchedule:
    cause = fields["caused_by"]
    return ModifiedSchedule(
        site_id=fields["site_id"],
        charger_id=fields["charger_id"],
        revision=fields["revision"],
        replaces=fields["replaces"],
        decided_at_ms=fields["decided_at"],
        caused_by=Cause(cause["event_id"], Input(cause["type"]), cause["occurred_at"]),
        status=Status(fields["status"]),
        reason=fields["reason"],
        final=fields["final"],
        requested=_schedule(fields["requested"]),
        effective=_schedule(fields["effective"]),
        pauses=_schedule(fields["pauses"]),
        valid_until_ms=fields["valid_until"],
    )


def _enrolment_status_fields(record: EnrolmentStatus) -> Fields:
    return {
        "site_id": record.site_id,
        "consent": record.consent,
        "axle_site_id": record.axle_site_id,
        "chargers": [
            {"charger_id": charger.charger_id, "status": charger.status, "axle_asset_id": charger.axle_asset_id}
            for charger in record.chargers
        ],
        "changed_at": record.changed_at_ms,
    }


def _enrolment_status(fields: Fields) -> EnrolmentStatus:
    chargers = tuple(
        ChargerEnrolment(charger["charger_id"], Enrolled(charger["status"]), charger["axle_asset_id"])
        for charger in fields["chargers"]
    )
    consent = ConsentState(fields["consent"])
    return EnrolmentStatus(fields["site_id"], consent, fields["axle_site_id"], chargers, fields["changed_at"])


def _outcome_fields(record: Outcome) -> Fields:
    source = record.source
    return {
        "event_id": record.event_id,
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
        "site_id": record.site_id,
        "charger_id": record.charger_id,
        "outcome": record.result,
        "revision": record.revision,
        "settled_at": record.settled_at_ms,
    }


def _outcome(fields: Fields) -> Outcome:
    return Outcome(
        event_id=fields["event_id"],
        source=Source(**fields["source"]),
        site_id=fields["site_id"],
        charger_id=fields["charger_id"],
        result=Result(fields["outcome"]),
        settled_at_ms=fields["settled_at"],
        revision=fields["revision"],
    )


def _plug_in_fields(event: PlugIn) -> Fields:
    return {
        "event_id": event.event_id,
        "occurred_at": event.occurred_at_ms,
        "site_id": event.site_id,
        "charger_id": event.charger_id,
        "schedule": _blocks(event.schedule),
        "session_id": None,
        "power_kw": event.power_kw,
        "enrolment": _enrolment_fields(event.enrolment) if event.enrolment else None,
    }


def _enrolment_fields(enrolment: Enrolment) -> Fields:
    return {
        "mpan": enrolment.mpan,
        "postcode": enrolment.postcode,
        "street_address": enrolment.street_address,
        "email": enrolment.email,
        "boundary_meter_consent_at": enrolment.boundary_meter_consent_at_ms,
        "consented_at": enrolment.consented_at_ms,
    }


def _user_boost_fields(event: UserBoost) -> Fields:
    return {
        "event_id": event.event_id,
        "occurred_at": event.occurred_at_ms,
        "site_id": event.site_id,
        "charger_id": event.charger_id,
        "action": event.action,
        "boost_until": event.boost_until_ms,
        "schedule": None if event.schedule is None else _blocks(event.schedule),
    }


def _withdrawal_fields(event: ConsentWithdrawn) -> Fields:
    return {
        "event_id": event.event_id,
        "occurred_at": event.occurred_at_ms,
        "site_id": event.site_id,
        "charger_id": event.charger_id,
        "reason": event.reason,
    }


_TO_FIELDS: dict[type, Callable[[Any], Fields]] = {
    ModifiedSchedule: _modified_schedule_fields,
    EnrolmentStatus: _enrolment_status_fields,
    Outcome: _outcome_fields,
}
_FROM_FIELDS: dict[type, Callable[[Fields], Record]] = {
    ModifiedSchedule: _modified_schedule,
    EnrolmentStatus: _enrolment_status,
    Outcome: _outcome,
}
