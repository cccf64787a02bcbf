"""The changelog's values: what is written is read back, across a release in either direction, or refused by name."""

import dataclasses
import re
import types
import typing
import zlib
from contextlib import suppress
from enum import Enum
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
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
from processor.wire.state import (
    CHECKPOINT_KEY,
    STATE_VERSION,
    BadState,
    Checkpoint,
    StateMarks,
    decode_checkpoint,
    decode_site,
    encode_checkpoint,
    encode_site,
    read_headers,
    state_headers,
)

T = 1_750_000_000_000
EVENT = "0198a2c0-1111-7abc-8def-0123456789ab"
STAMP = Stamp(T, EVENT)
MEDIAN = Site(
    "site-00001234",
    consent=STAMP,
    axle_site_id="0198a2c0-1111-4abc-8def-000000000001",
    mpan_mark="a" * 32,
    chargers=(
        Charger(
            "charger-00001234",
            plugged=STAMP,
            base=Base(STAMP, ((T, T + 14_400_000),)),
            power_kw=7.4,
            revision=T + 5,
            pauses=((T + 3_600_000, T + 5_400_000),),
            enrolled=Enrolled.ENROLLED,
            axle_asset_id="0198a2c0-1111-4abc-8def-000000000002",
            consent_used_at_ms=T,
        ),
    ),
)
"""One enrolled charger that is plugged in and has a pause ahead."""

