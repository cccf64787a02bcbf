"""The torn transaction (pitfall P1): a commit's end that comes late must not end the transaction after it."""

import time
from collections.abc import Callable, Iterator

import pytest

from processor.demo.kafka import Broker, EmbeddedKafka, ExternalKafka, make_topics
from processor.demo.kafka_node import free_port
from processor.shell.records import Part, Produce
from processor.shell.topics import TopicNames
from tests.shell.kafka_proxy import END_TXN, INIT_PRODUCER_ID, PRODUCE, KafkaProxy
from tests.shell.test_transaction import Bench


@pytest.fixture
def proxy() -> Iterator[KafkaProxy]:
    proxy = KafkaProxy(free_port())
    yield proxy
    proxy.stop()


@pytest.fixture
def proxied(proxy: KafkaProxy, broker: Broker) -> Iterator[str]:
    """A broker of this test's own, which clients reach through the proxy alone; tells where."""
    assert broker.kind == "kafka", "a mock cluster has no transactions to tear"
    where = f"127.0.0.1:{proxy.port}"
    with EmbeddedKafka(port=proxy.broker_port, settings={"advertised.listeners": f"PLAINTEXT://{where}"}, heap_mb=384):
        yield where


class LateEnd(list[Produce]):
    """The records of a part: when the first is at the broker, the end of the transaction before it arrives too."""

    def __init__(self, part: Part, proxy: KafkaProxy) -> None:
        super().__init__(part.produces)
        part.produces = self
        self._proxy = proxy

    def __iter__(self) -> Iterator[Produce]:
        produced = self._proxy.kinds.count(PRODUCE)
        for number, record in enumerate(super().__iter__()):
            if number == 1 and self._proxy.held:
                _wait(lambda: self._proxy.kinds.count(PRODUCE) > produced)
                self._proxy.release()
            yield record


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_late_end_does_not_tear_the_next_transaction(proxied: str, proxy: KafkaProxy) -> None:
    """The connection breaks at a commit and its first request arrives in the middle of the next one: all is whole."""
    topics = TopicNames()
    make_topics(ExternalKafka(proxied), topics, 2)
    bench = Bench(proxied, topics)
    try:
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
        assert bench.offsets() == {(topics.reroute, 0): 3}
        assert bench.count("committed") == 3
    finally:
        bench.end()
