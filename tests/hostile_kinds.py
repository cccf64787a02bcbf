"""The kinds of hostile records: what is wrong with each, and what it must be refused for.

How a record is put together is `hostile.py`'s. The idea: one function a kind, one line in the table; a new way to break
a record is a new function, and every test that draws from the table has it.
"""

import struct

from tests.hostile import (
    ANYTHING,
    DAY_MS,
    FOREIGN_HEADERS,
    HEADERS,
    HOUR_MS,
    INT64,
    MINUTE_MS,
    NO_VALUE,
    NOTHING,
    STRANGE_IDS,
    STRANGE_TIMES,
    Forge,
    Hostile,
    Kind,
    blocks,
    number,
    some,
    text,
)

DECODE, FRAMING, SCHEMA = frozenset({"decode"}), frozenset({"framing"}), frozenset({"schema"})
OVERSIZE = frozenset({"oversize"})
HEADER_BYTES = 10
KIB = 1024
IDS = ("event_id", "site_id", "charger_id")
FOREIGN = (
    b"",
    b"\xc3",
    b"\xc3\x01\x00",
    b'{"event_id": "p-1"}',
    b"Obj\x01\x04\x16avro.schema",
    b"<?xml version='1.0'?>",
    b"\x1f\x8b\x08\x00",
    b"\x28\xb5\x2f\xfd",
    b"\x80\x05\x95.",
    bytes(4096),
)


def _flipped(forge: Forge) -> Hostile:
    topic, chance = forge.topic(), forge.chance
    value = bytearray(forge.value(topic))
    for _ in range(chance.randint(1, 8)):
        value[chance.randrange(len(value))] ^= 1 << chance.randrange(8)
    return Hostile("", topic, bytes(value), ANYTHING)


def _shuffled(forge: Forge) -> Hostile:
    topic, chance = forge.topic(), forge.chance
    value = forge.value(topic)
    at, to = sorted(chance.sample(range(HEADER_BYTES, len(value)), 2))
    cut = value[at:to]
    spliced = chance.choice([value[:at] + value[to:], value[:to] + cut + value[to:], value[:at] + cut[::-1]])
    return Hostile("", topic, spliced, ANYTHING)


def _noise_behind_a_good_header(forge: Forge) -> Hostile:
    topic = forge.topic()
    return Hostile("", topic, HEADERS[topic] + forge.chance.randbytes(forge.chance.randrange(200)), ANYTHING)


def _cut(forge: Forge) -> Hostile:
    topic = forge.topic()
    value = forge.value(topic)
    size = forge.chance.randrange(len(value))
    return Hostile("", topic, value[:size], DECODE if size >= HEADER_BYTES else FRAMING)


def _longer(forge: Forge) -> Hostile:
    topic = forge.topic()
    tail = forge.chance.randbytes(forge.chance.randint(1, 300))
    return Hostile("", topic, forge.value(topic) + tail, frozenset({"trailing_bytes"}), "after the end")


def _unknown_schema(forge: Forge) -> Hostile:
    topic = forge.topic()
    head = b"\xc3\x01" + forge.chance.randbytes(8)
    return Hostile("", topic, head + forge.value(topic)[HEADER_BYTES:], SCHEMA, head[2:].hex())


def _another_topics(forge: Forge) -> Hostile:
    topic = forge.topic()
    return Hostile("", topic, forge.value(forge.topic(topic)), SCHEMA, "this topic carries")


def _an_outputs_schema(forge: Forge) -> Hostile:
    topic = forge.topic()
    head = forge.chance.choice(FOREIGN_HEADERS)
    return Hostile("", topic, head + forge.value(topic)[HEADER_BYTES:], SCHEMA, "this topic carries")


def _registry_framing(forge: Forge) -> Hostile:
    topic = forge.topic()
    return Hostile(
        "", topic, b"\x00" + forge.chance.randbytes(4) + forge.value(topic)[HEADER_BYTES:], FRAMING, "registry"
    )


