"""Schemas made fit for bytes that mean harm: which of them may be used, and how the others' gaps are closed.

Here lives what is done to a schema before the first record is read with it; reading is `avro.py`'s business. The one
idea: fastavro has no limits of its own and takes what a record says for granted, so what could exhaust it, or pass for
something else, must be ruled out by the schema that it is given.
"""

from typing import Any, cast


def without_logical_types(schema: Any) -> Any:
    """Instants stay integers: turning them into datetimes and back costs more than all the rest of a record."""
    if isinstance(schema, dict):
        return {key: without_logical_types(part) for key, part in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def smallest_size(schema: Any, sizes: dict[str, int | None]) -> int:
    """The fewest bytes that a value of a parsed schema takes. `sizes`: of named types, None while one is open.

    Raises ValueError for the two kinds of schema with which a few bytes exhaust fastavro: one that contains itself
    (the stack), and arrays of items without bytes (memory).
    """
    if isinstance(schema, list):
        return 1 + min(smallest_size(branch, sizes) for branch in schema)
    if isinstance(schema, str):
        size = sizes.get(schema, 0 if schema == "null" else 1)
        if size is None:
            raise ValueError(f"{schema} contains itself")
        return size
    kind = schema["type"]
    if kind in ("array", "map"):
        item_size = smallest_size(schema["items" if kind == "array" else "values"], sizes)
        if kind == "array" and item_size == 0:
            raise ValueError("an array has items without bytes")
        return 1
    if kind != "record":
        return cast("int", schema["size"]) if kind == "fixed" else smallest_size(kind, sizes)
    name = schema["name"]
    sizes[name] = None
    size = sum(smallest_size(field["type"], sizes) for field in schema["fields"])
    sizes[name] = size
    return size


class _FromZero(list[Any]):
    """What a record names by its number, none of which is below zero.

    fastavro counts such a number from the end, as Python does, and asks for the length only then. Without this a
    record of broken bytes could pass for a boost.
    """

    def __len__(self) -> int:
        raise IndexError("the number of a union's branch or of an enum's symbol is below zero")


def strict(schema: Any) -> Any:
    """A parsed schema that reads no number below zero for a union's branch or an enum's symbol."""
    if isinstance(schema, list):
        return _FromZero(map(strict, schema))
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items() if key != "fields"}
    return {**made, "fields": [*map(strict, schema["fields"])]} if "fields" in schema else made
