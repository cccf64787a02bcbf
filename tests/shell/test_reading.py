"""Batches that cannot be unpacked, on a real broker."""

from confluent_kafka import Producer

from processor.demo.kafka import Broker
from tests.shell.changelog import few_topics
from tests.shell.poll_bench import SECONDS, Poller

BOMB = bytes(40 * 1024 * 1024)
"""A few hundred bytes for the broker, and more than any reader of ours takes."""


def test_a_batch_that_cannot_be_unpacked_stops_nobody(broker: Broker) -> None:
    """Each of its records is handed over as one of which nothing is known but its place; then come those behind it."""
    topics = few_topics(broker, "plug_in", "reroute")
    _send(broker, topics.plug_in, "none", b"before")
    _send(broker, topics.plug_in, "zstd", b"small", BOMB)
    _send(broker, topics.plug_in, "none", b"behind")
    one = Poller(broker, topics).join(4)
    try:
        assert one.begin({(topics.plug_in, 0): 0})
        read = [(record.offset, record.value, record.is_unpackable) for record in one.read(4)]
    finally:
        assert one.poll.stop(SECONDS)
    assert read == [(0, b"before", False), (1, None, True), (2, None, True), (3, b"behind", False)]


def _send(broker: Broker, topic: str, compression: str, *values: bytes) -> None:
    """These values as one batch."""
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": broker.bootstrap_servers,
        "compression.type": compression,
        "message.max.bytes": 1_000_000_000,
        "batch.size": 500_000_000,
        "linger.ms": 200,
    }
    producer = Producer(config)
    for value in values:
        producer.produce(topic, value, b"k", 0)
    assert producer.flush(60) == 0
