"""Instants as text: ISO 8601 with an offset on the outside, whole UTC milliseconds on the inside.

Nothing here knows what the instants are for. The one idea: text without a zone tells no instant, so it is refused
rather than guessed at; and because milliseconds are coarser than text, the reader says which way to round.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_BARE = _EPOCH.replace(tzinfo=None)  # twice as fast to write down as one that carries its zone
_DAY_MS = 86_400_000
_FRACTION = re.compile(r"(.+:[0-9]{2}:[0-9]{2})[.,]([0-9]{1,18})(Z|[+-][0-9]{2}:?[0-9]{2})", re.ASCII)
_TEXT_MAX = 64
_KEPT = 4096
"""Instants that are written and read once only: nearly all fall on the same few minutes of a night."""


def iso(instant_ms: int) -> str:
    """`2025-06-27T22:00:00+00:00`, with three digits after the point when the second is not whole.

    Raises ValueError outside the years 1 to 9999.
    """
    return _utc(instant_ms) + "+00:00"


def iso_z(instant_ms: int) -> str:
    """As `iso`, ending in `Z`: `2025-01-01T12:00:00Z`."""
    return _utc(instant_ms) + "Z"


@lru_cache(_KEPT)
def _utc(instant_ms: int) -> str:
    seconds, millis = divmod(instant_ms, 1000)
    try:
        text = (_EPOCH_BARE + timedelta(0, seconds)).isoformat()
    except OverflowError as error:
        raise ValueError(f"{instant_ms} ms is outside the years 1 to 9999 and cannot be written as a date.") from error
    return f"{text}.{millis:03}" if millis else text


def instant_ms(text: str, *, up: bool = False) -> int:
    """The instant that an ISO 8601 text with any offset tells, down (or `up`) to the whole millisecond.

    Raises ValueError when the text is no instant: no zone, no date, no time. Any number of digits after the second
    is exact up to 18; they are never rounded the wrong way.
    """
    if len(text) > _TEXT_MAX:
        raise ValueError(f"a text of {len(text)} characters is no instant.")
    if "." not in text and "," not in text:
        return _whole_ms(text)
    match = _FRACTION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no instant: a fraction must follow the seconds, and a zone the fraction.")
    whole, fraction, zone = match.groups()
    millis = int(fraction[:3].ljust(3, "0"))
    if up and fraction[3:].strip("0"):
        millis += 1
    return _whole_ms(whole + zone) + millis


@lru_cache(_KEPT)
def _whole_ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} names no zone, so it is no instant.")
    since = instant - _EPOCH
    return since.days * _DAY_MS + since.seconds * 1000
