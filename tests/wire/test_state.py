"""The changelog's values: what is written is read back, or refused by name. Releases: `test_state_versions.py`."""

import dataclasses
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.core.enrolment import fingerprint
from processor.core.site import Site
from processor.wire.state import (
    CHECKPOINT_KEY,
    ERASED_PREFIX,
    STATE_VERSION,
    WRITABLE_VERSIONS,
    BadState,
    Checkpoint,
    StateMarks,
    decode_checkpoint,
    decode_site,
    encode_checkpoint,
    encode_site,
    erased_key,
    is_at_rest,
    is_whole,
    read_headers,
    state_headers,
)
from tests.wire.state_samples import ANY_SITE, ASKED, MEDIAN, SITES, T, enveloped

CHECKPOINTS = st.builds(
    Checkpoint, st.dictionaries(st.tuples(st.text(max_size=8), st.integers(0, 99)), st.integers(0, 1 << 62), max_size=4)
)


@given(ANY_SITE)
@settings(max_examples=80, deadline=None)
def test_a_site_is_read_back_as_it_was_written(site: Site) -> None:
    """Every register, question and promise of a site survives the changelog, with its types."""
    read = decode_site(encode_site(site))
    assert read == site
    assert repr(read) == repr(site)


def test_a_median_site_is_small() -> None:
    """A site with one plugged-in charger takes at most 400 bytes, so hundreds of thousands fit in memory."""
    assert len(encode_site(MEDIAN)) <= 400


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_each_kind_of_site_is_read_back(site: Site) -> None:
    """From the smallest state there is to the one that uses everything."""
    assert decode_site(encode_site(site)) == site


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


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_a_value_is_whole_or_cannot_be_decoded(site: Site) -> None:
    """The cheap check of a restore sees every damaged byte, every cut and every version that nobody here reads."""
    value = encode_site(site)
    assert is_whole(value)
    damaged = [value[:at] + bytes([value[at] ^ 0x10]) + value[at + 1 :] for at in range(len(value))]
    for bad in (*damaged, *(value[:length] for length in range(len(value))), value + b"\0"):
        assert not is_whole(bad)
        with pytest.raises(BadState):
            decode_site(bad)


def test_a_cut_or_lengthened_value_is_refused() -> None:
    """A value with bytes missing at its end, or with bytes too many, is no state."""
    value = encode_site(MEDIAN)
    for wrong in [*(value[:size] for size in range(len(value))), value + b"\x00", value + value]:
        with pytest.raises(BadState):
            decode_site(wrong)


@given(st.binary(max_size=60), st.sampled_from([1, 2, 3]))
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
    with pytest.raises(BadState, match="a checkpoint of state version 2 has another layout"):
        decode_checkpoint(encode_site(MEDIAN))
    with pytest.raises(BadState, match="a site of state version 2 has another layout"):
        decode_site(encode_checkpoint(Checkpoint({("in", 1): 5})))


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


@pytest.mark.parametrize("version", WRITABLE_VERSIONS)
def test_a_checkpoint_has_the_version_that_was_asked_for(version: int) -> None:
    """While older programs read the topic, nothing in it is of a version that they may not know."""
    value = encode_checkpoint(Checkpoint({("in", 1): 5}), version)
    assert value[0] == version
    assert decode_checkpoint(value) == Checkpoint({("in", 1): 5})


@pytest.mark.parametrize("key", [CHECKPOINT_KEY.decode(), ERASED_PREFIX, erased_key("s-1", b"secret")])
def test_no_site_can_have_a_key_of_ours(key: str) -> None:
    """A site's id never has the character that the keys of checkpoints and of erased sites begin with."""
    assert not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", key)


def test_the_key_of_an_erased_site_does_not_tell_which_one() -> None:
    """It is a fingerprint: the same for the same site and secret, and another for any other."""
    key = erased_key("site-00001234", b"secret")
    assert key == f"#erased/{fingerprint('site-00001234', b'secret')}"
    assert len({key, erased_key("site-00001235", b"secret"), erased_key("site-00001234", b"other")}) == 3


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
    assert is_at_rest([("traceparent", "00-1"), *headers]) == (not marks.owes and marks.due_at_ms is None)


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
    assert not is_at_rest(headers or ())


def test_an_open_question_is_kept_whole() -> None:
    """What a restart needs in order to ask again, and to settle the right input, is all there."""
    assert ASKED.chargers[0].question is not None
    assert decode_site(encode_site(ASKED)) == ASKED
