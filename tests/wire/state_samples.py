"""Sites of every kind, the layouts of their versions, and the golden files: the bytes that each version wrote of them.

Run as a script (`python -m tests.wire.state_samples VERSION`) it writes the golden file of a version for the first
time: with the product as it is for the versions that it writes, by hand for version 3, which is imagined: each row has
one or two fields more at its end, as a release after this one may add. A file that is there is never written again:
those bytes may stand in somebody's changelog.
"""

import sys
import types
import typing
import zlib
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct, structs

from processor.core.events import Enrolment, Input, Source
from processor.core.outputs import Enrolled
from processor.core.site import (
    Asker,
    Base,
    Boost,
    Charger,
    Enrolling,
    Leaving,
    Offboarding,
    Question,
    Site,
    Stamp,
)
from processor.wire.state import WRITABLE_VERSIONS, encode_site

GOLDEN = Path(__file__).with_name("golden")
IMAGINED = 3
LAYOUT_1: dict[type[Struct], str] = {
    Site: "site_id consent withdrawal axle_site_id enrolment mpan_mark offboarding chargers",
    Charger: (
        "charger_id plugged base boost removed halted power_kw revision pauses served question enrolled "
        "axle_asset_id consent_used_at_ms enrolling leaving"
    ),
    Stamp: "at_ms event_id",
    Base: "stamp schedule",
    Boost: "stamp until_ms",
    Asker: "event_id kind occurred_at_ms source",
    Source: "topic partition offset",
    Question: "asker number since_ms looking_up looked_up",
    Enrolling: "since_ms adopting",
    Leaving: "since_ms asker look_ups",
    Offboarding: "since_ms asker",
    Enrolment: "mpan postcode street_address boundary_meter_consent_at_ms consented_at_ms email",
}
"""State version 1: the order of fields is the format."""
LAYOUT_2: dict[type[Struct], str] = {
    **LAYOUT_1,
    Site: f"{LAYOUT_1[Site]} older_marks kept_axle_site_ids left_axle_site_ids erasing unkept_revision",
    Charger: f"{LAYOUT_1[Charger]} budget_until_ms not_found_at_ms",
    Question: f"{LAYOUT_1[Question]} not_before_ms",
    Leaving: f"{LAYOUT_1[Leaving]} once",
}
"""State version 2: the same, and more at the end."""

T = 1_750_000_000_000
EVENT = "0198a2c0-1111-7abc-8def-0123456789ab"
STAMP = Stamp(T, EVENT)
ASKER = Asker(EVENT, Input.USER_BOOST, T, Source("ev.user-boost.v1", 3, 12))
PLUGGED = Charger(
    "charger-00001234",
    plugged=STAMP,
    base=Base(STAMP, ((T, T + 14_400_000),)),
    power_kw=7.4,
    revision=T + 5,
    pauses=((T + 3_600_000, T + 5_400_000),),
    enrolled=Enrolled.ENROLLED,
    axle_asset_id="0198a2c0-1111-4abc-8def-000000000002",
    consent_used_at_ms=T,
)
MEDIAN = Site(
    "site-00001234",
    consent=STAMP,
    axle_site_id="0198a2c0-1111-4abc-8def-000000000001",
    mpan_mark="a" * 32,
    chargers=(PLUGGED,),
)
"""One enrolled charger that is plugged in and has a pause ahead."""
ASKED = structs.replace(
    MEDIAN,
    site_id="asked",
    chargers=(
        structs.replace(
            PLUGGED,
            boost=Boost(STAMP, T + 7_200_000),
            served=((T - 600_000, T),),
            question=Question(ASKER, T + 5, T, looking_up=True, looked_up=True, not_before_ms=T + 30_000),
            budget_until_ms=T + 150_000,
        ),
        Charger("charger-2", boost=Boost(STAMP, None), halted=STAMP, enrolled=Enrolled.NOT_ELIGIBLE),
    ),
)
JOINING = Site(
    "joining",
    consent=STAMP,
    enrolment=Enrolment("1234567890123", "AB1 2CD", "1 Example Street", T, T, "driver@example.org"),
    mpan_mark="b" * 32,
    chargers=(
        Charger("charger-1", enrolling=Enrolling(T, adopting=True)),
        Charger("charger-2", enrolling=Enrolling(T + 1), not_found_at_ms=T - 1),
    ),
)
LEAVING = Site(
    "leaving",
    consent=STAMP,
    withdrawal=Stamp(T + 9, "w-1"),
    axle_site_id="0198a2c0-1111-4abc-8def-000000000003",
    mpan_mark="c" * 32,
    offboarding=Offboarding(T + 9, ASKER),
    chargers=(
        Charger("charger-1", removed=STAMP, enrolled=Enrolled.REMOVED, leaving=Leaving(T, ASKER, 2)),
        Charger("charger-2", leaving=Leaving(T, None, once=True)),
    ),
)
ERASING = structs.replace(
    LEAVING,
    site_id="erasing",
    older_marks=("d" * 32, "e" * 32),
    kept_axle_site_ids=("0198a2c0-1111-4abc-8def-000000000004",),
    unkept_revision=T + 7,
    left_axle_site_ids=("0198a2c0-1111-4abc-8def-000000000005",),
    erasing=Stamp(T + 10, "x-1"),
)
SITES = {
    "fresh": Site("s"),
    "median": MEDIAN,
    "asked": ASKED,
    "joining": JOINING,
    "leaving": LEAVING,
    "erasing": ERASING,
    "erased": Site("f" * 32, withdrawal=Stamp(T, "")),
}
"""The golden set."""


