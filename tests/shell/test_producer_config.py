"""The transactional producer's settings."""

import pytest
from confluent_kafka import Producer

from processor.shell.producer_config import SOCKET_TIMEOUT_MS, producer_config


@pytest.mark.parametrize("transaction_timeout_ms", [1_000, 7_200, 8_000, 60_000, 900_000])
def test_a_request_is_sent_again_before_its_transaction_is_given_up(transaction_timeout_ms: int) -> None:
    """However short the transaction's time-out is, an end that is not answered is sent again within it."""
    config = producer_config("id", transaction_timeout_ms)
    assert config["transaction.timeout.ms"] == transaction_timeout_ms
    assert 0 < config["socket.timeout.ms"] <= SOCKET_TIMEOUT_MS
    assert config["socket.timeout.ms"] < transaction_timeout_ms


def test_librdkafka_takes_these_settings() -> None:
    """Each of them is known to librdkafka and within its bounds."""
    settings = {**producer_config("id", 8_000), "bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    assert isinstance(Producer(settings), Producer)
