"""A cluster of three Kafka nodes on loopback, any of which can be killed and come back.

Here lives what a cluster adds to one node: who leads what, and when all of it is whole again. How a node comes up is
`kafka_node.py`'s.

The idea: every node is broker and controller, and every topic has three replicas of which two must have a record, so
that any one node may be away. Roles are read from outside, from metadata and from what the nodes keep on disk, so a
test can choose its victim by what the victim does just then.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined] # its stubs omit it

from processor.demo.guarded import GuardedProcess
from processor.demo.kafka_node import (
    HOST,
    TEST_BENCH,
    Node,
    PortTaken,
    free_port,
    launch,
    wait_listening,
    wait_ready,
)
from processor.demo.kafka_parts import BrokerFailed, Parts, gather, new_id, quiet

__all__ = ["CLUSTER_BENCH", "NODES", "EmbeddedCluster"]

NODES = (1, 2, 3)
GROUPS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
_PORT_TRIES = 3
_METADATA_SECONDS = 5.0
_STEADY_SECONDS = 0.2
_TOLD_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.05
_NAMED_MAX = 5

CLUSTER_BENCH: Mapping[str, str] = MappingProxyType(
    {
        **TEST_BENCH,
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "share.coordinator.state.topic.replication.factor": "3",
        "share.coordinator.state.topic.min.isr": "2",
        # A stopped fetch is seen this soon, and a follower that is back is let in again this soon.
        "replica.lag.time.max.ms": "5000",
        "replica.fetch.wait.max.ms": "100",
    }
)
"""`TEST_BENCH` with three replicas everywhere, two of which must be in sync."""


class EmbeddedCluster:
    """Three nodes of a real Apache Kafka (ids 1 to 3), on loopback, as child processes that cannot outlive the caller.

    `settings` are added to `CLUSTER_BENCH` or replace its entries. `heap_mb` is each node's. `say` hears of the
    one-time download. Not for use from several threads at once.
    """

    kind: Literal["kafka", "mock"] = "kafka"

    def __init__(
        self,
        settings: Mapping[str, str] = MappingProxyType({}),
        heap_mb: int = 256,
        say: Callable[[str], None] = quiet,
    ) -> None:
        self._settings = {**CLUSTER_BENCH, **settings}
        self._heap_mb = heap_mb
        self._say = say
        self._parts: Parts | None = None
        self._folder: Path | None = None
        self._nodes: dict[int, Node] = {}
        self._processes: dict[int, GuardedProcess] = {}

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of all three, with commas between; the same through every `kill` and `start`.

        Raises BrokerFailed before the first start.
        """
        if not self._nodes:
            raise BrokerFailed("The cluster has no addresses yet: start it first.")
        return ",".join(f"{HOST}:{node.port}" for node in self._nodes.values())

    @property
    def running(self) -> dict[int, int]:
        """The process ids of the nodes that run, by node."""
        return {node: process.pid for node, process in self._processes.items() if process.exit_code is None}

    @property
    def folder(self) -> Path | None:
        """Where the nodes keep their data and logs, while there are any."""
        return self._folder

    def start_all(self) -> None:
        """Start all three and wait, up to 60 s, until a transaction can begin; raises BrokerFailed when none can."""
        if self._processes:
            return
        self._parts = gather(self._say)
        for tries_left in reversed(range(_PORT_TRIES)):
            try:
                self._launch_on_free_ports(self._parts)
            except PortTaken:
                self.stop()
                if tries_left == 0:
                    raise
            except OSError as error:
                self.stop()
                raise BrokerFailed(f"The cluster cannot be started: {error}.") from error
            except BaseException:
                self.stop()
                raise
            else:
                return

    def kill(self, node: int) -> None:
        """End one node at once, as a power cut would; its addresses and data are kept. Harmless when it is away."""
        process = self._processes.pop(node, None)
        if process is not None:
            process.kill()

    def start(self, node: int) -> None:
        """Start one node again, with the data and at the address it had; returns when it lets clients in.

        Its replicas may be behind by then: see `wait_healthy`. Raises BrokerFailed when it does not come up in 60 s,
        which it does not while both others are away.
        """
        if node in self.running:
            return
        self.kill(node)
        process = self._launch(node)
        wait_listening(self._nodes[node], process)

    def restart(self, node: int) -> None:
        """`kill` it if it runs, then `start` it."""
        self.kill(node)
        self.start(node)

    def wait_healthy(self, timeout_seconds: float = 60.0) -> float:
        """Wait until each partition, Kafka's own among them, has a leader and all three replicas in sync.

        Returns the seconds it took. Raises BrokerFailed that names what is not whole when it takes too long.
        """
        return self._wait_for_none(self._ailing, timeout_seconds, "is not whole")

    def wait_led(self, timeout_seconds: float = 60.0) -> float:
        """Wait until each partition is led by a node that runs; the rest is as with `wait_healthy`."""
        return self._wait_for_none(self._leaderless, timeout_seconds, "has partitions without a leader")

    def leader_of(self, topic: str, partition: int) -> int:
        """The running node that leads a partition, by the first answer that names one.

        A topic that was just made, or whose leader was just killed, is not known to every node at once: this asks
        for up to 10 s. Raises BrokerFailed when none leads it by then.
        """
        return _patiently(lambda: self._led_by(topic, partition))

    def group_coordinator(self, group_id: str) -> int:
        """The node that coordinates a consumer group. Raises BrokerFailed when none does within 10 s."""
        return _patiently(lambda: self._coordinator(GROUPS_TOPIC, group_id))

    def transaction_coordinator(self, transactional_id: str) -> int:
        """The node that coordinates the transactions of an id. Raises BrokerFailed when none does within 10 s."""
        return _patiently(lambda: self._coordinator(TRANSACTIONS_TOPIC, transactional_id))

    def controller(self) -> int:
        """The controller in charge, by the newest election that the nodes have on disk.

        Raises BrokerFailed when an election is open for 10 s.
        """
        return _patiently(self._elected)

    def stop(self) -> None:
        """End all nodes and remove what they left; harmless when none runs."""
        for node in NODES:
            self.kill(node)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._nodes = {}

    def __enter__(self) -> Self:
        self.start_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch_on_free_ports(self, parts: Parts) -> None:
        folder = self._folder = Path(tempfile.mkdtemp(prefix="axle-processor-cluster-"))
        ports = _free_ports(2 * len(NODES))
        controllers = dict(zip(NODES, ports[len(NODES) :], strict=True))
        cluster_id = new_id()
        for number, port in zip(NODES, ports, strict=False):
            own = folder / f"node-{number}"
            own.mkdir()
            peers = {peer: at for peer, at in controllers.items() if peer != number}
            self._nodes[number] = Node(own, port, controllers[number], number, peers, cluster_id)
        for number in NODES:
            self._launch(number, parts)
        wait_ready([(self._nodes[number], self._processes[number]) for number in NODES])
        self.wait_healthy()

    def _launch(self, number: int, parts: Parts | None = None) -> GuardedProcess:
        parts = parts or self._parts
        if parts is None or number not in self._nodes:
            raise BrokerFailed(f"There is no node {number}: start the cluster first; its nodes are {NODES}.")
        process = launch(parts, self._nodes[number], self._settings, self._heap_mb, remove=self._folder)
        self._processes[number] = process
        return process

    def _metadata(self) -> ClusterMetadata:
        # A client of its own for each question: one that is kept would first have to find out which node went away.
        servers = ",".join(f"{HOST}:{self._nodes[number].port}" for number in self.running)
        try:
            return AdminClient({"bootstrap.servers": servers, "log_level": 0}).list_topics(timeout=_METADATA_SECONDS)
        except KafkaException as error:
            raise BrokerFailed(f"No node tells who leads what: {error.args[0].str()}.") from error

    def _wait_for_none(self, find: Callable[[], list[str]], timeout_seconds: float, what: str) -> float:
        """Wait until `find` finds nothing, two times in a row: one node may know less than another."""
        began = time.monotonic()
        none_since: float | None = None
        while True:
            found, now = find(), time.monotonic()
            if found:
                none_since = None
            elif none_since is None:
                none_since = now
            elif now - none_since >= _STEADY_SECONDS:
                return none_since - began
            if now - began > timeout_seconds:
                more = " and more" if len(found) > _NAMED_MAX else ""
                raise BrokerFailed(
                    f"After {timeout_seconds:g} s the cluster {what}: {', '.join(found[:_NAMED_MAX])}{more}. "
                    f"See the nodes' logs in {self._folder}."
                )
            time.sleep(_ASK_AGAIN_SECONDS)

    def _ailing(self) -> list[str]:
        """What is not whole, in words."""
        away = [f"node {number} is away" for number in NODES if number not in self.running]
        try:
            metadata = self._metadata()
        except BrokerFailed as failed:
            return [*away, str(failed)]
        away += [f"node {number} is not let in" for number in NODES if number not in metadata.brokers]
        return away + [
            f"{name} [{number}]"
            for name, topic in metadata.topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader < 0 or len(partition.isrs) < len(partition.replicas)
        ]

    def _leaderless(self) -> list[str]:
        """The partitions that nobody leads just now."""
        try:
            metadata = self._metadata()
        except BrokerFailed as failed:
            return [str(failed)]
        return [
            f"{name} [{number}]"
            for name, topic in metadata.topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader not in self.running
        ]

    def _coordinator(self, topic: str, key: str) -> int:
        """Whoever leads the partition of the coordinators' topic that the key falls on (Kafka's `Utils.abs`)."""
        known = self._metadata().topics.get(topic)
        if known is None:
            raise BrokerFailed(f"Nobody has asked for a coordinator yet: {topic} is not there.")
        return self._led_by(topic, (_java_hash(key) & 0x7FFFFFFF) % len(known.partitions))

    def _led_by(self, topic: str, partition: int) -> int:
        known = self._metadata().topics.get(topic)
        leader = known.partitions[partition].leader if known and partition in known.partitions else -1
        if leader not in self.running:
            raise BrokerFailed(f"No running node leads {topic} [{partition}]: wait until the cluster is whole.")
        return int(leader)

    def _elected(self) -> int:
        epoch, leader = max((self._election(node) for node in self._nodes.values()), default=(-1, -1))
        if leader < 0:
            raise BrokerFailed(f"The controllers are in election (epoch {epoch}): ask again a moment later.")
        return leader

    @staticmethod
    def _election(node: Node) -> tuple[int, int]:
        """The newest election this node knows of: its epoch and the node that won it, -1 while that is open."""
        try:
            told = json.loads((node.data / "__cluster_metadata-0" / "quorum-state").read_text())
        except (OSError, ValueError):  # it is replaced just now
            return -1, -1
        return int(told["leaderEpoch"]), int(told["leaderId"])


def _patiently(ask: Callable[[], int]) -> int:
    """The first answer, asking again for as long as `_TOLD_SECONDS`; then what `ask` raised last."""
    deadline = time.monotonic() + _TOLD_SECONDS
    while True:
        try:
            return ask()
        except BrokerFailed:
            if time.monotonic() > deadline:
                raise
        time.sleep(_ASK_AGAIN_SECONDS)


def _free_ports(count: int) -> list[int]:
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def _java_hash(text: str) -> int:
    """`String.hashCode` of Java, as 32 bits without a sign, for text of the basic plane."""
    value = 0
    for letter in text:
        value = (31 * value + ord(letter)) & 0xFFFFFFFF
    return value
