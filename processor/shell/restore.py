"""Taking a task over: read its state from the changelog, all of it, and find where its inputs go on.

Here lives design 6.5 up to the start offset. Runs on a thread of its own and blocks; the group consumer goes on
polling meanwhile. The one idea (pitfall P10): the goal is the *high watermark*, taken after the predecessor's offsets
were stable. The end that a read_committed reader sees is lower while a transaction is open, and stopping there would
load an old state without a word.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeVar, cast

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its stubs omit it

from processor.shell.kafka_errors import Remedy, classify
from processor.shell.partition import task_of
from processor.shell.records import Headers, KafkaRefused, Partition, RestoreFailed
from processor.wire.state import (
    CHECKPOINT_KEY,
    ERASED_PREFIX,
    Checkpoint,
    StateMarks,
    decode_checkpoint,
    decode_site,
    read_headers,
)

PATIENCE_SECONDS = 60.0
"""No progress for so long means a hanging transaction or a truncated changelog."""
ASK_SECONDS = 2.0
ASK_AGAIN_SECONDS = 0.05
BULK_MAX = 5_000
SITES_LOOKED_AT = 100
"""So many sites do not all fall to their old task by chance when the number of tasks was changed."""
EARLIEST, LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
T = TypeVar("T")


class RestoreCancelled(Exception):
    """The task went away while it was restored."""


@dataclass(slots=True)
class Restored:
    """What the changelog and the group know of one task."""

    task: int
    states: dict[str, bytes] = field(default_factory=dict)
    """By key: site ids, and the keyed hashes of erased sites."""
    marks: dict[str, StateMarks] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    was_written: bool = False
    """Whether anything was ever committed to the changelog partition (an aborted first transaction is nothing)."""
    committed: dict[Partition, int] = field(default_factory=dict)
    """The group's offsets of the task's inputs, where there are any."""
    beginnings: dict[Partition, int] = field(default_factory=dict)
    """Where each input starts for somebody who never read it."""
    lows: dict[Partition, int] = field(default_factory=dict)
    """The first offset that each input still has."""


class Restorer:
    """Reads tasks back. Several threads may call at once: one admin client asks, each restore reads on its own."""

    def __init__(
        self,
        connection: Mapping[str, Any],
        group_id: str,
        state_topic: str,
        tasks: int,
        start_from: Literal["earliest", "latest"],
    ) -> None:
        """`tasks` is how many there are in all; `start_from` is where inputs begin that the group never read."""
        # Its log would wait for a poll that nobody makes; what goes wrong is in its answers.
        self._admin = AdminClient({**connection, "log_level": 0})
        self._config = {
            **connection,
            "group.id": group_id,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            "allow.auto.create.topics": False,
            # The end is only told by an answer without records, and a broker keeps that back for so long.
            "fetch.wait.max.ms": 20,
        }
        self._group_id = group_id
        self._state_topic = state_topic
        self._tasks = tasks
        self._start_at_end = start_from == "latest"

    def look(self, task: int, sources: Sequence[Partition], is_wanted: Callable[[], bool]) -> Restored:
        """What the group and the brokers know of these inputs, without any state. Raises as `restore` does."""
        restored = Restored(task)
        restored.committed = self._committed(sources, is_wanted)
        restored.lows = self._offsets(sources, EARLIEST, is_wanted)
        restored.beginnings = restored.lows
        if self._start_at_end:
            restored.beginnings = self._offsets(sources, LATEST, is_wanted)
        return restored

    def restore(self, task: int, sources: Sequence[Partition], is_wanted: Callable[[], bool]) -> Restored:
        """All of a task's state. Raises RestoreFailed, KafkaRefused, or RestoreCancelled once `is_wanted` says no."""
        restored = self.look(task, sources, is_wanted)
        changelog = (self._state_topic, task)
        low = self._offsets([changelog], EARLIEST, is_wanted)[changelog]
        goal = self._offsets([changelog], LATEST, is_wanted, IsolationLevel.READ_UNCOMMITTED)[changelog]
        restored.was_written = low > 0
        if goal > low:
            self._read(restored, low, goal, is_wanted)
        self._check(restored)
        return restored

    def _check(self, restored: Restored) -> None:
        """Every state can be decoded, and belongs here: with other partition counts sites would be forgotten."""
        task = restored.task
        for site_id, value in restored.states.items():
            try:
                decode_site(value)
            except ValueError as bad:
                raise RestoreFailed(f"task {task}: the state of site {site_id} cannot be used: {bad}") from bad
        # A hash does not tell whose partition it stands in: that of the site which it is the hash of.
        site_ids = (key for key in restored.states if not key.startswith(ERASED_PREFIX))
        for site_id in islice(site_ids, SITES_LOOKED_AT):
            home = task_of(site_id, self._tasks)
            if home != task:
                raise RestoreFailed(
                    f"task {task}: site {site_id} belongs to task {home} of {self._tasks}; {self._state_topic} got "
                    "more partitions, so sites would be looked for elsewhere. Restore the topics as they were made, "
                    "or start anew with another group id and empty internal topics"
                )

    def _committed(self, partitions: Sequence[Partition], is_wanted: Callable[[], bool]) -> dict[Partition, int]:
        """The group's offsets, once they are stable: a predecessor's transaction may still be about to move them."""
        asked = ConsumerGroupTopicPartitions(self._group_id, [TopicPartition(*partition) for partition in partitions])

        def ask() -> dict[Partition, int]:
            futures = self._admin.list_consumer_group_offsets([asked], require_stable=True, request_timeout=ASK_SECONDS)
            found = futures[self._group_id].result().topic_partitions
            for partition in found:
                if partition.error:
                    raise KafkaException(partition.error)
            return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}

        return _patiently("the group's offsets", ask, is_wanted)

    def _offsets(
        self,
        partitions: Sequence[Partition],
        spec: OffsetSpec,
        is_wanted: Callable[[], bool],
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, int]:
        """The first or last offset of each; read_committed, an open transaction hides what lies above it."""

        def ask() -> dict[Partition, int]:
            futures = self._admin.list_offsets(
                {TopicPartition(*partition): spec for partition in partitions},
                isolation_level=isolation,
                request_timeout=ASK_SECONDS,
            )
            return {(p.topic, p.partition): future.result().offset for p, future in futures.items()}

        return _patiently(f"the ends of {partitions[0][0]}", ask, is_wanted)

    def _read(self, restored: Restored, low: int, goal: int, is_wanted: Callable[[], bool]) -> None:
        """Read to `goal`. Done is only what says so: a record at the goal's end, or the partition's end beyond it."""
        with closing(Consumer(self._config)) as consumer:
            # An explicit offset: looking the beginning up by itself costs librdkafka half a second (measured).
            consumer.assign([TopicPartition(self._state_topic, restored.task, low)])
            deadline = _monotonic() + PATIENCE_SECONDS
            while is_wanted():
                first = consumer.poll(0.2)
                if first is not None:
                    deadline = _monotonic() + PATIENCE_SECONDS
                    if self._take_in(restored, [first, *consumer.consume(BULK_MAX, 0)], goal):
                        return
                elif _monotonic() > deadline:
                    raise RestoreFailed(
                        f"task {restored.task}: the changelog {self._state_topic} [{restored.task}] does not go on "
                        f"to offset {goal}; look for a hanging transaction (kafka-transactions.sh find-hanging)"
                    )
        raise RestoreCancelled

    def _take_in(self, restored: Restored, messages: list[Message], goal: int) -> bool:
        """Take records in; True when there is nothing more before `goal`."""
        for message in messages:
            where = f"task {restored.task}: the changelog {self._state_topic} [{restored.task}]"
            try:
                if _reaches(restored, message, goal):
                    return True
            except KafkaException as failure:
                raise RestoreFailed(f"{where} cannot be read: {failure.args[0].str()}") from failure
            except ValueError as bad:
                raise RestoreFailed(
                    f"{where} holds a record at offset {message.offset()} that is not ours: {bad}"
                ) from bad
        return False