def _foreign_form(forge: Forge) -> Hostile:
    return Hostile("", forge.topic(), forge.chance.choice(FOREIGN), FRAMING, "does not begin")


def _noise(forge: Forge) -> Hostile:
    noise = b"\xff" + forge.chance.randbytes(forge.chance.randrange(2000))
    return Hostile("", forge.topic(), noise, FRAMING, "does not begin")


def _length_lie(forge: Forge) -> Hostile:
    topic, chance = forge.topic("consent_withdrawn"), forge.chance
    length = chance.choice([-1, -2, -(1 << 40), 1 << 31, 1 << 40, 1 << 62, *INT64, chance.randint(400, 1 << 20)])
    return forge.broken(topic, "decode", "bytes", **{chance.choice(IDS): number(length) + b"abc"})


def _count_lie(forge: Forge) -> Hostile:
    items = number(forge.now_ms) + number(forge.now_ms + HOUR_MS)
    many = forge.chance.choice([2, 1 << 20, 1 << 31, 1 << 40, 1 << 62])
    told = forge.chance.choice([number(many) + items, number(-many) + number(len(items)) + items])
    value = forge.value("plug_in", schedule=told, session_id=b"", power_kw=b"", enrolment=b"")
    return Hostile("", "plug_in", value, DECODE, "bytes")


def _endless_count(forge: Forge) -> Hostile:
    told = number(INT64[0]) + number(forge.chance.choice([0, 1, *INT64])) + forge.chance.randbytes(30)
    return Hostile("", "plug_in", forge.value("plug_in", schedule=told), ANYTHING)


def _no_such_branch(forge: Forge) -> Hostile:
    branch = number(forge.chance.choice([2, 3, 64, 1 << 40, -1, -2, -3, *INT64]))
    field = forge.chance.choice(("session_id", "power_kw", "enrolment"))
    return forge.broken("plug_in", "decode", "bytes", **{field: branch})


def _no_such_symbol(forge: Forge) -> Hostile:
    topic, field = forge.chance.choice((("user_boost", "action"), ("consent_withdrawn", "reason")))
    symbol = number(forge.chance.choice([4, 5, 1 << 40, -1, -2, -3, -4, -5, *INT64]))
    return forge.broken(topic, "decode", "bytes", **{field: symbol})


def _bad_text(forge: Forge) -> Hostile:
    bad = text(forge.chance.choice([b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"abc\xe2\x82", b"\xf5\x80\x80\x80"]))
    changed = forge.chance.choice([{name: bad} for name in IDS] + [{"session_id": some(bad)}])
    return forge.broken("plug_in", "decode", "bytes", **changed)


def _bad_id(forge: Forge) -> Hostile:
    topic, field = forge.topic(), forge.chance.choice(IDS)
    told = text(forge.chance.choice(STRANGE_IDS))
    if topic == "consent_withdrawn" and field == "charger_id":
        return forge.broken(topic, "bad_id", field, charger_id=some(told), reason=number(1))
    return forge.broken(topic, "bad_id", field, **{field: told})


def _bad_time(forge: Forge) -> Hostile:
    at = number(forge.chance.choice(STRANGE_TIMES))
    return forge.broken(forge.topic(), "bad_time", "occurred_at", occurred_at=at)


def _overlong_number(forge: Forge) -> Hostile:
    long = b"\xff" * forge.chance.randint(9, 40) + b"\x01"
    return Hostile("", topic := forge.topic(), forge.value(topic, occurred_at=long), ANYTHING)


def _too_old(forge: Forge) -> Hostile:
    at = number(forge.now_ms - forge.chance.randint(31, 15_000) * DAY_MS)
    return forge.broken(forge.topic("consent_withdrawn"), "too_old", "occurred_at", occurred_at=at)


