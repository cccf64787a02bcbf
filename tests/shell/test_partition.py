"""Which task a site belongs to: as the Java client's partitioner counts."""

import pytest
from confluent_kafka import Producer

from processor.demo.kafka import Broker
from processor.shell.partition import murmur2, task_of
from processor.shell.topics import TopicNames
from tests.broker import read_committed


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_murmur2_is_kafkas(text: str, hashed: int) -> None:
    """The test vectors of Apache Kafka's own client hash to what they hash to there."""
    assert murmur2(text.encode()) == hashed & 0xFFFFFFFF


def test_a_site_has_one_task_of_those_that_there_are() -> None:
    """Every site falls to one task, and with enough sites every task gets some."""
    tasks = [task_of(f"home-{i}", 6) for i in range(300)]
    assert set(tasks) == set(range(6))
    assert tasks == [task_of(f"home-{i}", 6) for i in range(300)]


def test_a_producer_with_murmur2_writes_where_the_task_is(broker: Broker, topics: TopicNames) -> None:
    """What librdkafka writes with its murmur2 partitioner, keyed by the site, needs no hop."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"})
    keys = [f"home-{i}" for i in range(40)]
    for key in keys:
        producer.produce(topics.plug_in, b"x", key)
    assert producer.flush(10) == 0
    written = read_committed(broker.bootstrap_servers, topics.plug_in, len(keys))
    wrong = [m.key() for m in written if task_of((m.key() or b"").decode(), 2) != m.partition()]
    assert wrong == []
