"""Calls that are owed to Axle, as figures: by what they are for, and since when.

The desk knows its lanes; here is what a lane is counted as. The one idea: since when a call is owed stands in the
state, so a restart does not make an old debt look young.
"""

from collections.abc import Iterable
from enum import StrEnum

from processor.core.intents import AskSchedule, Intent, Offboard, Onboard, Remove
from processor.core.site import Enrolling, Leaving, Question, Site
from processor.shell.metrics import Metrics


class CallKind(StrEnum):
    """What a call is for; a closed set, fit for metric labels."""

    ONBOARD = "onboard"
    LOOK_UP = "look_up"
    """For a question, or for a charger that Axle has already."""
    SCHEDULE = "schedule"
    REMOVE = "remove"
    OFFBOARD = "offboard"
    SEARCH = "search"
    """A look-up for what an onboarding that was never answered may have left behind; up to four in an hour."""


def debt_of(intent: Intent, site: Site) -> tuple[CallKind, int]:
    """What the intent is counted as, and when the site began to owe it; 0 where the state does not tell."""
    if isinstance(intent, Offboard):
        return CallKind.OFFBOARD, site.offboarding.since_ms if site.offboarding else 0
    charger = site.charger(intent.charger_id)
    if charger is None:
        return CallKind.LOOK_UP, 0
    kind: CallKind
    debt: Question | Leaving | Enrolling | None
    if isinstance(intent, AskSchedule):
        kind, debt = CallKind.SCHEDULE, charger.question
    elif isinstance(intent, Remove):
        kind, debt = CallKind.REMOVE, charger.leaving
    elif isinstance(intent, Onboard):
        kind, debt = CallKind.ONBOARD, charger.enrolling
    elif charger.leaving and not intent.for_question:
        kind, debt = CallKind.SEARCH, charger.leaving
    else:
        kind, debt = CallKind.LOOK_UP, charger.question if intent.for_question else charger.enrolling
    return kind, debt.since_ms if debt else 0


def show_owed(owing: Iterable[tuple[CallKind, int]], metrics: Metrics, now_ms: int) -> None:
    """Set how many calls of each kind are owed, and for how long the oldest has been."""
    counts = dict.fromkeys(CallKind, 0)
    oldest = dict.fromkeys(CallKind, now_ms)
    for kind, since_ms in owing:
        counts[kind] += 1
        if 0 < since_ms < oldest[kind]:
            oldest[kind] = since_ms
    for kind in CallKind:
        metrics.calls_owed.labels(kind.value).set(counts[kind])
        metrics.oldest_owed_seconds.labels(kind.value).set((now_ms - oldest[kind]) / 1000)
