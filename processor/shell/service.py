"""The processor as one thing: wiring, start, and an orderly end.

Here every part is built and handed to those who need it; no part builds another. What happens in a round is in
`loop.py`. The one idea: values come in (`ServiceConfig`), so a test and the demo run exactly what `run` runs.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Literal

import httpx
import structlog
from confluent_kafka import KafkaException, libversion
from confluent_kafka.admin import AdminClient

from processor import __version__
from processor.core.rules import Rules
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.clock import Clock, SystemClock
from processor.shell.consumer import PollThread, consumer_config
from processor.shell.desk import Desk
from processor.shell.http import Check, HttpServer
from processor.shell.intake import Intake
from processor.shell.kafka_log import librdkafka_logger
from processor.shell.leases import Leases
from processor.shell.loop import Loop
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.records import KafkaRefused, Part, TransactionLost
from processor.shell.restore import Restorer
from processor.shell.schema_files import schema_texts
from processor.shell.store import Store
from processor.shell.tasks import Tasks
from processor.shell.topics import TopicNames
from processor.shell.transaction import Transactions, producer_config
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits

METADATA_SECONDS = 3.0
"""Whoever starts us hears within 5 s, all told, that no broker is there."""
CONSUMER_STOP_SECONDS = 10.0
STUCK_SECONDS = 30.0
log = structlog.get_logger(__name__)


class KafkaUnreachable(Exception):
    """No broker answered. One sentence for the operator."""


class ConnectionWrong(Exception):
    """librdkafka does not take the settings of the connection. One sentence for the operator."""


class TopicsUnfit(Exception):
    """A topic is missing, or its partitions do not fit. One sentence for the operator."""


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
    session_timeout_ms: int = 10_000
    transaction_timeout_ms: int = 8_000
    calls_max: int = 64
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    rules: Rules = field(default_factory=Rules)
    limits: InputLimits = field(default_factory=InputLimits)
    write_version: int | None = None
    """Version of the states that are written; None: this program's own."""
    connection: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further librdkafka settings: TLS, SASL. They hold passwords."""

    def __post_init__(self) -> None:
        if self.transaction_timeout_ms >= self.session_timeout_ms:
            raise ValueError(
                "transaction_timeout_ms must be below session_timeout_ms: a dead member's transaction has to end "
                "before its tasks are given to somebody else"
            )
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
    ) -> None:
        """`watch` is shown each committed part. Raises ConnectionWrong, KafkaUnreachable, TopicsUnfit, PortTaken."""
        self._config = config
        self._clock = clock or SystemClock()
        self.metrics = Metrics()
        self.metrics.build_info.labels(__version__, libversion()[0]).set(1)
        member = config.instance_id or secrets.token_hex(8)
        connection: dict[str, Any] = {
            "bootstrap.servers": config.bootstrap_servers,
            "client.id": f"axle-processor-{member}",
            "logger": librdkafka_logger(self._clock.monotonic),
            **config.connection,
        }
        partitions = topic_partitions(connection, config.topics)
        tasks = partitions[config.topics.reroute]
        self._build(config, connection, partitions, tasks, member, transport, watch)
        self._http = HttpServer(
            config.http_host, config.http_port, self.metrics, self.live_checks, self.ready_checks, self.status
        )
        self._last_seen = (0, 0, self._clock.monotonic())

    def _build(
        self,
        config: ServiceConfig,
        connection: dict[str, Any],
        partitions: Mapping[str, int],
        tasks: int,
        member: str,
        transport: httpx.AsyncBaseTransport,
        watch: Callable[[Part], None],
    ) -> None:
        names, clock, rules, metrics = config.topics, self._clock, config.rules, self.metrics
        codec = Codec(schema_texts())
        leases = Leases()
        transactional_id = f"{config.group_id}.{member}"
        intake = Intake(names, partitions, tasks, codec, config.limits, config.group_id)
        source = f"/axle-processor/{config.environment}"
        outbox = Outbox(names, codec, rules, source, write_version=config.write_version)
        store = Store(rules)
        self._transactions = Transactions(
            {**connection, **producer_config(transactional_id, config.transaction_timeout_ms)},
            leases,
            lambda: self._poll.group_metadata,
            clock,
            metrics,
        )
        self.loop = Loop(clock, rules, store, intake, outbox, self._transactions, metrics, watch)
        consumer = {
            **connection,
            **consumer_config(config.group_id, config.instance_id, config.session_timeout_ms),
        }
        self._poll = PollThread(consumer, [*intake.input_topics, names.reroute], leases, self.loop)
        self._client = AxleClient(config.axle, transport, clock, metrics)
        self._desk = Desk(self._client, store.get, self.loop.hear, clock, _uniform, rules, metrics, config.calls_max)
        restorer = Restorer(connection, config.group_id, names.state, tasks, config.start_from)
        task_topics = [topic for topic in (*intake.input_topics, names.reroute) if intake.serves_task(topic)]
        hold_ms = round(config.axle.deadline_seconds * 1000)
        self._tasks = Tasks(
            self._poll,
            restorer,
            leases,
            store,
            self._desk,
            clock,
            metrics,
            task_topics,
            names.reroute,
            hold_ms,
            self.loop.nudge,
            self.loop.on_failure,
        )
        self.loop.attach(self._poll, self._tasks, self._desk)
        self._store = store

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
        serving = asyncio.get_running_loop().create_task(self._http.serve())
        try:
            # Side by side, since each takes up to half a second; a commit waits behind `open` on the same thread.
            opening = asyncio.get_running_loop().run_in_executor(self._transactions.thread, self._open_producer)
            self._poll.start()
            await opening
            await self.loop.run()
            await self.loop.drain()
        finally:
            await asyncio.to_thread(self._poll.stop, CONSUMER_STOP_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._transactions.thread, self._transactions.close)
            self._transactions.thread.shutdown(wait=False)
            await self._client.aclose()
            self._http.stop()
            await serving
            log.info("stopped")

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
        return [
            Check("group", has_joined, "in the group" if has_joined else "not in the group yet"),
            Check(
                "tasks",
                not restoring and (bool(ready) or not self._tasks.assigned) and has_joined,
                f"{len(ready)} at work, {len(restoring)} being restored",
            ),
        ]

    def status(self) -> dict[str, object]:
        """What the status page tells."""
        ready = self._tasks.ready
        restoring = self._tasks.restoring
        working = all(check.ok for check in self.ready_checks())
        sites = sum(self._store.site_count(task) for task in ready)
        self.metrics.sites.set(sites)
        verdict = f"Working: {len(ready)} tasks, {sites} sites" if working else "Starting: tasks are being taken over"
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
            },
        }

    def _open_producer(self) -> None:
        try:
            self._transactions.open()
        except TransactionLost as lost:
            raise KafkaRefused(str(lost)) from lost


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * secrets.randbelow(1 << 32) / (1 << 32)


def topic_partitions(connection: Mapping[str, Any], names: TopicNames) -> dict[str, int]:
    """Partition counts of all topics. Raises ConnectionWrong, KafkaUnreachable, TopicsUnfit."""
    try:
        admin = AdminClient({**connection, "socket.timeout.ms": 4000, "log_level": 0})
    except KafkaException as failure:
        raise ConnectionWrong(
            f"librdkafka does not take the settings of AXLE_PROCESSOR_KAFKA__*: {failure.args[0].str()}"
        ) from failure
    try:
        metadata = admin.list_topics(timeout=METADATA_SECONDS)
    except KafkaException as failure:
        raise KafkaUnreachable(
            f"no Kafka broker answered at {connection['bootstrap.servers']} within {METADATA_SECONDS:g} s "
            f"({failure.args[0].str()}); check AXLE_PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"
        ) from failure
    missing = [name for name in astuple(names) if name not in metadata.topics]
    if missing:
        raise TopicsUnfit(
            f"topics are missing: {', '.join(missing)}; create them with `axle-processor topics apply` "
            "or name yours with AXLE_PROCESSOR_TOPICS__*"
        )
    counts = {name: len(metadata.topics[name].partitions) for name in astuple(names)}
    if counts[names.state] != counts[names.reroute]:
        raise TopicsUnfit(
            f"{names.state} has {counts[names.state]} partitions and {names.reroute} has {counts[names.reroute]}; "
            "both must have the same number, which is the number of tasks"
        )
    return counts
