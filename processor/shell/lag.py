"""How far each partition of ours is behind, and for how long it has not moved.

The ends of the logs are asked of the brokers now and then, on a thread, because what the consumer remembers of them
grows old exactly when it stops fetching. The one idea: a lag in records says little (a burst is no trouble), a
partition that has more to read and does not move says it all.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from processor.shell.clock import Clock
from processor.shell.metrics import Metrics
from processor.shell.records import Partition

LOOK_SECONDS = 5.0
MARKER_RECORDS = 1
"""The end of a transaction takes an offset that nobody reads; so much lag is none."""


class Settles(Protocol):
    """Who knows how far we are: the tasks."""

    @property
    def settled(self) -> Mapping[Partition, int]:
        """The next offset to settle of each partition that is being read."""


@dataclass(slots=True)
class _Reached:
    position: int
    moved_at: float


class Lags:
    """Of all partitions that are ours. Used on the event loop only."""

    def __init__(
        self,
        ends: Callable[[list[Partition]], Mapping[Partition, int]],
        tasks: Settles,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`ends(partitions)` tells the last stable offset of those that it can; it is called on a thread."""
        self._ends = ends
        self._tasks = tasks
        self._clock = clock
        self._metrics = metrics
        self._reached: dict[Partition, _Reached] = {}
        self.records: dict[Partition, int] = {}
        """The lag of each partition, where it is known."""
        metrics.before_reading(self._show)

    async def run(self) -> None:
        """Look every 5 s, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask where the logs end, and work out how far we are behind."""
        asked = self._tasks.settled
        ends = await asyncio.to_thread(self._ends, list(asked)) if asked else {}
        now = self._clock.monotonic()
        positions = self._tasks.settled
        self._reached = {
            partition: self._moved(partition, position, ends.get(partition), now)
            for partition, position in positions.items()
        }
        self.records = {
            partition: max(end - positions[partition], 0) for partition, end in ends.items() if partition in positions
        }

    def standing_seconds(self) -> dict[Partition, float]:
        """For how long each partition has not moved although there is more to read."""
        now = self._clock.monotonic()
        return {
            partition: now - self._reached[partition].moved_at if self._waits(partition) else 0.0
            for partition in self.records
        }

    def _waits(self, partition: Partition) -> bool:
        return self.records[partition] > MARKER_RECORDS

    def _moved(self, partition: Partition, position: int, end: int | None, now: float) -> _Reached:
        before = self._reached.get(partition)
        has_read_all = end is not None and end - position <= MARKER_RECORDS
        if before is None or before.position != position or has_read_all:
            return _Reached(position, now)
        return before

    def _show(self) -> None:
        for gauge, values in (
            (self._metrics.lag_records, self.records),
            (self._metrics.standing_seconds, self.standing_seconds()),
        ):
            gauge.clear()
            for (topic, partition), value in values.items():
                gauge.labels(topic, str(partition)).set(value)
