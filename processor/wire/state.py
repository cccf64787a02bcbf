"""The changelog's values: a site or a checkpoint as bytes and back, and the marks that a restore goes by.

How states are kept, restored and cached is the shell's business. The one idea: a value is an envelope (one version
byte, the CRC32 of what follows, then MessagePack) around the core's own values written as *arrays*: field names would
make up half of a value. So the order of a class's fields is the format. A field may be added at the end of its class,
with a default, along with a higher `STATE_VERSION`; none may be moved, taken away or given another type, and an
enumeration gains a name only once every program that reads the topic knows it. Then a program reads what its
predecessor wrote (the default fills the gap) and what its successor writes (the surplus is passed over, and kept when
the site is written again), and a rolling deploy can go either way.

Version 1 is the first release's. Version 2 adds to `Site` older_marks, kept_axle_site_ids, left_axle_site_ids,
erasing and unkept_revision, to `Charger` budget_until_ms and not_found_at_ms, to `Question` not_before_ms, to
`Leaving` once. A checkpoint tells since then how many tasks there were and which topics it is about. That goes
under version 1 as well, since programs of the first release pass it over, and no check comes too late that way.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, Generic, TypeVar

from msgspec import Struct, convert, defstruct, msgpack, structs

from processor.core.enrolment import fingerprint
from processor.core.site import Charger, Enrolling, Leaving, Offboarding, Question, Site

STATE_VERSION = 2
"""What this program writes unless it is told to write the version before."""
WRITABLE_VERSIONS = range(STATE_VERSION - 1, STATE_VERSION + 1)
_READABLE = range(1, STATE_VERSION + 2)
"""Sites are written anew only when something happens to them, so the oldest versions are met for years."""
_IDENTITY: Mapping[type, str] = {
    Site: "site_id",
    Charger: "charger_id",
    Question: "number",
    Enrolling: "since_ms",
    Leaving: "since_ms",
    Offboarding: "since_ms",
}
"""What stays the same thing while it changes, and by which field. All else is a plain value: the same, or another."""
CHECKPOINT_KEY = b"#checkpoint"
"""The key of a task's checkpoint record. No site has it: an id never holds a `#`."""
ERASED_PREFIX = "#erased/"
"""Where the keys of erased sites begin. No site's own key does."""

_ENVELOPE = struct.Struct(">BI")
_BODY_AT, _unpack_envelope = _ENVELOPE.size, _ENVELOPE.unpack_from
_DUE, _OWES, _WITHDRAWN, _PAUSED = "due-at-ms", "owes", "withdrawn-since-ms", "paused-until-ms"


class BadState(ValueError):
    """Bytes that are no state of ours. One sentence: what is wrong with them, and what to try."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a task has read: the next offset of each input, by (topic, partition).

    `released`: its owner gave the task back in good order, so none of its calls to Axle is still under way. `tasks`:
    how many there were in all; None in a checkpoint of the first release. `topic_ids`: Kafka's id of each topic that
    was read, where it was known.
    """

    offsets: Mapping[tuple[str, int], int]
    released: bool = False
    tasks: int | None = None
    topic_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateMarks:
    """What a restore must know of a site without decoding it; all times in UTC milliseconds."""

    due_at_ms: int | None = None
    owes: bool = False
    """Whether a call to Axle is owed."""
    withdrawn_since_ms: int | None = None
    paused_until_ms: int | None = None


