"""What breaks between two forms of a schema: every kind of change, told by field, and never at odds with a reader."""

import json
import random
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.utils import generate_many

from processor.shell.schema_files import schema_texts
from processor.wire.compatibility import Rule, breaks

Schema = dict[str, Any]
Change = Callable[[Schema], object]

BASE: Schema = {
    "type": "record",
    "name": "Told",
    "namespace": "t.v1",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "count", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "word", "type": {"type": "enum", "name": "Word", "symbols": ["A", "B", "UNKNOWN"]}},
        {
            "name": "blocks",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Block",
                    "fields": [{"name": "start", "type": "long"}, {"name": "end", "type": "long"}],
                },
            },
        },
        {"name": "last", "type": ["null", "Block"], "default": None},
        {"name": "extra", "type": {"type": "map", "values": "float"}},
        {"name": "mark", "type": {"type": "fixed", "name": "Mark", "size": 2}},
    ],
}
BLOCK = 5


def changed(change: Change) -> Schema:
    """The base schema after a change."""
    schema: Schema = json.loads(json.dumps(BASE))
    change(schema)
    return schema


def typed(field: int, kind: Any) -> Change:
    """That field with another type; a default would not fit it."""

    def change(schema: Schema) -> None:
        schema["fields"][field] = {"name": schema["fields"][field]["name"], "type": kind}

    return change


def added(**field: Any) -> Change:
    return lambda schema: schema["fields"].append({"name": "fresh", "type": "string", **field})


def symbols(*words: str, **more: Any) -> Change:
    return lambda schema: schema["fields"][4]["type"].update(symbols=list(words), **more)


HARMLESS: list[tuple[str, Change]] = [
    ("a text", lambda schema: schema.update(doc="Other words.")),
    ("an order", lambda schema: schema["fields"].insert(0, schema["fields"].pop(1))),
    ("a field with a default", added(default="")),
    ("an optional field less", lambda schema: schema["fields"].pop(3)),
]
BACKWARD_ONLY: list[tuple[str, Change, str]] = [
    ("a wider number", typed(1, "long"), "count was int and is now long: readers of the earlier schema cannot read"),
    ("a further symbol", symbols("A", "B", "C", "UNKNOWN"), "word may now be C, and the earlier schema has no default"),
    ("a field less", lambda schema: schema["fields"].pop(1), "count is gone and had no default: readers of the"),
    ("null allowed", typed(1, ["null", "int"]), "count may now be null, and before only int: readers"),
    ("one more kind", typed(3, ["null", "string", "int"]), "note may now be int, and before only null or string"),
    (
        "a new name with the old one as alias",
        lambda schema: schema["fields"][0].update(name="ident", aliases=["id"]),
        "id is gone and had no default",
    ),
]
BREAKING: list[tuple[str, Change, str]] = [
    ("a required field", added(), "fresh is new and has no default: records that were written before have no value"),
    ("a text for a number", typed(1, "string"), "count was int and is now string: records that were written before"),
    ("a narrower number", typed(2, "int"), "at was long (timestamp-millis) and is now int"),
    ("a symbol less", symbols("A", "UNKNOWN"), "word may not be B any more, and has no default symbol: records"),
    ("null forbidden", typed(3, "string"), "note may not be null any more, only string"),
    ("another unit", typed(2, {"type": "long", "logicalType": "timestamp-micros"}), "at was timestamp-millis and is"),
    (
        "a required field further in",
        lambda schema: schema["fields"][BLOCK]["type"]["items"]["fields"].append({"name": "kw", "type": "float"}),
        "blocks[].kw is new and has no default",
    ),
    (
        "a field renamed further in",
        lambda schema: schema["fields"][BLOCK]["type"]["items"]["fields"][0].update(name="from"),
        "blocks[].from is new and has no default",
    ),
    ("a map of something else", typed(7, {"type": "map", "values": "string"}), "extra{} was float and is now string"),
    ("a longer mark", typed(8, {"type": "fixed", "name": "Mark", "size": 4}), "mark was 2 bytes long and is now 4"),
    ("a renamed record", lambda schema: schema.update(name="Said"), "Told was the record t.v1.Told and is now"),
    ("a list for one", typed(6, "string"), "last may not be null any more, only string"),
]
ALL: list[tuple[str, Change]] = [*HARMLESS, *((name, change) for name, change, _ in BACKWARD_ONLY + BREAKING)]


