"""The demo: a broker, a simulated Axle, the processor, traffic, a charger service, and a verifier that watches it all.

Here lives who is started when, and that nothing stays behind; what each of them does is in its own module. The idea:
the processor is the real one, a process of its own that knows nothing of the demo, and everything that is said about it
at the end was seen from outside.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import AdminClient

from processor.demo.audience import Audience
from processor.demo.axle import AxleSimulator, SimSettings
from processor.demo.child import ProcessorChild
from processor.demo.history import History, Published, Settled
from processor.demo.kafka import Broker, ExternalKafka, make_topics
from processor.demo.reader import Reader
from processor.demo.scene import Scene
from processor.demo.seen import Seen, note, read_seen
from processor.demo.sender import Sender
from processor.demo.timeline import Frame
from processor.demo.traffic import Story
from processor.demo.verifier import open_inputs, report, verify, verify_so_far
from processor.shell.schema_files import schema_texts
from processor.shell.topics import DEFAULT_PARTITIONS, TopicNames
from processor.wire.avro import Codec

EVENTS_MAX = 100_000
"""The story ends here at the latest: everything that was seen is kept until the verdict."""
FAULT_PERIOD_SECONDS = 60.0
"""How long a third, a third and a third are in a run without an end."""
READY_SECONDS = 60.0
SETTLE_SECONDS = 20.0
SETTLE_AFTER_FAULT_SECONDS = 45.0
"""Calls that failed again and again are repeated half a minute apart at the most."""
_TURN_SECONDS = 0.02
_SHOW_SECONDS = 0.25
_BURST_MAX = 200
_EXTERNAL_SLACK_MS = 2_000
_LOOK_SHARE = 0.02
_NAMES_ENDPOINT = {"403": "schedule", "404": "schedule", "409": "onboard"}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What shall be run. `duration_seconds` None: until Ctrl-C. `fault`: one of the simulator's, by name."""

    chargers: int = 40
    rate: float = 10.0
    duration_seconds: float | None = None
    fault: str | None = None
    page_port: int = 0
    seed: int = 1


class DemoFailed(Exception):
    """The demo could not be run to its end. One sentence for a person."""


def fault_rules(name: str | None) -> list[dict[str, object]]:
    """The simulator's rules for a fault by name.

    A fault that is an answer about one thing (no such charger, it exists) is given where Axle would give it; elsewhere
    it would be a lie that nobody can see through, such as a 404 to the offboarding of a site that is there.
    """
    if name is None:
        return []
    rule: dict[str, object] = {"fault": name}
    if name in _NAMES_ENDPOINT:
        rule["endpoint"] = _NAMES_ENDPOINT[name]
    if name == "slow":
        rule["latency_ms"] = 3_000
    return [rule]


def fault_is_on(elapsed_seconds: float, duration_seconds: float | None) -> bool:
    """Whether this is the middle third of the run, or of a minute where it has no end."""
    period = FAULT_PERIOD_SECONDS if duration_seconds is None else duration_seconds
    elapsed = elapsed_seconds % period if duration_seconds is None else elapsed_seconds
    return period / 3 <= elapsed < period * 2 / 3


def topic_names(broker: Broker, token: str) -> TopicNames:
    """On a broker of the demo's own: the product's names. On somebody's broker: names that nobody has."""
    if not isinstance(broker, ExternalKafka):
        return TopicNames()
    return TopicNames(*(f"axle-demo-{token}.{name}" for name in astuple(TopicNames())))


