"""The published schemas: complete, documented, and in step with the core's values."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema
from msgspec.structs import fields

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Enrolment,
    Input,
    PlugIn,
    Source,
    UserBoost,
    WithdrawalReason,
)
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
from processor.shell.schema_files import schema_texts

Schema = dict[str, Any]
SCHEMAS: dict[str, Schema] = {name: json.loads(text) for name, text in schema_texts().items()}


def parts(schema: Any) -> Iterator[Schema]:
    """Every record, enum and field of a schema, itself included."""
    if isinstance(schema, list):
        for branch in schema:
            yield from parts(branch)
    elif isinstance(schema, dict):
        if "name" in schema:
            yield schema
        for key in ("fields", "type", "items"):
            yield from parts(schema.get(key))


def named(name: str) -> Schema:
    """The first record or enum of that name."""
    found = (part for schema in SCHEMAS.values() for part in parts(schema) if part["name"] == name)
    return next(part for part in found if "fields" in part or "symbols" in part)


PARTS = [(topic, part) for topic, schema in SCHEMAS.items() for part in parts(schema)]
DEFINITIONS = [part for _, part in PARTS if "fields" in part or "symbols" in part]


def test_there_is_one_schema_for_each_topic() -> None:
    """Each Avro topic has one schema, which is named as the topic is by default."""
    names = {topic: f"{schema['namespace']}.{schema['name']}" for topic, schema in SCHEMAS.items()}
    assert names == {
        "ev.plug-in.v1": "ev.v1.PlugIn",
        "ev.user-boost.v1": "ev.v1.UserBoost",
        "ev.consent-withdrawn.v1": "ev.v1.ConsentWithdrawn",
        "ev.modified-schedule.v1": "ev.v1.ModifiedSchedule",
        "ev.enrolment-status.v1": "ev.v1.EnrolmentStatus",
        "axle-processor.outcomes.v1": "ev.v1.Outcome",
    }


@pytest.mark.parametrize("topic", SCHEMAS)
def test_every_schema_is_avro(topic: str) -> None:
    """Every schema parses, defaults included."""
    parse_schema(SCHEMAS[topic])


@pytest.mark.parametrize(("topic", "part"), PARTS, ids=lambda value: value if isinstance(value, str) else value["name"])
def test_everything_is_documented(topic: str, part: Schema) -> None:
    """Every record, enum and field is documented, in whole sentences."""
    assert part["doc"].endswith("."), f"{topic}: {part['name']}"


@pytest.mark.parametrize(
    "enum", [part for part in DEFINITIONS if "symbols" in part], ids=lambda part: str(part["name"])
)
def test_every_enum_has_a_default_and_explains_its_symbols(enum: Schema) -> None:
    """Every enum has a default symbol, so that later symbols break no reader, and its text explains each symbol."""
    assert enum["default"] in enum["symbols"]
    assert [symbol for symbol in enum["symbols"] if symbol not in enum["doc"]] == []


@pytest.mark.parametrize(("topic", "part"), PARTS, ids=lambda value: value if isinstance(value, str) else value["name"])
def test_optional_fields_default_to_null(topic: str, part: Schema) -> None:
    """A field that may be left out is a union that begins with null, and null is its default."""
    if isinstance(part.get("type"), list):
        assert part["type"][0] == "null", topic
        assert part["default"] is None


@pytest.mark.parametrize(("topic", "part"), PARTS, ids=lambda value: value if isinstance(value, str) else value["name"])
def test_instants_are_timestamps(topic: str, part: Schema) -> None:
    """A field that tells a time is a timestamp in milliseconds, says UTC, and no other number claims to be one."""
    if "fields" in part or "symbols" in part:
        return
    is_instant = part["name"].endswith(("_at", "_until")) or part["name"] in {"start", "end"}
    assert ("timestamp-millis" in json.dumps(part["type"])) == is_instant or "fields" in json.dumps(part["type"])
    if is_instant:
        assert "UTC" in part["doc"], topic


def test_a_name_means_the_same_everywhere() -> None:
    """A record or enum that several schemas define is the same in each, texts included."""
    seen: dict[str, Schema] = {}
    for part in DEFINITIONS:
        plain = {key: value for key, value in part.items() if key != "namespace"}
        assert seen.setdefault(part["name"], plain) == plain


def test_personal_data_is_marked() -> None:
    """Whoever reads the schema of an enrolment is told what is personal."""
    personal = {field["name"] for field in named("Enrolment")["fields"] if "Personal data" in field["doc"]}
    assert personal == {"mpan", "postcode", "street_address", "email"}


RENAMED = {"kind": "type", "result": "outcome"}
PAIRS: list[tuple[str, type, set[str], set[str]]] = [
    ("PlugIn", PlugIn, {"session_id"}, {"source"}),
    ("UserBoost", UserBoost, set(), {"source"}),
    ("ConsentWithdrawn", ConsentWithdrawn, set(), {"source"}),
    ("Enrolment", Enrolment, set(), set()),
    ("ModifiedSchedule", ModifiedSchedule, {"event_id"}, set()),
    ("CausedBy", Cause, set(), set()),
    ("EnrolmentStatus", EnrolmentStatus, set(), set()),
    ("ChargerEnrolment", ChargerEnrolment, set(), set()),
    ("Outcome", Outcome, set(), set()),
    ("Source", Source, set(), set()),
]


@pytest.mark.parametrize(("name", "value", "only_in_schema", "only_in_core"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_records_and_core_values_have_the_same_fields(
    name: str, value: type[Any], only_in_schema: set[str], only_in_core: set[str]
) -> None:
    """Each record has the fields of its core value, and an optional one is optional in both."""
    in_core = {
        RENAMED.get(field.name, field.name.removesuffix("_ms")): "None" in str(field.type) for field in fields(value)
    }
    in_schema = {field["name"]: isinstance(field["type"], list) for field in named(name)["fields"]}
    assert in_schema.keys() - in_core.keys() == only_in_schema
    assert in_core.keys() - in_schema.keys() == only_in_core
    shared = in_schema.keys() & in_core.keys()
    assert {key for key in shared if in_schema[key]} == {key for key in shared if in_core[key]}


@pytest.mark.parametrize(
    ("name", "enum", "only_in_schema"),
    [
        ("BoostAction", BoostAction, []),
        ("WithdrawalReason", WithdrawalReason, []),
        ("CauseType", Input, ["UNKNOWN"]),
        ("ScheduleStatus", Status, []),
        ("ConsentState", ConsentState, []),
        ("ChargerStatus", Enrolled, []),
        ("Result", Result, []),
    ],
)
def test_enums_and_core_enums_have_the_same_words(name: str, enum: type[StrEnum], only_in_schema: list[str]) -> None:
    """Each enum has the words of its core enum in the same order; a cause may also be one that is not known yet."""
    assert named(name)["symbols"] == [*enum, *only_in_schema]


def test_missing_schema_files_are_a_sentence(tmp_path: Path) -> None:
    """Where no folder has a schema, the error says where it looked and what to do."""
    with pytest.raises(FileNotFoundError, match=r"install axle-processor again"):
        schema_texts([tmp_path, tmp_path / "none"])


def test_a_wheel_carries_its_own_schemas(tmp_path: Path) -> None:
    """The first folder that has schemas is the one that counts, so an installed package never reads a stranger's."""
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    for folder in (inside, beside):
        folder.mkdir()
        (folder / "ev.plug-in.v1.avsc").write_text(folder.name, encoding="utf-8")
    assert schema_texts([inside, beside]) == {"ev.plug-in.v1": "inside"}
