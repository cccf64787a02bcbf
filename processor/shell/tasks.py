"""Which tasks are ours, and how far their inputs are read: from assignment over take-over to release.

Here lives the life of a task in the event loop. Reading its state back is in `restore.py`, polling in `consumer.py`.
The one idea: a task is either wholly ours (all its partitions, its state, its position) or not ours at all; whatever
is half done when a partition goes is cancelled and forgotten.

An input partition whose task is not ours is *foreign* here: every record of it takes a hop. That holds for inputs of
another size than there are tasks, for partitions that a topic got while we run, and for those that moved away from
their task when it did. Whoever reads a partition as foreign says so with the offset (`restore.Restored.hopped`).
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

import structlog

from processor.shell.clock import Clock
from processor.shell.consumer import PollThread
from processor.shell.desk import Desk
from processor.shell.leases import Lease, Leases
from processor.shell.metrics import Metrics
from processor.shell.records import Partition, RestoreCancelled, RestoreFailed
from processor.shell.restore import Restored, Restorer, input_offsets, known_offsets, start_offsets
from processor.shell.store import Store
from processor.wire.state import Checkpoint

RESTORES_AT_ONCE = 2
OWN_TRANSACTION_SECONDS = 60.0
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
        partitions: Mapping[str, int],
        reroute_topic: str,
        hold_ms: int,
        on_ready: Callable[[], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`task_topics`: partition p of each is an input of task p. `hold_ms`: the longest life of a call.

        `partitions`: how many each topic had when we started; a later one is read from its first record on.
        """
        self._poll = poll
        self._restorer = restorer
        self._leases = leases
        self._store = store
        self._desk = desk
        self._clock = clock
        self._metrics = metrics
        self._task_topics = task_topics
        self._partitions = partitions
        self._reroute_topic = reroute_topic
        self._hold_ms = hold_ms
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._assigned: set[Partition] = set()
        self._positions: dict[int, dict[Partition, int]] = {}
        self._fed: dict[Partition, int] = {}
        """The next offset of each foreign input."""
        self._anchors: dict[int, Lease] = {}
        """The lease of the reroute partition that each task was taken over under; not one that came later."""
        self._parked: dict[int, int] = {}
        """Tasks that went and may come back in a moment, and where their changelogs ended while they were ours."""
        self._unclaimed: dict[int, list[str]] = {}
        """Tasks whose newest checkpoint is a predecessor's `released`, and their sites that owe calls."""
        self._taking_over: dict[int, asyncio.Task[bool]] = {}
        self._slots = asyncio.Semaphore(RESTORES_AT_ONCE)

    @property
    def assigned(self) -> set[Partition]:
        """All partitions that are ours."""
        return set(self._assigned)

    @property
    def ready(self) -> list[int]:
        """Tasks that are at work."""
        return sorted(task for task in self._positions if task not in self._parked)

    @property
    def unclaimed(self) -> list[int]:
        """Tasks at work that have to commit a checkpoint of their own before they may call Axle."""
        return sorted(self._unclaimed)

    def keeps(self, task: int) -> bool:
        """Whether the task is at work, or went a moment ago and may come back: what was heard for it still counts."""
        return task in self._positions

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
        lease = self._anchors.get(task)
        position = self._positions.get(task, {}).get(partition)
        return None if lease is None or not lease.is_open or position is None else (partition, position, lease)

    def advance(self, task: int, offsets: dict[Partition, int]) -> None:
        """A transaction moved the task's inputs on to these offsets, and wrote a checkpoint of ours."""
        if task in self._positions:
            self._positions[task].update(offsets)
        for site_id in self._unclaimed.pop(task, ()):
            self._desk.look_at(task, self._store.get(task, site_id))

    def advance_foreign(self, offsets: Mapping[Partition, int]) -> None:
        """These offsets of foreign inputs are committed."""
        self._fed.update(offsets)

    @property
    def settled(self) -> dict[Partition, int]:
        """The next offset to settle of each partition that is being read."""
        return {
            **{partition: offset for partition, offset in self._fed.items() if partition in self._assigned},
            **{partition: offset for task in self.ready for partition, offset in self._positions[task].items()},
        }

    def take(self, partitions: Collection[Partition]) -> None:
        """Partitions became ours, all of a task's at once: take over the tasks, and feed the foreign ones."""
        taken = set(partitions)
        self._assigned |= taken
        for task in [task for task in self._parked if (self._reroute_topic, task) not in taken]:
            self._forget(task)
        tasks = {number for topic, number in taken if topic == self._reroute_topic}
        if max(tasks, default=0) >= self._partitions[self._reroute_topic]:
            self._on_failure(
                RestoreFailed(
                    f"{self._reroute_topic} got more partitions: it has {max(tasks) + 1} or more, and "
                    f"{self._partitions[self._reroute_topic]} when we started. Their number is the number of tasks and "
                    "cannot be changed; restore the topics as they were made, or start anew with another group id and "
                    "empty internal topics"
                )
            )
            return
        own = {(topic, task) for topic, task in taken if topic in self._task_topics and task in tasks}
        for task in sorted(tasks):
            sources = sorted(source for source in own if source[1] == task)
            self._spawn(task, self._take_over(task, sources, self._leases_of(sources)))
        foreign = sorted(taken - own)
        if foreign:
            self._spawn(FOREIGN, self._feed(self._leases_of(foreign)))
        self._count()

    def give_up(self, partitions: Collection[Partition], ends: Mapping[int, int]) -> None:
        """Partitions are not ours any more: forget all of their tasks but those in `ends`, which may come back."""
        gone = set(partitions)
        self._assigned -= gone
        for partition in gone:
            self._fed.pop(partition, None)
        for task in {number for topic, number in gone if topic == self._reroute_topic}:
            if task in ends and self._may_return(task, ends[task]):
                self._parked[task] = ends[task]
                self._desk.park(task)
            else:
                self._forget(task)
        self._count()

    def _may_return(self, task: int, end: int) -> bool:
        """Whether the task is whole here: at work, or on its way back with nothing written meanwhile."""
        if task not in self._positions or self._parked.get(task, end) != end:
            return False
        coming_back = self._taking_over.pop(task, None) if task in self._parked else None
        if coming_back:
            coming_back.cancel()
        return task not in self._taking_over

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
        self._forget_state(task)

    def _forget_state(self, task: int) -> None:
        self._positions.pop(task, None)
        self._anchors.pop(task, None)
        self._parked.pop(task, None)
        self._unclaimed.pop(task, None)
        self._store.drop(task)
        self._desk.drop(task)

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
        is_wanted = partial(_are_open, leases)
        await self._until_free(sources)
        if task in self._parked:
            positions, end = dict(self._positions[task]), self._parked[task]
            looked = await asyncio.to_thread(self._look_back, task, sources, positions, end, is_wanted)
            if looked is not None:
                return await self._resume(task, looked, leases)
            self._forget_state(task)
        async with self._slots:
            restored = await asyncio.to_thread(self._restorer.restore, task, sources, is_wanted)
        offsets = start_offsets(restored)
        # Not asked of a task that comes back: there may be none yet, and a group with members does not lose them.
        if restored.checkpoint and not restored.committed:
            log.warning("the group's offsets are gone (expired?); the checkpoint counts", task=task)
        self._compare(restored, offsets)
        due = {site: marks.due_at_ms for site, marks in restored.marks.items() if marks.due_at_ms is not None}
        self._store.take_over(task, restored.states, due)
        self._store.census.take_over(task, restored.marks)
        if not await self._go_on(task, offsets, leases):
            return False
        self._take_up(task, restored)
        self._metrics.restore_seconds.observe(self._clock.monotonic() - began)
        log.info("took a task over", task=task, sites=len(restored.states))
        return True

    async def _until_free(self, sources: list[Partition]) -> None:
        """A transaction of our own that outlived its leases must end before anybody looks at what is committed."""
        if not await asyncio.to_thread(self._leases.wait_until_free, sources, OWN_TRANSACTION_SECONDS):
            raise RestoreFailed(
                f"a transaction of our own did not end within {OWN_TRANSACTION_SECONDS:g} s of a rebalance; look "
                "whether the brokers answer, and start again"
            )

    async def _go_on(self, task: int, offsets: dict[Partition, int], leases: list[Lease]) -> bool:
        self._positions[task] = offsets
        self._anchors[task] = next(lease for lease in leases if lease.topic == self._reroute_topic)
        return await asyncio.wrap_future(self._poll.begin(offsets, leases))

    def _look_back(
        self,
        task: int,
        sources: list[Partition],
        positions: dict[Partition, int],
        end: int,
        is_wanted: Callable[[], bool],
    ) -> Restored | None:
        """What is known of the inputs of a task that came back, when its state here is still the newest; else None.

        It is when the changelog ends where it ended while the task was last ours. That end was asked for after our
        own last transaction, under a lease that nobody else could have had, and with no transaction open; and whoever
        commits for a task writes its checkpoint into the changelog. So the same end means that nobody has, and that
        what we hold is what a restore would read. It is asked for after the stable offsets, as in a restore: who was
        about to commit has done so by then, or is fenced by the generation of the group. The group's offsets must be
        ours too: where they are not, the loop has a commit of ours still to settle, or somebody moved them.
        """
        looked = self._restorer.look(task, sources, is_wanted)
        is_same = self._restorer.end(task, is_wanted) == end
        ours = all(looked.committed.get(partition, at) == at for partition, at in positions.items())
        if not (is_same and ours and set(positions) == set(sources)):
            return None
        looked.checkpoint = Checkpoint(positions)
        return looked

    async def _resume(self, task: int, looked: Restored, leases: list[Lease]) -> bool:
        """Go on with a task that came back as it was, calls that are under way among it."""
        offsets = input_offsets(looked)
        self._compare(looked, offsets)
        if not await self._go_on(task, offsets, leases):
            return False
        self._parked.pop(task, None)
        self._store.wake_again(task, self._clock.now_ms())
        self._desk.resume(task)
        log.info("kept a task", task=task, sites=self._store.site_count(task))
        return True

    def _take_up(self, task: int, restored: Restored) -> None:
        """Owe again what the predecessor owed; its own calls may still be under way, unless it said they are not.

        That word is good for its first reader only: should we die before we have written anything, our successor
        would find it again while our calls may be under way. So it is replaced before the first call.
        """
        owing = [site_id for site_id, marks in restored.marks.items() if marks.owes]
        if owing and restored.checkpoint is not None and restored.checkpoint.released:
            self._unclaimed[task] = owing
            return
        for site_id in owing:
            self._desk.look_at(task, self._store.get(task, site_id), self._hold_ms)

    def _compare(self, restored: Restored, offsets: dict[Partition, int]) -> None:
        """A torn transaction shows here (pitfall P2), and so does an input that was deleted before it was read."""
        for (topic, partition), offset in offsets.items():
            committed = restored.committed.get((topic, partition))
            known = known_offsets(restored).get((topic, partition))
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

    async def _feed(self, leases: list[Lease]) -> bool:
        """Foreign inputs begin at the group's offsets. When some of them go meanwhile the others begin all the same."""
        while leases := [lease for lease in leases if lease.is_open]:
            partitions = [(lease.topic, lease.partition) for lease in leases]
            await self._until_free(partitions)
            try:
                looked = await asyncio.to_thread(self._restorer.look, FOREIGN, partitions, partial(_are_open, leases))
            except RestoreCancelled:
                continue
            for partition in partitions:
                if partition[1] >= self._partitions[partition[0]]:
                    looked.beginnings[partition] = looked.lows[partition]
            starts = input_offsets(looked)
            self._compare(looked, starts)
            self._fed.update(starts)
            if await asyncio.wrap_future(self._poll.begin(starts, leases)):
                return True
        return False

    def _count(self) -> None:
        self._metrics.tasks.labels("working").set(len(self.ready))
        self._metrics.tasks.labels("restoring").set(len(self._taking_over))


def _are_open(leases: Collection[Lease]) -> bool:
    return all(lease.is_open for lease in leases)
