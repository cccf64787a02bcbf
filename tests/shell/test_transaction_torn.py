"""The torn transaction (pitfall P1): what arrives late must not end, or move, the transaction after its own."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from processor.demo.kafka import Broker, EmbeddedKafka, ExternalKafka
from processor.demo.kafka_node import free_port
from processor.shell.records import KafkaRefused, Part, Produce
from processor.shell.transaction import Transactions
from tests.shell.changelog import few_topics
from tests.shell.kafka_proxy import END_TXN, INIT_PRODUCER_ID, PRODUCE, TXN_OFFSET_COMMIT, KafkaProxy
from tests.shell.transactions_bench import Bench

STALL_SECONDS = 0.3


@pytest.fixture(scope="module")
def proxy() -> Iterator[KafkaProxy]:
    proxy = KafkaProxy(free_port())
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def proxied(proxy: KafkaProxy, broker: Broker) -> Iterator[str]:
    """A broker of these tests' own, which clients reach through the proxy alone; tells where. Rights can be denied."""
    assert broker.kind == "kafka", "a mock cluster has no transactions to tear"
    where = f"127.0.0.1:{proxy.port}"
    settings = {
        "advertised.listeners": f"PLAINTEXT://{where}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with EmbeddedKafka(port=proxy.broker_port, settings=settings, heap_mb=384):
        yield where


@pytest.fixture
def bench(proxied: str) -> Iterator[Bench]:
    bench = Bench(proxied, few_topics(ExternalKafka(proxied), "reroute", "state", "outcomes"))
    yield bench
    bench.end()


class LateEnd(list[Produce]):
    """The records of a part: when the first is at the broker, the end of the transaction before it arrives too."""

    def __init__(self, part: Part, proxy: KafkaProxy) -> None:
        super().__init__(part.produces)
        part.produces = self
        self._proxy = proxy

    def __iter__(self) -> Iterator[Produce]:
        answered = self._proxy.answered.count(PRODUCE)
        for number, record in enumerate(super().__iter__()):
            if number == 1 and self._proxy.held:
                _wait(lambda: self._proxy.answered.count(PRODUCE) > answered)
                self._proxy.release()
            yield record


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _commits_three(bench: Bench, proxy: KafkaProxy) -> None:
    """The end of the second of three transactions is cut off, and arrives in the middle of the third: all is whole."""
    assert bench.transactions.commit([bench.part(0, b"a1", b"a2", offset=1)]) == {0}
    proxy.hold_next(END_TXN)
    assert bench.transactions.commit([bench.part(0, b"b1", b"b2", offset=2)]) == {0}
    assert proxy.held == 1
    before = len(proxy.kinds)
    part = bench.part(0, b"c1", b"c2", offset=3)
    LateEnd(part, proxy)
    assert bench.transactions.commit([part]) == {0}
    assert proxy.held == 0
    assert INIT_PRODUCER_ID in proxy.kinds[before:]
    assert bench.values(6) == [b"a1", b"a2", b"b1", b"b2", b"c1", b"c2"]
    assert bench.offsets() == {(bench.topics.reroute, 0): 3}
    assert bench.count("committed") == 3


def test_a_late_end_does_not_tear_the_next_transaction(bench: Bench, proxy: KafkaProxy) -> None:
    """The connection breaks at a commit and its first request arrives in the middle of the next one: all is whole."""
    _commits_three(bench, proxy)
    assert bench.rebuilds() == {"coordinator_connection": 1}
    assert bench.count("lost") == 0


def test_a_connection_that_breaks_while_the_producer_is_built_hides_no_later_break(
    bench: Bench, proxy: KafkaProxy
) -> None:
    """librdkafka says only once in 30 s how a connection broke; a producer that said it already is not relied upon."""
    proxy.hold_next(INIT_PRODUCER_ID, times=2)
    bench.transactions.open()
    assert len(proxy.release()) == 2
    _commits_three(bench, proxy)
    assert bench.rebuilds()["coordinator_connection"] == 2


def test_a_rebuild_that_fails_is_tried_again_and_loses_nothing(bench: Bench, proxy: KafkaProxy) -> None:
    """The outcome of the transaction before is known, so nobody has to restore anything; it only takes longer."""
    builds: list[Producer] = []

    def build(config: dict[str, Any]) -> Producer:
        builds.append(Hindered(config) if len(builds) in {1, 2} else Producer(config))
        return builds[-1]

    hindered = bench.new_transactions(producer=build)
    hindered.open()
    proxy.hold_next(END_TXN)
    assert hindered.commit([bench.part(0, b"a", offset=1)]) == {0}
    assert hindered.commit([bench.part(0, b"b", offset=2)]) == {0}
    assert [held.error_code for held in proxy.release()] != [0]
    assert len(builds) >= 4
    assert bench.values(2) == [b"a", b"b"]
    assert bench.count("lost") == 0
    assert bench.rebuilds() == {"coordinator_connection": 1}
    _end(hindered)


class Hindered(Producer):
    """A producer whose start fails."""

    def init_transactions(self, *arguments: Any) -> None:
        del arguments
        raise KafkaException(KafkaError(KafkaError._STATE, "not now"))


def test_late_offsets_do_not_take_the_group_back(bench: Bench, proxy: KafkaProxy) -> None:
    """Offsets that were sent twice, the first time over a connection that broke, do not come after newer ones."""
    late = bench.new_transactions(producer=lambda config: LateOffsets(config, proxy))
    late.open()
    proxy.hold_next(TXN_OFFSET_COMMIT)
    assert late.commit([bench.part(0, b"a", offset=2)]) == {0}
    assert proxy.held == 1
    assert late.commit([bench.part(0, b"b", offset=3)]) == {0}
    assert proxy.held == 0
    assert bench.offsets() == {(bench.topics.reroute, 0): 3}
    assert bench.values(2) == [b"a", b"b"]
    assert bench.rebuilds() == {"broker_connection": 1}
    _end(late)


class LateOffsets(Producer):
    """A producer before whose second commit the offsets of the first arrive."""

    def __init__(self, config: dict[str, Any], proxy: KafkaProxy) -> None:
        super().__init__(config)
        self._proxy = proxy
        self._held = proxy.held

    def commit_transaction(self, *arguments: Any) -> None:
        if self._held:
            self._proxy.release()
        self._held = self._proxy.held
        super().commit_transaction(*arguments)


def test_a_coordinator_that_stalls_for_a_moment_changes_nothing(bench: Bench, proxy: KafkaProxy) -> None:
    """An end that is answered late, on the connection that it was sent on, was sent once: no rebuild, nothing torn."""
    proxy.hold_next(END_TXN, cut=False)
    running = bench.transactions.thread.submit(bench.transactions.commit, [bench.part(0, b"a", offset=1)])
    _wait(lambda: proxy.held == 1)
    time.sleep(STALL_SECONDS)
    assert not running.done()
    proxy.release()
    assert running.result(10) == {0}
    assert bench.transactions.commit([bench.part(0, b"b", offset=2)]) == {0}
    assert bench.values(2) == [b"a", b"b"]
    assert bench.rebuilds() == {}


def test_a_slow_end_is_followed_by_a_new_producer(bench: Bench, proxy: KafkaProxy) -> None:
    """An end that took more than half of the time after which it would have been sent again counts as sent again."""
    bench.settings = {"socket.timeout.ms": 500}
    slow = bench.new_transactions()
    slow.open()
    proxy.hold_next(END_TXN, cut=False)
    running = slow.thread.submit(slow.commit, [bench.part(0, b"a", offset=1)])
    _wait(lambda: proxy.held == 1)
    time.sleep(STALL_SECONDS)
    proxy.release()
    assert running.result(10) == {0}
    assert slow.commit([bench.part(0, b"b", offset=2)]) == {0}
    assert bench.values(2) == [b"a", b"b"]
    assert bench.rebuilds().get("slow_end", 0) >= 1
    _end(slow)


def test_a_topic_that_we_may_not_write_to_is_named(bench: Bench) -> None:
    """A right that is missing on a topic ends the process with the topic's name, instead of ten useless tries."""
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    denied = AclBinding(
        ResourceType.TOPIC,
        bench.topics.outcomes,
        ResourcePatternType.LITERAL,
        "User:ANONYMOUS",
        "*",
        AclOperation.WRITE,
        AclPermissionType.DENY,
    )
    admin.create_acls([denied])[denied].result(10)
    with pytest.raises(KafkaRefused, match=f"{bench.topics.outcomes}: the right WRITE is missing on a topic"):
        _commit_on(bench)


def _end(transactions: Transactions) -> None:
    transactions.close()
    transactions.thread.shutdown()


def _commit_on(bench: Bench) -> None:
    """One transaction after the other, for a while: it takes brokers a moment to hear of a right."""
    for offset in range(200):
        bench.transactions.commit([bench.part(0, b"a", offset=offset)])
