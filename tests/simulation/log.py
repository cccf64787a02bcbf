"""Kafka in memory: partitions that are read in order, transactions that are whole, a changelog.

Stands where the poll thread, the tasks and the transactions stand; the loop, the rounds, the intake and the outbox
before it are the product's. Brokers do not fail here: that is what `tests/chaos` is for. The idea: it believes nothing.
A commit that would go back, or leave out a record, ends the simulation.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from processor.core.events import Source
from processor.shell.leases import Lease, Leases
from processor.shell.partition import task_of
from processor.shell.records import Headers, Part, Partition, Record
from processor.shell.topics import TopicNames
from processor.wire.state import CHECKPOINT_KEY


class BrokenPromise(Exception):
    """A commit that Kafka would have taken, and that loses or repeats a record."""


class MemoryKafka:
    """Topics with a partition for each task, all of them ours from the beginning to the end."""

    def __init__(self, names: TopicNames, tasks: int, thread: Executor, now_ms: Callable[[], int]) -> None:
        self.thread = thread
        self.ready = list(range(tasks))
        self.unclaimed: list[int] = []
        self.deliver: Callable[[list[Record]], None] = lambda _: None
        """Who hears of records that are there to be read: the loop."""
        self.states: dict[bytes, bytes] = {}
        """The changelog as it is once compacted, without checkpoints."""
        self.written: Counter[str] = Counter()
        """Records by topic."""
        self.commits = 0
        self.unsettled = 0
        """Records that were handed over and are not done with."""
        self._names = names
        self._now_ms = now_ms
        self._inputs = (names.plug_in, names.user_boost, names.consent_withdrawn, names.reroute)
        self._ends: Counter[Partition] = Counter()
        self._positions = {task: {(topic, task): 0 for topic in self._inputs} for task in self.ready}
        leases = Leases()
        self._leases = {(topic, task): leases.open(topic, task) for topic in self._inputs for task in self.ready}

    def send(self, topic: str, key: str, value: bytes) -> Source:
        """Write an input record, by key as Kafka does; tells where it stands."""
        return self._append(topic, task_of(key, len(self.ready)), key.encode(), value, [])

    def _append(self, topic: str, number: int, key: bytes | None, value: bytes | None, headers: Headers) -> Source:
        partition = (topic, number)
        offset = self._ends[partition]
        self._ends[partition] += 1
        self.unsettled += 1
        record = Record(topic, number, offset, key, value, headers, self._now_ms(), self._leases[partition])
        self.deliver([record])
        return Source(topic, number, offset)

    def commit(self, parts: list[Part]) -> set[int]:
        """As `Transactions.commit`: all parts, or an exception that ends everything."""
        self.commits += 1
        for part in parts:
            self._check(part)
            for produce in part.produces:
                self.written[produce.topic] += 1
                if produce.topic == self._names.reroute and produce.partition is not None:
                    self._append(produce.topic, produce.partition, produce.key, produce.value, produce.headers)
                elif produce.topic == self._names.state and produce.key != CHECKPOINT_KEY:
                    self._keep(produce.key or b"", produce.value)
        return set(range(len(parts)))

    def _check(self, part: Part) -> None:
        if part.task is None:
            raise BrokenPromise(f"a part without a task, though all partitions are tasks' own: {part.offsets}")
        read = Counter((record.topic, record.partition) for record in part.records)
        for partition, offset in part.offsets.items():
            expected = self._positions[part.task][partition] + read[partition]
            if offset != expected:
                raise BrokenPromise(f"{partition} was to be committed at {offset}, and {expected} is what was read")

    def _keep(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.states.pop(key, None)
        else:
            self.states[key] = value

    def idle(self) -> None:
        """Nothing to serve."""

    def settled(self, records: int, size_bytes: int) -> None:  # noqa: ARG002 - the poll thread's signature
        """So many of the records that were handed over are done with."""
        self.unsettled -= records

    def anchor(self, task: int) -> tuple[Partition, int, Lease]:
        """The task's reroute partition, its position and its lease."""
        partition = (self._names.reroute, task)
        return partition, self._positions[task][partition], self._leases[partition]

    def positions(self, task: int) -> Mapping[Partition, int]:
        """The next offset of each input of a task."""
        return self._positions[task]

    def advance(self, task: int, offsets: Mapping[Partition, int]) -> None:
        """A transaction moved the task's inputs on."""
        self._positions[task].update(offsets)

    def keeps(self, task: int) -> bool:
        """Whether the task is ours: always."""
        return task in self._positions
