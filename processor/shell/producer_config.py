"""How the transactional producer is set up: the settings of librdkafka that exactly-once relies on.

Where the brokers are is `service.py`'s, and what is done with the producer is `transaction.py`'s. The one idea: a
setting stands here because its default is wrong for us, and says why.
"""

from typing import Any

RETRY_BACKOFF_MS = 3
"""librdkafka's default of 100 makes each transaction that closely follows another take over 100 ms (measured)."""
SOCKET_TIMEOUT_MS = 5_000
"""After so long without an answer librdkafka sends a request again, the end of a transaction too, and says nothing."""


def producer_config(transactional_id: str, transaction_timeout_ms: int) -> dict[str, Any]:
    """librdkafka's settings for a transactional producer, without those that say where the brokers are."""
    return {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": transaction_timeout_ms,
        "socket.timeout.ms": min(SOCKET_TIMEOUT_MS, transaction_timeout_ms * 5 // 8),
        # The suspicion rule listens to these lines.
        "log_level": 6,
        "log.connection.close": True,
        "retry.backoff.ms": RETRY_BACKOFF_MS,
        "retry.backoff.max.ms": 200,
        "linger.ms": 1,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "queue.buffering.max.kbytes": 65_536,
        "queue.buffering.max.messages": 100_000,
        "message.max.bytes": 1_048_576,
        "delivery.report.only.error": True,
    }
