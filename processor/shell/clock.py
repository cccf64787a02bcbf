"""Time: the only place of the shell that reads it. It is handed in, so that a run can be repeated."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the shell knows of time."""

    def now_ms(self) -> int:
        """UTC, milliseconds since the epoch. It may step; never measure a wait with it."""

    def monotonic(self) -> float:
        """Seconds since some start; never steps back."""


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """UTC, milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()
