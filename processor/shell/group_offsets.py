"""What the group has committed, asked without joining it.

Where a take-over's inputs go on, as far as the group knows. What that means is `restore.py`'s. The one idea: it is
asked through a consumer that never subscribes. The admin client can be asked too, but when the coordinator dies while
an answer is awaited, librdkafka ends the whole process (measured 2 of 2; confluentinc/librdkafka#4605, open).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.shell.records import Partition


class GroupOffsets:
    """Asks the coordinator of `group_id`. Several threads may ask at once."""

    def __init__(self, connection: Mapping[str, Any], group_id: str) -> None:
        self._consumer = Consumer(
            {
                **connection,
                # Its log would wait for a poll that nobody makes; what goes wrong is in its answers.
                "log_level": 0,
                "group.id": group_id,
                "enable.auto.commit": False,
                # Offsets that a transaction is about to move are waited for, not told (pitfall P15).
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
            }
        )

    def stable(self, partitions: Sequence[Partition], seconds: float) -> list[TopicPartition]:
        """The committed ones among these, with offset and metadata. Raises KafkaException, at the latest in time."""
        found = self._consumer.committed([TopicPartition(*partition) for partition in partitions], timeout=seconds)
        for partition in found:
            if partition.error:
                raise KafkaException(partition.error)
        return [partition for partition in found if partition.offset >= 0]
