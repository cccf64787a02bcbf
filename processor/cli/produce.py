"""`axle-processor produce plug-in|user-boost|consent-withdrawn`: one event, as a platform's service would send it.

Here live what an event is made of (a file, options), the words about what is wrong with it, and the record. The one
idea: an event is refused here for what the processor would refuse it for, by the same code, before anything is sent.
"""

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from processor.cli.cluster import exit_code, now_ms, reached, write
from processor.cli.schema_registry import codec_of
from processor.cli.times import told_ms
from processor.cli.wiring import limits_of, topic_names
from processor.core.events import Input, Source
from processor.settings import Settings, SettingsWrong, load
from processor.shell.exits import EXIT_USAGE
from processor.shell.records import Produce
from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames
from processor.wire.avro import INPUT_RECORDS, VALUE_MAX_BYTES
from processor.wire.inputs import RejectCode, Rejected, read_input
from processor.wire.json_fields import MISSING, TIME_HINT, JsonForm, Misfit

FILE_MAX_BYTES = 4 * VALUE_MAX_BYTES
HEX_LINE_BYTES = 32
_TIMES = {"occurred_at", "boost_until"}
_OPTIONS = {"event_id": "--event-id", "occurred_at": "--occurred-at", "site_id": "--site", "charger_id": "--charger"}
_HINTS: Mapping[RejectCode, str] = {
    RejectCode.BAD_ID: "give the id of your own system, other characters replaced, the same way each time",
    RejectCode.BAD_TIME: f"{TIME_HINT} (13 digits, not seconds)",
    RejectCode.TOO_OLD: "send what drivers do as it happens; only withdrawals may be of any age",
    RejectCode.BAD_SCHEDULE: "give blocks that each end after they start, within two days in all",
    RejectCode.BAD_BOOST: "give a later boost_until, or none for a boost of 12 hours",
    RejectCode.BAD_POWER: "give kilowatts, not watts, or leave it out",
    RejectCode.BAD_ENROLMENT: "give what the schema's description asks for, or leave the enrolment out",
    RejectCode.OVERSIZE: "send fewer blocks",
}


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """One event to send: a file ("-": stdin) or None, and the fields that options tell, by their names."""

    kind: Input
    file: Path | None
    told: Mapping[str, Any]
    dry_run: bool
    json: bool
    schedule: Sequence[str] = field(default=())
    """Blocks, each as START/END."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """An event that the processor would take: its record, its id, and what its bytes say when they are read back."""

    record: Produce
    event_id: str
    schema: str
    shown: dict[str, Any]


class _Wrong(Exception):
    """What is wrong with the event, a sentence each."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def produce_verb(options: ProduceOptions) -> int:
    """Make the event, look at it as the processor would, and send it. Returns the exit code."""

    def work() -> int:
        settings = load()
        try:
            ready = _ready(options, settings)
        except _Wrong as wrong:
            for sentence in wrong.sentences:
                print(f"usage: {sentence}", file=sys.stderr)
            return EXIT_USAGE
        if options.dry_run:
            print(_dry_run(ready, as_json=options.json))
            return 0
        place = write(reached(settings, [ready.record.topic]), ready.record, "event")
        print(_landed(ready, place, as_json=options.json))
        return 0

    return exit_code(work, "stopped; whether the event was written is not known: send it again, twice does no harm")


def _ready(options: ProduceOptions, settings: Settings) -> _Ready:
    """Raises _Wrong, SettingsWrong, and what `codec_of` does."""
    texts = schema_texts()
    at_ms = now_ms()
    kind, form = options.kind, JsonForm(texts[_topic(options.kind, TopicNames())])
    fields, misfits = form.read(_told(options, at_ms))
    if misfits:
        raise _Wrong(*(_sentence(misfit, options) for misfit in misfits))
    codec = codec_of(settings, [INPUT_RECORDS[kind]], writes=[INPUT_RECORDS[kind]])
    value = codec.encode_fields(kind, fields)
    try:
        limits = limits_of(settings)
    except ValueError as wrong:
        raise SettingsWrong(str(wrong)) from wrong
    said = read_input(kind, value, Source("", 0, 0), at_ms, codec, limits)
    if isinstance(said, Rejected):
        raise _Wrong(f"{said.reason}; {_HINTS.get(said.code, 'see the schema')}")
    record = Produce(_topic(kind, topic_names(settings)), said.site_id.encode(), value)
    return _Ready(record, said.event_id, form.name, form.show(codec.decode(kind, value)))


