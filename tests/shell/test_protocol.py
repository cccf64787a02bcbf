"""The settings of both group protocols, as librdkafka takes them; what is chosen is in tests/kafka/test_protocol.py."""

import pytest
from confluent_kafka import Consumer, KafkaException

from processor.shell.protocol import consumer_config


def test_librdkafka_takes_the_settings_of_both() -> None:
    """Under the newer protocol nothing is set that librdkafka refuses there, and it does refuse these three."""
    for config in (consumer_config("g", "a", 6000), consumer_config("g", None, 6000, "consumer")):
        Consumer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, **config}).close()
    for name in ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"):
        classic = consumer_config("g", None, 6000)
        with pytest.raises(KafkaException):
            Consumer({**consumer_config("g", None, 6000, "consumer"), name: classic[name]})