LAYOUT: dict[type[Struct], str] = {
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


def kinds_in(kind: Any) -> set[type]:
    """The dataclasses that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        inside = [kinds_in(hint) for hint in typing.get_type_hints(kind).values()]
        return {kind}.union(*inside)
    return set().union(*[kinds_in(argument) for argument in typing.get_args(kind)])


def enveloped(body: bytes, version: int) -> bytes:
    """Bytes in an envelope that is in order."""
    return bytes([version]) + zlib.crc32(body, version).to_bytes(4) + body


SITES = values_of(Site)
CHECKPOINTS = st.builds(
    Checkpoint, st.dictionaries(st.tuples(st.text(max_size=8), st.integers(0, 99)), st.integers(0, 1 << 62), max_size=4)
)


@given(SITES)
@settings(max_examples=80, deadline=None)
def test_a_site_is_read_back_as_it_was_written(site: Site) -> None:
    """Every register, question and promise of a site survives the changelog, with its types."""
    read = decode_site(encode_site(site))
    assert read == site
    assert repr(read) == repr(site)


def test_a_median_site_is_small() -> None:
    """A site with one plugged-in charger takes at most 400 bytes, so hundreds of thousands fit in memory."""
    assert len(encode_site(MEDIAN)) <= 400


def test_a_fresh_site_is_read_back() -> None:
    """The smallest state there is survives too."""
    assert decode_site(encode_site(Site("s"))) == Site("s")


@given(st.sampled_from([encode_site(MEDIAN), encode_checkpoint(Checkpoint({("in", 1): 5}))]), st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_byte_never_goes_unnoticed(value: bytes, data: st.DataObject) -> None:
    """One changed byte anywhere, the version's included, is refused."""
    at = data.draw(st.integers(0, len(value) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != value[at]))
    damaged = value[:at] + bytes([byte]) + value[at + 1 :]
    for decode in (decode_site, decode_checkpoint):
        with pytest.raises(BadState):
            decode(damaged)


def test_a_cut_or_lengthened_value_is_refused() -> None:
    """A value with bytes missing at its end, or with bytes too many, is no state."""
    value = encode_site(MEDIAN)
    for wrong in [*(value[:size] for size in range(len(value))), value + b"\x00", value + value]:
        with pytest.raises(BadState):
            decode_site(wrong)


@given(st.binary(max_size=60), st.sampled_from([1, 2]))
@settings(max_examples=200, deadline=None)
def test_no_bytes_do_worse_than_be_refused(body: bytes, version: int) -> None:
    """Whatever stands in an envelope that is in order, it is a state or refused as one."""
    with suppress(BadState):
        assert isinstance(decode_site(enveloped(body, version)), Site)
    with suppress(BadState):
        assert isinstance(decode_checkpoint(enveloped(body, version)), Checkpoint)


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_bytes_of_somebody_else_are_refused(value: bytes) -> None:
    """What has no envelope of ours is no state."""
    for decode in (decode_site, decode_checkpoint):
        with pytest.raises(BadState, match=r"restore the state topic|Run a release"):
            decode(value)


@pytest.mark.parametrize("body", [b"\x91" * 100_000, b"\x81\xa1x" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc1"])
def test_hostile_nesting_and_sizes_are_refused(body: bytes) -> None:
    """Depth without end and sizes that are not there are refused like any other damage."""
    with pytest.raises(BadState, match="another layout"):
        decode_site(enveloped(body, STATE_VERSION))


def test_a_site_is_not_a_checkpoint() -> None:
    """Neither kind of value is taken for the other."""
    with pytest.raises(BadState, match="a checkpoint of state version 1 has another layout"):
        decode_checkpoint(encode_site(MEDIAN))
    with pytest.raises(BadState, match="a site of state version 1 has another layout"):
        decode_site(encode_checkpoint(Checkpoint({("in", 1): 5})))


# Across releases.


def test_the_layout_of_version_1_stands() -> None:
    """Fields are only ever added at the end, with a default, along with a higher version; see `wire/state.py`."""
    assert kinds_in(Site) == set(LAYOUT)
    for kind, names in LAYOUT.items():
        assert [field.name for field in structs.fields(kind)] == names.split(), kind.__name__
    assert STATE_VERSION == 1


def test_values_of_version_1_are_read_for_ever() -> None:
    """These very bytes were written by the first release."""
    body = (
        b"\x98\xa1s\x92\x01\xa1e\xc0\xc0\xc0\xc0\xc0\x91\xdc\x00\x10\xa1c\xc0\x92\x92\x01\xa1e\x91\x92\x02\x03\xc0\xc0"
        b"\xc0\xc0\xc0\x90\x90\xc0\xa8ENROLLED\xc0\xc0\xc0\xc0"
    )
    charger = Charger("c", base=Base(Stamp(1, "e"), ((2, 3),)), enrolled=Enrolled.ENROLLED)
    site = Site("s", consent=Stamp(1, "e"), chargers=(charger,))
    assert encode_site(site) == enveloped(body, 1)
    assert decode_site(enveloped(body, 1)) == site


def test_what_the_next_release_adds_is_passed_over() -> None:
    """Fields that this program does not know, at the end of any row, do not keep it from reading the others."""
    site_row = msgspec.msgpack.decode(encode_site(MEDIAN)[5:])
    consent_row, charger_row = site_row[1], site_row[-1][0]
    for row in (consent_row, charger_row, site_row):
        row.append({"of the next": ["version"]})
    assert decode_site(enveloped(msgspec.msgpack.encode(site_row), STATE_VERSION + 1)) == MEDIAN


def test_what_the_release_before_did_not_write_gets_its_default() -> None:
    """A row that ends early is filled up with defaults."""
    site_row = msgspec.msgpack.decode(encode_site(MEDIAN)[5:])
    del site_row[-1][0][-2:]
    assert decode_site(enveloped(msgspec.msgpack.encode(site_row), STATE_VERSION)) == MEDIAN


@pytest.mark.parametrize("version", [0, STATE_VERSION + 2, 255])
def test_a_version_that_is_too_far_away_is_refused_by_name(version: int) -> None:
    """The sentence says which version was found, which are read, and what to do."""
    with pytest.raises(BadState, match=rf"version {version}; this program reads 1 to 2. Run a release that reads it"):
        decode_site(enveloped(encode_site(MEDIAN)[5:], version))


@pytest.mark.parametrize("version", [0, STATE_VERSION + 1])
def test_a_version_that_is_not_ours_is_never_written(version: int) -> None:
    """A wrong setting of the version to write is an error, not a surprise for the next reader."""
    with pytest.raises(ValueError, match=f"state version {version} cannot be written; this program writes 1"):
        encode_site(MEDIAN, version)


# Checkpoints and marks.


@given(CHECKPOINTS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_checkpoint_is_read_back_as_it_was_written(checkpoint: Checkpoint, released: bool) -> None:  # noqa: FBT001 - drawn
    """Each input's next offset survives, and whether the task was given back in good order."""
    checkpoint = dataclasses.replace(checkpoint, released=released)
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


def test_equal_checkpoints_are_equal_bytes() -> None:
    """The order in which inputs were read leaves no trace."""
    one, other = Checkpoint({("a", 1): 5, ("b", 1): 6}), Checkpoint({("b", 1): 6, ("a", 1): 5})
    assert encode_checkpoint(one) == encode_checkpoint(other)


def test_no_site_can_have_the_key_of_a_checkpoint() -> None:
    """A site's id never has the character that the checkpoint's key begins with."""
    assert not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", CHECKPOINT_KEY.decode())


MARKS = st.builds(
    StateMarks, *[st.none() | st.integers(0, 1 << 62), st.booleans()], *[st.none() | st.integers(0, 1 << 62)] * 2
)


@given(MARKS)
@settings(deadline=None)
def test_marks_are_read_back_as_they_were_written(marks: StateMarks) -> None:
    """What a restore must know of a site comes through the headers, whatever else travels in them."""
    headers = state_headers(marks.due_at_ms, marks.owes, marks.withdrawn_since_ms, marks.paused_until_ms)
    assert read_headers(headers) == marks
    assert read_headers([("traceparent", "00-1"), *headers, ("other", None)]) == marks


def test_marks_can_be_read_with_any_tool() -> None:
    """They are decimal text, and what is not marked takes no room."""
    assert state_headers(None, owes=False, withdrawn_since_ms=None, paused_until_ms=None) == [("owes", b"0")]
    assert dict(state_headers(T, owes=True, withdrawn_since_ms=T + 1, paused_until_ms=T + 2)) == {
        "owes": b"1",
        "due-at-ms": b"1750000000000",
        "withdrawn-since-ms": b"1750000000001",
        "paused-until-ms": b"1750000000002",
    }


@pytest.mark.parametrize(
    "headers",
    [None, [], [("due-at-ms", b"5")], [("owes", b"")], [("owes", None)], [("owes", b"1"), ("due-at-ms", b"x")]],
)
def test_missing_or_broken_marks_are_never_taken_for_none(headers: list[tuple[str, str | bytes | None]] | None) -> None:
    """A record that does not say what is owed must be decoded; it is not one that owes nothing."""
    with pytest.raises(BadState, match="decode its value"):
        read_headers(headers)


def test_an_open_question_is_kept_whole() -> None:
    """What a restart needs in order to ask again, and to settle the right input, is all there."""
    asker = Asker(EVENT, Input.USER_BOOST, T, Source("ev.user-boost.v1", 3, 12))
    charger = Charger("c", boost=Boost(STAMP, T + 1), question=Question(asker, T, T, looking_up=True))
    site = Site("s", chargers=(charger,), offboarding=Offboarding(T, None))
    assert decode_site(encode_site(site)) == site