def trimmed(value: Any, layout: dict[type[Struct], str]) -> Any:
    """A value as rows that have the fields of a layout."""
    if isinstance(value, Struct):
        return [trimmed(getattr(value, name), layout) for name in layout[type(value)].split()]
    if isinstance(value, tuple):
        return [trimmed(each, layout) for each in value]
    return value


def as_read(site: Site, layout: dict[type[Struct], str]) -> Site:
    """The site with defaults in the place of all that a layout does not have."""
    return msgspec.convert(trimmed(site, layout), Site)


def imagined(value: Any) -> Any:
    """A value as rows of version 3. What is more in a row names whose it is."""
    if isinstance(value, Struct):
        fields = structs.astuple(value)
        return [*map(imagined, fields), *surplus(value)]
    if isinstance(value, tuple):
        return [imagined(each) for each in value]
    return value


def surplus(value: Struct) -> list[Any]:
    """The fields that version 3 adds to a value."""
    more = [f"{type(value).__name__} {imagined(structs.astuple(value)[0])}"]
    return [*more, {"of version": [3]}] if isinstance(value, Site | Charger) else more


def enveloped(body: bytes, version: int) -> bytes:
    """Bytes in an envelope that is in order."""
    return bytes([version]) + zlib.crc32(body, version).to_bytes(4) + body


def imagined_bytes(site: Site) -> bytes:
    """A site as version 3 would write it."""
    return enveloped(msgspec.msgpack.encode(imagined(site)), IMAGINED)


def rows_of(value: bytes) -> Any:
    """The rows of a state, all of them, whoever knows what they mean."""
    return msgspec.msgpack.decode(value[5:])


def golden(version: int) -> dict[str, bytes]:
    """What that version wrote, by the names of the sites."""
    lines = (GOLDEN / f"version-{version}.hex").read_text().splitlines()
    return {name: bytes.fromhex(digits) for name, digits in (line.split(": ") for line in lines)}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a state is made of."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in structs.fields(kind)})
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is types.UnionType:
        return st.one_of([values_of(argument) for argument in arguments])
    if typing.get_origin(kind) is tuple:
        if arguments[-1] is Ellipsis:
            return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*[values_of(argument) for argument in arguments])
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    plain: dict[type, st.SearchStrategy[Any]] = {
        int: st.integers(-(1 << 62), 1 << 62),
        float: st.floats(allow_nan=False),
        str: st.text(max_size=12),
        bool: st.booleans(),
        types.NoneType: st.none(),
    }
    return plain[kind]


ANY_SITE = values_of(Site)


def _write(version: int) -> None:
    path = GOLDEN / f"version-{version}.hex"
    if path.exists():
        raise SystemExit(f"{path.name} is there: what a version wrote does not change.")
    if version not in {*WRITABLE_VERSIONS, IMAGINED}:
        raise SystemExit(f"version {version} cannot be written; {WRITABLE_VERSIONS} and {IMAGINED} can.")
    made = {name: imagined_bytes(s) if version == IMAGINED else encode_site(s, version) for name, s in SITES.items()}
    path.write_text("".join(f"{name}: {value.hex()}\n" for name, value in made.items()))


if __name__ == "__main__":
    _write(int(sys.argv[1]))
