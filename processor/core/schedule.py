"""Schedule algebra: half-open UTC intervals in integer milliseconds.

Here live the set operations on time that everything else is said in. Nothing here knows of drivers, chargers or Axle.
The one idea: a `Schedule` is always *normal* (sorted, merged, no empty block), so two schedules are the same set of
instants exactly when they are equal. Only `normalise` takes anything else.
"""

from collections.abc import Iterable

Block = tuple[int, int]
"""`[start_ms, end_ms)`: charging is allowed from the first instant, up to but not including the last."""

Schedule = tuple[Block, ...]
"""Sorted, disjoint, non-touching, non-empty blocks. `()` is no time at all."""

EMPTY: Schedule = ()
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def normalise(blocks: Iterable[Block]) -> Schedule:
    """The same instants as a schedule: sorted, overlapping and touching blocks merged, empty ones dropped."""
    merged: list[Block] = []
    for start, end in sorted(blocks):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            last_start, last_end = merged[-1]
            merged[-1] = (last_start, max(last_end, end))
        else:
            merged.append((start, end))
    return tuple(merged)


def union(a: Schedule, b: Schedule) -> Schedule:
    """Instants that are in `a` or in `b`."""
    if not a or not b:
        return a or b
    return normalise(a + b)


def subtract(a: Schedule, b: Schedule) -> Schedule:
    """Instants that are in `a` but not in `b`."""
    if not a or not b:
        return a
    left: list[Block] = []
    for start, end in a:
        at = start
        for cut_start, cut_end in b:
            if cut_end <= at:
                continue
            if cut_start >= end:
                break
            if cut_start > at:
                left.append((at, cut_start))
            at = max(at, cut_end)
        if at < end:
            left.append((at, end))
    return tuple(left)


def intersect(a: Schedule, b: Schedule) -> Schedule:
    """Instants that are in both."""
    return subtract(a, subtract(a, b))


def is_subset(a: Schedule, b: Schedule) -> bool:
    """Whether every instant of `a` is in `b`."""
    return not subtract(a, b)


def since(a: Schedule, from_ms: int) -> Schedule:
    """The part of `a` at or after `from_ms`."""
    if not a or from_ms <= a[0][0]:
        return a
    return tuple((max(start, from_ms), end) for start, end in a if end > from_ms)


def before(a: Schedule, until_ms: int) -> Schedule:
    """The part of `a` before `until_ms`."""
    if not a or until_ms <= a[0][0]:
        return EMPTY
    return tuple((start, min(end, until_ms)) for start, end in a if start < until_ms)


def total_ms(a: Schedule) -> int:
    """How long `a` is in all."""
    return sum(end - start for start, end in a)


def end_ms(a: Schedule) -> int | None:
    """The instant at which `a` is over, or None when it is empty."""
    return a[-1][1] if a else None


def window(start_ms: int, end_ms: int) -> Schedule:
    """One block as a schedule; `()` when it is empty."""
    return ((start_ms, end_ms),) if end_ms > start_ms else EMPTY


def round_up_to_minute(instant_ms: int) -> int:
    """The first whole minute at or after `instant_ms`."""
    return -(-instant_ms // MINUTE_MS) * MINUTE_MS
