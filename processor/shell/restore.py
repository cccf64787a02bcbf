"""Taking a task over: read its state from the changelog, all of it, and find where its inputs go on.

Here lives design 6.5 up to the start offset. Runs on a thread of its own and blocks; the group consumer goes on
polling meanwhile. The one idea (pitfall P10): the goal is the *high watermark*, taken after the predecessor's offsets
were stable. The end that a read_committed reader sees is lower while a transaction is open, and stopping there would
load an old state without a word.

What is checked when: of each record that it can be read, that it is ours and that it says what is owed; of each state
that counts in the end that its bytes are those that were written, in a version that we read. What they mean is looked
at when a site is decoded, which is when it is needed: decoding all of them would take longer than reading them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, cast

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its stubs omit it

from processor.shell.asker import Asker, monotonic
from processor.shell.group_offsets import GroupOffsets
from processor.shell.kafka_errors import is_refusal
from processor.shell.log_ends import EARLIEST, LATEST, list_ends
from processor.shell.metrics import Metrics
from processor.shell.partition import task_of
from processor.shell.progress import Progress
from processor.shell.records import HOPPED, Headers, KafkaRefused, Partition, RestoreCancelled, RestoreFailed
from processor.wire.state import (
    CHECKPOINT_KEY,
    ERASED_PREFIX,
    BadState,
    Checkpoint,
    StateMarks,
    decode_checkpoint,
    decode_site,
    is_at_rest,
    is_whole,
    read_headers,
)

PATIENCE_SECONDS = 60.0
"""No progress for so long means a hanging transaction or a truncated changelog."""
ASK_SECONDS = 2.0
POLL_SECONDS = 0.2
BULK_MAX = 500
"""Records that are taken at once: so few that they are still in the processor's cache when they are looked at."""
CHECKED_AT_ONCE = 10_000
SITES_LOOKED_AT = 100
"""So many sites do not all fall to their old task by chance when the number of tasks was changed."""
READER: Mapping[str, Any] = MappingProxyType(
    {
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "check.crcs": True,
        "allow.auto.create.topics": False,
        # The end is only told by an answer without records, and a broker keeps that back for so long.
        "fetch.wait.max.ms": 20,
        # What librdkafka reads ahead of us, and so the memory that a restore takes beside the states: at most this and
        # one fetch more.
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": 16_384,
        "max.partition.fetch.bytes": 4 * 1024 * 1024,
        "fetch.max.bytes": 8 * 1024 * 1024,
        "receive.message.max.bytes": 16 * 1024 * 1024,
        # How long it rests when it has read ahead as far as that. Its default of 1 s is two thirds of the time that
        # bare reading of a million sites takes (measured).
        "fetch.queue.backoff.ms": 5,
    }
)
"""librdkafka's settings for reading a changelog."""


