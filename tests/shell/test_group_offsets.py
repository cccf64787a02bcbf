"""The group's offsets, asked from outside the group."""

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from processor.demo.kafka import Broker
from processor.shell.group_offsets import GroupOffsets
from processor.shell.topics import TopicNames


def _commit(broker: Broker, group: str, partition: TopicPartition) -> Producer:
    """Send an offset in a transaction, and leave that open."""
    connection = {"bootstrap.servers": broker.bootstrap_servers}
    producer = Producer({**connection, "transactional.id": group, "retry.backoff.ms": 5})
    producer.init_transactions(20)
    producer.begin_transaction()
    member = Consumer({**connection, "group.id": group})
    producer.send_offsets_to_transaction([partition], member.consumer_group_metadata(), 20)
    member.close()
    return producer


def test_offsets_are_told_once_their_transaction_has_ended(broker: Broker, topics: TopicNames) -> None:
    """An offset in an open transaction is waited for; committed, it comes with what was noted beside it."""
    group = f"{topics.plug_in}.group"
    offsets = GroupOffsets({"bootstrap.servers": broker.bootstrap_servers}, group)
    producer = _commit(broker, group, TopicPartition(topics.plug_in, 0, 5, metadata="noted"))
    both = [(topics.plug_in, 0), (topics.plug_in, 1)]
    with pytest.raises(KafkaException):
        offsets.stable(both, 1)
    producer.commit_transaction(20)
    told = offsets.stable(both, 20)
    assert [(one.partition, one.offset, one.metadata) for one in told] == [(0, 5, "noted")]
