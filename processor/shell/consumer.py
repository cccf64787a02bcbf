"""The poll thread: the only place that calls the group consumer.

It polls in short turns whatever happens (so that heartbeats, rebalances and the commands of others are served), hands
records over with the lease they were read under, and keeps the newest group metadata for the producer thread, which
must never ask the consumer itself: that call blocks behind a poll, and deadlocks in a rebalance (pitfall P7).
The one idea: between two polls nothing may take long.

What belongs to one task comes and goes together here, whatever the group does: where it gives or takes only some of
a task's partitions (it does when an input topic grows), the others go and come back in the same breath, under new
leases. Otherwise a part of a round could fail for one partition while the next one commits behind it for another.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar, cast

import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from processor.shell.kafka_errors import is_refusal
from processor.shell.leases import Lease, Leases
from processor.shell.log_ends import LogEnds
from processor.shell.membership import names_a_member
from processor.shell.reading import Unpackable, given_up, record_of
from processor.shell.records import KafkaRefused, Partition, Record

T = TypeVar("T")
POLL_SECONDS = 0.1
POLL_SECONDS_AT_START = 0.01
"""While partitions wait for their take-over: its commands are served between two polls."""
TAKE_MAX = 500
BACKLOG_RECORDS_MAX = 2_000
BACKLOG_BYTES_MAX = 4 * 1024 * 1024
REVOKE_WAIT_SECONDS = 5.0
SEEK_TRIES_MAX = 100
SEEK_PAUSE_SECONDS = 0.02
WAKE_SECONDS = 0.002
log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Who is told what the poll thread sees. Called on the poll thread: hand over, do not work."""

    def on_assigned(self, partitions: list[Partition]) -> None:
        """These partitions are ours, paused at no position yet."""

    def on_gone(self, partitions: list[Partition], ends: Mapping[int, int]) -> None:
        """These partitions are not ours any more; their leases are closed.

        `ends`: tasks that may come back in a moment, and where the changelog of each ended while it was still ours.
        """

    def on_records(self, records: list[Record]) -> None:
        """Records, in the order of their partitions."""

    def on_failure(self, error: Exception) -> None:
        """The consumer cannot go on."""


