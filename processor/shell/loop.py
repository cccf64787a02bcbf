"""The loop: take what is there, fold it, commit it, tell the others. One round after the other, for ever.

This is the file to read for "what happens when". A round takes input records, Axle's answers and sites whose time has
come (`round.py` folds them), commits all of it as one transaction (`transaction.py`), and only then merges the new
states into the store and shows the touched sites to the desk, which makes the calls that they owe. The one idea: calls
never happen inside a round, so nothing that Axle does can hold a driver's wish up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TypeVar

import structlog

from processor.core.events import Answer
from processor.core.outputs import Alarm, ModifiedSchedule, Outcome, Status
from processor.core.rules import Rules
from processor.shell.clock import Clock
from processor.shell.consumer import PollThread
from processor.shell.desk import Desk, Lane
from processor.shell.gate import Gate
from processor.shell.intake import Intake
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.records import Part, Partition, Produce, Record, TransactionLost
from processor.shell.round import Round
from processor.shell.store import Store
from processor.shell.tasks import Tasks
from processor.shell.transaction import Transactions

ROUND_RECORDS_MAX = 500
ROUND_RECORDS_MIN = 10
ROUND_BYTES_MAX = 1024 * 1024
SLOW_ROUND_SECONDS = 1.0
"""A round that takes longer comes near the transaction's time-out; one that is lost for it costs a restore."""
IDLE_SECONDS = 1.0
DRAIN_SECONDS = 5.0
REBUILDS_MAX = 5
LOSSES_MAX = 10
"""So many transactions lost in a row are no accident: there is a record that can never be written."""
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Loop:
    """The event loop's side of the processor: inbox, rounds, and what follows from a commit."""

    def __init__(
        self,
        clock: Clock,
        rules: Rules,
        store: Store,
        intake: Intake,
        outbox: Outbox,
        transactions: Transactions,
        metrics: Metrics,
        watch: Callable[[Part], None],
    ) -> None:
        """`watch` is shown each part once it is committed. `attach` completes the wiring before `run`."""
        self._clock = clock
        self._rules = rules
        self._store = store
        self._intake = intake
        self._outbox = outbox
        self._transactions = transactions
        self._metrics = metrics
        # By label: the library looks for a place in its metrics at some cost.
        self._consumed = cache(metrics.events_consumed.labels)
        self._published_after = cache(metrics.publish_seconds.labels)
        self._published = cache(metrics.schedules_published.labels)
        self._outcomes = cache(metrics.outcomes.labels)
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._inbox: deque[Record] = deque()
        self._answers: deque[tuple[int, Lane, Answer]] = deque()
        self._orders: deque[tuple[int, Produce]] = deque()
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._stopping = False
        self._losses = 0
        self._records_max = ROUND_RECORDS_MAX
        metrics.before_reading(self._show)
        self.turns = 0
        """Turns so far, for the liveness check."""

    def attach(self, poll: PollThread, tasks: Tasks, desk: Desk, gate: Gate | None = None) -> None:
        """Who else is there: those that are built with this loop as their listener. No `gate` is an open one."""
        self._poll, self._tasks, self._desk, self._gate = poll, tasks, desk, gate

    def on_assigned(self, partitions: list[Partition]) -> None:
        """Poll thread: partitions came."""
        self._metrics.rebalances.labels("assigned").inc()
        self._loop.call_soon_threadsafe(self._tasks.take, partitions)

    def on_gone(self, partitions: list[Partition], ends: Mapping[int, int]) -> None:
        """Poll thread: partitions went; the tasks in `ends` may come back."""
        self._metrics.rebalances.labels("gone").inc()
        self._loop.call_soon_threadsafe(self._tasks.give_up, partitions, ends)

    def on_records(self, records: list[Record]) -> None:
        """Poll thread: records came."""
        self._loop.call_soon_threadsafe(self._receive, records)

    def on_failure(self, error: Exception) -> None:
        """Any thread: somebody cannot go on, so the process cannot."""
        self._loop.call_soon_threadsafe(self._fail, error)

    def hear(self, task: int, lane: Lane, answer: Answer) -> None:
        """Step 12: the desk has an answer of Axle's; it goes into the next round, as an event."""
        self._answers.append((task, lane, answer))
        self._wake.set()

    def send(self, task: int, record: Produce) -> None:
        """Write a record with the task's next transaction. One that is lost with it is not written again."""
        self._orders.append((task, record))
        self._wake.set()

    def nudge(self) -> None:
        """Something may be due now."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` after the round at hand."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Rounds until `stop`. Raises what made it impossible to go on (KafkaRefused, RestoreFailed, ...)."""
        while not self._stopping:
            await self._sleep()
            self.turns += 1
            while await self._turn() and not self._has_to_end():
                pass
            if self._failure.done():
                self._failure.result()
            await self._on_producer_thread(self._transactions.idle)

    def _has_to_end(self) -> bool:
        return self._stopping or self._failure.done()

    async def drain(self) -> None:
        """Let calls end, settle their answers, and tell the successors that nothing is under way.

        Rounds go on meanwhile: a driver does not wait for Axle, not even for the last answer before a restart.
        """
        ending = self._loop.create_task(self._desk.drain(DRAIN_SECONDS))
        ending.add_done_callback(lambda _: self._wake.set())
        while not ending.done() and not self._failure.done():
            if not await self._turn():
                await self._sleep()
        ending.cancel()
        self._inbox.clear()
        await self._turn()
        if self._desk.in_flight == 0:
            await self._release()

    async def _sleep(self) -> None:
        due_ms = self._store.next_due_ms()
        wait = IDLE_SECONDS if due_ms is None else min(max((due_ms - self._clock.now_ms()) / 1000, 0), IDLE_SECONDS)
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _turn(self) -> bool:
        """Step 2: take what is there, and make one round of it. True when there may be more to do at once."""
        began = self._clock.monotonic()
        round_ = Round(self._clock.now_ms(), self._store, self._intake, self._outbox, self._rules, self._tasks.anchor)
        for task in self._tasks.unclaimed:
            round_.claim(task)
        for _ in range(len(self._orders)):
            round_.send(*self._orders.popleft())
        self._take_records(round_)
        answers = self._take_answers(round_)
        woken = list(self._store.take_due(round_.now_ms, ROUND_RECORDS_MAX))
        for task, site_id in woken:
            round_.take_due(task, site_id)
        parts = round_.finish(self._tasks.positions)
        committed: Collection[int] = ()
        if not parts:
            self._put_back(answers, parts, committed)
            return False
        try:
            committed = await self._on_producer_thread(lambda: self._transactions.commit(parts))
        except TransactionLost as lost:
            self._size_next_round(SLOW_ROUND_SECONDS)
            await self._start_over(lost)
            return True
        finally:
            for part in parts:
                self._poll.settled(len(part.records), sum(record.size_bytes for record in part.records))
        self._losses = 0
        took = self._clock.monotonic() - began
        self._size_next_round(took)
        for index in sorted(committed):
            self._settle(parts[index], round_.now_ms, is_fresh=took < SLOW_ROUND_SECONDS)
        self._intake.crumb.settled(record for index in committed for record in parts[index].records)
        self._put_back(answers, parts, committed)
        return bool(self._inbox or self._answers)

    def _size_next_round(self, took_seconds: float) -> None:
        """Half as many records after a round that was slow or lost, and a tenth more after any other.

        Under too great a load rounds of one size were lost again and again for their length (measured).
        """
        if took_seconds >= SLOW_ROUND_SECONDS:
            self._records_max = max(self._records_max // 2, ROUND_RECORDS_MIN)
        else:
            self._records_max = min(self._records_max + self._records_max // 10 + 1, ROUND_RECORDS_MAX)

    def _take_records(self, round_: Round) -> None:
        records: list[Record] = []
        left: list[Record] = []
        size = 0
        records_max = self._intake.crumb.round_max or self._records_max
        while self._inbox and len(records) < records_max and size < ROUND_BYTES_MAX:
            record = self._inbox.popleft()
            is_taken = record.lease.is_open and (self._gate is None or self._gate.admits(record))
            (records if is_taken else left).append(record)
            size += record.size_bytes
        left += round_.take_records(records)
        for record in left:
            self._poll.settled(1, record.size_bytes)
        if records:
            self._metrics.round_records.observe(len(records))

    def _take_answers(self, round_: Round) -> list[tuple[int, Lane, Answer]]:
        taken = [self._answers.popleft() for _ in range(min(len(self._answers), ROUND_RECORDS_MAX))]
        for task, lane, answer in taken:
            round_.take_answer(task, lane, answer)
        return taken

    def _put_back(self, answers: list[tuple[int, Lane, Answer]], parts: list[Part], committed: Collection[int]) -> None:
        """What was heard for a task that went before it could be settled waits for the task: it may come back."""
        settled = {parts[index].task for index in committed}
        left = [answer for answer in answers if answer[0] not in settled and self._tasks.keeps(answer[0])]
        self._answers.extendleft(reversed(left))

    def _settle(self, part: Part, now_ms: int, *, is_fresh: bool) -> None:
        """Step 9: a part is committed. Now, and only now, everybody may know.

        `is_fresh`: so little time has passed since `now_ms` that what was owed then is what is owed now.
        """
        if part.task is not None:
            self._store.merge(part.task, part.sites, part.changed, now_ms)
            self._tasks.advance(part.task, part.offsets)
            for lane in part.answered:
                self._desk.committed(lane)  # type: ignore[arg-type]
            for site in part.sites.values():
                self._desk.look_at(part.task, site, calls=part.owed.get(site.site_id) if is_fresh else None)
        else:
            self._tasks.advance_foreign(part.offsets)
        self._count(part)
        self._watch(part)

    def _count(self, part: Part) -> None:
        metrics, now_ms = self._metrics, self._clock.now_ms()
        metrics.last_progress.set(now_ms / 1000)
        for record in part.records:
            self._consumed(record.topic).inc()
            if record.appended_ms is not None:
                self._published_after(record.topic).observe(max(now_ms - record.appended_ms, 0) / 1000)
        if part.hops:
            metrics.rerouted.inc(part.hops)
        for reason in part.rejected:
            metrics.dead_letters.labels(reason).inc()
        for output in part.said:
            if isinstance(output, ModifiedSchedule):
                self._published(output.status).inc()
                if output.status in {Status.MODIFIED, Status.UNCHANGED}:
                    self._count_answer(output, now_ms)
            elif isinstance(output, Outcome):
                self._outcomes(output.result).inc()
            elif isinstance(output, Alarm):
                metrics.alarms.labels(output.kind.value).inc()
                log.error("somebody should look at this", alarm=output.kind.value, detail=output.detail)

    def _show(self) -> None:
        """Figures that are looked up when somebody reads the metrics."""
        metrics, store = self._metrics, self._store
        metrics.inbox_records.set(len(self._inbox))
        metrics.sites.set(sum(store.site_count(task) for task in store.tasks))
        metrics.withdrawn_sites.set(store.census.withdrawn_sites)
        metrics.paused_sites.set(store.census.paused_sites(self._clock.now_ms()))

    def _count_answer(self, output: ModifiedSchedule, now_ms: int) -> None:
        self._metrics.answer_seconds.observe(max(now_ms - output.caused_by.occurred_at_ms, 0) / 1000)
        for start, end in output.pauses:
            self._metrics.pause_seconds.observe((end - start) / 1000)

    async def _start_over(self, lost: TransactionLost) -> None:
        """The outcome of a transaction is unknown: a new producer, and every task restored from what Kafka holds."""
        self._losses += 1
        if self._losses >= LOSSES_MAX:
            raise TransactionLost(
                f"{self._losses} transactions in a row were lost, the last one because {lost}"
            ) from lost
        log.warning("a transaction was lost; restoring all tasks", why=str(lost))
        self._answers.clear()
        for attempt in range(REBUILDS_MAX):
            try:
                await self._on_producer_thread(self._transactions.open)
            except TransactionLost as again:
                if attempt + 1 == REBUILDS_MAX:
                    raise
                log.warning("the producer cannot be built yet", why=str(again))
            else:
                break
        await self._tasks.retake()

    async def _release(self) -> None:
        parts: list[Part] = []
        for task in self._tasks.ready:
            anchor = self._tasks.anchor(task)
            if anchor:
                partition, position, lease = anchor
                checkpoint = self._outbox.checkpoint(task, self._tasks.positions(task), released=True)
                parts.append(Part(task, {lease}, {partition: position}, [checkpoint]))
        if parts:
            try:
                await self._on_producer_thread(lambda: self._transactions.commit(parts))
            except TransactionLost as lost:
                log.warning("could not tell the successors that all calls have ended", why=str(lost))

    async def _on_producer_thread(self, call: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._transactions.thread, call)

    def _receive(self, records: list[Record]) -> None:
        self._inbox.extend(records)
        self._wake.set()

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)
        self._wake.set()
