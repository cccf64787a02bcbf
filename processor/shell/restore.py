"""Taking a task over: read its state from the changelog, all of it, and find where its inputs go on.

Here lives design 6.5 up to the start offset. Runs on a thread of its own and blocks; the group consumer goes on
polling meanwhile. The one idea (pitfall P10): the goal is the *high watermark*, taken after the predecessor's offsets
were stable. The end that a read_committed reader sees is lower while a transaction is open, and stopping there would
load an old state without a word.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from processor.shell.records import Headers, Partition
from processor.wire.state import CHECKPOINT_KEY, Checkpoint, StateMarks, decode_checkpoint, read_headers

PATIENCE_SECONDS = 60.0
"""No progress for so long means a hanging transaction or a truncated changelog."""
BULK_MAX = 5_000


class RestoreFailed(Exception):
    """The state of a task cannot be had. One sentence: what, where, what to try."""


class RestoreCancelled(Exception):
    """The task went away while it was restored."""


@dataclass(slots=True)
class Restored:
    """What the changelog and the group know of one task."""

    task: int
    states: dict[str, bytes] = field(default_factory=dict)
    marks: dict[str, StateMarks] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    was_written: bool = False
    """Whether the changelog partition was ever written to."""
    committed: dict[Partition, int] = field(default_factory=dict)
    """The group's offsets of the task's inputs, where there are any."""
    beginnings: dict[Partition, int] = field(default_factory=dict)
    """Where each input starts for somebody who never read it."""


class Restorer:
    """Reads tasks back. Each call opens a consumer of its own, so that several can run at once."""

    def __init__(
        self, connection: Mapping[str, Any], group_id: str, state_topic: str, start_from: Literal["earliest", "latest"]
    ) -> None:
        """`start_from` is where inputs begin that the group never read."""
        self._config = {
            **connection,
            "group.id": group_id,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            "allow.auto.create.topics": False,
        }
        self._state_topic = state_topic
        self._start_at_end = start_from == "latest"

    def starts(self, partitions: Sequence[Partition], is_wanted: Callable[[], bool]) -> dict[Partition, int]:
        """Where inputs go on that no task keeps a checkpoint of: the group's offsets, else their beginning."""
        consumer = Consumer(self._config)
        try:
            committed = self._committed(consumer, partitions, is_wanted)
            return {p: committed[p] if p in committed else self._beginning(consumer, p) for p in partitions}
        except KafkaException as failure:
            raise RestoreFailed(f"the inputs' offsets cannot be read: {failure.args[0].str()}") from failure
        finally:
            consumer.close()

    def restore(self, task: int, sources: Sequence[Partition], is_wanted: Callable[[], bool]) -> Restored:
        """All of a task's state. Raises RestoreFailed, or RestoreCancelled once `is_wanted` says no."""
        consumer = Consumer(self._config)
        try:
            restored = Restored(task)
            restored.committed = self._committed(consumer, sources, is_wanted)
            restored.beginnings = {source: self._beginning(consumer, source) for source in sources}
            goal = self._high_watermark(task)
            restored.was_written = goal > 0
            if goal > 0:
                consumer.assign([TopicPartition(self._state_topic, task, OFFSET_BEGINNING)])
                self._read(consumer, restored, goal, is_wanted)
            return restored
        except KafkaException as failure:
            raise RestoreFailed(f"task {task} cannot be restored: {failure.args[0].str()}") from failure
        finally:
            consumer.close()

    def _committed(
        self, consumer: Consumer, partitions: Sequence[Partition], is_wanted: Callable[[], bool]
    ) -> dict[Partition, int]:
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        deadline = time.monotonic() + PATIENCE_SECONDS  # noqa: TID251 - bounds a blocking call, decides nothing
        while True:
            if not is_wanted():
                raise RestoreCancelled
            try:
                found = consumer.committed(wanted, 2.0)
            except KafkaException as failure:
                error = failure.args[0]
                out_of_time = time.monotonic() > deadline  # noqa: TID251 - as above
                if out_of_time or not (error.retriable() or error.code() == KafkaError._TIMED_OUT):
                    raise RestoreFailed(f"the group's offsets cannot be read: {error.str()}") from failure
                continue
            return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}

    def _beginning(self, consumer: Consumer, partition: Partition) -> int:
        low, high = consumer.get_watermark_offsets(TopicPartition(*partition), 10.0)
        return int(high if self._start_at_end else low)

    def _high_watermark(self, task: int) -> int:
        """The changelog's end, open transactions included; read_committed would hide what lies above them."""
        probe = Consumer({**self._config, "isolation.level": "read_uncommitted"})
        try:
            _, high = probe.get_watermark_offsets(TopicPartition(self._state_topic, task), 10.0)
        finally:
            probe.close()
        return int(high)

    def _read(self, consumer: Consumer, restored: Restored, goal: int, is_wanted: Callable[[], bool]) -> None:
        """Read to `goal`. Done is only what says so: a record at the goal's end, or the partition's end beyond it."""
        deadline = time.monotonic() + PATIENCE_SECONDS  # noqa: TID251 - as above
        while True:
            if not is_wanted():
                raise RestoreCancelled
            first = consumer.poll(0.2)
            if first is None:
                if time.monotonic() > deadline:  # noqa: TID251 - as above
                    raise RestoreFailed(
                        f"task {restored.task}: the changelog {self._state_topic} [{restored.task}] does not go on "
                        f"to offset {goal}; look for a hanging transaction (kafka-transactions.sh find-hanging)"
                    )
                continue
            deadline = time.monotonic() + PATIENCE_SECONDS  # noqa: TID251 - as above
            for message in [first, *consumer.consume(BULK_MAX, 0)]:
                if _reaches(restored, message, goal):
                    return


def _reaches(restored: Restored, message: Message, goal: int) -> bool:
    """Take one record in; True when there is nothing more before `goal`."""
    error, offset = message.error(), message.offset() or 0
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            return offset >= goal
        raise KafkaException(error)
    key, value = message.key(), message.value()
    if key == CHECKPOINT_KEY:
        if value is not None:
            restored.checkpoint = decode_checkpoint(value)
    elif key is not None:
        site_id = key.decode()
        if value is None:
            restored.states.pop(site_id, None)
            restored.marks.pop(site_id, None)
        else:
            restored.states[site_id] = value
            restored.marks[site_id] = read_headers(cast("Headers", message.headers() or []))
    return offset + 1 >= goal


def start_offsets(restored: Restored) -> dict[Partition, int]:
    """Where the task's inputs go on: design 6.5's table.

    Raises RestoreFailed where going on would lose or repeat events.
    """
    if restored.checkpoint:
        return {**restored.beginnings, **_known(restored.checkpoint, restored.beginnings)}
    if restored.was_written:
        raise RestoreFailed(
            f"task {restored.task}: its changelog has records but no checkpoint; somebody else wrote to it. "
            "Restore the topic, or give the processor a new group id and an empty state topic"
        )
    if restored.committed:
        raise RestoreFailed(
            f"task {restored.task}: the group has offsets but the changelog is empty: the state is gone. "
            "Restore the state topic, or start anew with another group id"
        )
    return dict(restored.beginnings)


def _known(checkpoint: Checkpoint, sources: Mapping[Partition, int]) -> dict[Partition, int]:
    return {source: offset for source, offset in checkpoint.offsets.items() if source in sources}
