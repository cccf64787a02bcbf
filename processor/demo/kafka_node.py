"""One node of Apache Kafka as a child process: its settings, its start, and how it is seen to be ready.

Here lives what happens between a folder and a broker in which a transaction can begin. Which broker a caller wants,
and for how long, is `kafka.py`'s; what must be on disk first is `kafka_parts.py`'s.

The idea: each kind of readiness needs the one before it (the port, then metadata, then a transactional producer), so
they are waited for in that order, and a process that ends meanwhile is reported with its last words.
"""

import random
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor.demo.guarded import GuardedProcess
from processor.demo.kafka_parts import (
    BrokerFailed,
    Parts,
    aside,
    cluster_id_in,
    copy_template,
    kept_safe,
    write_properties,
)

HOST = "127.0.0.1"
"""Where a broker of one's own listens: nobody outside this machine can reach it."""

_READY_SECONDS = 60.0
_ARCHIVE_SECONDS = 90.0
_LAST_WORDS_BYTES = 1500
# Below the range that systems draw client ports from: a client that keeps knocking at a broker that is down must not
# be given the broker's own port, or it would end up talking to itself and the broker could not come back.
_FREE_PORTS = range(20000, 32000)

TEST_BENCH: Mapping[str, str] = MappingProxyType(
    {
        "auto.create.topics.enable": "false",
        "broker.heartbeat.interval.ms": "400",
        "broker.session.timeout.ms": "2000",
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.heartbeat.interval.ms": "1000",
        "group.consumer.assignment.interval.ms": "0",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "log.index.size.max.bytes": "1048576",
        "num.io.threads": "4",
        "num.network.threads": "2",
    }
)
"""One node, small and quick to fail over. KIP-848 sessions last 6 s here (45 s on a stock broker).
A broker that was killed is let back in after its own session of 2 s (9 s on a stock broker)."""


class PortTaken(BrokerFailed):
    """Somebody else listens on the port, or took it while the broker was starting."""