def _topic(kind: Input, names: TopicNames) -> str:
    return str(getattr(names, kind.value.lower()))


def _told(options: ProduceOptions, at_ms: int) -> object:
    """The event as JSON: the file's, with the options in the place of its fields.

    Without a file an id is drawn and the time is now; a file that tells neither has forgotten them. Raises _Wrong.
    """
    if options.file is None:
        event: object = {"event_id": f"produce.{secrets.token_hex(8)}", "occurred_at": at_ms}
    else:
        event = _read(options.file)
    if not isinstance(event, dict):
        return event
    for name, value in options.told.items():
        if value is not None:
            event[name] = _instant(value, name, at_ms) if name in _TIMES else value
    if options.schedule:
        event["schedule"] = [_block(text, at_ms) for text in options.schedule]
    return event


def _read(file: Path) -> object:
    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(FILE_MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise _Wrong(f"FILE: {error.strerror}: {file}") from error
    if len(text) > FILE_MAX_BYTES:
        raise _Wrong(f"FILE: it is longer than {FILE_MAX_BYTES} bytes; give one event")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _Wrong(f"FILE: it is no JSON ({error.msg}, {place}); give one object: {{ ... }}") from None


def _instant(text: str, name: str, at_ms: int) -> int:
    try:
        return told_ms(text, at_ms)
    except ValueError as error:
        raise _Wrong(f"--{name.replace('_', '-')}: {error}") from None


def _block(text: str, at_ms: int) -> dict[str, int]:
    start, slash, end = text.partition("/")
    if not slash:
        raise _Wrong(f"--schedule: {text!r} is no block; give START/END, for example now/+8h")
    return {"start": _instant(start, "schedule", at_ms), "end": _instant(end, "schedule", at_ms)}


def _sentence(misfit: Misfit, options: ProduceOptions) -> str:
    """What is wrong, and the option that mends it where no file was given."""
    option = _OPTIONS.get(misfit.field, f"--{misfit.field.replace('_', '-')}")
    is_forgotten = misfit.why == MISSING and options.file is None
    return f"{misfit.field}: {misfit.why}; give {option}, or a FILE" if is_forgotten else str(misfit)


def _dry_run(ready: _Ready, *, as_json: bool) -> str:
    record, value = ready.record, ready.record.value or b""
    if as_json:
        told = {"topic": record.topic, "key": _key(ready), "hex": value.hex(), "event": ready.shown}
        return orjson.dumps(told).decode()
    lines = [f"  {value[at : at + HEX_LINE_BYTES].hex()}" for at in range(0, len(value), HEX_LINE_BYTES)]
    heading = f"not sent: {ready.schema} for {record.topic}, key {_key(ready)}, {len(value)} bytes"
    decoded = orjson.dumps(ready.shown, option=orjson.OPT_INDENT_2).decode()
    return "\n".join([heading, *lines, "they say:", decoded])


def _landed(ready: _Ready, place: Source, *, as_json: bool) -> str:
    if as_json:
        told = {
            "topic": place.topic,
            "partition": place.partition,
            "offset": place.offset,
            "key": _key(ready),
            "event_id": ready.event_id,
        }
        return orjson.dumps(told).decode()
    return f"{place.topic} [{place.partition}] at offset {place.offset}: event {ready.event_id}, key {_key(ready)}"


def _key(ready: _Ready) -> str:
    return (ready.record.key or b"").decode()
