"""What breaks between an earlier form of a schema and a new one, in words that name the field.

Here live Avro's rules of schema resolution, asked of two schemas instead of a schema and bytes. Where earlier forms
come from, and which rule a topic has, is the business of `processor.cli.schemas`.

The one idea: compatible means that a reader with one schema understands everything that a writer with the other may
write. Backward: the reader is the new one. Forward: the reader is the earlier one. Full: both. Source: the Avro
specification, 'Schema Resolution'. In two things this is stricter than the specification, because we are: a record
keeps its full name, and an instant keeps its unit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from fastavro import parse_schema

NAMED = frozenset({"record", "error", "enum", "fixed"})
PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
"""What a reader may read as something wider."""


class Rule(StrEnum):
    """What a new schema must be able to do with every earlier one of its topic, by the names that registries use."""

    BACKWARD = "BACKWARD_TRANSITIVE"
    """The new one reads what was written with the earlier ones."""
    FULL = "FULL_TRANSITIVE"
    """That, and readers of the earlier ones read what is written with the new one."""


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that breaks. `field` is its path, such as `enrolment.mpan` or `schedule[].start`."""

    field: str
    change: str
    harm: str

    def __str__(self) -> str:
        return f"{self.field} {self.change}: {self.harm}"


def breaks(earlier: str, new: str, rule: Rule) -> list[Break]:
    """What a new schema's text breaks for those who use the earlier one, each change told once.

    Raises ValueError when one of them is no Avro schema.
    """
    before, after = _parsed(earlier, "the earlier schema"), _parsed(new, "the new schema")
    found = [*_Comparison(reader=after, writer=before, is_forward=False).all()]
    if rule is Rule.FULL:
        found += _Comparison(reader=before, writer=after, is_forward=True).all()
    merged: dict[tuple[str, str], list[str]] = {}
    for each in found:
        harms = merged.setdefault((each.field, each.change), [])
        if each.harm not in harms:
            harms.append(each.harm)
    return [Break(field, change, "; ".join(harms)) for (field, change), harms in merged.items()]


def _parsed(text: str, which: str) -> Any:
    try:
        return parse_schema(orjson.loads(text))
    # fastavro raises nearly every class there is on a hostile schema, RecursionError included.
    except Exception as error:
        raise ValueError(f"{which} is no Avro schema ({type(error).__name__}: {error})") from None