def _patiently(what: str, ask: Callable[[], T], is_wanted: Callable[[], bool]) -> T:
    """Ask until there is an answer. A broker on the move is no reason to fail; a forbidden question is."""
    deadline = _monotonic() + PATIENCE_SECONDS
    while is_wanted():
        try:
            return ask()
        except KafkaException as failure:
            error = failure.args[0]
            if classify(error) is Remedy.REFUSED:
                raise KafkaRefused(f"Kafka does not tell us {what}: {error.str()} ({error.name()})") from failure
            if _monotonic() > deadline:
                raise RestoreFailed(f"{what} cannot be read: {error.str()} ({error.name()})") from failure
        threading.Event().wait(ASK_AGAIN_SECONDS)
    raise RestoreCancelled


def _monotonic() -> float:
    return time.monotonic()  # noqa: TID251 - bounds blocking calls, decides nothing


def _reaches(restored: Restored, message: Message, goal: int) -> bool:
    """Take one record in; True when there is nothing more before `goal`."""
    error, offset = message.error(), message.offset() or 0
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            return offset >= goal
        raise KafkaException(error)
    key, value = message.key(), message.value()
    restored.was_written = True
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
        return input_offsets(restored)
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
    return input_offsets(restored)


def input_offsets(restored: Restored) -> dict[Partition, int]:
    """Per input: the checkpoint, else the group's offset, else the beginning; never what is deleted already."""
    known = restored.committed
    if restored.checkpoint:
        known = {**known, **restored.checkpoint.offsets}
    return {p: max(known.get(p, first), restored.lows.get(p, 0)) for p, first in restored.beginnings.items()}
