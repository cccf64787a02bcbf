"""Avro's binary form of our own output records, several times faster than a writer for any schema there is.

Only writing, and only what our outputs are made of: whoever reads, and whatever else is written, goes through fastavro,
which a test holds this against byte by byte. The one idea: a schema is walked once, when the program starts, and what
is left of it is one function for each of its parts.

Source: the Avro specification 1.11, "Binary encoding".
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

Writer = Callable[[Any], bytes]
"""The bytes of one value: of a record its fields by name, of an enum its symbol, of an array a sized collection."""

_EMPTY = b"\x00"


def writer_of(schema: Any) -> Writer:
    """The writer of a schema as `fastavro.parse_schema` gives it. Raises ValueError for a type that is not covered."""
    return _writer(schema, {})


def _writer(schema: Any, named: dict[str, Writer]) -> Writer:
    if isinstance(schema, list):
        return _optional(schema, named)
    if isinstance(schema, str):
        found = _PLAIN.get(schema) or named.get(schema)
        if found is None:
            raise ValueError(f"values of type {schema} are not written here")
        return found
    match schema["type"]:
        case "record":
            named[schema["name"]] = writer = _record(schema, named)
            return writer
        case "enum":
            named[schema["name"]] = writer = _enum(schema)
            return writer
        case "array":
            return _array(_writer(schema["items"], named))
        case other:
            return _writer(other, named)


def _record(schema: Any, named: dict[str, Writer]) -> Writer:
    fields = [(field["name"], _writer(field["type"], named)) for field in schema["fields"]]

    def write(value: Any) -> bytes:
        return b"".join([part(value[name]) for name, part in fields])

    return write


def _enum(schema: Any) -> Writer:
    places = {symbol: _long(place) for place, symbol in enumerate(schema["symbols"])}
    return places.__getitem__


def _array(item: Writer) -> Writer:
    def write(value: Any) -> bytes:
        return b"".join([_long(len(value)), *map(item, value), _EMPTY]) if value else _EMPTY

    return write


def _optional(branches: list[Any], named: dict[str, Writer]) -> Writer:
    if len(branches) != 2 or "null" not in branches:
        raise ValueError("of unions only those of null and one other type are written here")
    null_place = branches.index("null")
    null, some = _long(null_place), _long(1 - null_place)
    other = _writer(branches[1 - null_place], named)

    def write(value: Any) -> bytes:
        return null if value is None else some + other(value)

    return write


# Times are most of what there is to write, and many of them are the same: a round has one time, schedules have whole
# minutes.
@lru_cache(maxsize=16_384)
def _long(value: int) -> bytes:
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{value} does not fit into Avro's long")
    left = (value << 1) ^ (value >> 63)
    digits = bytearray()
    while left > 0x7F:
        digits.append(left & 0x7F | 0x80)
        left >>= 7
    digits.append(left)
    return bytes(digits)


def _string(value: str) -> bytes:
    encoded = value.encode()
    return _long(len(encoded)) + encoded


def _boolean(value: bool) -> bytes:  # noqa: FBT001 - a value to write, no option
    return b"\x01" if value else b"\x00"


_PLAIN: dict[str, Writer] = {"string": _string, "int": _long, "long": _long, "boolean": _boolean}
