"""Which tasks are ours, and how far their inputs are read: from assignment over take-over to release.

Here lives the life of a task in the event loop. Reading its state back is in `restore.py`, polling in `consumer.py`.
The one idea: a task is either wholly ours (all its partitions, its state, its position) or not ours at all; whatever
is half done when a partition goes is cancelled and forgotten.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog

from processor.shell.clock import Clock
from processor.shell.consumer import PollThread
from processor.shell.desk import Desk
from processor.shell.leases import Lease, Leases
from processor.shell.metrics import Metrics
from processor.shell.records import Partition, RestoreFailed
from processor.shell.restore import RestoreCancelled, Restored, Restorer, input_offsets, start_offsets
from processor.shell.store import Store

RESTORES_AT_ONCE = 2
FOREIGN = -1
"""In the place of a task's number: the inputs that are no task's own."""
log = structlog.get_logger(__name__)


class Tasks:
    """The tasks of this process. Used on the event loop only."""

    def __init__(
        self,
        poll: PollThread,
        restorer: Restorer,
        leases: Leases,
        store: Store,
        desk: Desk,
        clock: Clock,
        metrics: Metrics,
        task_topics: list[str],
        reroute_topic: str,
        hold_ms: int,
        on_ready: Callable[[], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`task_topics`: partition p of each is an input of task p. `hold_ms`: the longest life of a call."""
        self._poll = poll
        self._restorer = restorer
        self._leases = leases
        self._store = store
        self._desk = desk
        self._clock = clock
        self._metrics = metrics
        self._task_topics = task_topics
        self._reroute_topic = reroute_topic
        self._hold_ms = hold_ms
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._assigned: set[Partition] = set()
        self._positions: dict[int, dict[Partition, int]] = {}
        self._taking_over: dict[int, asyncio.Task[bool]] = {}
        self._slots = asyncio.Semaphore(RESTORES_AT_ONCE)

    @property
    def assigned(self) -> set[Partition]:
        """All partitions that are ours."""
        return set(self._assigned)

    @property
    def ready(self) -> list[int]:
        """Tasks that are at work."""
        return sorted(self._positions)

    @property
    def restoring(self) -> list[int]:
        """Tasks whose state is being read back."""
        return sorted(task for task in self._taking_over if task != FOREIGN)

    def positions(self, task: int) -> dict[Partition, int]:
        """The next offset of each input of a task."""
        return self._positions.get(task, {})

    def anchor(self, task: int) -> tuple[Partition, int, Lease] | None:
        """The task's reroute partition, its position and its lease: what fences a transaction without input."""
        partition = (self._reroute_topic, task)
        lease = self._leases.current(*partition)
        position = self._positions.get(task, {}).get(partition)
        return None if lease is None or position is None else (partition, position, lease)

    def advance(self, task: int, offsets: dict[Partition, int]) -> None:
        """A transaction moved the task's inputs on to these offsets."""
        if task in self._positions:
            self._positions[task].update(offsets)

    def take(self, partitions: Iterable[Partition]) -> None:
        """Partitions became ours: take over the tasks that are complete now."""
        taken = set(partitions)
        self._assigned |= taken
        for topic, partition in sorted(taken):
            if topic in self._task_topics and (self._reroute_topic, partition) not in self._assigned:
                self._on_failure(
                    RestoreFailed(
                        f"{topic} [{partition}] was given to us, but not the task {partition}: the topic got more "
                        "partitions after we started, or members of the group read other topics; start again"
                    )
                )
                return
        for topic, partition in sorted(taken):
            if topic == self._reroute_topic:
                self._start(partition)
        foreign = sorted(partition for partition in taken if partition[0] not in self._task_topics)
        if foreign:
            self._spawn(FOREIGN, self._feed(foreign, self._leases_of(foreign)))
        self._count()

    def give_up(self, partitions: Iterable[Partition]) -> None:
        """Partitions are not ours any more: forget everything of their tasks."""
        gone = set(partitions)
        self._assigned -= gone
        for task in {partition for topic, partition in gone if topic in self._task_topics}:
            self._forget(task)
        self._count()

    async def retake(self) -> None:
        """Restore all tasks again: the outcome of a transaction is unknown, and the changelog knows it."""
        for task in {*self._positions, *self._taking_over}:
            self._forget(task)
        partitions = sorted(self._assigned)
        kept = await asyncio.wrap_future(self._poll.renew(partitions))
        self._assigned &= set(kept)
        self.take(kept)

    def _forget(self, task: int) -> None:
        taking_over = self._taking_over.pop(task, None)
        if taking_over:
            taking_over.cancel()
        self._positions.pop(task, None)
        self._store.drop(task)
        self._desk.drop(task)

    def _start(self, task: int) -> None:
        sources = [(topic, task) for topic in self._task_topics if (topic, task) in self._assigned]
        self._spawn(task, self._take_over(task, sources, self._leases_of(sources)))

    def _leases_of(self, partitions: list[Partition]) -> list[Lease]:
        return [lease for partition in partitions if (lease := self._leases.current(*partition)) is not None]

    def _spawn(self, task: int, work: Coroutine[Any, Any, bool]) -> None:
        """Run it until it tells whether there is work now: it is told further once nothing is being taken over."""
        running = asyncio.get_running_loop().create_task(work)
        self._taking_over[task] = running

        def done(finished: "asyncio.Task[bool]") -> None:
            if self._taking_over.get(task) is finished:
                del self._taking_over[task]
            self._count()
            if finished.cancelled():
                return
            error = finished.exception()
            if isinstance(error, Exception) and not isinstance(error, RestoreCancelled):
                self._on_failure(error)
            if error is None and finished.result():
                self._on_ready()

        running.add_done_callback(done)

    async def _take_over(self, task: int, sources: list[Partition], leases: list[Lease]) -> bool:
        """Design 6.5: restore to the high watermark, find the start offsets, seek, resume, take up what is owed."""
        began = self._clock.monotonic()
        if len(leases) != len(sources):
            return False

        def is_wanted() -> bool:
            return all(lease.is_open for lease in leases)

        async with self._slots:
            restored = await asyncio.to_thread(self._restorer.restore, task, sources, is_wanted)
        offsets = start_offsets(restored)
        self._compare(restored, offsets)
        due = {site: marks.due_at_ms for site, marks in restored.marks.items() if marks.due_at_ms is not None}
        self._store.take_over(task, restored.states, due)
        self._positions[task] = offsets
        if not await asyncio.wrap_future(self._poll.begin(offsets, leases)):
            return False
        self._take_up(task, restored)
        self._metrics.restore_seconds.observe(self._clock.monotonic() - began)
        log.info("took a task over", task=task, sites=len(restored.states))
        return True

    def _take_up(self, task: int, restored: Restored) -> None:
        """Owe again what the predecessor owed; its own calls may still be under way, unless it said they are not."""
        released = restored.checkpoint is not None and restored.checkpoint.released
        hold_ms = 0 if released else self._hold_ms
        for site_id, marks in restored.marks.items():
            if marks.owes:
                self._desk.look_at(task, self._store.get(task, site_id), hold_ms)

    def _compare(self, restored: Restored, offsets: dict[Partition, int]) -> None:
        """A torn transaction shows here (pitfall P2), and so does an input that was deleted before it was read."""
        checkpoint = restored.checkpoint
        if checkpoint and not restored.committed:
            log.warning("the group's offsets are gone (expired?); the checkpoint counts", task=restored.task)
        for (topic, partition), offset in offsets.items():
            committed = restored.committed.get((topic, partition))
            known = checkpoint.offsets.get((topic, partition), committed) if checkpoint else committed
            if known is None:
                continue
            if offset > known:
                self._metrics.input_gaps.inc()
                log.error(
                    "records were deleted before they were read; going on at the first that is left",
                    topic=topic,
                    partition=partition,
                    expected=known,
                    first=offset,
                )
            if committed not in {None, known}:
                self._metrics.checkpoint_mismatches.inc()
                log.error(
                    "the group's offset differs from the checkpoint; the checkpoint counts",
                    topic=topic,
                    partition=partition,
                    committed=committed,
                    checkpoint=known,
                )

    async def _feed(self, partitions: list[Partition], leases: list[Lease]) -> bool:
        """Inputs whose partitions are no task's own: begin at the group's offsets; every record takes a hop."""

        def is_wanted() -> bool:
            return len(leases) == len(partitions) and all(lease.is_open for lease in leases)

        restored = await asyncio.to_thread(self._restorer.look, FOREIGN, partitions, is_wanted)
        starts = input_offsets(restored)
        self._compare(restored, starts)
        return await asyncio.wrap_future(self._poll.begin(starts, leases))

    def _count(self) -> None:
        self._metrics.tasks.labels("working").set(len(self._positions))
        self._metrics.tasks.labels("restoring").set(len(self._taking_over))
