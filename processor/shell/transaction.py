"""Exactly once: the only place where a transaction begins and ends.

One producer per process, driven by one thread of its own. `commit` sends all parts whose leases are open as one
transaction: records, changed states, checkpoints, and always the offsets with the consumer's group metadata (so that a
zombie is fenced even when it only has Axle's answers to tell: pitfall P3). The steps are numbered here and in
ARCHITECTURE.md alike. When the outcome is unknown, nothing is guessed: `TransactionLost` makes the owner restore its
tasks from the changelog. And when a request of a transaction that has ended may still be under way (its end was slow,
an error came back, a connection broke), no other begins before a new producer has fenced it off: a late end would tear
the next one (pitfall P1; the suspicion rule).
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.shell.bounded import Bounded
from processor.shell.clock import Clock
from processor.shell.kafka_errors import Rebuilt, Remedy, classify, in_words, is_fenced
from processor.shell.kafka_log import broken_connection, librdkafka_logger, refused_topic
from processor.shell.leases import Lease, Leases
from processor.shell.membership import names_a_member
from processor.shell.metrics import Metrics
from processor.shell.records import HOPPED, KafkaRefused, Part, TransactionLost

STEP_SECONDS = 10.0
"""How long one call of a step may take before librdkafka gives the thread back."""
OFFSETS_SECONDS = 4.0
"""Likewise for the offsets, which librdkafka may wait for without an end, whatever it was told (librdkafka#5456).

A coordinator that moves is found in 2 s (measured); longer, and a new producer may find it sooner.
"""
OFFSETS_GRACE_SECONDS = 1.0
"""So much later than it should we take it that librdkafka does not come back."""
ATTEMPTS_MAX = 10
REBUILDS_MAX = 5
REST_SECONDS = 0.05
REST_SECONDS_MAX = 1.0
FENCED_MAX = 3
"""So many times our id is taken back from somebody who took it, within `FENCED_SECONDS` (pitfall P18)."""
FENCED_SECONDS = 60.0
FENCED_WAIT_SECONDS = (0.5, 1.0)
"""Times the number of those times, so that two who want one id do not keep step."""
log = structlog.get_logger(__name__)


class Transactions:
    """The transactional producer and its thread."""

    def __init__(
        self,
        config: Mapping[str, Any],
        leases: Leases,
        group_metadata: Callable[[], object | None],
        clock: Clock,
        metrics: Metrics,
        producer: Callable[[dict[str, Any]], Producer] = Producer,
        *,
        uniform: Callable[[float, float], float],
        heeds_suspicion: bool = True,
    ) -> None:
        """`group_metadata` hands out what the poll thread attached last; it must not block or ask the consumer.

        `uniform(low, high)` is chance. `heeds_suspicion`: False only in the test that shows what the rule is for.
        Raises ValueError when the time-outs contradict each other.
        """
        timeout_ms, socket_timeout_ms = int(config["transaction.timeout.ms"]), int(config["socket.timeout.ms"])
        if socket_timeout_ms >= timeout_ms:
            raise ValueError(
                f"socket.timeout.ms ({socket_timeout_ms}) must be below transaction.timeout.ms ({timeout_ms}): an end "
                "that is not answered has to be sent again before the brokers abort its transaction"
            )
        self._config = dict(config)
        self._build = producer
        self._leases = leases
        self._group_metadata = group_metadata
        self._clock = clock
        self._metrics = metrics
        self._uniform = uniform
        self._heeds_suspicion = heeds_suspicion
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="producer")
        self._producer: Producer | None = None
        self._config["logger"] = librdkafka_logger(clock.monotonic, self._overhear)
        self._config["on_delivery"] = self._not_delivered
        self._undelivered: tuple[KafkaError, str] | None = None
        """What a broker said of the first record that it did not take, and its topic."""
        self._refused_topic: str | None = None
        self._slow_seconds = socket_timeout_ms / 2000
        self._timeout_seconds = timeout_ms / 1000
        self._began = 0.0
        """When the newest transaction did."""
        self._why_rebuild: tuple[Rebuilt, str] | None = None
        self._may_build = False
        """Whether `commit` may build a missing producer by itself: no outcome is unknown."""
        self._held: set[Lease] = set()
        """What the newest transaction was for."""
        self._fenced_at: deque[float] = deque(maxlen=FENCED_MAX + 1)
        self._bounded = Bounded("offsets")

    @property
    def thread(self) -> ThreadPoolExecutor:
        """Where `open`, `commit`, `idle` and `close` must run."""
        return self._thread

    def open(self) -> None:
        """Build the producer and fence whoever used its id before. Raises TransactionLost, KafkaRefused.

        After we were fenced ourselves it waits a moment; when nothing is ours any more by then, it leaves the id to
        whoever took it until there is something to commit: a late start of an old owner would fence the new one.
        """
        self._producer = None
        why = self._why_rebuild
        if why and why[0] is Rebuilt.FENCED and not self._may_build:
            _wait(self._uniform(*FENCED_WAIT_SECONDS) * len(self._fenced_at))
            if not any(lease.is_open for lease in self._held):
                self._may_build = True
                return
        producer = self._start()
        self._producer, self._may_build = producer, False
        if why:
            self._metrics.producer_rebuilds.labels(why[0].value).inc()

    def _start(self) -> Producer:
        """A producer that may begin. What its connections said meanwhile stays a suspicion against it.

        librdkafka keeps silent about a connection that breaks once more in the same way, so the next break, in the
        middle of a commit, might not be heard.
        """
        producer = self._build(self._config)
        self._why_rebuild = None
        with contextlib.suppress(KafkaException):
            # Without any metadata yet, librdkafka puts the search for its coordinator off by half a second (measured).
            producer.list_topics(timeout=STEP_SECONDS)
        try:
            self._step(lambda: producer.init_transactions(STEP_SECONDS))
        except KafkaException as failure:
            error = failure.args[0]
            sentence = f"Kafka does not let us begin transactions as {self._name}: {in_words(error)}"
            raise (KafkaRefused if classify(error) is Remedy.REFUSED else TransactionLost)(sentence) from failure
        producer.poll(0)
        return producer

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
        self._bounded.close()

    def commit(self, parts: list[Part]) -> set[int]:
        """Step 8: commit the parts whose leases are open; returns their indices. See `records.Log.commit`."""
        left = _open_of(parts, set(range(len(parts))))
        for attempt in range(ATTEMPTS_MAX):
            if not left:
                return set()
            # Before the leases are held: a revocation must not wait for a producer that is being built.
            producer = self._trusted()
            if attempt > 1:
                producer.poll(_rest_seconds(attempt - 1))
            # Taken before the leases are looked at: should one close afterwards, this generation is fenced.
            metadata = self._group_metadata()
            left = _open_of(parts, left)
            if metadata is None:
                raise TransactionLost("there is no group membership to commit with")
            if not left or not names_a_member(metadata):
                continue
            self._held = set().union(*(parts[i].leases for i in left))
            with self._leases.hold(self._held) as is_open:
                if is_open and self._attempt(producer, [parts[i] for i in sorted(left)], metadata):
                    return left
        if not left:
            return set()
        sentence = f"{ATTEMPTS_MAX} attempts at one transaction were aborted, or had no group membership"
        if self._undelivered:
            error, topic = self._undelivered
            sentence += f"; the last because of {topic}: {in_words(error)}"
        raise TransactionLost(sentence)

    def _trusted(self) -> Producer:
        """A producer of which nothing can be under way any more. The rule's rebuilds are tried again: nothing is lost.

        Raises TransactionLost.
        """
        for attempt in range(REBUILDS_MAX):
            self.idle()
            producer, why = self._producer, self._why_rebuild
            if producer and not (why and self._heeds_suspicion):
                return producer
            if producer is None and not self._may_build:
                break
            if attempt:
                _wait(_rest_seconds(attempt))
            if why:
                log.info("building the producer anew, so that nothing late can tear a transaction", why=why[1])
            self._rebuild(why)
        raise TransactionLost("there is no producer to commit with")

    def _rebuild(self, why: tuple[Rebuilt, str] | None) -> None:
        try:
            self.open()
        except TransactionLost as again:
            log.warning("the producer cannot be built yet", why=str(again))
            self._may_build, self._why_rebuild = True, why

    def _attempt(self, producer: Producer, parts: list[Part], metadata: object) -> bool:
        """One transaction. True: committed. False: aborted, and the same parts may be sent again."""
        offsets = _offsets(parts)
        began = self._began = self._clock.monotonic()
        self._undelivered = self._refused_topic = None
        try:
            # 8a. begin
            producer.begin_transaction()
            # 8b. records, states and checkpoints
            for part in parts:
                _produce(producer, part)
            # 8c. offsets, fenced by the group's generation
            self._send_offsets(producer, offsets, metadata)
            # 8d. commit: -1, because a time-out of our own would leave the outcome open (pitfall P19)
            self._end(producer, lambda: producer.commit_transaction(-1))
        except KafkaException as failure:
            return self._recover(producer, failure)
        except TimeoutError:
            return self._leave_behind()
        except BufferError as full:
            raise self._lost(Rebuilt.LOST, f"librdkafka's queue is full: {full}") from full
        self._metrics.transactions.labels("committed").inc()
        self._metrics.transaction_seconds.observe(self._clock.monotonic() - began)
        return True

    def _send_offsets(self, producer: Producer, offsets: list[TopicPartition], metadata: object) -> None:
        """Raises TimeoutError when librdkafka does not give the thread back."""

        def send() -> None:
            producer.send_offsets_to_transaction(offsets, metadata, OFFSETS_SECONDS)

        self._watched(lambda: self._bounded.run(send, OFFSETS_SECONDS + OFFSETS_GRACE_SECONDS))

    def _leave_behind(self) -> bool:
        """Nobody has asked for its end yet: a new producer aborts it, and it is sent again.

        librdkafka waits for a broker that left the cluster, and nothing that we may call tells it not to.
        """
        self._producer, self._may_build = None, True
        self._suspect(Rebuilt.STUCK_OFFSETS, "librdkafka does not come back from sending the offsets")
        self._metrics.transactions.labels("aborted").inc()
        return False

    def _end(self, producer: Producer, call: Callable[[], object]) -> None:
        """Commit or abort; what took long may have been sent twice, and the first sending may still arrive."""
        began = self._clock.monotonic()
        try:
            self._watched(call)
        except KafkaException as failure:
            self._suspect(Rebuilt.FAILED_END, failure.args[0].str())
            raise
        finally:
            took = self._clock.monotonic() - began
            if took > self._slow_seconds:
                self._suspect(Rebuilt.SLOW_END, f"the end of a transaction took {took:.1f} s")
            producer.poll(0)

    def _suspect(self, reason: Rebuilt, why: str) -> None:
        """The first reason counts; what follows from it may be many lines."""
        self._why_rebuild = self._why_rebuild or (reason, why)

    def _not_delivered(self, error: KafkaError | None, message: Message) -> None:
        """librdkafka tells here alone why a record failed, and on which topic; its abort takes others along."""
        if error is not None and error.code() > 0 and self._undelivered is None:
            self._undelivered = (error, f"{message.topic()}")

    def _overhear(self, line: str) -> None:
        self._refused_topic = self._refused_topic or refused_topic(line)
        reason = broken_connection(line)
        if reason:
            self._suspect(reason, line[:300])

    def _step(self, call: Callable[[], object], heard: Callable[[str], None] = lambda _: None) -> None:
        """One step, called again with the same arguments while its error says that this may help; `heard` is told."""
        for attempt in range(ATTEMPTS_MAX):
            try:
                call()
            except KafkaException as failure:
                if classify(failure.args[0]) is not Remedy.RETRY:
                    raise
                heard(failure.args[0].str())
                if attempt + 1 == ATTEMPTS_MAX:
                    raise
            else:
                return

    def _watched(self, call: Callable[[], object]) -> None:
        """A step of a transaction: where another try was called for, the one before may still be under way."""
        self._step(call, lambda error: self._suspect(Rebuilt.RETRIABLE_ERROR, error))

    def _recover(self, producer: Producer, failure: KafkaException) -> bool:
        """After a failed transaction: abort it so that it can be sent again, or give the producer up."""
        error = failure.args[0]
        remedy = classify(error)
        if self._undelivered and classify(self._undelivered[0]) is Remedy.REFUSED:
            reason, topic = self._undelivered
            raise KafkaRefused(f"Kafka refuses our records for {topic}: {in_words(reason)}") from failure
        if remedy is Remedy.REFUSED:
            producer.poll(0)
            what = f"our records for {self._refused_topic}" if self._refused_topic else f"us {self._name}"
            raise KafkaRefused(f"Kafka refuses {what}: {in_words(error)}") from failure
        if remedy is Remedy.ABORT:
            if error.code() < 0:
                # No broker has answered: what was asked may still be under way.
                self._suspect(Rebuilt.FAILED_END, error.str())
            try:
                self._end(producer, lambda: producer.abort_transaction(-1))
            except KafkaException as worse:
                failure, error = worse, worse.args[0]
            else:
                self._metrics.transactions.labels("aborted").inc()
                return False
        if is_fenced(error):
            raise self._fenced(error) from failure
        tries = f" after {ATTEMPTS_MAX} tries" if classify(error) is Remedy.RETRY else ""
        raise self._lost(Rebuilt.LOST, f"the producer is finished{tries}: {in_words(error)}") from failure

    def _lost(self, reason: Rebuilt, sentence: str) -> TransactionLost:
        """Let go of the producer; the outcome of its transaction is not known here."""
        self._metrics.transactions.labels("lost").inc()
        self._producer, self._may_build = None, False
        self._why_rebuild = (reason, sentence)
        return TransactionLost(sentence)

    def _fenced(self, error: KafkaError) -> TransactionLost | KafkaRefused:
        """Somebody took our id: taken back `FENCED_MAX` times, then there must be two of us (pitfall P18).

        Brokers fence us as well when they end a transaction at its time-out, as after a machine that stood still: a
        transaction that lasted so long is no sign of a rival.
        """
        now = self._clock.monotonic()
        if now - self._began < self._timeout_seconds:
            self._fenced_at.append(now)
        while self._fenced_at and now - self._fenced_at[0] > FENCED_SECONDS:
            self._fenced_at.popleft()
        lost = self._lost(Rebuilt.FENCED, f"the producer is finished: {in_words(error)}")
        if len(self._fenced_at) <= FENCED_MAX:
            return lost
        return KafkaRefused(
            f"another process took {self._name} from us {len(self._fenced_at)} times within {FENCED_SECONDS:.0f} s; is "
            f"there one with the same AXLE_PROCESSOR_KAFKA__INSTANCE_ID? Give each its own, or none ({error.str()})"
        )

    @property
    def _name(self) -> str:
        return f"the transactional id {self._config['transactional.id']}"


def _open_of(parts: list[Part], indices: set[int]) -> set[int]:
    return {i for i in indices if all(lease.is_open for lease in parts[i].leases)}


def _rest_seconds(attempt: int) -> float:
    return float(min(REST_SECONDS * 2**attempt, REST_SECONDS_MAX))


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _produce(producer: Producer, part: Part) -> None:
    for record in part.produces:
        if record.partition is None:
            producer.produce(record.topic, record.value, record.key, headers=record.headers)
        else:
            producer.produce(record.topic, record.value, record.key, record.partition, headers=record.headers)


def _offsets(parts: list[Part]) -> list[TopicPartition]:
    merged = {
        source: TopicPartition(*source, offset, HOPPED if part.task is None else "")
        for part in parts
        for source, offset in part.offsets.items()
    }
    if not merged:
        raise ValueError("a transaction without offsets would not be fenced")
    return list(merged.values())
