"""Records as JSON that people write and read, and JSON as fields that the codec takes.

The schema is the guide, both ways; what an input must say beyond it is the business of `inputs.py`. The one idea: an
instant is text with a zone for people (UTC milliseconds are taken, too), and whatever does not fit is told by its
place, why, and what to try, all of it at once. Nothing that was written is quoted: it may be personal data.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from processor.wire.avro import Fields
from processor.wire.instants import instant_ms, iso_z

TIME_HINT = "give 2026-11-23T22:00:00Z, with its zone, or UTC milliseconds"
MISSING = "it is missing"
_INT64 = range(-(1 << 63), 1 << 63)
_INT32 = range(-(1 << 31), 1 << 31)
_WORDS: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """What does not fit the schema: where (`schedule[0].start`), why, and what to try."""

    field: str
    why: str
    hint: str

    def __str__(self) -> str:
        """One sentence."""
        return f"{self.field}: {self.why}; {self.hint}"


class JsonForm:
    """One record's JSON, by the text of its schema."""

    def __init__(self, text: str) -> None:
        self._schema = orjson.loads(text)
        self._named: dict[str, Any] = {}
        self._learn(self._schema)
        self.name: str = self._schema["name"]

    def read(self, told: object) -> tuple[Fields, list[Misfit]]:
        """The fields of what orjson read, for `Codec.encode_fields`; they are whole only where nothing misfits."""
        misfits: list[Misfit] = []
        fields = self._read(self._schema, told, "", misfits)
        return (fields if isinstance(fields, dict) else {}), misfits

    def show(self, fields: Fields) -> dict[str, Any]:
        """Fields as values that JSON has, instants as text."""
        shown: dict[str, Any] = self._show(self._schema, fields)
        return shown

    def _learn(self, schema: Any) -> None:
        """Named types, which a schema spells out once and names from then on."""
        if isinstance(schema, list):
            for branch in schema:
                self._learn(branch)
        elif isinstance(schema, dict):
            if schema["type"] in {"record", "enum"}:
                self._named[schema["name"]] = schema
            for field in schema.get("fields", ()):
                self._learn(field["type"])
            self._learn(schema.get("items", schema["type"]))

    def _resolved(self, schema: Any) -> tuple[str, Any]:
        """A type's kind, and its schema; instants are a kind of their own."""
        if isinstance(schema, list):
            return "union", schema
        found = self._named.get(schema, {"type": schema}) if isinstance(schema, str) else schema
        kind: str = found.get("logicalType", found["type"])
        return kind, found

    def _read(self, schema: Any, told: object, place: str, misfits: list[Misfit]) -> Any:
        kind, found = self._resolved(schema)
        if kind == "union":
            rest = [branch for branch in found if branch != "null"]
            return None if told is None else self._read(rest[0], told, place, misfits)
        if kind == "record":
            return self._read_record(found, told, place, misfits)
        if kind == "array":
            if not isinstance(told, list):
                misfits.append(Misfit(place, f"it is {_word(told)}, not a list", "give [ ... ]"))
                return []
            items = found["items"]
            return [self._read(items, each, f"{place}[{number}]", misfits) for number, each in enumerate(told)]
        try:
            return _PLAIN[kind](told, found)
        except _Unfit as unfit:
            misfits.append(Misfit(place, unfit.why, unfit.hint))
            return None

    def _read_record(self, schema: Any, told: object, place: str, misfits: list[Misfit]) -> Fields:
        if not isinstance(told, dict):
            where, what = place or "the event", f"it is {_word(told)}, not an object"
            misfits.append(Misfit(where, what, f"give one {schema['name']}: {{ ... }}"))
            return {}
        known = {field["name"]: field for field in schema["fields"]}
        dot = f"{place}." if place else ""
        for name in told.keys() - known.keys():
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            misfits.append(Misfit(f"{dot}{name}", f"{schema['name']} has no such field", hint))
        fields: Fields = {}
        for name, field in known.items():
            if name in told:
                fields[name] = self._read(field["type"], told[name], f"{dot}{name}", misfits)
            elif "default" in field:
                fields[name] = field["default"]
            else:
                misfits.append(Misfit(f"{dot}{name}", MISSING, f"give it. {field['doc']}"))
        return fields

    def _show(self, schema: Any, value: Any) -> Any:
        kind, found = self._resolved(schema)
        if kind == "union":
            return None if value is None else self._show(next(branch for branch in found if branch != "null"), value)
        if kind == "record":
            return {field["name"]: self._show(field["type"], value[field["name"]]) for field in found["fields"]}
        if kind == "array":
            return [self._show(found["items"], each) for each in value]
        return _shown_instant(value) if kind == "timestamp-millis" else value


class _Unfit(Exception):
    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


def _text(told: object, _: Any) -> str:
    if not isinstance(told, str):
        raise _Unfit(f"it is {_word(told)}, not a text", 'give "..."')
    try:
        told.encode()
    except UnicodeEncodeError:
        raise _Unfit("it is no text that can be written", "give UTF-8") from None
    return told


def _enum(told: object, schema: Any) -> str:
    if told not in schema["symbols"] or not isinstance(told, str):
        raise _Unfit("it is no word that is known here", f"give {' or '.join(schema['symbols'])}")
    return told


def _instant(told: object, _: Any) -> int:
    if isinstance(told, str):
        try:
            return instant_ms(told)
        except ValueError:
            raise _Unfit("it is no time with a zone", TIME_HINT) from None
    if not isinstance(told, int) or isinstance(told, bool):
        raise _Unfit(f"it is {_word(told)}, not a time", TIME_HINT)
    if told not in _INT64:
        raise _Unfit("it is no plausible time", TIME_HINT)
    return told


def _whole(bounds: range) -> Callable[[object, Any], int]:
    def read(told: object, _: Any) -> int:
        if not isinstance(told, int) or isinstance(told, bool) or told not in bounds:
            raise _Unfit("it is no whole number that fits", f"give one from {bounds[0]} to {bounds[-1]}")
        return told

    return read


def _number(told: object, _: Any) -> float:
    if not isinstance(told, int | float) or isinstance(told, bool):
        raise _Unfit(f"it is {_word(told)}, not a number", "give a number, without quotes")
    return float(told)


def _truth(told: object, _: Any) -> bool:
    if not isinstance(told, bool):
        raise _Unfit(f"it is {_word(told)}", "give true or false")
    return told


_PLAIN: Mapping[str, Callable[[object, Any], Any]] = {
    "string": _text,
    "enum": _enum,
    "timestamp-millis": _instant,
    "long": _whole(_INT64),
    "int": _whole(_INT32),
    "double": _number,
    "boolean": _truth,
}


def _word(told: object) -> str:
    return _WORDS.get(type(told), "something else")


def _shown_instant(at_ms: int) -> str | int:
    try:
        return iso_z(at_ms)
    except ValueError:
        return at_ms
