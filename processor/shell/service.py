"""The processor as one thing: wiring, start, and an orderly end.

Here every part is built and handed to those who need it; no part builds another. What happens in a round is in
`loop.py`. The one idea: values come in (`ServiceConfig`), so a test and the demo run exactly what `run` runs.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import structlog
from confluent_kafka import Consumer, Producer, libversion

from processor import __version__
from processor.core.rules import Rules
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.breadcrumb import Breadcrumb
from processor.shell.clock import Clock, SystemClock
from processor.shell.consumer import PollThread
from processor.shell.contract import Ground, check_checkpoint, check_cluster, explained
from processor.shell.desk import Desk
from processor.shell.gate import Gate
from processor.shell.governor import Governor
from processor.shell.http import Check, HttpServer
from processor.shell.intake import Intake
from processor.shell.kafka_log import librdkafka_logger
from processor.shell.known_schemas import KnownSchemas, known_schemas
from processor.shell.lag import Lags
from processor.shell.leases import Leases
from processor.shell.listing import Aside
from processor.shell.log_ends import LogEnds
from processor.shell.loop import Loop
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.producer_config import producer_config
from processor.shell.protocol import Asked, Choice, check_protocol, choose_protocol, consumer_config
from processor.shell.reconciler import Reconciler
from processor.shell.records import KafkaRefused, Part, TransactionLost
from processor.shell.restore import Restorer
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import RegistryAccount
from processor.shell.store import Store
from processor.shell.tasks import Tasks
from processor.shell.topics import TopicNames
from processor.shell.transaction import Transactions
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits

METADATA_REFRESH_MS = 60_000
CONSUMER_STOP_SECONDS = 10.0
STUCK_SECONDS = 30.0
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Everything that a processor must be told. Raises ValueError when limits contradict each other."""

    bootstrap_servers: str
    axle: AxleAccount
    topics: TopicNames = field(default_factory=TopicNames)
    group_id: str = "axle-processor"
    instance_id: str | None = None
    environment: str = "default"
    start_from: Literal["earliest", "latest"] = "earliest"
    protocol: Asked = "auto"
    session_timeout_ms: int = 10_000
    transaction_timeout_ms: int = 8_000
    calls_max: int = 64
    calls_per_second: float | None = None
    reconcile_seconds: float | None = None
    """How often our tasks are held against Axle's list of chargers; None: never."""
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    rules: Rules = field(default_factory=Rules)
    limits: InputLimits = field(default_factory=InputLimits)
    breadcrumb_file: Path | None = None
    write_version: int | None = None
    """Version of the states that are written; None: this program's own."""
    connection: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further librdkafka settings: TLS, SASL. They hold passwords."""
    registry: RegistryAccount | None = None
    """The schema registry whose framing records have; None: Avro single-object encoding."""

    def __post_init__(self) -> None:
        if self.transaction_timeout_ms >= self.session_timeout_ms:
            raise ValueError(
                "transaction_timeout_ms must be below session_timeout_ms: a dead member's transaction has to end "
                "before its tasks are given to somebody else"
            )
        check_protocol(self.protocol, self.instance_id)
        if self.calls_max < 1:
            raise ValueError("calls_max must be at least 1")


class Service:
    """One processor. Build it inside the event loop that it shall run in, then `await run()`."""

    def __init__(
        self,
        config: ServiceConfig,
        transport: httpx.AsyncBaseTransport,
        clock: Clock | None = None,
        watch: Callable[[Part], None] = lambda _: None,
        producer: Callable[[dict[str, Any]], Producer] = Producer,
        reader: Callable[[dict[str, Any]], Consumer] = Consumer,
        codec: Codec | None = None,
    ) -> None:
        """`watch` is shown each committed part; `producer` writes, `reader` and `codec` read: tests hand in others.

        Raises PortTaken, and what `known_schemas` and `contract.check_cluster` do.
        """
        self._config = config
        self._clock = clock or SystemClock()
        self.metrics = Metrics()
        self._schemas: KnownSchemas | None = None
        if config.registry is not None:
            self._schemas = known_schemas(config.registry, config.topics, self._clock, self.metrics)
        self._codec = codec or (self._schemas.codec if self._schemas else Codec(schema_texts()))
        self.metrics.build_info.labels(__version__, libversion()[0]).set(1)
        member = config.instance_id or secrets.token_hex(8)
        connection: dict[str, Any] = {
            "bootstrap.servers": config.bootstrap_servers,
            "client.id": f"axle-processor-{member}",
            "logger": librdkafka_logger(self._clock.monotonic),
            **config.connection,
        }
        self._connection = connection
        ground = check_cluster(connection, config.topics, config.group_id)
        self._build(config, connection, ground, member, transport, watch, producer, reader)
        self._http = HttpServer(
            config.http_host, config.http_port, self.metrics, self.live_checks, self.ready_checks, self.status
        )
        self._last_seen = (0, 0, self._clock.monotonic())

    def _build(
        self,
        config: ServiceConfig,
        connection: dict[str, Any],
        ground: Ground,
        member: str,
        transport: httpx.AsyncBaseTransport,
        watch: Callable[[Part], None],
        producer: Callable[[dict[str, Any]], Producer],
        reader: Callable[[dict[str, Any]], Consumer],
    ) -> None:
        names, clock, rules, metrics = config.topics, self._clock, config.rules, self.metrics
        tasks = ground.partitions[names.reroute]
        leases = Leases()
        transactional_id = f"{config.group_id}.{member}"
        self._crumb = Breadcrumb(config.breadcrumb_file)
        intake = Intake(names, ground.partitions, tasks, self._codec, config.limits, config.group_id, self._crumb)
        outbox = self._outbox(ground, tasks)
        store = Store(rules)
        choice = self._choice = self._choose(connection)
        transaction_ms = config.transaction_timeout_ms
        if choice.protocol == "consumer":
            # The brokers' session is not ours to choose, and a dead member's transaction has to end before it.
            transaction_ms = min(transaction_ms, choice.session_ms * 4 // 5)
        self._transactions = Transactions(
            {**connection, **producer_config(transactional_id, transaction_ms)},
            leases,
            lambda: self._poll.group_metadata,
            clock,
            metrics,
            producer,
            uniform=_uniform,
        )
        self.loop = Loop(clock, rules, store, intake, outbox, self._transactions, metrics, watch)
        consumer = {
            # How soon the classic protocol's leader sees that an input topic has grown; an operator may say otherwise.
            "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
            **connection,
            **consumer_config(config.group_id, config.instance_id, choice.session_ms, choice.protocol),
        }
        task_topics = [topic for topic in (*intake.input_topics, names.reroute) if intake.serves_task(topic)]
        ends = LogEnds(connection, names.state)
        topics = [*intake.input_topics, names.reroute]
        self._poll = PollThread(consumer, topics, leases, self.loop, ends, task_topics)
        self._client = AxleClient(config.axle, transport, clock, metrics)
        governor = Governor(config.calls_max, _uniform, config.calls_per_second)
        self._desk = Desk(self._client, store.get, self.loop.hear, clock, _uniform, rules, metrics, governor)
        self._reconciler = self._compared_by(governor, store, tasks)
        hold_ms = round(config.axle.deadline_seconds * 1000)
        self._tasks = Tasks(
            self._poll,
            self._restorer(connection, ground, tasks, reader),
            leases,
            store,
            self._desk,
            clock,
            metrics,
            task_topics,
            ground.partitions,
            names.reroute,
            hold_ms,
            self.loop.nudge,
            self.loop.on_failure,
        )
        self._gate = self._gate_before(intake)
        self.loop.attach(self._poll, self._tasks, self._desk, self._gate)
        self._store = store
        self._lags = Lags(ends.stable, self._tasks, clock, metrics)

    def _gate_before(self, intake: Intake) -> Gate | None:
        if self._schemas is None:
            return None
        gate = Gate(intake.kind_of, self._schemas, self._poll, self.loop.on_failure)
        self.metrics.held_partitions.set_function(lambda: len(gate.held))
        return gate

    def _choose(self, connection: Mapping[str, Any]) -> Choice:
        asked = self._config
        return choose_protocol(asked.protocol, asked.instance_id, asked.session_timeout_ms, connection, asked.group_id)

    def _outbox(self, ground: Ground, tasks: int) -> Outbox:
        config = self._config
        return Outbox(
            config.topics,
            self._codec,
            config.rules,
            f"/axle-processor/{config.environment}",
            write_version=config.write_version,
            tasks=tasks,
            topic_ids=ground.topic_ids,
        )

    def _restorer(
        self, connection: dict[str, Any], ground: Ground, tasks: int, reader: Callable[[dict[str, Any]], Consumer]
    ) -> Restorer:
        config, names = self._config, self._config.topics
        return Restorer(
            connection,
            config.group_id,
            names.state,
            tasks,
            config.start_from,
            reader,
            lambda task, checkpoint: check_checkpoint(task, checkpoint, ground, names),
            self.metrics,
        )

    def _compared_by(self, governor: Governor, store: Store, tasks: int) -> Reconciler:
        aside = Aside(governor, self._clock, lambda: self._desk.is_quiet, self._desk.slot_is_free)
        return Reconciler(
            self._client,
            aside,
            store,
            lambda: self._tasks.ready,
            self.loop.send,
            self._clock,
            _uniform,
            self.metrics,
            self._config.topics.reroute,
            tasks,
        )

    @property
    def url(self) -> str:
        """Where health, metrics and the status page are."""
        return self._http.url

    @property
    def ready_tasks(self) -> list[int]:
        """Tasks that are at work here."""
        return self._tasks.ready

    async def run(self) -> None:
        """Process until `stop` or cancellation, then drain. Raises what made it impossible to go on."""
        try:
            await self._run()
        except KafkaRefused as refused:
            config = self._config
            raise await asyncio.to_thread(
                explained, refused, self._connection, config.topics, config.group_id
            ) from refused

    async def _run(self) -> None:
        choice = self._choice
        log.info("group protocol", protocol=choice.protocol, session_ms=choice.session_ms, why=choice.why)
        serving = asyncio.get_running_loop().create_task(self._http.serve())
        try:
            # Side by side, since each takes up to half a second; a commit waits behind `open` on the same thread.
            opening = asyncio.get_running_loop().run_in_executor(self._transactions.thread, self._open_producer)
            self._poll.start()
            await opening
            works = (self._compare(), self._ask_registry(), self._lags.run())
            beside = [asyncio.get_running_loop().create_task(work) for work in works]
            try:
                await self.loop.run()
            finally:
                for task in beside:
                    task.cancel()
            await self.loop.drain()
        finally:
            await asyncio.to_thread(self._poll.stop, CONSUMER_STOP_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._transactions.thread, self._transactions.close)
            self._transactions.thread.shutdown(wait=False)
            await self._client.aclose()
            if self._schemas is not None:
                self._schemas.close()
            self._http.stop()
            self._crumb.close()
            await serving
            log.info("stopped")

    async def _compare(self) -> None:
        if self._config.reconcile_seconds is not None:
            await self._reconciler.run(self._config.reconcile_seconds)

    async def _ask_registry(self) -> None:
        try:
            if self._schemas is not None:
                await self._schemas.run()
        except Exception as error:
            # Without it partitions would stand still for ever.
            self.loop.on_failure(error)

    def stop(self) -> None:
        """Begin an orderly end; `run` returns when it is done."""
        self.loop.stop()

    def live_checks(self) -> list[Check]:
        """Whether we turn; never whether a broker or Axle does."""
        turns = (self._poll.turns, self.loop.turns)
        now = self._clock.monotonic()
        if turns[0] != self._last_seen[0]:
            self._last_seen = (*turns, now)
        age = now - self._last_seen[2]
        return [Check("poll", age < STUCK_SECONDS, f"the poll thread turned {age:.0f} s ago at the latest")]

    def ready_checks(self) -> list[Check]:
        """Whether all tasks that are ours are restored and at work."""
        ready, restoring = self._tasks.ready, self._tasks.restoring
        has_joined = self._poll.has_joined
        checks = [
            Check("group", has_joined, "in the group" if has_joined else "not in the group yet"),
            Check(
                "tasks",
                not restoring and (bool(ready) or not self._tasks.assigned) and has_joined,
                f"{len(ready)} at work, {len(restoring)} being restored",
            ),
        ]
        if self._gate is not None:
            trouble = self._gate.trouble
            checks.append(Check("schema registry", trouble is None, trouble or "no partition waits for it in vain"))
        return checks

    def status(self) -> dict[str, object]:
        """What the status page tells."""
        ready = self._tasks.ready
        restoring = self._tasks.restoring
        working = all(check.ok for check in self.ready_checks())
        sites = sum(self._store.site_count(task) for task in ready)
        verdict = f"Working: {len(ready)} tasks, {sites} sites" if working else "Starting: tasks are being taken over"
        if self._gate is not None and self._gate.trouble:
            verdict = f"Waiting: {self._gate.trouble}"
        return {
            "verdict": verdict,
            "version": __version__,
            "group": self._config.group_id,
            "tasks": {"working": ready, "restoring": restoring},
            "sites": sites,
            "axle": {
                "base_url": self._config.axle.base_url,
                "calls_in_flight": self._desk.in_flight,
                "calls_waiting": self._desk.waiting,
                "breaker": self._desk.breaker.value,
            },
        }

    def _open_producer(self) -> None:
        try:
            self._transactions.open()
        except TransactionLost as lost:
            raise KafkaRefused(str(lost)) from lost


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * secrets.randbelow(1 << 32) / (1 << 32)