def encode_site(site: Site, write_version: int = STATE_VERSION, previous: bytes | None = None) -> bytes:
    """A site as a changelog value. Raises ValueError for a version that this program does not write.

    `write_version` may be one lower while older programs still read the topic. Then these are left out, and a restart
    finds their defaults. All are harmless: the budget of questions (`budget_until_ms`, `not_before_ms`: a question may
    be put sooner), `not_found_at_ms` (Axle is asked once more) and `once` (it is asked a few times more). A site that
    uses one of the new fields of its own is written as version 2 all the same: without `erasing` a household would
    never be forgotten, without the others something of it would stay at Axle. The version before reads such a value,
    but drops those fields when it changes the site: erase only once it is gone.

    `previous` is the site's value so far. When a newer program wrote it, the new value has that program's version, and
    what we do not know stays in it: of the site, of each charger by its id, and of whatever did not change.
    """
    if write_version not in WRITABLE_VERSIONS:
        raise ValueError(
            f"state version {write_version} cannot be written; this program writes {_span(WRITABLE_VERSIONS)}."
        )
    if previous is not None and previous[0] > STATE_VERSION:
        row = msgpack.decode(previous[_ENVELOPE.size :])
        return _enveloped(_over(site, decode_site(previous), row), previous[0])
    if write_version < STATE_VERSION and not any(structs.astuple(site)[_NEW_IN_SITE:]):
        return _enveloped(convert(site, _SITE_BEFORE, from_attributes=True), write_version)
    return _enveloped(site, STATE_VERSION)


def decode_site(value: bytes) -> Site:
    """The site that `encode_site` wrote. Raises BadState."""
    return _SITE.decode(value)


def is_whole(value: bytes) -> bool:
    """Whether a value is of a version that we read, and its bytes are those that were written.

    A sixth of what decoding costs. What the bytes mean shows when it is decoded, and so does what is wrong with them.
    """
    if len(value) <= _BODY_AT:
        return False
    version, crc = _unpack_envelope(value)
    # The version seeds the CRC: a damaged version byte is noticed too.
    return zlib.crc32(value[_BODY_AT:], version) == crc and version in _READABLE


def erased_key(site_id: str, secret: bytes) -> str:
    """Where the mark of an erased household stands: a keyed hash of its id, so that the id itself is nowhere."""
    return f"{ERASED_PREFIX}{fingerprint(site_id, secret)}"


def encode_checkpoint(checkpoint: Checkpoint, write_version: int = STATE_VERSION) -> bytes:
    """A checkpoint as a changelog value; equal checkpoints give equal bytes. All versions have the same layout."""
    offsets = tuple(sorted((topic, part, offset) for (topic, part), offset in checkpoint.offsets.items()))
    topic_ids = tuple(sorted(checkpoint.topic_ids.items()))
    return _enveloped(_Offsets(offsets, checkpoint.released, checkpoint.tasks, topic_ids), write_version)


def decode_checkpoint(value: bytes) -> Checkpoint:
    """The checkpoint that `encode_checkpoint` wrote. Raises BadState."""
    read = _CHECKPOINT.decode(value)
    offsets = {(topic, part): offset for topic, part, offset in read.offsets}
    return Checkpoint(offsets, read.released, read.tasks, dict(read.topic_ids))


def state_headers(
    due_at_ms: int | None,
    owes: bool,  # noqa: FBT001 - four marks of one kind
    withdrawn_since_ms: int | None,
    paused_until_ms: int | None,
) -> list[tuple[str, bytes]]:
    """The marks of a site as record headers: decimal text, readable with any Kafka tool.

    `owes` is always there, so that a record without marks is never taken for one that owes nothing.
    """
    times = ((_DUE, due_at_ms), (_WITHDRAWN, withdrawn_since_ms), (_PAUSED, paused_until_ms))
    return [(_OWES, b"1" if owes else b"0"), *((name, b"%d" % at_ms) for name, at_ms in times if at_ms is not None)]


def read_headers(headers: Iterable[tuple[str, str | bytes | None]] | None) -> StateMarks:
    """The marks of a state record; headers of other names are passed over. Raises BadState when there are none."""
    found = dict(headers or ())
    owes = found.get(_OWES)
    if owes not in {b"0", b"1"}:
        raise BadState("a state record does not say whether a call is owed; decode its value instead of its headers.")
    return StateMarks(_at_ms(found, _DUE), owes == b"1", _at_ms(found, _WITHDRAWN), _at_ms(found, _PAUSED))


