"""Where the chaos parts are fought: topics, a simulated Axle, traffic of all kinds, and a reader that sees it all.

Here lives what a part needs around its workers, and how a run comes to rest. What is judged is `verdict.py`'s. The
idea: one `Arena` is one run from the first event to the verdict; everything it starts ends with its `with` block.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import ConsumerGroupState, KafkaException, Message
from confluent_kafka.admin import AdminClient

from processor.core.outputs import EnrolmentStatus
from processor.demo.guarded import GuardedProcess
from processor.demo.history import History
from processor.demo.kafka import EmbeddedKafka, make_topics
from processor.demo.reader import Reader
from processor.demo.seen import note, read_seen
from processor.demo.sender import Sender
from processor.demo.traffic import Story
from processor.demo.verifier import open_inputs
from processor.shell.topics import TopicNames
from tests.chaos.crew import Order, Worker, WorkerFailed
from tests.kafka.rig import CODEC, Simulator, now_ms, processor_environ, wait_until

PROTOCOL = os.environ.get("CHAOS_PROTOCOL", "classic")
"""The group's protocol: `classic`, which can do everything, or `consumer`, under which nobody has an instance id."""
SESSION_SECONDS = 6
TRANSACTION_SECONDS = 4
CALL_SECONDS = 3
LATENCY = [{"fault": "slow", "latency_ms": 3, "jitter_ms": 4}]
DRAIN_SECONDS = 120.0
DRAIN_POLL_SECONDS = 0.5
DELIVERY_SECONDS = 20.0
START_SECONDS = 30.0
HEAL_SECONDS = 60.0
"""So long it may take until every task is at work again."""
FIRST_OUTCOMES = 100
_TURN_SECONDS = 0.01
_BURST_MAX = 100
_SLOW_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """How much traffic: chargers, events a second at the most, and how many may wait for their outcome.

    After `plenty` events there are a fifth as many a second: kills take longer than events.
    """

    chargers: int
    rate: float
    open_max: int
    plenty: int = 1_000_000_000
    seed: int = 1


class BriskStory(Story):
    """A story that lets at most one beat wait for its turn: looking for that of eight costs milliseconds an event."""

    def __init__(self, chargers: int, seed: int) -> None:
        super().__init__(chargers, seed)
        self._postponed = deque(maxlen=1)


