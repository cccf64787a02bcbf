"""Brokers for the demo and the tests: a real Apache Kafka as a child process, a mock, or one that runs elsewhere.

Here lives who starts a broker, for how long, and what is left of it. How one node comes up is `kafka_node.py`'s, what
it needs on disk `kafka_parts.py`'s, and which topics the product wants is `processor.shell.topics`'.

The idea: all three look the same (`Broker`), and "started" means that a transaction can begin. `EmbeddedKafka` is one
node that is broker and controller, on loopback, with the timings of a test bench: seconds where a cluster has minutes.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Protocol, Self

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.demo.guarded import GuardedProcess
from processor.demo.kafka_node import HOST, TEST_BENCH, PortTaken, boot, cluster_at, free_port, listens, practise
from processor.demo.kafka_parts import BrokerFailed, Parts, gather, quiet
from processor.shell.topics import TopicNames, TopicsFailed, apply, plan, wanted_topics

__all__ = [
    "MOCK_PARTITIONS",
    "TEST_BENCH",
    "Broker",
    "BrokerFailed",
    "EmbeddedKafka",
    "ExternalKafka",
    "MockKafka",
    "make_topics",
    "prepare",
    "start_broker",
]

_REACH_SECONDS = 5.0
_ORDERLY_STOP_SECONDS = 20.0
_PORT_TRIES = 3

MOCK_PARTITIONS = 4
"""librdkafka's mock cluster gives every topic this many partitions, whatever is asked for."""


class Broker(Protocol):
    """A broker that has been started. `kind` says whether its transactions can be trusted (`mock`: they cannot)."""

    kind: Literal["kafka", "mock"]

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT, or several with commas between."""

    def stop(self) -> None:
        """End it and remove what it left; harmless when it is not running."""


class EmbeddedKafka:
    """A real Apache Kafka of one node, on loopback, as a child process that cannot outlive the caller.

    `data_dir`: where data, log and settings stay (default: a temporary folder, gone after `stop`). `port`: 0 picks a
    free one, which `restart` keeps. `settings` are added to `TEST_BENCH` or replace its entries. `say` hears of the
    one-time download and preparation. Not for use from several threads at once.
    """

    kind: Literal["kafka", "mock"] = "kafka"

    def __init__(
        self,
        data_dir: Path | None = None,
        port: int = 0,
        settings: Mapping[str, str] = MappingProxyType({}),
        heap_mb: int = 512,
        say: Callable[[str], None] = quiet,
    ) -> None:
        self._asked_port = port
        self._data_dir = data_dir
        self._settings = {**TEST_BENCH, **settings}
        self._heap_mb = heap_mb
        self._say = say
        self._port = port
        self._folder: Path | None = data_dir
        self._process: GuardedProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT; it stays the same through `kill` and `restart`. Raises BrokerFailed before the first start."""
        if self._port == 0:
            raise BrokerFailed("The broker has no address yet: start it first.")
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id of a broker that runs, else None."""
        process = self._process
        return process.pid if process is not None and process.exit_code is None else None

    @property
    def folder(self) -> Path | None:
        """Where its data, log and settings are, while there are any."""
        return self._folder

    def start(self) -> None:
        """Start it and wait, up to 60 s, until a transaction can begin; raises BrokerFailed when it does not come up.

        After `kill` it comes back at the same address with the data it had.
        """
        if self.pid is not None:
            return
        self.kill()
        parts = gather(self._say)
        try:
            self._start_on_a_free_port(parts)
        except OSError as error:
            self.stop()
            raise BrokerFailed(f"The embedded Kafka cannot be started in {self._folder}: {error}.") from error
        except BaseException:
            self.stop()
            raise

    def kill(self) -> None:
        """End it at once, as a power cut would; address and data are kept for `restart`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """`kill` it if it runs, then start it again at the same address with the data it has."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it and remove a temporary folder; a `data_dir` is left in good order. Harmless when it does not run."""
        if self._process is not None and self._data_dir is not None:
            self._process.terminate(_ORDERLY_STOP_SECONDS)
            self._process = None
        self.kill()
        if self._data_dir is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._port = self._asked_port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_on_a_free_port(self, parts: Parts) -> None:
        folder = self._folder = self._folder or Path(tempfile.mkdtemp(prefix="axle-processor-kafka-"))
        folder.mkdir(parents=True, exist_ok=True)
        for tries_left in reversed(range(_PORT_TRIES)):
            port = self._port or free_port()
            try:
                self._process = boot(parts, folder, port, self._settings, self._heap_mb, remove=self._data_dir is None)
            except PortTaken:
                if self._port != 0 or tries_left == 0:
                    raise
            else:
                self._port = port
                return


