"""States across releases: each reads what its neighbours write, and takes nothing away that it does not know."""

import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs
from msgspec.structs import replace

from processor.core.outputs import Enrolled
from processor.core.site import Charger, Site, Stamp
from processor.wire.state import STATE_VERSION, WRITABLE_VERSIONS, BadState, decode_site, encode_site
from tests.wire.state_samples import (
    ANY_SITE,
    ASKED,
    ERASING,
    IMAGINED,
    LAYOUT_1,
    LAYOUT_2,
    LEAVING,
    MEDIAN,
    PLUGGED,
    SITES,
    as_read,
    enveloped,
    golden,
    imagined_bytes,
    rows_of,
    surplus,
    trimmed,
)

NAMES = list(SITES)


def kinds_in(kind: Any) -> set[type]:
    """The classes that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        inside = [kinds_in(hint) for hint in typing.get_type_hints(kind).values()]
        return {kind}.union(*inside)
    return set().union(*[kinds_in(argument) for argument in typing.get_args(kind)])


def values_in(value: Any) -> list[Struct]:
    """The structs that a value is made of."""
    if isinstance(value, Struct):
        return [value, *(inner for field in structs.astuple(value) for inner in values_in(field))]
    return [inner for each in value for inner in values_in(each)] if isinstance(value, tuple) else []


def test_the_layout_of_version_2_stands() -> None:
    """Fields are only ever added at the end, with a default, along with a higher version; see `wire/state.py`."""
    assert STATE_VERSION == 2
    assert kinds_in(Site) == set(LAYOUT_2)
    for kind, names in LAYOUT_2.items():
        fields = structs.fields(kind)
        assert [field.name for field in fields] == names.split(), kind.__name__
        assert names.startswith(LAYOUT_1[kind])
        assert not any(field.required for field in fields[len(LAYOUT_1[kind].split()) :])


def test_the_golden_set_uses_every_field() -> None:
    """No field is at its default everywhere in the golden set, so none can be lost unseen."""
    values = [value for site in SITES.values() for value in values_in(site)]
    for kind in LAYOUT_2:
        for field in structs.fields(kind):
            told = [getattr(value, field.name) for value in values if type(value) is kind]
            assert told, kind.__name__
            assert field.required or any(each != field.default for each in told), f"{kind.__name__}.{field.name}"


# Each reads its neighbours.


def test_values_of_version_1_are_read_for_ever() -> None:
    """These very bytes were written by the first release."""
    body = (
        b"\x98\xa1s\x92\x01\xa1e\xc0\xc0\xc0\xc0\xc0\x91\xdc\x00\x10\xa1c\xc0\x92\x92\x01\xa1e\x91\x92\x02\x03\xc0\xc0"
        b"\xc0\xc0\xc0\x90\x90\xc0\xa8ENROLLED\xc0\xc0\xc0\xc0"
    )
    charger = Charger("c", base=msgspec.convert([[1, "e"], [[2, 3]]], typing.get_type_hints(Charger)["base"]))
    site = Site("s", consent=Stamp(1, "e"), chargers=(replace(charger, enrolled=Enrolled.ENROLLED),))
    assert decode_site(enveloped(body, 1)) == site
    assert encode_site(site, 1) == enveloped(body, 1)


@pytest.mark.parametrize("name", NAMES)
def test_what_the_release_before_wrote_is_read(name: str) -> None:
    """What version 1 did not have gets its default."""
    assert decode_site(golden(1)[name]) == as_read(SITES[name], LAYOUT_1)


@pytest.mark.parametrize("name", NAMES)
def test_what_this_release_writes_is_pinned(name: str) -> None:
    """Version 2 is these very bytes, both ways."""
    assert encode_site(SITES[name]) == encode_site(SITES[name], 2) == golden(2)[name]
    assert decode_site(golden(2)[name]) == SITES[name]


@pytest.mark.parametrize("name", NAMES)
def test_what_the_next_release_writes_is_read(name: str) -> None:
    """Fields at the end of any row that this program does not know are passed over."""
    assert imagined_bytes(SITES[name]) == golden(IMAGINED)[name]
    assert decode_site(golden(IMAGINED)[name]) == SITES[name]


@pytest.mark.parametrize("version", [0, STATE_VERSION + 2, 255])
def test_a_version_that_is_too_far_away_is_refused_by_name(version: int) -> None:
    """The sentence says which version was found, which are read, and what to do."""
    with pytest.raises(BadState, match=rf"version {version}; this program reads 1 to 3. Run a release that reads it"):
        decode_site(enveloped(encode_site(MEDIAN)[5:], version))


# What is written.


@pytest.mark.parametrize("version", [0, STATE_VERSION + 1])
def test_a_version_that_is_not_ours_is_never_written(version: int) -> None:
    """A wrong setting of the version to write is an error, not a surprise for the next reader."""
    with pytest.raises(ValueError, match=f"state version {version} cannot be written; this program writes 1 to 2"):
        encode_site(MEDIAN, version)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "erasing"])
def test_the_version_before_is_written_when_told(name: str) -> None:
    """It is to the byte what that release wrote itself, so it cannot tell the difference."""
    assert encode_site(SITES[name], 1) == golden(1)[name]


@given(ANY_SITE.map(lambda site: msgspec.convert(structs.astuple(site)[:8], Site)))
@settings(max_examples=60, deadline=None)
def test_the_version_before_has_only_its_own_fields(site: Site) -> None:
    """Whatever a site holds, its rows have the fields of version 1 and no others."""
    value = encode_site(site, 1)
    assert value[0] == 1
    assert rows_of(value) == rows_of(enveloped(msgspec.msgpack.encode(trimmed(site, LAYOUT_1)), 1))
    assert decode_site(value) == as_read(site, LAYOUT_1)


@pytest.mark.parametrize(
    "site",
    [
        pytest.param(replace(LEAVING, erasing=Stamp(5, "x-1")), id="an order to erase would be forgotten"),
        pytest.param(replace(MEDIAN, kept_axle_site_ids=("kept",)), id="a later erasure would leave a site at Axle"),
        pytest.param(replace(LEAVING, older_marks=("d" * 32,)), id="a withdrawal would leave a charger at Axle"),
        pytest.param(replace(MEDIAN, left_axle_site_ids=("left",)), id="a withdrawal would leave a site at Axle"),
        ERASING,
    ],
)
def test_what_must_not_be_lost_is_never_cut_off(site: Site) -> None:
    """A site that uses a field on which a promise hangs is written as version 2, whatever the setting says."""
    assert encode_site(site, 1) == encode_site(site)


# What it does not know it keeps.


@given(old=ANY_SITE, new=ANY_SITE, is_same=st.booleans(), version=st.sampled_from(WRITABLE_VERSIONS))
@settings(max_examples=80, deadline=None)
def test_keeping_what_is_not_known_changes_nothing_that_is(
    old: Site, new: Site, *, is_same: bool, version: int
) -> None:
    """Whatever stood there, the new site is read back as it is, and the value has the newer version."""
    if is_same:
        new = replace(new, site_id=old.site_id, chargers=(*old.chargers[1:], *new.chargers, *old.chargers[:1]))
    value = encode_site(new, version, imagined_bytes(old))
    assert value[0] == IMAGINED
    assert decode_site(value) == new


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_site_is_written_as_it_was(name: str) -> None:
    """Not a byte of what a newer program wrote is another one."""
    assert encode_site(SITES[name], previous=golden(IMAGINED)[name]) == golden(IMAGINED)[name]


def test_a_changed_site_keeps_what_is_not_known_of_it() -> None:
    """The surplus of the site, of each charger by its id, and of all that did not change is still there."""
    first, second = ASKED.chargers
    unplugged = replace(first, pauses=(), question=None)
    new = replace(ASKED, withdrawal=Stamp(9, "w"), chargers=(Charger("charger-9"), second, unplugged))
    rows = rows_of(encode_site(new, previous=golden(IMAGINED)["asked"]))
    ours = len(structs.fields(Site))
    assert rows[ours:] == surplus(ASKED)
    assert rows[1] == rows_of(imagined_bytes(ASKED))[1]
    assert rows[2] == [9, "w"]
    third_row, second_row, first_row = rows[7]
    assert third_row == rows_of(encode_site(Site("s", chargers=(Charger("charger-9"),))))[7][0]
    assert second_row == rows_of(imagined_bytes(ASKED))[7][1]
    assert (
        first_row[: len(structs.fields(Charger))]
        == rows_of(imagined_bytes(Site("s", chargers=(unplugged,))))[7][0][:-2]
    )
    assert first_row[-2:] == surplus(first)


def test_a_promise_keeps_what_is_not_known_of_it_while_it_goes_on() -> None:
    """A question that is looked up, a removal that is looked for once more: the same thing, with its surplus.

    A new question is another thing, and so is a plain value that changed.
    """
    charger = ASKED.chargers[0]
    question = charger.question
    assert question is not None
    turned = replace(question, looking_up=False)
    another = replace(question, number=question.number + 1)
    previous = golden(IMAGINED)["asked"]
    for now, kept in ((turned, surplus(question)), (another, [])):
        new = replace(ASKED, chargers=(replace(charger, question=now, plugged=Stamp(8, "p")), ASKED.chargers[1]))
        row = rows_of(encode_site(new, previous=previous))[7][0]
        assert row[10][len(structs.fields(type(question))) :] == kept
        assert row[1] == [8, "p"]


def test_personal_data_goes_with_all_that_is_not_known_of_it() -> None:
    """When the personal data is dropped, a newer program's additions to it are dropped with it."""
    joining = SITES["joining"]
    value = encode_site(replace(joining, enrolment=None), previous=golden(IMAGINED)["joining"])
    assert rows_of(value)[4] is None
    assert b"1234567890123" in golden(IMAGINED)["joining"]
    assert b"1234567890123" not in value


@pytest.mark.parametrize("version", [1, 2])
def test_what_older_programs_wrote_does_not_hold_the_version_down(version: int) -> None:
    """Only a newer program's value is written again in its version; else the setting alone counts."""
    previous = golden(version)["median"]
    changed = replace(MEDIAN, chargers=(replace(PLUGGED, pauses=()),))
    assert encode_site(changed, previous=previous) == encode_site(changed)
    assert encode_site(changed, 1, previous) == encode_site(changed, 1)
