"""Records that mean harm, drawn from a seed: each of a named kind, with what it must be refused for.

Here lives what is sent; who sends it, and what must come of it, is `tests/chaos/fuzz.py`'s. Records are put together
from their fields' bytes by the Avro specification, not with the product's codec, so that any of them can be a lie.

The one idea: a kind is a function from chance to a record. One that breaks a rule knows which. One that only flips bits
cannot know whether the rest is still true to the contract: it expects nothing but a single outcome, with a dead letter
exactly when that is INVALID.
"""

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import orjson
from fastavro.schema import fingerprint, to_parsing_canonical_form

from processor.shell.schema_files import schema_texts

Headers = list[tuple[str, bytes | None]]
Parts = dict[str, bytes]
"""A record's payload: the bytes of each field, in the schema's order."""
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ANYTHING: frozenset[str] = frozenset({"*"})
"""It may be refused for any reason, or be taken."""
NOTHING: frozenset[str] = frozenset()
"""It looks strange and is true to the contract: it must be taken."""
NO_VALUE = frozenset({"no_value"})
"""The one reason that makes no dead letter: there is nothing to keep."""
INT64 = (-(1 << 63), (1 << 63) - 1)
TEXTS = schema_texts()
INPUTS = {"plug_in": "ev.plug-in.v1", "user_boost": "ev.user-boost.v1", "consent_withdrawn": "ev.consent-withdrawn.v1"}
OUTPUTS = ("ev.modified-schedule.v1", "ev.enrolment-status.v1", "axle-processor.outcomes.v1")
STRANGE_TIMES = (0, -1, 1_763_800_020, 99_999_999_999, 253_402_300_800_000, 1_763_800_020_000_000, *INT64)
STRANGE_IDS = ("", ".", "..", "../s", "a/b", "a b", "a\n", "a\0", "x" * 65, "x" * 5000, "é", "\u0661", "%2e", "'--")


@dataclass(frozen=True, slots=True)
class Hostile:
    """A record to send. `topic` is a field of `TopicNames`; `reason` a word that the dead letter's reason must have."""

    kind: str
    topic: str
    value: bytes | None
    refused_for: frozenset[str]
    reason: str = ""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def number(value: int) -> bytes:
    """Avro's int and long."""
    left, digits = (value << 1) ^ (value >> 63), bytearray()
    while left > 0x7F:
        digits.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*digits, left])


def text(value: str | bytes) -> bytes:
    """Avro's string."""
    data = value if isinstance(value, bytes) else value.encode()
    return number(len(data)) + data


def some(data: bytes) -> bytes:
    """The second branch of a union, which is everywhere the one that is not null."""
    return number(1) + data


def blocks(*times: tuple[int, int]) -> bytes:
    """A schedule."""
    items = b"".join(number(start) + number(end) for start, end in times)
    return number(len(times)) + items + number(0) if times else number(0)


def header(name: str) -> bytes:
    """What a record of a schema begins with in single-object encoding."""
    form = to_parsing_canonical_form(orjson.loads(TEXTS[name]))
    return b"\xc3\x01" + bytes.fromhex(fingerprint(form, "CRC-64-AVRO"))


HEADERS = {topic: header(name) for topic, name in INPUTS.items()}
FOREIGN_HEADERS = [header(name) for name in OUTPUTS]
NULL = number(0)


class Forge:
    """Makes records. `chance` decides everything; `now_ms` is when they claim to happen."""

    def __init__(self, chance: random.Random, now_ms: int) -> None:
        self.chance = chance
        self.now_ms = now_ms
        self._numbers = count()

    def parts(self, topic: str) -> Parts:
        """The fields of a record of that topic that breaks no rule."""
        serial, now = next(self._numbers), self.now_ms
        ids = {
            "event_id": text(f"h-{serial}-{self.chance.getrandbits(32):x}"),
            "occurred_at": number(now - self.chance.randrange(HOUR_MS)),
            "site_id": text(f"hs-{serial % 300}"),
        }
        charger = text(f"hc-{serial % 600}")
        if topic == "plug_in":
            night = blocks((now, now + 8 * HOUR_MS))
            more = {"schedule": night, "session_id": NULL, "power_kw": some(struct.pack("<d", 7.4)), "enrolment": NULL}
            return {**ids, "charger_id": charger, **more}
        if topic == "user_boost":
            more = {"action": number(0), "boost_until": some(number(now + HOUR_MS)), "schedule": NULL}
            return {**ids, "charger_id": charger, **more}
        return {**ids, "charger_id": some(charger), "reason": number(0)}

    def enrolment(self, **changed: bytes) -> bytes:
        """What a household is enrolled with, as the union's second branch."""
        parts = {
            "mpan": text("1234567890123"),
            "postcode": text("AB1 2CD"),
            "street_address": text("1 Example Street"),
            "email": NULL,
            "boundary_meter_consent_at": number(self.now_ms - HOUR_MS),
            "consented_at": number(self.now_ms - HOUR_MS),
        }
        return some(b"".join((parts | changed).values()))

    def topic(self, *but: str) -> str:
        """Any input topic."""
        return self.chance.choice([topic for topic in INPUTS if topic not in but])

    def value(self, topic: str, /, **changed: bytes) -> bytes:
        """A record's bytes, with these fields instead of good ones."""
        return HEADERS[topic] + b"".join((self.parts(topic) | changed).values())

    def broken(self, topic: str, code: str, reason: str = "", /, **changed: bytes) -> Hostile:
        """A record with these fields instead of good ones, which must be refused for that."""
        return Hostile("", topic, self.value(topic, **changed), frozenset({code}), reason)

    def record(self, kinds: Mapping[str, "Kind"]) -> Hostile:
        """One of any of these kinds, under a key and headers that mean nothing."""
        name = self.chance.choice([*kinds])
        made = kinds[name](self)
        key = made.key or self.chance.choice([None, b"", b"\xff\xfe\x00", self.chance.randbytes(20), b"k" * 3000])
        headers: Headers = [("trace", self.chance.randbytes(12)), ("none", None), ("trace", b"")]
        return Hostile(
            name,
            made.topic,
            made.value,
            made.refused_for,
            made.reason,
            key,
            made.headers or tuple(headers[: self.chance.randrange(4)]),
        )


Kind = Callable[[Forge], Hostile]


def records(seed: int, now_ms: int, kinds: Mapping[str, Kind]) -> Iterator[Hostile]:
    """Records without an end; the same ones for the same seed and time."""
    forge = Forge(random.Random(seed), now_ms)
    while True:
        yield forge.record(kinds)