def _bad_schedule(forge: Forge) -> Hostile:
    now = forge.now_ms
    schedule = forge.chance.choice(
        [
            blocks(),
            blocks((now, now)),
            blocks((now, now + HOUR_MS), (now + HOUR_MS, now)),
            blocks((now, now + 48 * HOUR_MS + 1)),
            blocks((now, now + 1), (now + 3 * DAY_MS, now + 3 * DAY_MS + 1)),
            blocks(*((now + 2 * i * MINUTE_MS, now + (2 * i + 1) * MINUTE_MS) for i in range(301))),
        ]
    )
    if forge.chance.random() < 0.5:
        return forge.broken("plug_in", "bad_schedule", "schedule", schedule=schedule)
    return forge.broken("user_boost", "bad_schedule", "schedule", action=number(1), schedule=some(schedule))


def _bad_block_time(forge: Forge) -> Hostile:
    now, strange = forge.now_ms, forge.chance.choice(STRANGE_TIMES)
    schedule = blocks((now, now + 1), (strange, now) if strange < now else (now, strange))
    return forge.broken("plug_in", "bad_time", "block 2 of schedule", schedule=schedule)


def _bad_boost(forge: Forge) -> Hostile:
    now = forge.now_ms
    if forge.chance.random() < 0.3:
        return forge.broken("user_boost", "bad_schedule", "schedule is missing", action=number(1))
    if forge.chance.random() < 0.5:
        strange = some(number(forge.chance.choice(STRANGE_TIMES)))
        return forge.broken("user_boost", "bad_time", "boost_until", boost_until=strange)
    early = some(number(now - 2 * HOUR_MS))
    return forge.broken("user_boost", "bad_boost", "boost_until", boost_until=early, occurred_at=number(now))


def _bad_power(forge: Forge) -> Hostile:
    power = forge.chance.choice([float("nan"), -float("nan"), float("inf"), -float("inf"), -1e-300, 1000.1, 1e308])
    return forge.broken("plug_in", "bad_power", "power_kw", power_kw=some(struct.pack("<d", power)))


def _bad_enrolment(forge: Forge) -> Hostile:
    field, told = forge.chance.choice(
        [
            *(("mpan", text(mpan)) for mpan in ("", "123456789012", "12345678901234", "\uff11" * 13, "123456789012\n")),
            *(("postcode", text(code)) for code in ("", "   ", "A" * 17)),
            *(("street_address", text(street)) for street in ("", "\n", "A" * 257, "A" * 100_000)),
            ("email", some(text("e" * 255))),
            ("consented_at", number(forge.now_ms + 2 * DAY_MS)),
        ]
    )
    enrolment = forge.enrolment(**{field: told})
    return forge.broken("plug_in", "bad_enrolment", f"enrolment.{field}", enrolment=enrolment)


def _bad_consent_time(forge: Forge) -> Hostile:
    field = forge.chance.choice(("consented_at", "boundary_meter_consent_at"))
    enrolment = forge.enrolment(**{field: number(forge.chance.choice(STRANGE_TIMES))})
    return forge.broken("plug_in", "bad_time", f"enrolment.{field}", enrolment=enrolment)


def _forged_headers(forge: Forge) -> Hostile:
    """What our own records carry on the way, on a record that never went it."""
    forged = (
        ("reroute-kind", b"ERASE"),
        ("reroute-topic", b"other"),
        ("reroute-partition", b"9" * 30),
        ("reroute-offset", b"-1"),
        ("dlt-original-topic", b"other"),
        ("dlt-error-class", b"none"),
        ("ce_id", b"\xff"),
        ("ce_specversion", b"9.9"),
    )
    if forge.chance.random() < 0.5:
        return Hostile("", "plug_in", forge.value("plug_in"), NOTHING, headers=forged)
    return Hostile("", "plug_in", forge.value("plug_in", site_id=text("..")), frozenset({"bad_id"}), headers=forged)


