"""How far partitions are behind, and for how long they have not moved."""

from collections.abc import Mapping

import pytest

from processor.shell.lag import Lags
from processor.shell.metrics import PREFIX, Metrics
from processor.shell.records import Partition
from tests.shell.parts import HandClock

pytestmark = pytest.mark.anyio
ONE, OTHER = ("plug-in", 0), ("boost", 3)


class Bench:
    """Lags with positions and ends that are set by hand."""

    def __init__(self, settled: dict[Partition, int], ends: dict[Partition, int]) -> None:
        self.settled, self.ends = settled, ends
        self.clock, self.metrics = HandClock(), Metrics()
        self.lags = Lags(self._tell, self, self.clock, self.metrics)

    def _tell(self, partitions: list[Partition]) -> Mapping[Partition, int]:
        return {partition: self.ends[partition] for partition in partitions if partition in self.ends}

    def shown(self) -> list[str]:
        """The samples of the two gauges."""
        names = (f"{PREFIX}_consumer_lag_records{{", f"{PREFIX}_partition_standing_seconds{{")
        return [line for line in self.metrics.exposition().decode().splitlines() if line.startswith(names)]


async def test_the_lag_is_shown_where_it_is_known() -> None:
    """A partition whose end the brokers do not tell is absent; it is not shown as 0."""
    bench = Bench({ONE: 5, OTHER: 7}, {ONE: 9})
    assert bench.shown() == []
    await bench.lags.look()
    assert bench.shown() == [
        f'{PREFIX}_consumer_lag_records{{partition="0",topic="plug-in"}} 4.0',
        f'{PREFIX}_partition_standing_seconds{{partition="0",topic="plug-in"}} 0.0',
    ]


async def test_a_partition_that_does_not_move_stands() -> None:
    """The time counts from its last move, and one that moves stands for no time at all."""
    bench = Bench({ONE: 5, OTHER: 7}, {ONE: 9, OTHER: 90})
    await bench.lags.look()
    bench.clock.turn(30)
    bench.settled[OTHER] = 8
    await bench.lags.look()
    bench.clock.turn(30)
    assert bench.lags.standing_seconds() == {ONE: 60, OTHER: 30}
    bench.settled = {ONE: 9, OTHER: 90}
    await bench.lags.look()
    assert bench.lags.standing_seconds() == {ONE: 0, OTHER: 0}


async def test_having_read_all_is_no_standstill() -> None:
    """Nobody waits at the end of a log, nor before the offset that the end of a transaction takes."""
    bench = Bench({ONE: 5, OTHER: 7}, {ONE: 5, OTHER: 8})
    await bench.lags.look()
    bench.clock.turn(600)
    await bench.lags.look()
    assert bench.lags.standing_seconds() == {ONE: 0, OTHER: 0}
    bench.ends[ONE] = 50
    await bench.lags.look()
    assert bench.lags.standing_seconds()[ONE] == 0, "what came just now has not waited for ten minutes"


async def test_a_partition_that_went_is_not_shown_any_more() -> None:
    """Its figures are somebody else's now."""
    bench = Bench({ONE: 5}, {ONE: 9})
    await bench.lags.look()
    bench.settled = {}
    await bench.lags.look()
    assert bench.shown() == []
