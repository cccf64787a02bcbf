"""Records as a schema registry frames them: a zero, the id of the writer's schema in 4 bytes, the payload.

Nobody else in the program knows this framing. Schemas and their ids are handed in; asking a registry for them is the
shell's business. The one idea: what may be read is a list that comes from the registry's word on the subjects of our
topics. An id in a record is only ever compared with it, so a record cannot make us fetch, or follow, a foreign schema.

Single-object encoding of a schema that is known here is read as well: records from before a registry was used are
still on their topics.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from processor.core.events import Input
from processor.wire.avro import INPUT_RECORDS, SINGLE_OBJECT, VALUE_MAX_BYTES, Codec, Framing, Undecodable

Version = tuple[int, str]
"""The id of a schema, and its text."""
Named = tuple[str, int]
"""A subject, and the id of a schema that may or may not be one of its versions."""
MAGIC = b"\x00"
ID_BYTES = 4
HEADER_BYTES = len(MAGIC) + ID_BYTES
TEXT_MAX_CHARS = 1024 * 1024
"""A longer schema is none of ours."""
_SINGLE_HEADER_BYTES = len(SINGLE_OBJECT.magic) + SINGLE_OBJECT.id_size


def nothing_more(_: str, __: int) -> Iterable[Version]:
    """What a program is told that asks no registry while it reads."""
    return ()


class RegistryCodec(Codec):
    """Reads and writes every record of the product as a registry's users do.

    `texts`: our own schemas, as for `Codec`. `subjects`: the subject of each record, by its full name; records that are
    left out are in single-object encoding. `versions`: what the registry has of each subject. `ask(subject, id)` is
    called before an id counts as unknown, and tells what the registry has now; what it raises passes through.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        subjects: Mapping[str, str],
        versions: Mapping[str, Iterable[Version]],
        ask: Callable[[str, int], Iterable[Version]] = nothing_more,
    ) -> None:
        """Raises ValueError as `Codec` does, and for an id that the framing has no room for."""
        self._subjects = dict(subjects)
        self._ask = ask
        self._unusable: dict[tuple[str, bytes], str] = {}
        listed = {subject: [*known] for subject, known in versions.items()}

        def header_of(text: str) -> bytes:
            """How we write: by the id that this very schema has, else in single-object encoding."""
            schema = orjson.loads(text)
            subject = self._subjects.get(_full_name(schema), "")
            number = next((each for each, known in listed.get(subject, ()) if _says(known, schema)), None)
            return SINGLE_OBJECT.magic + SINGLE_OBJECT.id_of(text) if number is None else _header(number)

        super().__init__(texts, Framing("a schema registry's framing", b"", HEADER_BYTES, header_of))
        self._texts = {_full_name(schema): schema for schema in map(orjson.loads, texts.values())}
        for text in texts.values():
            own = self._own[_full_name(orjson.loads(text))]
            single = SINGLE_OBJECT.magic + SINGLE_OBJECT.id_of(text)
            self._writers.setdefault((own.name, single), replace(own, header=single))
        for subject, known in listed.items():
            for number, text in known:
                self.learn(subject, number, text)

    def is_registered(self, name: str) -> bool:
        """Whether our own schema of that record was among the versions that were handed in: so we write by its id."""
        return self._own[name].header.startswith(MAGIC)

    def has_any(self, subject: str) -> bool:
        """Whether any version of a subject was learnt that can be used."""
        names = self._of(subject)
        return any(name in names and header.startswith(MAGIC) for name, header in self._writers)

    def knows(self, subject: str, number: int) -> bool:
        """Whether an id is one of a subject's versions that were learnt, be it one that cannot be used."""
        header = _header(number)
        return any((name, header) in self._writers or (name, header) in self._unusable for name in self._of(subject))

    def learn(self, subject: str, number: int, text: str) -> None:
        """A version of a subject: what was written with it can be read from now on. Raises ValueError as above."""
        header = _header(number)
        for name in self._of(subject):
            own = self._own[name]
            if (name, header) in self._writers:
                continue
            if len(text) > TEXT_MAX_CHARS:
                self._unusable[name, header] = f"it has {len(text)} characters, more than {TEXT_MAX_CHARS}"
            elif _says(text, self._texts[name]):
                self._writers[name, header] = replace(own, header=header)
            else:
                self._list_foreign(name, text, header)

    def _list_foreign(self, name: str, text: str, header: bytes) -> None:
        try:
            self._list(name, "it", text, header)
        except ValueError as wrong:
            self._unusable[name, header] = str(wrong)

    def unknown(self, kind: Input, value: bytes) -> Named | None:
        """The subject and the id that a value names and that nobody told us of yet; None where it can be read now.

        What is no record at all counts as read: whoever decodes it says what is wrong with it.
        """
        name, header = INPUT_RECORDS[kind], value[:HEADER_BYTES]
        key = (name, header)
        if key in self._writers or key in self._unusable:
            return None
        if not (header.startswith(MAGIC) and HEADER_BYTES <= len(value) <= VALUE_MAX_BYTES):
            return None
        return self._subjects[name], int.from_bytes(header[len(MAGIC) :], "big")

    def _of(self, subject: str) -> list[str]:
        return [name for name, its in self._subjects.items() if its == subject]

    def _unlisted(self, name: str, value: bytes) -> Any:
        if not value.startswith(MAGIC):
            writer = self._writers.get((name, value[:_SINGLE_HEADER_BYTES]))
            if writer is not None:
                return writer
            if value.startswith(SINGLE_OBJECT.magic):
                schema_id = value[len(SINGLE_OBJECT.magic) : _SINGLE_HEADER_BYTES].hex()
                raise self._foreign(name, value[:_SINGLE_HEADER_BYTES], schema_id, "known here")
            raise Undecodable("framing", "the value does not begin as a schema registry's framing does")
        if len(value) < HEADER_BYTES:
            raise Undecodable("framing", f"the value ends within its first {HEADER_BYTES} bytes, which name its schema")
        header, subject = value[:HEADER_BYTES], self._subjects.get(name)
        number = int.from_bytes(header[len(MAGIC) :], "big")
        if subject is None:
            raise Undecodable("framing", f"the value is in a registry's framing, which is not expected of {name}")
        if (name, header) not in self._unusable:
            for each, text in self._ask(subject, number):
                self.learn(subject, each, text)
        writer = self._writers.get((name, header))
        if writer is not None:
            return writer
        if (name, header) in self._unusable:
            raise Undecodable("schema", f"schema {number} of {subject} cannot be used: {self._unusable[name, header]}")
        raise self._foreign(name, header, number, f"a version of {subject} in the schema registry")

    def _foreign(self, name: str, header: bytes, schema_id: object, wanted: str) -> Undecodable:
        others = sorted({other for other, known in self._writers if known == header})
        hint = f"; it is that of {others[0]}, but this topic carries {name}" if others else ""
        return Undecodable("schema", f"the value was written with schema {schema_id}, which is not {wanted}{hint}")


def _header(number: int) -> bytes:
    """Raises ValueError for an id that the framing has no room for."""
    try:
        return MAGIC + number.to_bytes(ID_BYTES, "big")
    except OverflowError:
        raise ValueError(f"the schema registry has the id {number}, which has no room in {ID_BYTES} bytes") from None


def _full_name(schema: Any) -> str:
    space = schema.get("namespace")
    return f"{space}.{schema['name']}" if space else str(schema["name"])


def _says(text: str, schema: Any) -> bool:
    """Layout aside: registries keep a text as it was given, or in a form of their own."""
    try:
        return bool(orjson.loads(text) == schema)
    except orjson.JSONDecodeError:
        return False
