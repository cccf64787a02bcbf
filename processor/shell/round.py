"""One round: fold what happened over an overlay of the store, into parts that are committed together.

Here records, answers and wakes become decisions; `transaction.py` commits them and `loop.py` drives both. The one idea:
nothing that a round does is visible to anybody until its transaction is committed. The store, the desk and the metrics
hear of it only then, so a round that failed has simply not happened.
"""

from collections.abc import Callable, Iterable, Mapping

from processor.core.decide import decide
from processor.core.events import Answer, Due, Event
from processor.core.intents import owed
from processor.core.outputs import Alarm, AlarmKind, Outcome, Result
from processor.core.rules import Rules
from processor.core.site import Site
from processor.shell.intake import Arrival, Intake, event_of
from processor.shell.leases import Lease
from processor.shell.outbox import Outbox
from processor.shell.records import Part, Partition, Produce, Record
from processor.shell.store import Store
from processor.wire.inputs import Rejected


class Round:
    """The parts of one round in the making. `now_ms` is read once, so everything in it happened at one time."""

    def __init__(
        self,
        now_ms: int,
        store: Store,
        intake: Intake,
        outbox: Outbox,
        rules: Rules,
        anchor: Callable[[int], tuple[Partition, int, Lease] | None],
    ) -> None:
        """`anchor(task)` tells the task's reroute partition, its next offset and its lease; None: not ours."""
        self.now_ms = now_ms
        self._store = store
        self._intake = intake
        self._outbox = outbox
        self._rules = rules
        self._anchor = anchor
        self._parts: dict[int | Partition, Part] = {}
        self._before: dict[tuple[int, str], Site] = {}

    def take_records(self, records: Iterable[Record]) -> list[Record]:
        """Fold input records in. Tells those whose task is not ours and that cannot be routed from here.

        All are read, then all are decided, and `finish` writes all: doing the same thing many times over costs a
        third less than doing everything for one record after the other (measured: the code stays in the cache).
        """
        parts = [(record, self._part_of(record)) for record in records]
        taken = [(record, part) for record, part in parts if part is not None]
        arrivals = [self._intake.read(record, self.now_ms) for record, _ in taken]
        for (record, part), arrival in zip(taken, arrivals, strict=True):
            self._take_arrival(part, record, arrival)
        return [record for record, part in parts if part is None]

    def _take_arrival(self, part: Part, record: Record, arrival: Arrival) -> None:
        if arrival.is_here and (arrival.task is None or part.task == arrival.task):
            self._settle_here(part, record, arrival)
        else:
            part.produces.append(self._intake.hop(record, arrival))
            part.hops += 1
        part.offsets[record.topic, record.partition] = record.offset + 1
        part.leases.add(record.lease)
        part.records.append(record)

    def take_answer(self, task: int, lane: object, answer: Answer) -> bool:
        """Fold Axle's answer in. False when the task is not ours any more."""
        part = self._task_part(task)
        if part is None:
            return False
        self._decide(part, answer.site_id, answer)
        part.answered.append(lane)
        return True

    def take_due(self, task: int, site_id: str) -> bool:
        """Wake a site. False when the task is not ours any more."""
        part = self._task_part(task)
        if part is None:
            return False
        self._decide(part, site_id, Due(site_id))
        return True

    def claim(self, task: int) -> bool:
        """Write a checkpoint of the task even if nothing happened to it. False when it is not ours any more."""
        return self._task_part(task) is not None

    def send(self, task: int, record: Produce) -> None:
        """Write a record with what the task writes, if it is still ours."""
        part = self._task_part(task)
        if part is not None:
            part.produces.append(record)

    def finish(self, positions: Callable[[int], Mapping[Partition, int]]) -> list[Part]:
        """Step 7: the parts, each with what it says, its changed states and its checkpoint.

        `positions(task)` tells the task's offsets.
        """
        for part in self._parts.values():
            records = map(self._outbox.record, part.said)
            part.produces += [record for record in records if record is not None]
            if part.task is None:
                continue
            for site_id, site in part.sites.items():
                if site != self._before[part.task, site_id]:
                    self._write(part, part.task, site)
            reached = {**positions(part.task), **part.offsets}
            part.produces.append(self._outbox.checkpoint(part.task, reached, released=False))
        return list(self._parts.values())

    def _write(self, part: Part, task: int, site: Site) -> None:
        """The changelog's records of a site that changed. Among the part's states empty bytes say: none any more."""
        calls = part.owed[site.site_id] = owed(site, self.now_ms, self._rules)
        previous = self._store.written(task, site.site_id)
        for state in self._outbox.states(task, site, self.now_ms, previous, owes=bool(calls)):
            part.produces.append(state)
            part.changed[(state.key or b"").decode()] = state.value or b""

    def _part_of(self, record: Record) -> Part | None:
        if self._intake.serves_task(record.topic) and self._store.owns(record.partition):
            return self._task_part(record.partition)
        if record.topic not in self._intake.input_topics:
            return None
        return self._parts.setdefault((record.topic, record.partition), Part(None))

    def _task_part(self, task: int) -> Part | None:
        part = self._parts.get(task)
        if part is not None:
            return part
        anchor = self._anchor(task)
        if anchor is None or not self._store.owns(task):
            return None
        partition, position, lease = anchor
        part = Part(task, leases={lease}, offsets={partition: position})
        self._parts[task] = part
        return part

    def _settle_here(self, part: Part, record: Record, arrival: Arrival) -> None:
        if isinstance(arrival.said, Rejected):
            part.rejected.append(arrival.said.code.value)
            if arrival.said.dead_letter:
                part.produces.append(self._intake.dead_letter(record, arrival, arrival.said))
            if self._intake.is_withdrawal(arrival):
                site_id, reason = arrival.said.site_id or "", arrival.said.reason
                part.said.append(Alarm(AlarmKind.WITHDRAWAL_UNREADABLE, site_id, None, reason))
        event = event_of(arrival)
        if event is None or part.task is None:
            said = arrival.said
            part.said.append(Outcome(said.event_id, arrival.source, said.site_id, None, Result.INVALID, self.now_ms))
        else:
            self._decide(part, event.site_id, event)

    def _decide(self, part: Part, site_id: str, event: Event) -> None:
        """Step 4: fold the event over the site as this round has it so far."""
        task = part.task
        if task is None:
            raise ValueError("only a task decides")
        site = part.sites.get(site_id)
        if site is None:
            site = self._before[task, site_id] = self._store.get(task, site_id)
        decision = decide(site, event, self.now_ms, self._rules)
        part.sites[site_id] = decision.site
        part.said += decision.outputs