@dataclass(slots=True)
class Restored:
    """What the changelog and the group know of one task."""

    task: int
    states: dict[str, bytes] = field(default_factory=dict)
    """By key: site ids, and the keyed hashes of erased sites."""
    marks: dict[str, StateMarks] = field(default_factory=dict)
    """Of those that owe a call or want to be woken; most sites rest, and of them there is nothing to keep."""
    checkpoint: Checkpoint | None = None
    was_written: bool = False
    """Whether anything was ever committed to the changelog partition (an aborted first transaction is nothing)."""
    committed: dict[Partition, int] = field(default_factory=dict)
    """The group's offsets of the task's inputs, where there are any."""
    hopped: set[Partition] = field(default_factory=set)
    """Inputs whose offset was last committed by somebody who only sent records on; no checkpoint tells of that."""
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
        reader: Callable[[dict[str, Any]], Consumer] = Consumer,
        accept: Callable[[int, Checkpoint], None] = lambda _task, _checkpoint: None,
        metrics: Metrics | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`tasks` is how many there are in all; `start_from` is where inputs begin that the group never read.

        `accept` is shown a task's checkpoint, and raises RestoreFailed where the topics are not those that it tells of.
        """
        # Its log would wait for a poll that nobody makes; what goes wrong is in its answers.
        self._admin = AdminClient({**connection, "log_level": 0})
        self._config = {**connection, **READER, "group.id": group_id}
        self._group = GroupOffsets(connection, group_id)
        self._state_topic = state_topic
        self._tasks = tasks
        self._start_at_end = start_from == "latest"
        self._reader = reader
        self._accept = accept
        self._left = (metrics or Metrics()).restore_records_left
        self._patience_seconds = patience_seconds

    def look(self, task: int, sources: Sequence[Partition], is_wanted: Callable[[], bool]) -> Restored:
        """What the group and the brokers know of these inputs, without any state. Raises as `restore` does."""
        return self._look(task, sources, [], self._asker(is_wanted))[0]

    def restore(self, task: int, sources: Sequence[Partition], is_wanted: Callable[[], bool]) -> Restored:
        """All of a task's state. Raises RestoreFailed, KafkaRefused, or RestoreCancelled once `is_wanted` says no."""
        changelog, asker = (self._state_topic, task), self._asker(is_wanted)
        restored, low = self._look(task, sources, [changelog], asker)
        # Only now: what a predecessor commits together with its offsets lies below the end that is seen after them.
        goal = self._offsets([changelog], LATEST, asker, IsolationLevel.READ_UNCOMMITTED)[changelog]
        restored.was_written = low > 0
        if goal > low:
            self._read(restored, low, goal, is_wanted)
        self._check(restored, is_wanted)
        return restored

    def _asker(self, is_wanted: Callable[[], bool]) -> Asker:
        return Asker(is_wanted, self._patience_seconds)

    def _look(
        self, task: int, sources: Sequence[Partition], changelog: list[Partition], asker: Asker
    ) -> tuple[Restored, int]:
        """As `look`, and the changelog's first offset, if it is named. Two questions; with `latest` three."""
        restored = Restored(task)
        self._take_committed(restored, sources, asker)
        firsts = self._offsets([*sources, *changelog], EARLIEST, asker)
        restored.lows = {partition: firsts[partition] for partition in sources}
        restored.beginnings = dict(restored.lows)
        unread = [partition for partition in sources if partition not in restored.committed]
        if self._start_at_end and unread:
            restored.beginnings |= self._offsets(unread, LATEST, asker)
        return restored, sum(firsts[partition] for partition in changelog)

    def _check(self, restored: Restored, is_wanted: Callable[[], bool]) -> None:
        """Every state is whole, and belongs here: with other partition counts sites would be forgotten."""
        task = restored.task
        if restored.checkpoint:
            self._accept(task, restored.checkpoint)
        for number, (site_id, value) in enumerate(restored.states.items()):
            if number % CHECKED_AT_ONCE == 0 and not is_wanted():
                raise RestoreCancelled
            if not is_whole(value):
                raise RestoreFailed(f"task {task}: the state of site {site_id} cannot be used: {_what_is_wrong(value)}")
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

    def end(self, task: int, is_wanted: Callable[[], bool]) -> int:
        """Where the task's changelog ends now, open transactions or not. Raises as `restore` does."""
        changelog = (self._state_topic, task)
        return self._offsets([changelog], LATEST, self._asker(is_wanted), IsolationLevel.READ_UNCOMMITTED)[changelog]

    def _take_committed(self, restored: Restored, partitions: Sequence[Partition], asker: Asker) -> None:
        """The group's offsets, once they are stable: a predecessor's transaction may still be about to move them."""
        found = asker.ask("the group's offsets", lambda: self._group.stable(partitions, ASK_SECONDS))
        restored.committed = {(p.topic, p.partition): p.offset for p in found}
        restored.hopped = {(p.topic, p.partition) for p in found if p.metadata == HOPPED}

    def _offsets(
        self,
        partitions: Sequence[Partition],
        spec: OffsetSpec,
        asker: Asker,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[Partition, int]:

        def ask() -> dict[Partition, int]:
            found, why = list_ends(self._admin, partitions, spec, ASK_SECONDS, isolation)
            if why is not None:
                raise KafkaException(why)
            return found

        return asker.ask(f"the ends of {', '.join(sorted({topic for topic, _ in partitions}))}", ask)

    def _read(self, restored: Restored, low: int, goal: int, is_wanted: Callable[[], bool]) -> None:
        """Read to `goal`. Done is only what says so: a record at the goal's end, or the partition's end beyond it."""
        task = restored.task
        with (
            closing(self._reader(self._config)) as consumer,
            closing(Progress(task, low, goal, self._left, monotonic())) as progress,
        ):
            # An explicit offset: looking the beginning up by itself costs librdkafka half a second (measured).
            consumer.assign([TopicPartition(self._state_topic, task, low)])
            while is_wanted():
                first = consumer.poll(POLL_SECONDS)
                if first is not None:
                    reached = self._take_in(restored, [first, *consumer.consume(BULK_MAX, 0)])
                    if reached >= goal:
                        return
                    progress.reach(reached, len(restored.states), monotonic())
                    continue
                progress.reach(low, len(restored.states), monotonic())
                if progress.waited_seconds(monotonic()) > self._patience_seconds:
                    why = self._why_stuck((self._state_topic, task), progress.position, goal)
                    raise RestoreFailed(
                        f"task {task}: the changelog {self._state_topic} [{task}] gave no record for "
                        f"{self._patience_seconds:g} s, at offset {progress.position} of {goal}: {why}"
                    )
        raise RestoreCancelled

    def _why_stuck(self, changelog: Partition, position: int, goal: int) -> str:
        """Why the changelog does not go on, as far as the brokers tell, and what to do about it."""
        asker = Asker(lambda: True, ASK_SECONDS)
        try:
            end = self._offsets([changelog], LATEST, asker, IsolationLevel.READ_UNCOMMITTED)[changelog]
            stable = self._offsets([changelog], LATEST, asker)[changelog]
        except (KafkaRefused, RestoreFailed) as failed:
            return f"{failed}. Look after the brokers"
        if end < goal:
            return (
                f"it ends at {end} now, so its last records are lost (was a replica that lagged behind made leader?). "
                "Restore the topic, or start again to go on with what is left"
            )
        if stable < goal:
            return (
                f"a transaction is open from offset {stable} on and hides what was committed after it. The brokers end "
                "it at its timeout; find one that hangs with kafka-transactions.sh find-hanging, and end it with abort"
            )
        return (
            f"no transaction is open, and nothing says that {position} to {goal} hold no record. Start again; if that "
            "does not help, look for errors of this partition in the log of its leader"
        )

    def _take_in(self, restored: Restored, messages: list[Message]) -> int:
        """Take records in; returns the offset before which there is nothing more to take in."""
        message = messages[0]
        where = f"task {restored.task}: the changelog {self._state_topic} [{restored.task}]"
        try:
            for message in messages:
                _take_in(restored, message)
        except KafkaException as failure:
            error = failure.args[0]
            if is_refusal(error):
                raise KafkaRefused(
                    f"Kafka does not let us read {self._state_topic}: {error.str()} ({error.name()})"
                ) from failure
            raise RestoreFailed(f"{where} cannot be read: {error.str()} ({error.name()})") from failure
        except ValueError as bad:
            raise RestoreFailed(f"{where} holds a record at offset {message.offset()} that is not ours: {bad}") from bad
        # At the partition's end librdkafka tells the offset that would be next.
        return (message.offset() or 0) + (message.error() is None)


def _what_is_wrong(value: bytes) -> str:
    try:
        decode_site(value)
    except ValueError as bad:
        return str(bad)
    return "its checksum is not that of its bytes"


def _take_in(restored: Restored, message: Message) -> None:
    """Take one record in. Runs a million times in a row: it looks at no more than a restore must know."""
    error = message.error()
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:
            return
        raise KafkaException(error)
    key, value = message.key(), message.value()
    restored.was_written = True
    if key is None:
        raise BadState("it has no key; somebody else wrote it.")
    if key == CHECKPOINT_KEY:
        if value is not None:
            restored.checkpoint = decode_checkpoint(value)
        return
    site_id = key.decode()
    if value is None:
        restored.states.pop(site_id, None)
        restored.marks.pop(site_id, None)
        return
    restored.states[site_id] = value
    headers = cast("Headers", message.headers() or [])
    if not is_at_rest(headers):
        restored.marks[site_id] = read_headers(headers)
    elif restored.marks:
        restored.marks.pop(site_id, None)


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
    if restored.committed.keys() - restored.hopped:
        raise RestoreFailed(
            f"task {restored.task}: the group has offsets but the changelog is empty: the state is gone. "
            "Restore the state topic, or start anew with another group id"
        )
    return input_offsets(restored)


def input_offsets(restored: Restored) -> dict[Partition, int]:
    """Per input: what is known of it, else the beginning; never what is deleted already."""
    known = known_offsets(restored)
    return {p: max(known.get(p, first), restored.lows.get(p, 0)) for p, first in restored.beginnings.items()}


def known_offsets(restored: Restored) -> dict[Partition, int]:
    """Per input: the checkpoint, else the group's offset. Where both know it and it was read elsewhere: the later one.

    Somebody who has an input without its task reads on from where the task was, sends records to it, and writes no
    checkpoint. So the older of the two words is no sign of a torn transaction then, and what is behind it is done.
    """
    known = dict(restored.committed)
    for partition, offset in restored.checkpoint.offsets.items() if restored.checkpoint else ():
        known[partition] = max(offset, known.get(partition, 0)) if partition in restored.hopped else offset
    return known
