"""Instants as text: every form that tells an instant is read exactly, and nothing else is guessed at."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.wire.instants import instant_ms, iso, iso_z

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENING = 1_751_061_600_000  # 2025-06-27T22:00:00Z
YEARS = st.integers(-62_135_596_800_000, 253_402_300_799_999)


def test_a_whole_second_is_written_as_in_axles_guide() -> None:
    """A whole second carries no fraction, in both forms."""
    assert iso(EVENING) == "2025-06-27T22:00:00+00:00"
    assert iso_z(EVENING) == "2025-06-27T22:00:00Z"


def test_milliseconds_are_written_only_where_there_are_some() -> None:
    """A second that is not whole carries exactly three digits."""
    assert iso(EVENING + 50) == "2025-06-27T22:00:00.050+00:00"
    assert iso_z(EVENING - 1) == "2025-06-27T21:59:59.999Z"


@pytest.mark.parametrize("instant", [253_402_300_800_000, -62_135_596_800_001, 1 << 62, -(1 << 62), 1 << 80])
def test_an_instant_without_a_date_is_refused(instant: int) -> None:
    """Outside the years 1 to 9999 there is nothing to write."""
    with pytest.raises(ValueError, match="outside the years"):
        iso(instant)


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-27T22:00:00Z",
        "2025-06-27T22:00:00+00:00",
        "2025-06-27T22:00:00-00:00",
        "2025-06-27T23:00:00+01:00",
        "2025-06-28T03:30:00+05:30",
        "2025-06-27T12:00:00-10:00",
        "2025-06-27 22:00:00Z",
        "2025-06-27T22:00:00.000Z",
        "2025-06-27T23:00:00.000000000+01:00",
        "2025-06-27T22:00:00,0Z",
    ],
)
def test_every_offset_and_fraction_tells_the_same_instant(text: str) -> None:
    """However the zone and the fraction are written, the instant is the same, whichever way it is rounded."""
    assert instant_ms(text) == EVENING == instant_ms(text, up=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "22:00:00Z",
        "2025-06-27",
        "2025-06-27T22:00:00",
        "2025-06-27T22:00:00.5",
        "2025-06-27T22:00.5Z",
        "2025-06-27T22:00:00.Z",
        "2025-06-27T22:00:00.5.5Z",
        "2025-06-27T22:00:60Z",
        "2025-06-31T22:00:00Z",
        "2025-06-27T22:00:00+25:00",
        "\u0662025-06-27T22:00:00Z",
        "2025-06-27T22:00:00.\u0665Z",
        "2025-06-27T22:00:00Z" + " " * 100,
        "1751061600000",
    ],
)
def test_what_tells_no_instant_is_refused(text: str) -> None:
    """No zone, no such date, or no date at all: refused, never guessed at."""
    with pytest.raises(ValueError, match=r"."):
        instant_ms(text)


def test_an_hour_that_happens_twice_is_two_instants() -> None:
    """On the night the clocks go back, half past one comes twice, an hour apart."""
    summer, winter = "2025-10-26T01:30:00+01:00", "2025-10-26T01:30:00+00:00"
    assert instant_ms(winter) - instant_ms(summer) == 3_600_000


def test_an_hour_that_is_skipped_takes_no_time() -> None:
    """On the night the clocks go forward, two o'clock is one second after 00:59:59."""
    assert instant_ms("2025-03-30T02:00:00+01:00") - instant_ms("2025-03-30T00:59:59+00:00") == 1000


@given(YEARS)
@settings(deadline=None)
def test_what_is_written_is_read_back(instant: int) -> None:
    """Both forms tell the very millisecond that they were made from, and agree with the standard library."""
    assert instant_ms(iso(instant)) == instant == instant_ms(iso_z(instant), up=True)
    assert datetime.fromisoformat(iso(instant)) == datetime.fromisoformat(iso_z(instant))


@given(YEARS.map(lambda instant: instant // 1000), st.integers(-1439, 1439))
@settings(deadline=None)
def test_any_zone_of_the_world_is_read(second: int, zone_minutes: int) -> None:
    """A second told in any zone is the same instant."""
    try:
        moment = (EPOCH + timedelta(seconds=second)).astimezone(timezone(timedelta(minutes=zone_minutes)))
    except OverflowError:  # the zone pushed it out of the calendar
        return
    assert instant_ms(moment.isoformat()) == second * 1000


@given(st.text("0123456789", min_size=1, max_size=18), st.sampled_from(["Z", "+00:00", "+01:00"]))
@settings(deadline=None)
def test_fractions_are_rounded_the_way_that_was_asked_for(digits: str, zone: str) -> None:
    """Down is the millisecond at or before, up the one at or after, exactly, for any number of digits."""
    base = instant_ms(f"2025-06-27T22:00:00{zone}")
    exact = Fraction(int(digits), 10 ** len(digits)) * 1000
    text = f"2025-06-27T22:00:00.{digits}{zone}"
    assert instant_ms(text) == base + floor(exact)
    assert instant_ms(text, up=True) == base + ceil(exact)


@given(st.one_of(st.text(), st.text("0123456789-:T.,+Z ", max_size=40)), st.booleans())
@settings(deadline=None)
def test_no_text_does_worse_than_be_refused(text: str, up: bool) -> None:  # noqa: FBT001 - drawn
    """Any text is an instant or a ValueError."""
    with suppress(ValueError):
        assert isinstance(instant_ms(text, up=up), int)
