"""Exactly once: the only place where a transaction begins and ends.

One producer per process, driven by one thread of its own. `commit` sends all parts whose leases are open as one
transaction: records, changed states, checkpoints, and always the offsets with the consumer's group metadata (so that a
zombie is fenced even when it only has Axle's answers to tell: pitfall P3). The steps are numbered here and in
ARCHITECTURE.md alike. When the outcome is unknown, nothing is guessed: `TransactionLost` makes the owner restore its
tasks from the changelog. And when a commit's end may still be under way on a connection that broke, no transaction
begins before a new producer has fenced it off (pitfall P1): a late end would tear the next one.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from confluent_kafka import KafkaException, Producer, TopicPartition

from processor.shell.clock import Clock
from processor.shell.kafka_errors import Remedy, classify
from processor.shell.kafka_log import librdkafka_logger
from processor.shell.leases import Lease, Leases
from processor.shell.metrics import Metrics
from processor.shell.records import KafkaRefused, Part, Partition, TransactionLost

RETRY_BACKOFF_MS = 3
"""librdkafka's default of 100 makes each transaction that closely follows another take over 100 ms (measured)."""
STEP_SECONDS = 10.0
"""How long one call of a step may take before librdkafka gives the thread back."""
ATTEMPTS_MAX = 10
COORDINATOR = "TxnCoordinator"
log = structlog.get_logger(__name__)


def producer_config(transactional_id: str, transaction_timeout_ms: int) -> dict[str, Any]:
    """librdkafka's settings for a transactional producer, without those that say where the brokers are."""
    return {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": transaction_timeout_ms,
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": 200,
        "linger.ms": 1,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "queue.buffering.max.kbytes": 65_536,
        "queue.buffering.max.messages": 100_000,
        "message.max.bytes": 1_048_576,
        "delivery.report.only.error": True,
    }


