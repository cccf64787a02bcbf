"""T7: ends of transactions that arrive late, in the middle of the transaction after theirs.

Here lives the procedure: a real broker behind `KafkaProxy`, the product's own transactions, and a reader of our own
that judges. In half of the rounds the end is left waiting while the client gives up on it and sends it again, in the
other half its connection is cut at once; in half of each it is a commit that comes late, in the other half an abort.

The idea: the transaction that a late end hits has one record at the broker and one to come, each on a topic of its own.
A late commit hits one that is then aborted, a late abort hits one that is then committed: where the end is obeyed, a
reader sees one record of the two. With the suspicion rule nothing may be torn; without it something must be, or the
procedure has shown nothing.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Message

from processor.demo.kafka import EmbeddedKafka, ExternalKafka
from processor.demo.kafka_node import free_port
from processor.shell.records import Produce, TransactionLost
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.shell.changelog import few_topics
from tests.shell.kafka_proxy import END_TXN, PRODUCE, KafkaProxy
from tests.shell.transactions_bench import Bench, left_behind

SETTINGS = {"socket.timeout.ms": 1_000, "reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50}
"""So that a round takes seconds: the product waits five times as long before it sends an end again."""
TRANSACTION_TIMEOUT_MS = 20_000
"""Longer than any wait here: a transaction that the broker ends by itself would say nothing about the rule."""
STALL_SECONDS = 0.2
WAIT_SECONDS = 10.0
READ_SECONDS = 30.0
SAID_EVERY = 10
KEY = b"k"
"""One for all, so that the last record comes behind all others of its topic."""
LAST = b"the end"


@dataclass(slots=True)
class Found:
    """What one phase showed: the numbers of the report."""

    delayed: Counter[str] = field(default_factory=Counter)
    """Ends that arrived late, by how."""
    stalled: int = 0
    """Ends that were kept waiting for a moment and then answered, as if nothing were."""
    obeyed: int = 0
    """Late ends that the broker took for the end of the transaction at hand."""
    torn: int = 0
    """Transactions of which a reader sees one record, or the other twice, or an offset that nobody committed."""
    lost: int = 0
    """Transactions said to be committed that no reader sees."""
    duplicates: int = 0
    """Parts that a reader sees twice though they were committed once."""
    unknown: int = 0
    """Transactions whose producer broke, which the product would settle by restoring its tasks."""


class Marked(list[Produce]):
    """The records of a part: one on each topic with the same mark, anew for each attempt at its transaction.

    Between the two the late end arrives, if there is one: when the first is at the broker, and the second is not sent.
    """

    def __init__(self, phase: "Phase", name: str) -> None:
        super().__init__()
        self._phase = phase
        self.name = name
        self.attempts = 0

    def __iter__(self) -> Iterator[Produce]:
        self.attempts += 1
        mark = f"{self.name}/{self.attempts}".encode()
        before = self._phase.proxy.answered.count(PRODUCE)
        yield Produce(self._phase.topics.outcomes, KEY, mark)
        if self._phase.proxy.held:
            self._phase.wait(lambda: self._phase.proxy.answered.count(PRODUCE) > before)
            self._phase.let_go()
        yield Produce(self._phase.topics.dead_letter, KEY, mark)


class Phase:
    """Rounds on topics of their own, with the rule or without it."""

    def __init__(self, proxy: KafkaProxy, bootstrap: str, *, with_rule: bool) -> None:
        self.proxy = proxy
        self.topics: TopicNames = few_topics(ExternalKafka(bootstrap), "reroute", "outcomes", "dead_letter")
        self.bench = Bench(bootstrap, self.topics, settings=dict(SETTINGS))
        self.found = Found()
        self._transactions = self.bench.new_transactions(TRANSACTION_TIMEOUT_MS, heeds_suspicion=with_rule)
        self._transactions.open()
        self._member = self.bench.metadata
        self._committed: list[str] = []
        self._unknown: set[str] = set()
        self._offset = 0
        self._offsets_torn: set[str] = set()

    def late_commit(self, name: str, *, cut: bool) -> None:
        """A commit is sent twice; the first sending arrives in a transaction that is aborted in the end."""
        self.proxy.hold_next(END_TXN, cut=cut)
        self._commit(f"{name}/before")
        self._commit(f"{name}/hit", aborted_first=True)
        self._close_round(name, "cut" if cut else "slow")

    def late_abort(self, name: str, *, cut: bool) -> None:
        """An abort is sent twice; the first sending arrives in a transaction that is committed in the end."""
        self.proxy.hold_next(END_TXN, cut=cut)
        self._commit(f"{name}/hit", aborted_first=True)
        self._close_round(name, "cut" if cut else "slow")

    def stall(self, name: str) -> None:
        """The coordinator keeps a commit waiting for less than what counts as slow, and answers it then."""
        self.proxy.hold_next(END_TXN, cut=False)
        timer = threading.Timer(STALL_SECONDS, self.proxy.release)
        timer.start()
        self._commit(f"{name}/stalled")
        timer.join(WAIT_SECONDS)
        self._commit(f"{name}/after")
        self.found.stalled += 1

    def let_go(self) -> None:
        """The late end arrives, and is answered."""
        self.found.obeyed += sum(held.error_code == 0 for held in self.proxy.release())

    def wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, "the first record of a transaction did not reach the broker"
            time.sleep(0.002)

    def judge(self) -> Found:
        """Read both topics to their ends, and count; then let everything go."""
        for topic in (self.topics.outcomes, self.topics.dead_letter):
            produce(self.bench.bootstrap, topic, [(KEY, LAST, None)])
        one, other = self._marks(self.topics.outcomes), self._marks(self.topics.dead_letter)
        torn = {mark.rsplit("/", 1)[0] for mark in one.keys() | other.keys() if one[mark] != 1 or other[mark] != 1}
        seen = Counter(mark.rsplit("/", 1)[0] for mark in one.keys() & other.keys())
        self.found.torn = len(torn | self._offsets_torn)
        self.found.lost = sum(seen[name] == 0 for name in self._committed if name not in torn)
        self.found.duplicates = sum(count > 1 for count in seen.values())
        self.found.unknown = len(self._unknown)
        self._transactions.close()
        self._transactions.thread.shutdown()
        self.bench.end()
        return self.found

    def _commit(self, name: str, *, aborted_first: bool = False) -> None:
        """One part; with `aborted_first` its first attempt is made as by a member of another generation."""
        self._offset += 1
        part = self.bench.part(0, offset=self._offset)
        part.produces = Marked(self, name)
        self.bench.asked = 0
        self.bench.before_metadata = lambda asked: self._be_member(stale=aborted_first and asked == 1)
        try:
            assert self._transactions.commit([part]) == {0}
        except TransactionLost:
            self._unknown.add(name)
            self._transactions.open()
            return
        self._committed.append(name)
        if self.bench.offsets() != {(self.topics.reroute, 0): self._offset}:
            self._offsets_torn.add(name)

    def _be_member(self, *, stale: bool) -> None:
        self.bench.metadata = left_behind(self._member) if stale else self._member

    def _close_round(self, name: str, how: str) -> None:
        assert not self.proxy.held or name in {lost.split("/")[0] for lost in self._unknown}, "the late end never came"
        if self.proxy.held:
            self.let_go()
        self.found.delayed[how] += 1
        self.bench.member.consumer.poll(0)

    def _marks(self, topic: str) -> Counter[str]:
        read = read_committed(self.bench.bootstrap, topic, _is_whole, READ_SECONDS)
        return Counter(cast("bytes", message.value()).decode() for message in read if message.value() != LAST)


def _is_whole(read: list[Message]) -> bool:
    return bool(read) and read[-1].value() == LAST


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all chaos runs are called so
    """The long form has 200 late ends with the rule and 20 without it, the short one 10 and 4."""
    began = time.monotonic()
    with ExitStack() as stack:
        proxy = KafkaProxy(free_port())
        stack.callback(proxy.stop)
        where = f"127.0.0.1:{proxy.port}"
        stack.enter_context(
            EmbeddedKafka(
                port=proxy.broker_port, settings={"advertised.listeners": f"PLAINTEXT://{where}"}, heap_mb=384
            )
        )
        without = Phase(proxy, where, with_rule=False)
        _rounds(without, 4 if short else 20, 0, say, "without the rule")
        bare = without.judge()
        say(f"without the rule: {bare.torn} of {bare.delayed.total()} torn")
        ruled = Phase(proxy, where, with_rule=True)
        _rounds(ruled, 10 if short else 200, 2 if short else 10, say, "with the rule")
        found = ruled.judge()
        say(f"with the rule: {found.torn} of {found.delayed.total()} torn")
    return {
        "delayed_end_txn": found.delayed.total(),
        "slow": found.delayed["slow"],
        "cut": found.delayed["cut"],
        "stalled_end_txn": found.stalled,
        "late_ends_obeyed": found.obeyed,
        "torn": found.torn,
        "lost": found.lost,
        "duplicates": found.duplicates,
        "unknown": found.unknown,
        "delayed_end_txn_without_rule": bare.delayed.total(),
        "late_ends_obeyed_without_rule": bare.obeyed,
        "torn_without_rule": bare.torn,
        "rebuilds": ruled.bench.rebuilds(),
        "seconds": round(time.monotonic() - began, 1),
    }


def _rounds(phase: Phase, late: int, stalls: int, say: Callable[[str], None], what: str) -> None:
    for number in range(late):
        kind = phase.late_abort if number // 2 % 2 else phase.late_commit
        kind(f"{number}", cut=bool(number % 2))
        if (number + 1) % SAID_EVERY == 0:
            say(f"{what}: {number + 1} of {late} late ends")
    for number in range(stalls):
        phase.stall(f"stall-{number}")