class PollThread:
    """The group consumer and its thread."""

    def __init__(
        self,
        config: dict[str, Any],
        topics: Sequence[str],
        leases: Leases,
        listener: Listener,
        ends: LogEnds,
        task_topics: Sequence[str],
    ) -> None:
        """`task_topics`: partition p of each belongs to task p, which is ours when that of the last one is."""
        self._config = config
        self._is_incremental = config["group.protocol"] == "consumer"
        self._ends = ends
        self._task_topics = list(task_topics)
        self._reports: logging.Logger = config.get("logger") or logging.getLogger(__name__)
        """Where errors go that come and go by themselves: one line per 30 s and kind."""
        self._topics = list(topics)
        self._leases = leases
        self._listener = listener
        self._commands: deque[tuple[Future[Any], Callable[[Consumer], Any]]] = deque()
        self._end: Exception | None = None
        self._stopping = threading.Event()
        self._backlog_lock = threading.Lock()
        self._backlog_records = 0
        self._backlog_bytes = 0
        self._ours: set[Partition] = set()
        self._failed_to_assign: Exception | None = None
        self._next: dict[Partition, int] = {}
        """Partitions that are delivered, and the next offset of each."""
        self._choked = False
        self._unpackable = Unpackable()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self.group_metadata: object | None = None
        """What the newest poll knew of our membership; None before the first assignment."""
        self.has_joined = False
        """Whether the group has told us what is ours, be it nothing."""
        self.turns = 0
        """Polls so far, for the liveness check."""

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """Leave the group; waits for the thread, if it was started. False when it did not end in time."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def call(self, command: Callable[[Consumer], T]) -> "Future[T]":
        """Run `command` with the consumer between two polls, unless its future is cancelled before."""
        future: Future[T] = Future()
        self._commands.append((future, command))
        if self._end:
            self._turn_away(self._end)
        return future

    def begin(self, offsets: dict[Partition, int], leases: Collection[Lease]) -> "Future[bool]":
        """Deliver these partitions from these offsets on; False when they went, even if they came back, meanwhile."""

        def command(consumer: Consumer) -> bool:
            if not all(lease.is_open for lease in leases):
                return False
            for (topic, partition), offset in offsets.items():
                _seek(consumer, TopicPartition(topic, partition, offset))
            self._next.update(offsets)
            if not self._choked:
                _resume(consumer, offsets)
            return True

        return self.call(command)

    def renew(self, partitions: list[Partition]) -> "Future[list[Partition]]":
        """Hold these partitions back until `begin`, under new leases; tells which of them are still ours."""

        def command(consumer: Consumer) -> list[Partition]:
            kept = [partition for partition in partitions if self._leases.current(*partition) is not None]
            consumer.pause([TopicPartition(topic, partition) for topic, partition in kept])
            for topic, partition in kept:
                self._next.pop((topic, partition), None)
                self._leases.open(topic, partition)
            return kept

        return self.call(command)

    def hold(self, partition: Partition, lease: Lease) -> "Future[None]":
        """Deliver nothing more of this partition until `begin`; what was read before may still come."""

        def command(consumer: Consumer) -> None:
            if lease.is_open:
                consumer.pause([TopicPartition(*partition)])
                self._next.pop(partition, None)

        return self.call(command)

    def settled(self, records: int, size_bytes: int) -> None:
        """So much of what was handed over is done with. Any thread."""
        with self._backlog_lock:
            self._backlog_records -= records
            self._backlog_bytes -= size_bytes

    def _run(self) -> None:
        try:
            consumer = Consumer(self._config)
            consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set():
                self._turn(consumer)
            consumer.close()
            self._turn_away(KafkaRefused("the consumer has left its group"))
        except Exception as error:
            self._listener.on_failure(error)
            self._turn_away(error)

    def _turn_away(self, end: Exception) -> None:
        """Nobody serves commands any more: those who wait must hear of it."""
        self._end = end
        with suppress(IndexError):
            while True:
                future, _ = self._commands.popleft()
                if future.set_running_or_notify_cancel():
                    future.set_exception(end)

    def _serve(self, consumer: Consumer) -> None:
        while self._commands:
            future, command = self._commands.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(command(consumer))
            except Exception as error:
                future.set_exception(error)

    def _turn(self, consumer: Consumer) -> None:
        """Step 1: poll, and hand over what came, with the leases it was read under."""
        self._serve(consumer)
        self._breathe(consumer)
        first = consumer.poll(POLL_SECONDS if len(self._next) == len(self._ours) else POLL_SECONDS_AT_START)
        if self._failed_to_assign and not self._stopping.is_set():
            raise self._failed_to_assign
        # consume(n, timeout) would wait the whole time-out while fewer than n are there (measured)
        messages = [first, *consumer.consume(TAKE_MAX - 1, 0)] if first is not None else []
        if self._ours:
            self.group_metadata = consumer.consumer_group_metadata()
        elif not self.has_joined:
            # Under the newer protocol nobody is called back for being given nothing.
            self.has_joined = names_a_member(consumer.consumer_group_metadata())
        self.turns += 1
        if messages:
            self._hand_over(consumer, messages)

    def _hand_over(self, consumer: Consumer, messages: list[Message]) -> None:
        records: list[Record] = []
        size = 0
        for message in messages:
            record = self._read(consumer, message)
            if record is not None:
                size += record.size_bytes
                records.append(record)
        if records:
            with self._backlog_lock:
                self._backlog_records += len(records)
                self._backlog_bytes += size
            self._listener.on_records(records)

    def _read(self, consumer: Consumer, message: Message) -> Record | None:
        """The record that came, unless it is not ours any more, or not the next one."""
        place = cast("Partition", (message.topic(), message.partition()))
        lease, position = self._leases.current(*place), self._next.get(place)
        error = message.error()
        if error is not None:
            offset = None if position is None else self._unpackable.gives_up(message, place, position)
            if offset is None or lease is None:
                self._on_error(error, message)
                return None
            _seek(consumer, TopicPartition(*place, offset + 1))
            self._next[place] = offset + 1
            return given_up(place, offset, lease)
        offset = cast("int", message.offset())
        if lease is None or position is None or offset < position:
            return None
        self._next[place] = offset + 1
        return record_of(message, offset, lease)

    def _breathe(self, consumer: Consumer) -> None:
        """Stop fetching while too much is handed over and not settled; go on at half of it."""
        records, size = self._backlog_records, self._backlog_bytes
        if not self._choked and (records > BACKLOG_RECORDS_MAX or size > BACKLOG_BYTES_MAX):
            consumer.pause([TopicPartition(*partition) for partition in self._next])
            self._choked = True
        elif self._choked and records <= BACKLOG_RECORDS_MAX // 2 and size <= BACKLOG_BYTES_MAX // 2:
            _resume(consumer, self._next)
            self._choked = False

    def _on_error(self, error: KafkaError, message: Message) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL or is_refusal(error):
            name = self._config.get("group.instance.id")
            twin = f"; is there another process with AXLE_PROCESSOR_KAFKA__INSTANCE_ID={name}?" if name else ""
            raise KafkaRefused(f"Kafka does not let us consume: {error.str()} ({error.name()}){twin}")
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            if (message.topic(), message.partition()) in self._next:
                raise KafkaRefused(
                    f"{message.topic()} [{message.partition()}] has no record where we are: it was deleted before it "
                    "was read, or the topic was made anew. Start again to go on at its first record; a topic that was "
                    "made anew needs another group id and an empty state topic"
                )
            return
        self._reports.warning("%s the consumer reports of %s: %s", error.name(), message.topic(), error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take the partitions paused, at a number that is there: the first record that each still has.

        A seek fails where no offset was committed, and where a fetch was tried at one that was deleted. A word (the
        end) instead of a number would be looked up in the background, and a late answer would undo our seek: records
        in between would be skipped without a sign.
        """
        came: list[Partition] = [(p.topic, p.partition) for p in partitions]
        try:
            firsts = self._ends.first(came, self._stopping)
            self._assign(consumer, [TopicPartition(*partition, firsts[partition]) for partition in came])
        except (KafkaException, KafkaRefused) as error:
            # What is raised in a callback ends this thread without a word: it is raised after the poll instead.
            self._failed_to_assign = error
            return
        self.has_joined = True
        if came or not self._is_incremental:
            self._come(consumer, came)

    def _assign(self, consumer: Consumer, positions: list[TopicPartition]) -> None:
        """Add them to what is ours, or put them in its place: that is the difference between the protocols."""
        if not self._is_incremental:
            self._ours.clear()
            consumer.assign(positions)
        elif positions:
            consumer.incremental_assign(positions)
        consumer.pause(positions)

    def _come(self, consumer: Consumer, came: list[Partition]) -> None:
        """Partitions came; those that are ours already and of the same task come once more, with them."""
        again = self._siblings(came)
        if again:
            self._close(again, REVOKE_WAIT_SECONDS)
            consumer.pause([TopicPartition(*partition) for partition in again])
            self._listener.on_gone(again, {})
        self._open(came, again)

    def _open(self, came: list[Partition], again: list[Partition]) -> None:
        for partition in (*came, *again):
            self._leases.open(*partition)
        self._ours |= {*came, *again}
        self._listener.on_assigned([*came, *again])

    def _siblings(self, partitions: list[Partition]) -> list[Partition]:
        """What else is ours of the tasks that these belong to."""
        numbers = {number for topic, number in partitions if topic in self._task_topics}
        mine = self._ours.difference(partitions)
        return sorted((topic, number) for topic, number in mine if topic in self._task_topics and number in numbers)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Let the transaction that holds these partitions end, then let them go."""
        # A transaction that is sent again meanwhile needs what this thread, being here, would not tell it otherwise.
        with suppress(KafkaException):
            self.group_metadata = consumer.consumer_group_metadata()
        self._go(consumer, partitions, REVOKE_WAIT_SECONDS)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Somebody else has them already: nothing of ours may be committed any more."""
        self._go(consumer, partitions, 0)

    def _go(self, consumer: Consumer, partitions: list[TopicPartition], wait_seconds: float) -> None:
        gone: list[Partition] = [(p.topic, p.partition) for p in partitions]
        again = self._siblings(gone)
        has_ended = self._close([*gone, *again], wait_seconds)
        self._ours.difference_update(gone)
        may_return = has_ended and wait_seconds and not self._is_incremental and not self._stopping.is_set()
        # Asked while nobody else can write: a task that comes back finds its changelog as it was, or restores it.
        tasks = {number for topic, number in gone if topic == self._task_topics[-1]}
        ends = self._ends.still(tasks) if may_return else {}
        if self._is_incremental:
            consumer.incremental_unassign(partitions)
            consumer.pause([TopicPartition(*partition) for partition in again])
        self._listener.on_gone([*gone, *again], ends)
        if again:
            self._open([], again)

    def _close(self, partitions: list[Partition], wait_seconds: float) -> bool:
        has_ended = self._leases.close(partitions, wait_seconds)
        if not has_ended:
            log.warning("a transaction outlived its partitions; the group's generation fences it")
        for partition in partitions:
            self._next.pop(partition, None)
        return has_ended


def _resume(consumer: Consumer, partitions: Iterable[Partition]) -> None:
    """Go on, at once: librdkafka sees that a partition was resumed when something wakes it, up to a second later.

    (Measured.) A question to the partition's leader wakes the thread that fetches from it; nobody needs the answer.
    """
    resumed = [TopicPartition(*partition) for partition in partitions]
    consumer.resume(resumed)
    for partition in resumed:
        with suppress(KafkaException):
            consumer.get_watermark_offsets(partition, WAKE_SECONDS)


def _seek(consumer: Consumer, position: TopicPartition) -> None:
    """Seek; an assignment takes librdkafka a moment to serve, and until then a seek is an "erroneous state"."""
    for _ in range(SEEK_TRIES_MAX):
        try:
            consumer.seek(position)
        except KafkaException as failure:
            if failure.args[0].code() != KafkaError._STATE:
                raise
            threading.Event().wait(SEEK_PAUSE_SECONDS)
        else:
            return
    raise KafkaException(KafkaError(KafkaError._STATE, f"cannot seek {position.topic} [{position.partition}]"))
