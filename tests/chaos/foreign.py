"""T4: somebody else holds a transaction open on a changelog while a task is restored. It may wait, never fall short.

Here lives one round, and the count of many. What is written is known exactly, so what a restore must find is, too. The
idea: while the foreign transaction is open, a read_committed reader is told that the partition ends below it, and
committed states lie above it. A restore that believes this loads an old state without a word.

In every second round the changelog was compacted first, with tiny segments and aborted transactions as the last things
in it: then little is left of it but holes and the markers of transactions, and a restore must still find its end.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # its stubs omit it

from processor.core.site import Site
from processor.demo.kafka import Broker, EmbeddedKafka, prepare
from processor.shell.records import Partition
from processor.shell.restore import Restored, Restorer
from processor.shell.topics import TopicNames
from processor.wire.state import Checkpoint, encode_site
from tests.broker import prefixed
from tests.shell.changelog import Writer, home

ROUNDS, ROUNDS_SHORT = 50, 5
SITES = 8
QUICK_CLEANER = {"log.cleaner.backoff.ms": "50"}
"""What a broker needs so that it compacts within a second or two."""
_SEGMENT_MS = 20
_COMPACTED_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_ASKED_TIMES = 6
"""So often has a restore asked in vain, each time for 0.2 s, before the transaction that it waits for is ended."""
_TINY_SEGMENTS = {
    "segment.ms": str(_SEGMENT_MS),
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "1",
    "delete.retention.ms": "0",
}


@dataclass(slots=True)
class Round:
    """What one round saw. Times in seconds."""

    waited: bool = False
    """Whether the restore was still at it when it had everything but what the transaction hid."""
    short: list[str] = field(default_factory=list)
    """What a restore came back without, in sentences."""
    resumed_s: float = 0.0
    """From the transaction's end to the restore's."""


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """Play the rounds on a broker of their own. Figures: see `tests/chaos/__main__.py`."""
    prepare(say)
    rounds: list[Round] = []
    with EmbeddedKafka(settings=QUICK_CLEANER, say=say) as broker:
        for number in range(ROUNDS_SHORT if short else ROUNDS):
            rounds.append(play(broker, number))
            say(f"round {number}: resumed after {rounds[-1].resumed_s:.2f} s, short of {rounds[-1].short or 'nothing'}")
    return {
        "foreign_open_transactions": sum(played.waited for played in rounds),
        "completed_short": sum(bool(played.short) for played in rounds),
        "of_them_compacted": sum(_is_compacted(number) for number in range(len(rounds))),
        "slowest_resume_s": round(max(played.resumed_s for played in rounds), 2),
    }


def play(broker: Broker, number: int) -> Round:
    """One round: write, perhaps compact, restore, hold a transaction open, restore through it, end it."""
    log = _Changelog(broker, number)
    with ThreadPoolExecutor(1) as thread, closing(log):
        log.write(1)
        played = Round()
        if _is_compacted(number):
            log.compact()
            played.short += log.missing(log.restore(), "compacted")
        log.foreign.begin(0, home("foreign"))
        log.write(99)
        restoring = thread.submit(log.restore)
        played.waited = log.waits(restoring)
        ended_at = time.monotonic()
        if number % 4 < 2:
            log.foreign.producer.abort_transaction(10)
        else:
            log.foreign.producer.commit_transaction(10)
            log.expected["foreign"] = home("foreign")
        played.short += log.missing(restoring.result(_ANSWER_SECONDS), "held open")
        played.resumed_s = time.monotonic() - ended_at
        return played


def _is_compacted(number: int) -> bool:
    return number % 2 == 1


class _Changelog:
    """A changelog of one task, its owner, a stranger who writes to it too, and what must be found in it."""

    def __init__(self, broker: Broker, number: int) -> None:
        self._broker = broker
        topics: TopicNames = prefixed(TopicNames(), f"{time.time_ns():x}.")
        self._topics = topics
        self._source: Partition = (topics.reroute, 0)
        settings = {"cleanup.policy": "compact", **(_TINY_SEGMENTS if _is_compacted(number) else {})}
        admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        made = [NewTopic(topics.state, 1, 1, config=settings), NewTopic(topics.reroute, 1, 1)]
        for future in admin.create_topics(made).values():
            future.result(10)
        self._owner = Writer(broker, topics)
        self.foreign = Writer(broker, topics, "foreign")
        self._restorer = Restorer({"bootstrap.servers": broker.bootstrap_servers}, "g", topics.state, 1, "earliest")
        self.expected: dict[str, Site] = {}
        self._offset = 0
        self._asked = 0
        self._is_wanted = True

    def write(self, since_ms: int) -> None:
        """Commit a state of each site, and a checkpoint."""
        sites = [home(f"s-{number}", since_ms) for number in range(SITES)]
        self._offset += 1
        self._owner.commit(0, *sites, checkpoint={self._source: self._offset})
        self.expected |= {site.site_id: site for site in sites}

    def compact(self) -> None:
        """Write until the cleaner has removed something, aborted transactions last."""
        written, deadline = 0, time.monotonic() + _COMPACTED_SECONDS
        while written <= self._kept() + SITES:
            assert time.monotonic() < deadline, f"nothing was compacted in {_COMPACTED_SECONDS} s"
            self.write(2 + written)
            self._owner.begin(0, *(home(f"s-{number}", 0) for number in range(SITES)), checkpoint={self._source: 0})
            self._owner.producer.abort_transaction(10)
            written += 2 * (SITES + 1)
            # A segment is closed by the next record after its time.
            threading.Event().wait(2 * _SEGMENT_MS / 1000)

    def _kept(self) -> int:
        """How many records are there, aborted ones too."""
        config = {
            "bootstrap.servers": self._broker.bootstrap_servers,
            "group.id": "counting",
            "isolation.level": "read_uncommitted",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
        }
        count, deadline = 0, time.monotonic() + _ANSWER_SECONDS
        with closing(Consumer(config)) as consumer:
            consumer.assign([TopicPartition(self._topics.state, 0, 0)])
            while time.monotonic() < deadline:
                for message in consumer.consume(500, 0.05):
                    error = message.error()
                    if error is None:
                        count += 1
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return count
        raise AssertionError(f"the end of {self._topics.state} was not seen in {_ANSWER_SECONDS} s")

    def restore(self) -> Restored:
        """Restore the task."""
        return self._restorer.restore(0, [self._source], self._wants)

    def _wants(self) -> bool:
        self._asked += 1
        return self._is_wanted

    def waits(self, restoring: "Future[Restored]") -> bool:
        """Whether the restore is still at it, however often it has asked."""
        enough, deadline = self._asked + _ASKED_TIMES, time.monotonic() + _ANSWER_SECONDS
        while self._asked < enough and not restoring.done():
            assert time.monotonic() < deadline, "the restore does not ask any more"
            threading.Event().wait(0.01)
        return not restoring.done()

    def missing(self, restored: Restored, when: str) -> list[str]:
        """What is not as it was committed, in sentences."""
        expected = {site_id: encode_site(site) for site_id, site in self.expected.items()}
        wrong = [
            f"{when}: {key}" for key in {*expected, *restored.states} if restored.states.get(key) != expected.get(key)
        ]
        checkpoint = restored.checkpoint or Checkpoint({})
        if checkpoint.offsets.get(self._source) != self._offset:
            wrong.append(f"{when}: the checkpoint")
        return wrong

    def close(self) -> None:
        """Whatever goes on ends."""
        self._is_wanted = False