class Arena:
    """A run on topics of its own. `folder` keeps logs and calls; `tasks` is the topics' partition count."""

    def __init__(
        self,
        bootstrap: str,
        names: TopicNames,
        tasks: int,
        folder: Path,
        load: Load,
        broker_folder: Path | None = None,
    ) -> None:
        """`broker_folder`: where the broker keeps its log segments, when it is one of our own."""
        self.names = names
        self.broker_folder = broker_folder
        self.tasks = tasks
        self.folder = folder
        self.calls = folder / "calls.jsonl"
        self.history = History()
        self.statuses: dict[str, EnrolmentStatus] = {}
        self.workers: list[Worker] = []
        self.failure: BaseException | None = None
        self.keep = False
        """Whether somebody will want to read the logs of this run."""
        self._bootstrap = bootstrap
        self._load = load
        self._group = f"{names.state}.group"
        self._numbers = count(1)
        self._exit = ExitStack()
        self._stopping = threading.Event()
        self._traffic = threading.Thread(target=self._tell, name="traffic", daemon=True)
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def __enter__(self) -> Self:
        try:
            self.axle = self._start_axle()
            self._look_on()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_traffic()
        self._exit.close()

    def _look_on(self) -> None:
        self._exit.callback(self._end_all)
        self.axle.put_faults(LATENCY)
        watched = [
            getattr(self.names, name) for name in ("modified_schedule", "outcomes", "dead_letter", "enrolment_status")
        ]
        reader = Reader(self._bootstrap, watched, self._hear)
        reader.start()
        self._exit.callback(reader.stop)

    def _start_axle(self) -> Simulator:
        """A simulator that cannot outlive this process."""
        log = self.folder / "axle.log"
        command = [sys.executable, "-m", "processor.cli.axle_sim", "--port", "0", "--calls", str(self.calls)]
        process = GuardedProcess(command, log=log)
        self._exit.callback(process.kill)
        wait_until(
            lambda: "\n" in log.read_text() or process.exit_code is not None, START_SECONDS, "the simulator is up"
        )
        url = log.read_text().strip()
        assert url.startswith("http"), url
        return Simulator(process, url)

    def start(self, order: Order | None = None, instance: str | None = None) -> Worker:
        """A worker more."""
        more = {"KAFKA__INSTANCE_ID": instance} if instance and PROTOCOL == "classic" else {}
        environ = processor_environ(
            self._bootstrap,
            self.names,
            self.axle.url,
            KAFKA__PROTOCOL=PROTOCOL,
            KAFKA__SESSION_TIMEOUT_SECONDS=str(SESSION_SECONDS),
            KAFKA__TRANSACTION_TIMEOUT_SECONDS=str(TRANSACTION_SECONDS),
            AXLE__DEADLINE_SECONDS=str(CALL_SECONDS),
            ONBOARDING__LOOK_UP_MINUTES="0,0.02,0.1",
            QUESTIONS__EVERY_SECONDS="0",
            **more,
        )
        worker = Worker(f"w{next(self._numbers):03d}", self.folder, environ, order)
        self.workers.append(worker)
        return worker

    def muster(self, instances: Sequence[str | None]) -> list[Worker]:
        """A crew with these instance ids that has every task at work, and traffic from now on until `stop_traffic`."""
        crew = [self.start(instance=instance) for instance in instances]
        self.wait(self.is_whole, HEAL_SECONDS, "all tasks at work", crew=crew)
        self._traffic.start()
        self.wait(lambda: len(self.history.settled) > FIRST_OUTCOMES, START_SECONDS, "the first outcomes")
        return crew

    def is_whole(self) -> bool:
        """Whether every task is at work somewhere."""
        return self.working_tasks() == self.tasks

    def stop_traffic(self) -> None:
        """No event more; returns when the broker has them all."""
        self._stopping.set()
        if self._traffic.ident is not None:
            self._traffic.join(30)

    @property
    def told(self) -> int:
        """Events so far."""
        return len(self.history.puts)

    def check(self) -> None:
        """Raises what went wrong on another thread."""
        if self.failure:
            raise self.failure

    def wait(self, holds: Callable[[], bool], seconds: float, what: str, *, crew: list[Worker] | None = None) -> None:
        """Return as soon as `holds`; raises WorkerFailed when it takes too long, or when one of `crew` ends."""
        deadline = time.monotonic() + seconds
        while not holds():
            self.check()
            for worker in crew or ():
                worker.check()
            if time.monotonic() > deadline:
                tails = "\n".join(f"-- {one.name}\n{one.last_lines()}" for one in self.workers if one.exit_code is None)
                raise WorkerFailed(f"not within {seconds:g} s: {what}\n{tails}")
            time.sleep(0.05)

    def working_tasks(self) -> int:
        """Tasks at work, over all workers that run."""
        return sum(worker.tasks() for worker in self.workers if worker.exit_code is None)

    def members(self) -> dict[str, int]:
        """The group's members by name, and how many partitions each has; empty while the group is rebalancing."""
        try:
            future = self._admin.describe_consumer_groups([self._group], request_timeout=2.0)[self._group]
            group = future.result()
        except KafkaException:
            return {}
        if group.state is not ConsumerGroupState.STABLE:
            return {}
        return {member.client_id: len(member.assignment.topic_partitions) for member in group.members}

    def drain(self, differ: Callable[[], list[str]]) -> bool:
        """Wait until every event has its outcome and `differ` finds nothing; False when that does not come."""
        self.stop_traffic()
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if open_inputs(self.history) == 0 and not differ() and self._is_calm():
                return True
            time.sleep(DRAIN_POLL_SECONDS)
        return False

    def _is_calm(self) -> bool:
        """Whether no call is owed any more."""
        told = [worker.status() for worker in self.workers if worker.exit_code is None]
        return all(
            status and not (status["axle"]["calls_in_flight"] + status["axle"]["calls_waiting"]) for status in told
        )

    def _end_all(self) -> None:
        for worker in self.workers:
            worker.end()

    def _tell(self) -> None:
        """The traffic thread: as fast as outcomes come, and never faster than the load allows."""
        try:
            sender = Sender(self._bootstrap, self.names, CODEC)
            self._tell_until_stopped(sender)
            _deliver(sender)
        except BaseException as error:
            self.failure = error

    def _tell_until_stopped(self, sender: Sender) -> None:
        story = BriskStory(self._load.chargers, self._load.seed)
        load, last, due = self._load, time.monotonic(), 0.0
        while not self._stopping.wait(_TURN_SECONDS):
            now = time.monotonic()
            due = min(due + (now - last) * load.rate * (1 if self.told < load.plenty else _SLOW_SHARE), _BURST_MAX)
            last = now
            now_due = min(int(due), load.open_max - (self.told - len(self.history.settled)))
            for _ in range(now_due):
                self.history.puts.append(sender.send(story.next(now_ms())))
            due -= max(now_due, 0)
            sender.poll()

    def _hear(self, messages: list[Message]) -> None:
        """The reader's thread: what was committed."""
        try:
            for message in messages:
                self._take(message)
        except BaseException as error:
            self.failure = error

    def _take(self, message: Message) -> None:
        value = message.value()
        if message.topic() != self.names.enrolment_status:
            note(self.history, read_seen(message, self.names, CODEC))
        elif value is not None:
            status = CODEC.decode_output(EnrolmentStatus, value)
            self.statuses[status.site_id] = status


@contextmanager
def stage(tasks: int, load: Load, say: Callable[[str], None]) -> Iterator[Arena]:
    """An arena on a broker of its own. Its logs go with it, unless the run raises or `keep`s them; then `say` where."""
    folder = Path(tempfile.mkdtemp(prefix="axle-processor-chaos-"))
    clean = False
    try:
        with EmbeddedKafka(say=say) as broker:
            names = TopicNames()
            make_topics(broker, names, tasks)
            with Arena(broker.bootstrap_servers, names, tasks, folder, load, broker.folder) as arena:
                yield arena
                clean = not arena.keep
    finally:
        if clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"the logs of this run are kept in {folder}")


def _deliver(sender: Sender) -> None:
    """Wait until the broker has everything. Raises RuntimeError when it does not take it."""
    deadline = time.monotonic() + DELIVERY_SECONDS
    while sender.waiting and time.monotonic() < deadline:
        sender.poll()
        time.sleep(_TURN_SECONDS)
    if sender.waiting or sender.refused:
        raise RuntimeError(f"the broker did not take {sender.waiting + len(sender.refused)} events")
