"""How far a restore is: in the log about each two seconds, and in a gauge that ends at nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from processor.demo.kafka import Broker
from processor.shell.metrics import Metrics
from processor.shell.progress import Progress
from processor.shell.records import RestoreCancelled, RestoreFailed
from processor.shell.restore import Restored, Restorer
from tests.shell.changelog import Writer, few_topics, home


def left(metrics: Metrics) -> float:
    return float(metrics.restore_records_left._value.get())  # noqa: SLF001 - it has no public reader


def test_a_line_each_two_seconds_says_how_far_it_is_and_how_long_it_takes() -> None:
    """However often something is read, the log hears of it every two seconds, with the time that is left."""
    metrics = Metrics()
    progress = Progress(3, 1_000, 1_001_000, metrics.restore_records_left, 50.0)
    with capture_logs() as said:
        for step in range(1, 42):
            progress.reach(1_000 + 10_000 * step, 9_000 * step, 50.0 + step / 10)
    assert [(line["restored"], line["sites"], line["seconds_left"]) for line in said] == [
        ("200,000 of 1,000,000 records", 180_000, 8.0),
        ("400,000 of 1,000,000 records", 360_000, 6.0),
    ]
    assert {(line["event"], line["task"]) for line in said} == {("restoring a task", 3)}
    assert left(metrics) == 590_000


def test_a_restore_that_waits_says_so() -> None:
    """When nothing came for two seconds the line is a warning, with where it stands and for how long."""
    progress = Progress(3, 0, 100, Metrics().restore_records_left, 0.0)
    with capture_logs() as said:
        progress.reach(40, 40, 1.0)
        progress.reach(40, 40, 2.5)
        progress.reach(40, 40, 4.6)
    assert [(line["log_level"], line.get("offset"), line.get("waited_seconds")) for line in said] == [
        ("info", None, None),
        ("warning", 40, 4),
    ]
    assert progress.waited_seconds(4.6) == pytest.approx(3.6)


def test_nothing_is_left_of_a_restore_that_ended() -> None:
    """Two restores share the gauge; each takes back what it did not read, and never more than it had."""
    metrics = Metrics()
    one, other = (Progress(task, 0, 100, metrics.restore_records_left, 0.0) for task in (0, 1))
    one.reach(30, 30, 0.1)
    other.reach(250, 30, 0.1)
    assert left(metrics) == 70
    one.close()
    other.close()
    one.close()
    assert left(metrics) == 0


class Bench:
    """A changelog on a real broker whose last transaction is open."""

    def __init__(self, broker: Broker) -> None:
        topics = few_topics(broker, "reroute", "state")
        self.metrics = Metrics()
        self.writer = Writer(broker, topics)
        self.writer.commit(0, home("s-1"), checkpoint={})
        self.writer.begin(0, home("s-2"))
        self._broker, self._topics = broker, topics
        self._thread = ThreadPoolExecutor(1)
        self.is_wanted = True

    def restore(self, patience_seconds: float = 60.0) -> "Future[Restored]":
        connection = {"bootstrap.servers": self._broker.bootstrap_servers}
        restorer = Restorer(
            connection,
            "g",
            self._topics.state,
            1,
            "earliest",
            metrics=self.metrics,
            patience_seconds=patience_seconds,
        )
        return self._thread.submit(restorer.restore, 0, [(self._topics.reroute, 0)], lambda: self.is_wanted)

    def wait(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not what():
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)

    def close(self) -> None:
        self.is_wanted = False
        self._thread.shutdown(wait=True)


@pytest.fixture
def bench(broker: Broker) -> Iterator[Bench]:
    bench = Bench(broker)
    yield bench
    bench.close()


def test_a_waiting_restore_counts_what_is_left(bench: Bench) -> None:
    """The gauge says what a transaction hides while the log says why nothing goes on; in the end nothing is left."""
    with capture_logs() as said:
        restoring = bench.restore()
        bench.wait(lambda: bool(said))
        assert left(bench.metrics) == 1
        assert not restoring.done()
        bench.writer.producer.commit_transaction(10)
        assert sorted(restoring.result(20).states) == ["s-1", "s-2"]
    assert left(bench.metrics) == 0
    assert [(line["log_level"], line["task"], line["offset"], line["end"]) for line in said[:1]] == [
        ("warning", 0, 3, 4)
    ]


def test_a_cancelled_restore_leaves_nothing_to_do_behind(bench: Bench) -> None:
    """The gauge does not count what nobody will read."""
    restoring = bench.restore()
    bench.wait(lambda: left(bench.metrics) == 1)
    bench.is_wanted = False
    with pytest.raises(RestoreCancelled):
        restoring.result(5)
    assert left(bench.metrics) == 0


def test_a_transaction_that_hangs_is_named(bench: Bench) -> None:
    """When nothing came for too long, the sentence says from where a transaction is open, and how to find its owner."""
    sentence = r"task 0: .* gave no record for 1 s, at offset 3 of 4: a transaction is open from offset 3 on.*find-hang"
    with pytest.raises(RestoreFailed, match=sentence):
        bench.restore(patience_seconds=1.0).result(30)
