"""Our own writer of Avro: what it writes is what fastavro writes, byte by byte."""

from io import BytesIO
from typing import Any

import orjson
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from processor.shell.schema_files import schema_texts
from processor.wire.avro import OUTPUT_RECORDS
from processor.wire.avro_writer import writer_of

LONG = st.integers(-(1 << 63), (1 << 63) - 1)
SCHEMAS: dict[str, Any] = {
    name: parse_schema(_bare)
    for name, _bare in (
        (parsed["namespace"] + "." + parsed["name"], parsed) for parsed in map(orjson.loads, schema_texts().values())
    )
    if name in OUTPUT_RECORDS.values()
}


def values_of(schema: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a parsed schema, instants as integers."""
    if isinstance(schema, list):
        return st.one_of([values_of(branch, named) for branch in schema])
    if isinstance(schema, str):
        plain = {"string": st.text(max_size=80), "long": LONG, "boolean": st.booleans(), "null": st.none()}
        plain["int"] = st.integers(-(1 << 31), (1 << 31) - 1)
        return plain[schema] if schema in plain else values_of(named[schema], named)
    if "name" in schema:
        named[schema["name"]] = schema
    match schema["type"]:
        case "record":
            return st.fixed_dictionaries({field["name"]: values_of(field["type"], named) for field in schema["fields"]})
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values_of(schema["items"], named), max_size=4)
        case other:
            return values_of(other, named)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
@given(data=st.data())
def test_the_bytes_are_those_of_fastavro(name: str, data: st.DataObject) -> None:
    """Whatever a record of ours holds, an independent writer gives the same bytes for it."""
    fields = data.draw(values_of(SCHEMAS[name], {}))
    other = BytesIO()
    schemaless_writer(other, SCHEMAS[name], fields)
    assert writer_of(SCHEMAS[name])(fields) == other.getvalue()


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_a_number_beyond_64_bits_is_refused(number: int) -> None:
    """What no reader could read back is not written."""
    with pytest.raises(ValueError, match="does not fit"):
        writer_of("long")(number)


@pytest.mark.parametrize("schema", ["bytes", {"type": "map", "values": "long"}, ["string", "long"]])
def test_a_type_that_is_not_covered_stops_the_start(schema: Any) -> None:
    """A schema that grew beyond what is covered here shows when it is loaded, not with the first record."""
    with pytest.raises(ValueError, match="written here"):
        writer_of(parse_schema(schema))
