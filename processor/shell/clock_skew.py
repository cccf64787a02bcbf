"""Whether Axle's clock and ours agree, told by the `Date` header of its answers.

Nothing is corrected here. A wrong clock makes pauses that begin too early or too late, and only a person can put it
right. The one idea: Axle wrote the header between the call's beginning and its end, so whatever lies outside of that
is a difference for sure, however slow the network was.
"""

from email.utils import parsedate_to_datetime

import structlog

from processor.shell.clock import Clock
from processor.shell.metrics import Metrics

LOOK_SECONDS = 60.0
"""Between two looks, and so between two warnings."""
APART_SECONDS_MAX = 10.0
"""A tenth of it is more than a time service lets pass; a pause begins a minute ahead at the earliest."""
HEADER_MS = 1000
"""The header tells whole seconds, rounded down."""
log = structlog.get_logger(__name__)


class ClockSkew:
    """Looks at a `Date` header once a minute."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._look_at: float | None = None

    def hear(self, date: str | None, began: float) -> None:
        """An answer has just come, with this header, to a call that began at that steady time."""
        now = self._clock.monotonic()
        if date is None or (self._look_at is not None and now < self._look_at):
            return
        self._look_at = now + LOOK_SECONDS
        try:
            axle_ms = parsedate_to_datetime(date).timestamp() * 1000
        except (ValueError, OverflowError):
            return
        ended_ms = self._clock.now_ms()
        began_ms = ended_ms - (now - began) * 1000
        ahead_ms = max(axle_ms - ended_ms, 0)
        behind_ms = max(began_ms - axle_ms - HEADER_MS, 0)
        self._metrics.clock_ahead.set((ahead_ms - behind_ms) / 1000)
        if max(ahead_ms, behind_ms) > APART_SECONDS_MAX * 1000:
            log.warning(
                "Axle's clock and ours differ, so pauses begin at the wrong time; check this machine's time service",
                axle_ahead_seconds=round((ahead_ms - behind_ms) / 1000, 1),
            )