class Transactions:
    """The transactional producer and its thread."""

    def __init__(
        self,
        config: Mapping[str, Any],
        leases: Leases,
        group_metadata: Callable[[], object | None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`group_metadata` hands out what the poll thread attached last; it must not block or ask the consumer."""
        self._config = dict(config)
        self._leases = leases
        self._group_metadata = group_metadata
        self._clock = clock
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="producer")
        self._producer: Producer | None = None
        self._config["logger"] = librdkafka_logger(clock.monotonic, self._overhear)
        self._slow_seconds = int(self._config.get("transaction.timeout.ms", 60_000)) / 2000
        self._suspicion: str | None = None

    @property
    def thread(self) -> ThreadPoolExecutor:
        """Where `open`, `commit`, `idle` and `close` must run."""
        return self._thread

    def open(self) -> None:
        """Build the producer and fence whoever used its id before. Raises TransactionLost, KafkaRefused."""
        self._producer = None
        producer = Producer(self._config)
        with contextlib.suppress(KafkaException):
            # Without any metadata yet, librdkafka puts the search for its coordinator off by half a second (measured).
            producer.list_topics(timeout=STEP_SECONDS)
        try:
            self._step(lambda: producer.init_transactions(STEP_SECONDS))
        except KafkaException as failure:
            error = failure.args[0]
            sentence = f"Kafka does not let us begin transactions: {error.str()} ({error.name()})"
            raise (KafkaRefused if classify(error) is Remedy.REFUSED else TransactionLost)(sentence) from failure
        producer.poll(0)
        self._producer = producer
        self._suspicion = None

    def idle(self) -> None:
        """Let librdkafka serve its events while there is nothing to commit (pitfall P22)."""
        if self._producer:
            self._producer.poll(0)

    def close(self) -> None:
        """Abort what is open and let go of the producer."""
        if self._producer:
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(STEP_SECONDS)
            self._producer = None

    def commit(self, parts: list[Part]) -> set[int]:
        """Step 8: commit the parts whose leases are open; returns their indices. See `records.Log.commit`."""
        left = set(range(len(parts)))
        for attempt in range(ATTEMPTS_MAX):
            # Taken before the leases are looked at: should one close afterwards, this generation is fenced.
            metadata = self._group_metadata()
            left = {i for i in left if all(lease.is_open for lease in parts[i].leases)}
            if not left:
                return set()
            held: set[Lease] = set().union(*(parts[i].leases for i in left))
            with self._leases.hold(held) as is_open:
                if is_open and self._attempt([parts[i] for i in sorted(left)], metadata, attempt):
                    return left
        raise TransactionLost(f"{ATTEMPTS_MAX} attempts at one transaction were aborted")

    def _attempt(self, parts: list[Part], metadata: object | None, attempt: int) -> bool:
        """One transaction. True: committed. False: aborted, and the same parts may be sent again."""
        if self._suspicion:
            log.info("building the producer anew, so that no late end can tear a transaction", why=self._suspicion)
            self._metrics.producer_rebuilds.inc()
            self.open()
        producer = self._producer
        if producer is None or metadata is None:
            raise TransactionLost("there is no producer, or no group membership, to commit with")
        began = self._clock.monotonic()
        try:
            # 8a. begin
            producer.begin_transaction()
            # 8b. records, states and checkpoints
            for part in parts:
                _produce(producer, part)
            # 8c. offsets, fenced by the group's generation
            offsets = _offsets(parts)
            self._step(lambda: producer.send_offsets_to_transaction(offsets, metadata, STEP_SECONDS))
            # 8d. commit: -1, because a time-out of our own would leave the outcome open (pitfall P19)
            self._end(producer, lambda: producer.commit_transaction(-1))
        except KafkaException as failure:
            return self._recover(failure, attempt)
        except BufferError as full:
            self._metrics.transactions.labels("lost").inc()
            raise TransactionLost(f"librdkafka's queue is full: {full}") from full
        self._metrics.transactions.labels("committed").inc()
        self._metrics.transaction_seconds.observe(self._clock.monotonic() - began)
        return True

    def _end(self, producer: Producer, call: Callable[[], object]) -> None:
        """Commit or abort; what took long may have been sent twice, and the first sending may still arrive."""
        began = self._clock.monotonic()
        self._step(call)
        producer.poll(0)
        took = self._clock.monotonic() - began
        if took > self._slow_seconds:
            self._suspicion = f"the end of a transaction took {took:.1f} s"

    def _overhear(self, line: str) -> None:
        """librdkafka mentions its transaction coordinator only when something is wrong with the connection to it."""
        if COORDINATOR in line:
            self._suspicion = line[:300]

    def _step(self, call: Callable[[], object]) -> None:
        """One step, called again with the same arguments while its error says that this may help."""
        for attempt in range(ATTEMPTS_MAX):
            try:
                call()
            except KafkaException as failure:
                if classify(failure.args[0]) is not Remedy.RETRY:
                    raise
                self._suspicion = failure.args[0].str()
                if attempt + 1 == ATTEMPTS_MAX:
                    sentence = f"Kafka did not answer in {ATTEMPTS_MAX} tries: {failure.args[0].str()}"
                    raise TransactionLost(sentence) from failure
            else:
                return

    def _recover(self, failure: KafkaException, attempt: int) -> bool:
        """After a failed transaction: abort it so that it can be sent again, or give the producer up."""
        error = failure.args[0]
        remedy = classify(error)
        if remedy is Remedy.REFUSED:
            raise KafkaRefused(f"Kafka refuses the transaction: {error.str()} ({error.name()})") from failure
        producer = self._producer
        if remedy is Remedy.ABORT and producer:
            try:
                self._end(producer, lambda: producer.abort_transaction(-1))
            except KafkaException as worse:
                failure = worse
            else:
                self._metrics.transactions.labels("aborted").inc()
                if attempt:
                    producer.poll(min(0.05 * 2**attempt, 1.0))
                return False
        self._metrics.transactions.labels("lost").inc()
        self._producer = None
        raise TransactionLost(f"the producer is finished: {failure.args[0].str()}") from failure


def _produce(producer: Producer, part: Part) -> None:
    for record in part.produces:
        if record.partition is None:
            producer.produce(record.topic, record.value, record.key, headers=record.headers)
        else:
            producer.produce(record.topic, record.value, record.key, record.partition, headers=record.headers)


def _offsets(parts: list[Part]) -> list[TopicPartition]:
    merged: dict[Partition, int] = {}
    for part in parts:
        merged.update(part.offsets)
    if not merged:
        raise ValueError("a transaction without offsets would not be fenced")
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in merged.items()]
