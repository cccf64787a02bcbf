"""The changelog's values: a site or a checkpoint as bytes and back, and the marks that a restore goes by.

How states are kept, restored and cached is the shell's business. The one idea: a value is an envelope (one version
byte, the CRC32 of what follows, then MessagePack) around the core's own dataclasses written as *arrays*: field names
would make up half of a value. So the order of a dataclass's fields is the format. A field may be added at the end of
its class, with a default, along with a higher `STATE_VERSION`; none may be moved, taken away or given another type.
Then a program reads what its predecessor wrote (the default fills the gap) and what its successor writes (the surplus
is passed over), and a rolling deploy can go either way.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Struct, msgpack

from processor.core.site import Site

STATE_VERSION = 1
"""What this program writes unless it is told to write the version before."""
_WRITABLE = range(max(1, STATE_VERSION - 1), STATE_VERSION + 1)
_READABLE = range(_WRITABLE.start, STATE_VERSION + 2)
CHECKPOINT_KEY = b"#checkpoint"
"""The key of a task's checkpoint record. No site has it: an id never holds a `#`."""

_ENVELOPE = struct.Struct(">BI")
_DUE, _OWES, _WITHDRAWN, _PAUSED = "due-at-ms", "owes", "withdrawn-since-ms", "paused-until-ms"


class BadState(ValueError):
    """Bytes that are no state of ours. One sentence: what is wrong with them, and what to try."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a task has read: the next offset of each input, by (topic, partition).

    `released`: its owner gave the task back in good order, so none of its calls to Axle is still under way.
    """

    offsets: Mapping[tuple[str, int], int]
    released: bool = False


@dataclass(frozen=True, slots=True)
class StateMarks:
    """What a restore must know of a site without decoding it; all times in UTC milliseconds."""

    due_at_ms: int | None = None
    owes: bool = False
    """Whether a call to Axle is owed."""
    withdrawn_since_ms: int | None = None
    paused_until_ms: int | None = None


def encode_site(site: Site, write_version: int = STATE_VERSION) -> bytes:
    """A site as a changelog value. `write_version` may be one lower while older programs still read the topic."""
    if write_version not in _WRITABLE:
        raise ValueError(f"state version {write_version} cannot be written; this program writes {_span(_WRITABLE)}.")
    return _SITE.encode(site, write_version)


def decode_site(value: bytes) -> Site:
    """The site that `encode_site` wrote. Raises BadState."""
    return _SITE.decode(value)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as a changelog value; equal checkpoints give equal bytes."""
    offsets = tuple(sorted((topic, part, offset) for (topic, part), offset in checkpoint.offsets.items()))
    return _CHECKPOINT.encode(_Offsets(offsets, checkpoint.released), STATE_VERSION)


def decode_checkpoint(value: bytes) -> Checkpoint:
    """The checkpoint that `encode_checkpoint` wrote. Raises BadState."""
    read = _CHECKPOINT.decode(value)
    return Checkpoint({(topic, part): offset for topic, part, offset in read.offsets}, read.released)


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


_Value = TypeVar("_Value")


class _Codec(Generic[_Value]):
    """One kind of value in its envelope."""

    def __init__(self, kind: type[_Value], name: str) -> None:
        self._name = name
        self._packer = msgpack.Encoder()
        self._unpacker = msgpack.Decoder(kind)

    def encode(self, value: _Value, version: int) -> bytes:
        body = self._packer.encode(value)
        # The version seeds the CRC: a damaged version byte is noticed too.
        return _ENVELOPE.pack(version, zlib.crc32(body, version)) + body

    def decode(self, value: bytes) -> _Value:
        if len(value) <= _ENVELOPE.size:
            raise BadState(f"a {self._name} of {len(value)} bytes is cut short; restore the state topic.")
        version, crc = _ENVELOPE.unpack_from(value)
        if version not in _READABLE:
            raise BadState(
                f"a {self._name} is of state version {version}; this program reads {_span(_READABLE)}. "
                "Run a release that reads it."
            )
        body = value[_ENVELOPE.size :]
        if zlib.crc32(body, version) != crc:
            raise BadState(
                f"a {self._name} is damaged: its checksum is not that of its bytes; restore the state topic."
            )
        try:
            return self._unpacker.decode(body)
        except (ValueError, RecursionError) as error:
            raise BadState(f"a {self._name} of state version {version} has another layout: {error}") from error


def _span(versions: range) -> str:
    return " to ".join(str(version) for version in sorted({versions[0], versions[-1]}))


_SITE = _Codec(Site, "site")
_CHECKPOINT = _Codec(_Offsets, "checkpoint")
