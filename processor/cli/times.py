"""Times as people type them: an instant with its zone, or a distance from now.

Nothing else lives here. The one idea: a time of day without a zone is refused, as everywhere in the product.
"""

import re

from processor.wire.instants import instant_ms

_DISTANCE = re.compile(r"([+-])([0-9]{1,6})([smhd])")
_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def told_ms(text: str, now_ms: int) -> int:
    """UTC milliseconds of `2026-11-23T22:00:00Z`, `now`, `+8h` or `-30m`. Raises ValueError with a sentence."""
    if text == "now":
        return now_ms
    distance = _DISTANCE.fullmatch(text)
    if distance:
        sign, number, unit = distance.groups()
        return now_ms + (-1 if sign == "-" else 1) * int(number) * _UNITS_MS[unit]
    try:
        return instant_ms(text)
    except ValueError:
        sentence = f"{text!r} is no time; give 2026-11-23T22:00:00Z (with its zone), now, +8h or -30m"
        raise ValueError(sentence) from None