class MockKafka:
    """librdkafka's mock cluster, inside this process: no Java, no download, and not faithful about transactions.

    Its topics appear when they are first asked for, always with `MOCK_PARTITIONS` partitions; they cannot be created or
    configured, aborted records are visible, and offsets sent in a transaction do not come back. For a look only.
    """

    kind: Literal["kafka", "mock"] = "mock"

    def __init__(self) -> None:
        self._cluster: Producer | None = None
        self._servers = ""

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT. Raises BrokerFailed before the start."""
        if not self._servers:
            raise BrokerFailed("The mock cluster has no address yet: start it first.")
        return self._servers

    def start(self) -> None:
        """Start it; raises BrokerFailed when it does not answer within 5 s."""
        self._cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
        try:
            brokers = self._cluster.list_topics(timeout=_REACH_SECONDS).brokers.values()
        except KafkaException as error:
            raise BrokerFailed(f"librdkafka's mock cluster did not start: {error}.") from error
        self._servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def make_topics(self, names: Iterable[str]) -> None:
        """Bring topics into being; raises BrokerFailed when one does not appear."""
        client = Producer({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        for name in names:
            try:
                client.list_topics(name, timeout=_REACH_SECONDS)
            except KafkaException as error:
                raise BrokerFailed(f"The mock cluster did not make the topic {name}: {error}.") from error

    def stop(self) -> None:
        """End it; harmless when it does not run."""
        self._cluster = None
        self._servers = ""


class ExternalKafka:
    """A broker that somebody else runs, at `bootstrap_servers`."""

    kind: Literal["kafka", "mock"] = "kafka"

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def start(self) -> None:
        """See that it answers; raises BrokerFailed when it does not within 5 s an address."""
        listening = any(
            listens(host.strip("[]"), int(port), _REACH_SECONDS)
            for host, _, port in (address.rpartition(":") for address in self.bootstrap_servers.split(","))
        )
        if not listening or cluster_at(self.bootstrap_servers, _REACH_SECONDS) is None:
            raise BrokerFailed(
                f"No broker answers at {self.bootstrap_servers}: check the address and the network between."
            )

    def stop(self) -> None:
        """Nothing: it is not ours to end."""


def make_topics(broker: Broker, names: TopicNames, partitions: int) -> int:
    """Create the product's topics where they are missing; returns the partition count they have.

    That is `partitions`, except on a mock cluster, which has its own. Raises BrokerFailed when they cannot be made, or
    are there with another count.
    """
    if isinstance(broker, MockKafka):
        broker.make_topics(astuple(names))
        return MOCK_PARTITIONS
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    try:
        left = apply(admin, plan(admin, wanted_topics(names, partitions)))
    except TopicsFailed as failed:
        raise BrokerFailed(str(failed)) from failed
    for change in left:
        if change.kind == "partitions":
            raise BrokerFailed(str(change))
    return partitions


def prepare(say: Callable[[str], None] = quiet) -> None:
    """Make every later start of an embedded Kafka a quick one: about 2 s instead of 3.5.

    Fetches what is missing, then makes one practice run, which takes a quarter of a minute and 65 MB of the user's
    cache: worth it where brokers are started often, such as in tests. Raises BrokerFailed as `start` does.
    """
    practise(gather(say), say)


def start_broker(choice: str, say: Callable[[str], None] = quiet, *, fallback: bool = True) -> Broker:
    """Start the broker that `choice` names: `embedded`, `mock` or HOST:PORT (several with commas between).

    With `fallback`, an embedded Kafka that cannot run here is replaced by the mock cluster, and `say` hears why.
    Raises BrokerFailed with a sentence for a person.
    """
    if choice == "embedded":
        embedded = EmbeddedKafka(say=say)
        try:
            embedded.start()
        except BrokerFailed as failed:
            if not fallback:
                raise
            say(f"{failed} Going on with librdkafka's mock cluster: good for a look, without the guarantees.")
            return start_broker("mock")
        return embedded
    if choice == "mock":
        mock = MockKafka()
        mock.start()
        return mock
    if not re.fullmatch(r"[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*", choice):
        raise BrokerFailed(f"{choice!r} names no broker: give embedded, mock or HOST:PORT.")
    external = ExternalKafka(choice)
    external.start()
    return external
