"""The benchmark of the restore measures what it says: every site, once bare and once for the store."""

from processor.demo.kafka import Broker
from tests.benchmarks.restore_bench import MEASURES, fill, report

SITES, TASKS = 3_000, 2


def test_both_ways_of_reading_see_every_site(broker: Broker) -> None:
    """In a process of their own bare consuming and the restore come upon all sites of all tasks, and are timed."""
    figures = report(fill(broker, SITES, TASKS), rounds=1)
    assert 215 <= figures["state_bytes"] <= 400
    rows = [figures[what] for what in MEASURES]
    assert [row["sites"] for row in rows] == [SITES, SITES]
    assert all(row["seconds"] > 0 and row["cpu_seconds"] > 0 for row in rows)