def is_at_rest(headers: Iterable[tuple[str, str | bytes | None]]) -> bool:
    """Whether a state record says that nothing is owed and nobody wants to be woken, as of most sites it does.

    Cheap: `read_headers` is for all others, and for records that do not say.
    """
    owes = None
    for name, value in headers:
        if name == _DUE:
            return False
        if name == _OWES:
            owes = value
    return owes == b"0"


def _at_ms(found: Mapping[str, str | bytes | None], name: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise BadState(f"the header {name} of a state record is no number; decode its value instead.") from None


class _Offsets(Struct, frozen=True, array_like=True):
    offsets: tuple[tuple[str, int, int], ...]
    released: bool = False
    tasks: int | None = None
    topic_ids: tuple[tuple[str, str], ...] = ()


def _enveloped(value: object, version: int) -> bytes:
    body = _PACKER.encode(value)
    return _ENVELOPE.pack(version, zlib.crc32(body, version)) + body


def _before(kind: type[Struct], fields: int, **changed: Any) -> Any:
    """A type of the version before: the first `fields` of `kind`, those that `changed` with the type they had."""
    known = [(field.name, changed.get(field.name, field.type)) for field in structs.fields(kind)[:fields]]
    return defstruct(f"{kind.__name__}Before", known, array_like=True)


_QUESTION_BEFORE = _before(Question, 5)
_LEAVING_BEFORE = _before(Leaving, 3)
_CHARGER_BEFORE = _before(Charger, 16, question=_QUESTION_BEFORE | None, leaving=_LEAVING_BEFORE | None)
_SITE_BEFORE = _before(Site, 8, chargers=GenericAlias(tuple, (_CHARGER_BEFORE, ...)))
_NEW_IN_SITE = len(structs.fields(_SITE_BEFORE))


def _over(new: object, old: object, row: Any) -> object:
    """`new` as it is written over `row`, which was read as `old`: what we do not know of the same thing stays."""
    if new == old:
        return row
    if isinstance(new, tuple) and isinstance(old, tuple):
        befores = list(zip(old, row, strict=True))
        return [next((_over(each, *before) for before in befores if _is_same(each, before[0])), each) for each in new]
    if isinstance(new, Struct) and isinstance(old, Struct) and _is_same(new, old):
        fields = structs.astuple(new)
        return [*map(_over, fields, structs.astuple(old), row), *row[len(fields) :]]
    return new


def _is_same(new: object, old: object) -> bool:
    identity = _IDENTITY.get(type(new))
    return identity is not None and type(new) is type(old) and getattr(new, identity) == getattr(old, identity)


_Value = TypeVar("_Value")


class _Reader(Generic[_Value]):
    def __init__(self, kind: type[_Value], name: str) -> None:
        self._name = name
        self._unpacker = msgpack.Decoder(kind)

    def decode(self, value: bytes) -> _Value:
        if len(value) <= _BODY_AT:
            raise BadState(f"a {self._name} of {len(value)} bytes is cut short; restore the state topic.")
        version = value[0]
        if version not in _READABLE:
            raise BadState(
                f"a {self._name} is of state version {version}; this program reads {_span(_READABLE)}. "
                "Run a release that reads it."
            )
        if not is_whole(value):
            raise BadState(
                f"a {self._name} is damaged: its checksum is not that of its bytes; restore the state topic."
            )
        try:
            return self._unpacker.decode(value[_BODY_AT:])
        except (ValueError, RecursionError) as error:
            raise BadState(f"a {self._name} of state version {version} has another layout: {error}") from error


def _span(versions: range) -> str:
    return " to ".join(str(version) for version in sorted({versions[0], versions[-1]}))


_PACKER = msgpack.Encoder()
_SITE = _Reader(Site, "site")
_CHECKPOINT = _Reader(_Offsets, "checkpoint")