class Demo:
    """One run on a broker that is up, with a processor that waits for its settings. `await run()` once."""

    def __init__(
        self,
        plan: DemoPlan,
        broker: Broker,
        child: ProcessorChild,
        audience: Audience,
        began_seconds: float,
        token: str = "",
    ) -> None:
        """`began_seconds`: when the command was started, on `time.time`'s clock. `token` tells runs apart."""
        self._plan = plan
        self._broker = broker
        self._child = child
        self._audience = audience
        self._began_seconds = began_seconds
        self._names = topic_names(broker, token)
        self._group = f"axle-demo-{token}" if isinstance(broker, ExternalKafka) else "axle-processor"
        self._codec = Codec(schema_texts())
        is_real = broker.kind == "kafka"
        # A mock cannot hand a record from one task to another: its transactions' markers fail the consumers' CRC check.
        self._story = Story(plan.chargers, plan.seed, 0.15 if is_real else 0.0)
        self._history = History()
        self._scene = Scene()
        self._axle = AxleSimulator(SimSettings())
        self._sender = Sender(broker.bootstrap_servers, self._names, self._codec, stamps=is_real)
        self._stopping = False
        self._hurry = False
        self._first_schedule_seconds: float | None = None
        self._traffic_began: float | None = None
        self._fault_on = False
        self._next_show = 0.0
        self._next_look = 0.0
        self._findings: int | None = None
        self._open = 0

    async def run(self) -> dict[str, Any]:
        """Run to the end; returns the report. Raises DemoFailed, ProcessorDied, BrokerFailed, ReaderFailed."""
        loop = asyncio.get_running_loop()
        partitions = await asyncio.to_thread(make_topics, self._broker, self._names, DEFAULT_PARTITIONS)
        reader = Reader(self._broker.bootstrap_servers, self._watched, self._on_reader_thread(loop))
        try:
            async with self._axle:
                self._child.begin(self._settings(self._axle.url))
                await asyncio.to_thread(reader.start)
                await self._until_working(partitions)
                await self._tell_the_story()
                self._axle.set_faults([])
                await self._settle()
                await asyncio.to_thread(self._child.stop)
                return self._report()
        finally:
            self._audience.end()
            await asyncio.to_thread(reader.stop)
            await asyncio.to_thread(self._clean_up)

    def stop(self) -> None:
        """End the story, wait for what is under way, then report. A second time: do not wait.

        May be called from a signal handler: it only leaves a word for the next turn.
        """
        self._hurry = self._stopping
        self._stopping = True

    @property
    def _watched(self) -> list[str]:
        return [self._names.modified_schedule, self._names.outcomes, self._names.dead_letter]

    def _settings(self, axle_url: str) -> dict[str, str]:
        topics = {f"TOPICS__{field.name.upper()}": getattr(self._names, field.name) for field in fields(TopicNames)}
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "KAFKA__GROUP_ID": self._group,
            "AXLE__BASE_URL": axle_url,
            "AXLE__USERNAME": "demo",
            "AXLE__PASSWORD": "demo",
            "HTTP__PORT": str(self._plan.page_port),
            "LOG__FORMAT": "json",
            "PRIVACY__KEY": "demo",
            "ENVIRONMENT": "demo",
            **topics,
        }

    async def _until_working(self, tasks: int) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while await asyncio.to_thread(self._child.working_tasks) < tasks:
            self._child.check()
            if self._stopping:
                return
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"The processor did not take its {tasks} tasks over within {READY_SECONDS:.0f} s. "
                    f"The end of its log:\n{self._child.last_lines()}"
                )
            await asyncio.sleep(0.05)
        self._audience.say(f"  processor  {tasks} tasks at work, page {self._child.page}")

    async def _tell_the_story(self) -> None:
        began = self._traffic_began = time.monotonic()
        plan, told = self._plan, 0
        while not self._stopping and told < EVENTS_MAX:
            elapsed = time.monotonic() - began
            if plan.duration_seconds is not None and elapsed >= plan.duration_seconds:
                return
            self._set_fault(on=plan.fault is not None and fault_is_on(elapsed, plan.duration_seconds))
            due = min(int(elapsed * plan.rate) + 1 - told, _BURST_MAX, EVENTS_MAX - told)
            for _ in range(due):
                self._put_next()
            told += due
            self._turn()
            await asyncio.sleep(_TURN_SECONDS)

    def _put_next(self) -> None:
        planned = self._story.next(round(time.time() * 1000), axle_is_well=not self._fault_on)
        put = self._sender.send(planned)
        self._history.puts.append(put)
        self._scene.hear_put(put, time.monotonic())

    def _set_fault(self, *, on: bool) -> None:
        if on != self._fault_on:
            self._fault_on = on
            self._axle.set_faults(fault_rules(self._plan.fault) if on else [])

    async def _settle(self) -> None:
        """Wait until every event has its outcome, within limits."""
        self._set_fault(on=False)
        deadline = time.monotonic() + (SETTLE_AFTER_FAULT_SECONDS if self._plan.fault else SETTLE_SECONDS)
        while not self._hurry and time.monotonic() < deadline:
            self._turn()
            if self._sender.waiting == 0 and open_inputs(self._history) == 0:
                return
            await asyncio.sleep(0.1)

    def _turn(self) -> None:
        """What is done many times a second, whatever else goes on."""
        self._child.check()
        self._sender.poll()
        now = time.monotonic()
        if now < self._next_show:
            return
        self._next_show = now + _SHOW_SECONDS
        if now >= self._next_look:
            self._look(now)
        self._audience.show(self._scene, self._frame(now))

    def _look(self, now: float) -> None:
        """See whether the promises are kept so far: as often as that takes a small share of the time."""
        self._gather_calls()
        verdict = verify_so_far(self._history, round(time.time() * 1000))
        self._findings = len(verdict.findings)
        took = time.monotonic() - now
        self._next_look = now + max(1.0, took / _LOOK_SHARE)

    def _gather_calls(self) -> None:
        calls = self._history.calls
        calls += self._axle.calls.since(calls[-1]["n"] if calls else 0)

    def _frame(self, now: float) -> Frame:
        began = now if self._traffic_began is None else self._traffic_began
        kinds = {"kafka": "real Apache Kafka", "mock": "librdkafka's mock cluster, without the guarantees"}
        return Frame(
            now_ms=round(time.time() * 1000),
            now_seconds=now,
            broker=f"{self._broker.bootstrap_servers} ({kinds[self._broker.kind]})",
            page=self._child.page,
            elapsed_seconds=now - began,
            duration_seconds=self._plan.duration_seconds,
            fault=self._plan.fault if self._fault_on else None,
            findings=self._findings,
            open_events=self._scene.events.total() - self._scene.outcomes.total(),
        )

    def _on_reader_thread(self, loop: asyncio.AbstractEventLoop) -> Callable[[list[Message]], None]:
        def hear(messages: list[Message]) -> None:
            seen = [read_seen(message, self._names, self._codec) for message in messages]
            loop.call_soon_threadsafe(self._hear, seen)

        return hear

    def _hear(self, seen: list[Seen]) -> None:
        now = time.monotonic()
        for one in seen:
            note(self._history, one)
            if isinstance(one, Published):
                if self._first_schedule_seconds is None:
                    self._first_schedule_seconds = time.time() - self._began_seconds
                self._scene.hear_published(one, now)
            elif isinstance(one, Settled):
                self._scene.hear_settled(one)

    def _report(self) -> dict[str, Any]:
        if self._sender.refused:
            raise DemoFailed(f"The broker did not take {len(self._sender.refused)} events: {self._sender.refused[0]}.")
        self._gather_calls()
        self._history.axle = self._axle.world.snapshot()
        kind: Literal["kafka", "mock"] = self._broker.kind
        slack_ms = _EXTERNAL_SLACK_MS if isinstance(self._broker, ExternalKafka) else 0
        verdict = verify(self._history, exactly_once=kind == "kafka", slack_ms=slack_ms)
        duration = 0.0 if self._traffic_began is None else time.monotonic() - self._traffic_began
        return report(self._history, verdict, kind, self._first_schedule_seconds, duration)

    def _clean_up(self) -> None:
        """Somebody's broker gets back as it was: topics and group were this run's own."""
        if not isinstance(self._broker, ExternalKafka):
            return
        self._child.stop()
        admin = AdminClient({"bootstrap.servers": self._broker.bootstrap_servers, "log_level": 0})
        futures = [
            *admin.delete_topics(list(astuple(self._names)), operation_timeout=10).values(),
            *admin.delete_consumer_groups([self._group], request_timeout=10).values(),
        ]
        for future in futures:
            try:
                future.result()
            except KafkaException as failure:
                self._audience.say(f"  Left behind on your broker ({failure.args[0].str()}): axle-demo-*")