def _strange_and_good(forge: Forge) -> Hostile:
    now = forge.now_ms
    items = number(now) + number(now + HOUR_MS)
    changed = forge.chance.choice(
        [
            {"schedule": number(-1) + number(len(items)) + items + number(1) + items + number(0)},
            {"schedule": blocks((now, now + 2), (now + 1, now + HOUR_MS), (now, now + 2))},
            {"session_id": some(text("\0\N{GRINNING FACE}" * 50))},
            {"power_kw": some(struct.pack("<d", -0.0))},
            {"power_kw": some(struct.pack("<d", 5e-324))},
            {"occurred_at": number(253_402_300_799_999)},
        ]
    )
    return Hostile("", "plug_in", forge.value("plug_in", **changed), NOTHING)


def _no_value(forge: Forge) -> Hostile:
    return Hostile("", forge.topic(), None, NO_VALUE)


def _oversize(forge: Forge) -> Hostile:
    topic, size = forge.topic(), forge.chance.choice([257 * KIB, 300 * KIB, 600 * KIB, 950 * KIB, 990 * KIB])
    return Hostile("", topic, (HEADERS[topic] + b"a" * size)[:size], OVERSIZE, "bytes")


def _long_number_of_blocks(forge: Forge) -> Hostile:
    block = number(forge.now_ms) + number(forge.now_ms + 1)
    many = 250 * KIB // len(block)
    schedule = number(many) + block * many + number(0)
    return Hostile("", "plug_in", forge.value("plug_in", schedule=schedule), NOTHING)


def _huge_headers(forge: Forge) -> Hostile:
    big = forge.chance.choice([520 * KIB, 700 * KIB, 950 * KIB])
    headers = forge.chance.choice(
        [
            (("big", bytes(big)),),
            (("n" * big, b""),),
            tuple(("h", None) for _ in range(70_000)),
            tuple((f"h{i}", bytes(100)) for i in range(big // 110)),
        ]
    )
    return Hostile("", "plug_in", forge.value("plug_in"), OVERSIZE, "headers", headers=headers)


def _huge_key(forge: Forge) -> Hostile:
    key = forge.chance.choice([520 * KIB, 950 * KIB]) * b"\xff"
    return Hostile("", "plug_in", forge.value("plug_in"), OVERSIZE, "key", key=key)


def _huge_and_good(forge: Forge) -> Hostile:
    session = some(text("s" * 250 * KIB))
    return Hostile(
        "", "plug_in", forge.value("plug_in", session_id=session), NOTHING, headers=(("big", bytes(250 * KIB)),)
    )


SMALL: dict[str, Kind] = {
    "flipped bits": _flipped,
    "shuffled bytes": _shuffled,
    "noise behind a good header": _noise_behind_a_good_header,
    "cut short": _cut,
    "bytes too many": _longer,
    "unknown schema": _unknown_schema,
    "another topic's record": _another_topics,
    "an output's schema": _an_outputs_schema,
    "a registry's framing": _registry_framing,
    "another format": _foreign_form,
    "noise": _noise,
    "a length that lies": _length_lie,
    "a count that lies": _count_lie,
    "a count without an end": _endless_count,
    "no such branch": _no_such_branch,
    "no such symbol": _no_such_symbol,
    "no UTF-8": _bad_text,
    "bad id": _bad_id,
    "bad time": _bad_time,
    "a number of too many bytes": _overlong_number,
    "too old": _too_old,
    "bad schedule": _bad_schedule,
    "a block's bad time": _bad_block_time,
    "bad boost": _bad_boost,
    "bad power": _bad_power,
    "bad enrolment": _bad_enrolment,
    "bad time of a consent": _bad_consent_time,
    "forged headers": _forged_headers,
    "strange and good": _strange_and_good,
    "no value": _no_value,
}
"""Kinds whose records are small."""
HUGE: dict[str, Kind] = {
    "oversize": _oversize,
    "blocks without number": _long_number_of_blocks,
    "huge headers": _huge_headers,
    "huge key": _huge_key,
    "huge and good": _huge_and_good,
}
"""Kinds whose records are near the most that brokers take."""
