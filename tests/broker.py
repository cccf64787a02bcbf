"""What tests need around a broker: which one to use, one in a container, and plain ways to write and to read.

Here lives the decision behind `TEST_KAFKA` and an independent writer and reader. The fixtures are in `conftest.py`;
nothing here imports the product's own consumer or transactions, or it would agree with their mistakes.

The idea: a test run names its broker and never skips. `auto` takes a container when one can be had without a download,
else the embedded Kafka; a broker that was chosen and does not start fails the tests that asked for it.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import astuple, dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Literal

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from processor.demo.kafka import Broker, BrokerFailed, prepare, start_broker
from processor.shell.topics import TopicNames

DEFAULT_IMAGE = "confluentinc/cp-kafka:7.9.0"

Part = bytes | str | None
Headers = Sequence[tuple[str, str | bytes | None]] | None
Record = tuple[Part, Part, Headers]


@dataclass(frozen=True, slots=True)
class Choice:
    """The broker of a test run: its kind, what names it (an image or HOST:PORT), and why it was chosen."""

    kind: Literal["container", "embedded", "mock", "external"]
    target: str
    why: str

    def __str__(self) -> str:
        """One phrase for the header of the run."""
        return f"{self.kind}{' ' + self.target if self.target else ''} ({self.why})"


def choose(asked: str, image: str, docker_problem: Callable[[str], str | None]) -> Choice:
    """What `TEST_KAFKA` asks for; `docker_problem(image)` says in words why a container is not to be had, else None.

    It is asked only for `auto`. Raises ValueError for a word that names no broker.
    """
    asked = asked.strip() or "auto"
    if asked == "auto":
        problem = docker_problem(image)
        if problem is None:
            return Choice("container", image, "TEST_KAFKA=auto, and Docker has the image")
        return Choice("embedded", "", f"TEST_KAFKA=auto, and {problem}")
    why = f"TEST_KAFKA={asked}"
    if asked == "container":
        return Choice("container", image, why)
    if asked == "embedded":
        return Choice("embedded", "", why)
    if asked == "mock":
        return Choice("mock", "", why)
    if re.fullmatch(r"\S+:\d+", asked):
        return Choice("external", asked, why)
    raise ValueError(f"{why} names no broker: give auto, container, embedded, mock or HOST:PORT.")


def docker_problem(image: str) -> str | None:
    """Why a container of `image` cannot be started here without a download, in words; None when it can."""
    status = _ask_docker(f"/images/{image}/json")
    if status == HTTPStatus.NOT_FOUND:
        return f"the image {image} is not on this machine"
    return None if status == HTTPStatus.OK else "Docker does not run here"


class _DockerConnection(HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://"))


def _ask_docker(path: str) -> int:
    """The HTTP status that Docker's local socket answers with, 0 when it does not."""
    with closing(_DockerConnection("localhost")) as docker:
        try:
            docker.request("GET", path)
            return docker.getresponse().status
        except (OSError, HTTPException):
            return 0


class ContainerKafka:
    """A single-node Kafka in a container of the Confluent image `image`, through testcontainers."""

    kind: Literal["kafka", "mock"] = "kafka"

    def __init__(self, image: str) -> None:
        self._image = image
        self._running = ExitStack()
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Start it, fetching the image if need be; raises BrokerFailed when that or the broker in it fails."""
        if _ask_docker("/_ping") != HTTPStatus.OK:
            raise BrokerFailed(
                "Docker does not answer, and TEST_KAFKA=container needs it: start Docker, name its socket in "
                "DOCKER_HOST, or take TEST_KAFKA=embedded, which needs none."
            )
        from testcontainers.community.kafka import KafkaContainer

        container = KafkaContainer(self._image).with_kraft()
        for name, value in (
            ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
            ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
            ("TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS", "1000"),
            ("AUTO_CREATE_TOPICS_ENABLE", "false"),
            ("GROUP_MIN_SESSION_TIMEOUT_MS", "1000"),
        ):
            container.with_env(f"KAFKA_{name}", value)
        self._running.callback(container.stop)
        try:
            container.start(timeout=60)
        except Exception as error:  # Docker, the network and the wait each raise errors of their own
            self.stop()
            raise BrokerFailed(f"The Kafka container {self._image} did not start: {error}") from error
        self.bootstrap_servers = str(container.get_bootstrap_server())

    def stop(self) -> None:
        """End and remove the container; harmless when there is none."""
        self._running.close()


def start_chosen(choice: Choice) -> Broker:
    """Start the broker of a test run, never another one in its place; raises BrokerFailed with a sentence."""
    if choice.kind == "container":
        container = ContainerKafka(choice.target)
        container.start()
        return container
    if choice.kind == "embedded":
        prepare()
    return start_broker(choice.target or choice.kind, fallback=False)


def prefixed(names: TopicNames, prefix: str) -> TopicNames:
    """The same topics, each name behind `prefix`."""
    return TopicNames(*(prefix + name for name in astuple(names)))


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[Record],
    partitioner: str = "murmur2_random",
    timeout_seconds: float = 10.0,
) -> None:
    """Write `records` (key, value, headers) in order, without a transaction, and wait until all are acknowledged.

    Not idempotent, which would cost librdkafka half a second a call: over a broken connection a record may come twice.
    """
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": partitioner, "acks": "all", "linger.ms": 1, "max.in.flight": 1}
    )
    for key, value, headers in records:
        producer.produce(topic, key=key, value=value, headers=list(headers or ()), on_delivery=delivered)
        producer.poll(0)
    unsent = producer.flush(timeout_seconds)
    assert not unsent, f"{unsent} records for {topic} were not acknowledged within {timeout_seconds} s"
    assert not failed, f"{len(failed)} records for {topic} were refused, the first: {failed[0]}"


def read_committed(
    bootstrap: str,
    topics: str | Sequence[str],
    until: int | Callable[[list[Message]], bool],
    timeout_seconds: float = 10.0,
) -> list[Message]:
    """All committed records of `topics` from their beginning, until there are so many, or until `until` says enough.

    Reads every partition without joining a group. What comes after the last record that `until` needed may be missing.
    Fails when that is not reached in time, and says what was read.
    """
    enough = until if callable(until) else lambda read: len(read) >= until
    read: list[Message] = []
    with closing(_reader(bootstrap, [topics] if isinstance(topics, str) else list(topics))) as consumer:
        deadline = time.monotonic() + timeout_seconds
        while not enough(read):
            assert time.monotonic() < deadline, (
                f"after {timeout_seconds} s only {len(read)} records of {topics}: {list(_in_words(read[-5:]))}"
            )
            for message in consumer.consume(500, timeout=0.05):
                assert message.error() is None, message.error()
                read.append(message)
                if enough(read):
                    break
    return read


def _reader(bootstrap: str, topics: list[str]) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "an-independent-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
    )
    partitions = [
        TopicPartition(topic, partition, 0)
        for topic in topics
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    consumer.assign(partitions)
    return consumer


def _in_words(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        yield f"{message.topic()}-{message.partition()}@{message.offset()} {message.key()!r}: {message.value()!r}"
