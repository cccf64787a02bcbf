"""How far the restore of a task is: a line in the log about each two seconds, and a gauge of what is left.

Nothing is read here. The one idea: a restore is measured in offsets, because how many sites there are is known only
at its end. Offsets count more than records (compaction leaves holes, transactions have markers), so the time that is
left is an estimate.
"""

import structlog
from prometheus_client import Gauge

SAY_EVERY_SECONDS = 2.0
log = structlog.get_logger(__name__)


class Progress:
    """Of one restore; used on its thread, and closed at its end. Times are monotonic seconds."""

    def __init__(self, task: int, low: int, goal: int, left: Gauge, now: float) -> None:
        """From offset `low` to `goal`, which counts as that many records in the gauge `left`."""
        self._task = task
        self._low = low
        self._goal = goal
        self._left = left
        self._began_at = self._moved_at = self._said_at = now
        self.position = low
        """The next offset to read, `goal` at most."""
        left.inc(goal - low)

    def reach(self, position: int, sites: int, now: float) -> None:
        """The next offset to read is `position`, and so many sites were found. Says so when it is time."""
        position = min(position, self._goal)
        if position > self.position:
            self._left.dec(position - self.position)
            self.position, self._moved_at = position, now
        if now - self._said_at < SAY_EVERY_SECONDS:
            return
        self._said_at = now
        waited = self.waited_seconds(now)
        if waited >= SAY_EVERY_SECONDS:
            log.warning(
                "a restore waits: the changelog does not go on, as it does while a transaction on it is open",
                task=self._task,
                offset=self.position,
                end=self._goal,
                waited_seconds=round(waited),
            )
        elif self.position > self._low:
            done, wanted = self.position - self._low, self._goal - self._low
            log.info(
                "restoring a task",
                task=self._task,
                restored=f"{done:,} of {wanted:,} records",
                sites=sites,
                seconds_left=round((wanted - done) * (now - self._began_at) / done, 1),
            )

    def waited_seconds(self, now: float) -> float:
        """For how long it has not gone on."""
        return now - self._moved_at

    def close(self) -> None:
        """It has ended, one way or the other: nothing of it is left to do."""
        self._left.dec(self._goal - self.position)
        self.position = self._goal