class _Comparison:
    """One reader against one writer. `is_forward`: the reader is the earlier schema, else the new one."""

    def __init__(self, *, reader: Any, writer: Any, is_forward: bool) -> None:
        self._reader, self._writer = reader, writer
        self._is_forward = is_forward
        self._reader_names = _names(reader)
        self._writer_names = _names(writer)
        self._seen: set[tuple[str, str]] = set()

    def all(self) -> Iterator[Break]:
        name = self._writer.get("name", "") if isinstance(self._writer, dict) else ""
        yield from self._compare(self._reader, self._writer, "", name.rpartition(".")[2] or "the schema")

    def _compare(self, reader: Any, writer: Any, path: str, shown: str) -> Iterator[Break]:
        """`shown` is what the field is called in a sentence: its path, or the record's name at the very top."""
        readable = [_resolved(branch, self._reader_names) for branch in _branches(reader, self._reader_names)]
        written = [_resolved(branch, self._writer_names) for branch in _branches(writer, self._writer_names)]
        for one in written:
            alike = [branch for branch in readable if _is_alike(branch, one)]
            wider = [branch for branch in readable if _kind(branch) in PROMOTIONS.get(_kind(one), ())]
            if alike:
                yield from self._within(alike[0], one, path, shown)
            elif wider:
                yield from self._unit(wider[0], one, shown)
            else:
                yield self._mismatch(readable, written, one, shown)

    def _within(self, reader: Any, writer: Any, path: str, shown: str) -> Iterator[Break]:
        kind = _kind(writer)
        if kind in ("record", "error"):
            pair = (reader["name"], writer["name"])
            if pair not in self._seen:
                self._seen.add(pair)
                yield from self._fields(reader, writer, path)
        elif kind == "enum":
            yield from self._symbols(reader, writer, shown)
        elif kind == "array":
            yield from self._compare(reader["items"], writer["items"], f"{path}[]", f"{path}[]")
        elif kind == "map":
            yield from self._compare(reader["values"], writer["values"], f"{path}{{}}", f"{path}{{}}")
        elif kind == "fixed" and reader["size"] != writer["size"]:
            yield self._changed(reader, writer, shown, lambda schema: f"{schema['size']} bytes long")
        else:
            yield from self._unit(reader, writer, shown)

    def _fields(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            name = f"{path}.{field['name']}" if path else field["name"]
            known_as = [field["name"], *field.get("aliases", ())]
            source = next((written[alias] for alias in known_as if alias in written), None)
            if source is not None:
                yield from self._compare(field["type"], source["type"], name, name)
            elif "default" not in field and self._is_forward:
                yield Break(name, "is gone and had no default", "readers of the earlier schema cannot do without it")
            elif "default" not in field:
                yield Break(name, "is new and has no default", "records that were written before have no value for it")

    def _symbols(self, reader: Any, writer: Any, shown: str) -> Iterator[Break]:
        strange = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if not strange or "default" in reader:
            return
        words = ", ".join(strange)
        if self._is_forward:
            change = f"may now be {words}, and the earlier schema has no default symbol"
            yield Break(shown, change, "readers of the earlier schema cannot read that")
        else:
            change = f"may not be {words} any more, and has no default symbol"
            yield Break(shown, change, "records that were written before may hold that")

    def _unit(self, reader: Any, writer: Any, shown: str) -> Iterator[Break]:
        units = {schema["logicalType"] for schema in (reader, writer) if isinstance(schema, dict) and _unit_of(schema)}
        if len(units) > 1:
            yield self._changed(reader, writer, shown, _unit_of)

    def _changed(self, reader: Any, writer: Any, shown: str, told: Any) -> Break:
        before, after = (reader, writer) if self._is_forward else (writer, reader)
        return Break(shown, f"was {told(before)} and is now {told(after)}", self._harm())

    def _mismatch(self, readable: list[Any], written: list[Any], one: Any, shown: str) -> Break:
        if len(readable) == len(written) == 1:
            return self._changed(readable[0], one, shown, _described)
        others = " or ".join(_described(branch) for branch in readable)
        if self._is_forward:
            return Break(shown, f"may now be {_described(one)}, and before only {others}", self._harm())
        return Break(shown, f"may not be {_described(one)} any more, only {others}", self._harm())

    def _harm(self) -> str:
        if self._is_forward:
            return "readers of the earlier schema cannot read new records"
        return "records that were written before cannot be read"


def _names(schema: Any) -> Any:
    return schema.get("__named_schemas", {}) if isinstance(schema, dict) else {}


def _resolved(schema: Any, names: Any) -> Any:
    """A named type in place of its name; a type in place of a type around a type."""
    while True:
        if isinstance(schema, str) and schema in names:
            schema = names[schema]
        elif isinstance(schema, dict) and isinstance(schema["type"], dict | list):
            schema = schema["type"]
        else:
            return schema


def _branches(schema: Any, names: Any) -> list[Any]:
    resolved = _resolved(schema, names)
    return resolved if isinstance(resolved, list) else [resolved]


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


def _is_alike(reader: Any, writer: Any) -> bool:
    kind = _kind(writer)
    if kind != _kind(reader):
        return False
    return kind not in NAMED or writer["name"] in (reader["name"], *_aliases(reader))


def _aliases(schema: Any) -> list[str]:
    """In full; one without a dot is in the namespace of its type."""
    namespace, dot, _ = schema["name"].rpartition(".")
    return [alias if "." in alias else f"{namespace}{dot}{alias}" for alias in schema.get("aliases", ())]


def _unit_of(schema: Any) -> str:
    return str(schema.get("logicalType", "")) if isinstance(schema, dict) else ""


def _described(schema: Any) -> str:
    kind = _kind(schema)
    if kind in NAMED:
        return f"the {kind} {schema['name']}"
    unit = _unit_of(schema)
    return f"{kind} ({unit})" if unit else kind