@dataclass(frozen=True, slots=True)
class Node:
    """Where one node lives: its folder, its two ports, and the other controllers of its cluster, if there are any.

    `peers` are the controllers' ports by node id, this node's own left out. A folder without data is made fresh, in
    the cluster `cluster_id` (None: one of its own).
    """

    folder: Path
    port: int
    controller_port: int
    node_id: int = 1
    peers: Mapping[int, int] = field(default_factory=dict)
    cluster_id: str | None = None

    @property
    def data(self) -> Path:
        """Its data, Kafka's own metadata among them."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder / "broker.log"

    def settings(self) -> dict[str, str]:
        """What makes it this node."""
        voters = {**self.peers, self.node_id: self.controller_port}
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(f"{node}@{HOST}:{port}" for node, port in sorted(voters.items())),
            "log.dirs": str(self.data),
        }


def practise(parts: Parts, say: Callable[[str], None]) -> None:
    """Run a broker once for the archive that makes later starts quick, unless it is there; raises BrokerFailed."""
    if parts.archive.exists():
        return
    with kept_safe(parts.home):
        if parts.archive.exists():
            return
        say("Preparing quick starts of the broker, once: about a quarter of a minute.")
        with aside(parts.home) as folder:
            made = folder / "archive"
            process = boot(parts, folder, free_port(), TEST_BENCH, 512, remove=True, archive=made)
            # Half an archive can crash a Java that trusts it, so one that was cut off is not kept.
            if process.terminate(_ARCHIVE_SECONDS) and made.exists():
                made.rename(parts.archive)


def boot(
    parts: Parts,
    folder: Path,
    port: int,
    settings: Mapping[str, str],
    heap_mb: int,
    *,
    remove: bool,
    archive: Path | None = None,
) -> GuardedProcess:
    """A broker in `folder` that is ready. Raises PortTaken or another BrokerFailed, and then leaves no process."""
    node = Node(folder, port, free_port())
    process = launch(parts, node, settings, heap_mb, remove=folder if remove else None, archive=archive)
    try:
        wait_ready([(node, process)])
    except BaseException:
        process.kill()
        raise
    return process


def launch(
    parts: Parts,
    node: Node,
    settings: Mapping[str, str],
    heap_mb: int,
    *,
    remove: Path | None,
    archive: Path | None = None,
) -> GuardedProcess:
    """A node that is starting; `remove` is deleted when the caller dies. Raises PortTaken."""
    if not _is_free(node.port):
        raise PortTaken(
            f"Port {node.port} on {HOST} is taken by another program: end that program or choose another port."
        )
    if not node.data.exists():
        copy_template(parts, node.data, node.node_id, node.cluster_id)
    properties = write_properties(node.folder / "broker.properties", {**node.settings(), **settings})
    node.log.write_bytes(b"")
    command = parts.broker_command(properties, heap_mb, practise=archive)
    return GuardedProcess(command, log=node.log, remove=remove)


def wait_ready(nodes: Sequence[tuple[Node, GuardedProcess]]) -> None:
    """Wait for the ports, then for metadata, then for a transactional producer: each needs the one before.

    Raises BrokerFailed with the last words of a node that ended, or of the first when nothing came in 60 s.
    """
    deadline = time.monotonic() + _READY_SECONDS
    for node, process in nodes:
        wait_listening(node, process, deadline)
    servers = ",".join(f"{HOST}:{node.port}" for node, _ in nodes)
    node, process = nodes[0]
    cluster = cluster_id_in(node.data)
    # Another cluster's id would mean that somebody else took the port first; ours is about to end over that.
    _until(lambda: cluster_at(servers, 2.0, len(nodes)) == cluster, process, node.log, deadline)
    # The broker draws its first producer id only when it is asked, and librdkafka asks again after half a second: this
    # producer asks while the other one waits for the transaction log to be made.
    first = Producer({**_client(servers), "enable.idempotence": True})
    producer = Producer({**_client(servers), "transactional.id": "is-the-broker-ready", "retry.backoff.ms": 5})
    _until(lambda: _begins(producer, 2.0), process, node.log, deadline)
    first.flush(0)


def wait_listening(node: Node, process: GuardedProcess, deadline: float | None = None) -> None:
    """Wait until the node lets clients in, which a broker does once its cluster has let it in. Raises as `boot`."""
    until = time.monotonic() + _READY_SECONDS if deadline is None else deadline
    _until(lambda: listens(HOST, node.port), process, node.log, until)


def _until(done: Callable[[], bool], process: GuardedProcess, log: Path, deadline: float) -> None:
    while not done():
        if process.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.02)
            continue
        last_words = log.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        if "Address already in use" in last_words:
            raise PortTaken("The broker's port was taken while it was starting: try again or choose another port.")
        what = f"did not come up within {_READY_SECONDS:.0f} s" if process.exit_code is None else "ended at once"
        raise BrokerFailed(f"The embedded Kafka {what}. Its last words:\n{last_words or '(none)'}")


def _client(servers: str) -> dict[str, str | int | float | bool]:
    return {"bootstrap.servers": servers, "log_level": 0}


def cluster_at(servers: str, timeout_seconds: float, brokers_min: int = 1) -> str | None:
    """The id of the cluster at `servers` (HOST:PORT, ...); None when it does not answer, or has fewer brokers yet."""
    try:
        metadata = AdminClient(_client(servers)).list_topics(timeout=timeout_seconds)
    except KafkaException:
        return None
    return metadata.cluster_id if len(metadata.brokers) >= brokers_min else None


def _begins(producer: Producer, timeout_seconds: float) -> bool:
    try:
        producer.init_transactions(timeout_seconds)
    except KafkaException:
        return False
    return True


def listens(host: str, port: int, timeout_seconds: float = 0.5) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout_seconds).close()
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port on `HOST` that nobody listens on; raises BrokerFailed when a hundred tries find none."""
    for _ in range(100):
        port = random.choice(_FREE_PORTS)
        if _is_free(port):
            return port
    raise BrokerFailed(f"No free port was found on {HOST} in a hundred tries.")
