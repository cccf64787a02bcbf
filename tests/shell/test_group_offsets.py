"""The group's offsets, asked from outside the group. What an open transaction does to them: `test_restore.py`."""

from contextlib import closing, suppress

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.demo.kafka import Broker
from processor.shell.group_offsets import GroupOffsets
from processor.shell.topics import TopicNames
from tests.kafka.rig import wait_until


def test_offsets_are_told_with_what_was_noted_beside_them(broker: Broker, topics: TopicNames) -> None:
    """What the group committed is told, with its metadata; of a partition without an offset nothing is."""
    group, connection = f"{topics.plug_in}.group", {"bootstrap.servers": broker.bootstrap_servers}
    noted = TopicPartition(topics.plug_in, 0, 5, metadata="noted")

    def is_committed() -> bool:
        with suppress(KafkaException):  # the first group of a broker has to wait for its coordinator
            member.commit(offsets=[noted], asynchronous=False)
            return True
        return False

    with closing(Consumer({**connection, "group.id": group})) as member:
        wait_until(is_committed, 20, "an offset is committed")
    told = GroupOffsets(connection, group).stable([(topics.plug_in, 0), (topics.plug_in, 1)], 10)
    assert [(one.partition, one.offset, one.metadata) for one in told] == [(0, 5, "noted")]


def test_a_question_ends_in_time() -> None:
    """Where no broker answers, the question fails after its time and not later."""
    with pytest.raises(KafkaException, match=r"_TIMED_OUT|_WAIT_COORD|_TRANSPORT"):
        GroupOffsets({"bootstrap.servers": "127.0.0.1:1"}, "g").stable([("topic", 0)], 0.2)
