"""Any key, partitioner and partition count upstream is right: every record finds the task of its site."""

from dataclasses import astuple

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    NewTopic,
)

from processor.core.outputs import Result
from processor.demo.kafka import Broker, make_topics
from processor.shell.topics import TopicNames
from tests.broker import prefixed, produce, read_committed
from tests.kafka.rig import (
    NOWHERE,
    Seen,
    boost,
    broken_chains,
    plug_in,
    processor,
    processor_environ,
    read_all,
    simulator,
    withdrawal,
)

HOMES = 20
TASKS = 3


def _topics(broker: Broker, prefix: str, inputs: int) -> TopicNames:
    """The product's topics with 3 tasks, and input topics of another size."""
    names = prefixed(TopicNames(), prefix)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    wanted = [
        NewTopic(name, inputs, 1, config={"message.timestamp.type": "LogAppendTime"}) for name in astuple(names)[:3]
    ]
    for made in admin.create_topics(wanted).values():
        made.result(10)
    others = TopicNames(*(prefix + "unused." + name for name in astuple(TopicNames())[:3]), *astuple(names)[3:])
    make_topics(broker, others, TASKS)
    return names


@pytest.mark.parametrize(
    ("inputs", "partitioner"), [(1, "murmur2_random"), (3, "consistent_random"), (5, "murmur2_random")]
)
def test_every_record_is_settled_once_whatever_its_partition_is(broker: Broker, inputs: int, partitioner: str) -> None:
    """With 1, 3 and 5 partitions beside 3 tasks, keyed by charger, each of 80 events has one outcome of its own."""
    bootstrap = broker.bootstrap_servers
    topics = _topics(broker, f"routing-{inputs}-{partitioner}.", inputs)
    homes = range(HOMES)
    with simulator() as axle, processor(processor_environ(bootstrap, topics, axle.url), TASKS) as running:
        plugs = [(f"c-{i}", plug_in(f"s-{i}", f"c-{i}", f"p-{i}"), None) for i in homes]
        produce(bootstrap, topics.plug_in, plugs, partitioner)
        read_committed(bootstrap, topics.outcomes, HOMES, 30)
        produce(
            bootstrap,
            topics.user_boost,
            [(f"c-{i}", boost(f"s-{i}", f"c-{i}", f"b-{i}"), None) for i in homes],
            partitioner,
        )
        produce(bootstrap, topics.user_boost, [(None, b"not avro", None), (b"k", None, None)], partitioner)
        read_committed(bootstrap, topics.outcomes, 2 * HOMES + 2, 30)
        leaving = [(None, withdrawal(f"s-{i}", f"w-{i}"), None) for i in homes]
        produce(bootstrap, topics.consent_withdrawn, leaving, partitioner)
        seen = Seen()
        for message in read_committed(bootstrap, topics.outcomes, 3 * HOMES + 2, 30):
            seen.take(topics, message)
        assert running.terminate() == 0, running.said()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)
    dead = read_all(bootstrap, topics.dead_letter)

    results = [outcome.result for outcomes in seen.outcomes.values() for outcome in outcomes]
    assert len(seen.outcomes) == len(results) == 3 * HOMES + 2
    assert results.count(Result.OFFBOARDED) == HOMES
    assert results.count(Result.INVALID) == 2
    assert NOWHERE.topic not in {topic for topic, _, _ in seen.outcomes}
    assert broken_chains(seen) == []
    assert [(message.key(), message.value()) for message in dead] == [(None, b"not avro")]