def told(change: Change, rule: Rule) -> list[str]:
    return [str(each) for each in breaks(json.dumps(BASE), json.dumps(changed(change)), rule)]


@pytest.mark.parametrize(("name", "change"), HARMLESS, ids=[case[0] for case in HARMLESS])
def test_a_harmless_change_breaks_nothing(name: str, change: Change) -> None:
    """Texts and fields that have a default may come and go under either rule."""
    assert told(change, Rule.FULL) == []


@pytest.mark.parametrize(("name", "change", "words"), BACKWARD_ONLY, ids=[case[0] for case in BACKWARD_ONLY])
def test_what_only_earlier_readers_mind(name: str, change: Change, words: str) -> None:
    """A change that we can read but that readers of the earlier schema cannot breaks an output, and no input."""
    assert told(change, Rule.BACKWARD) == []
    assert [line for line in told(change, Rule.FULL) if line.startswith(words)] != []


@pytest.mark.parametrize(("name", "change", "words"), BREAKING, ids=[case[0] for case in BREAKING])
def test_a_breaking_change_is_told_by_its_field(name: str, change: Change, words: str) -> None:
    """Whoever breaks a schema reads which field it is, what changed, and who is hurt."""
    for rule in Rule:
        lines = told(change, rule)
        assert [line for line in lines if line.startswith(words)] != [], lines


def test_what_is_compatible_is_read() -> None:
    """Where nothing is said to break between any two of these forms, fastavro reads every record of the earlier one."""
    forms = [("the base", BASE), *((name, changed(change)) for name, change in ALL)]
    random.seed(20)  # fastavro draws the records
    compatible, unreadable = 0, []
    for name, earlier in forms:
        values = [_written(parse_schema(earlier), record) for record in generate_many(parse_schema(earlier), 5)]
        for other, later in forms:
            if breaks(json.dumps(earlier), json.dumps(later), Rule.BACKWARD):
                continue
            compatible += 1
            if not all(_is_read(value, parse_schema(earlier), parse_schema(later)) for value in values):
                unreadable.append(f"{name} -> {other}")
    assert unreadable == []
    assert compatible > 100


def _written(schema: Any, record: Any) -> bytes:
    value = BytesIO()
    schemaless_writer(value, schema, record)
    return value.getvalue()


def _is_read(value: bytes, writer: Any, reader: Any) -> bool:
    try:
        schemaless_reader(BytesIO(value), writer, reader)
    except Exception:  # it raises nearly every class there is
        return False
    return True


def test_a_default_symbol_stands_for_all_others() -> None:
    """Symbols of an enum may come and go once readers have a default for those that they do not know."""
    assert told(symbols("A", "UNKNOWN", default="UNKNOWN"), Rule.BACKWARD) == []
    before = json.dumps(changed(symbols("A", "B", "UNKNOWN", default="UNKNOWN")))
    after = json.dumps(changed(symbols("A", "C", "UNKNOWN", default="UNKNOWN")))
    assert breaks(before, after, Rule.FULL) == []


def test_a_change_that_hurts_both_sides_is_told_once() -> None:
    """Under the full rule one change is one line, with both who are hurt in it."""
    (line,) = told(typed(1, "string"), Rule.FULL)
    assert line == (
        "count was int and is now string: records that were written before cannot be read; "
        "readers of the earlier schema cannot read new records"
    )


def test_a_schema_within_itself_ends() -> None:
    """A record that contains itself is compared once."""
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "left", "type": ["null", "Tree"]}, {"name": "size", "type": "int"}],
    }
    other = json.dumps(tree).replace('"int"', '"string"')
    assert [each.field for each in breaks(json.dumps(tree), other, Rule.FULL)] == ["size"]


@pytest.mark.parametrize("text", ["{", "[]x", '{"type": "record"}', '{"type": "nonsense"}', "[" * 5000])
def test_what_is_no_schema_is_a_sentence(text: str) -> None:
    """Text that is no schema is refused with its place named, whatever it is."""
    with pytest.raises(ValueError, match=r"the earlier schema is no Avro schema"):
        breaks(text, json.dumps(BASE), Rule.BACKWARD)


@pytest.mark.parametrize("name", schema_texts())
def test_every_published_schema_is_compatible_with_itself(name: str) -> None:
    """Nothing breaks where nothing changed."""
    text = schema_texts()[name]
    assert breaks(text, text, Rule.FULL) == []
