"""Any key, partitioner and partition count upstream is right: every record finds the task of its site."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    NewTopic,
)

from processor.core.outputs import Result
from processor.demo.kafka import Broker, make_topics
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.state import CHECKPOINT_KEY
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

HOMES = 24
TASKS = 6
DEFAULT = "consistent_random"
"""librdkafka's own partitioner: CRC32, and any partition for a record without a key."""
MURMUR2 = "murmur2_random"
"""What Java clients do."""


def _topics(broker: Broker, prefix: str, inputs: int) -> TopicNames:
    """The product's topics with 6 tasks, and input topics of another size."""
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


@dataclass(frozen=True, slots=True)
class Upstream:
    """How a platform produces: partitions of its topics, what it keys by, and what picks the partition."""

    inputs: int
    key: str
    partitioner: str

    def send(self, bootstrap: str, topic: str, events: Sequence[tuple[int, bytes]]) -> None:
        """One record for each (home, value)."""
        keys = {"site": "s-{}", "charger": "c-{}", "none": None}
        pattern = keys[self.key]
        keyed = [(None if pattern is None else pattern.format(home), value, None) for home, value in events]
        if self.partitioner != "explicit":
            produce(bootstrap, topic, keyed, self.partitioner)
            return
        producer = Producer({"bootstrap.servers": bootstrap})
        for number, (key, value, _) in enumerate(keyed):
            producer.produce(topic, value, key, number % self.inputs)
        assert producer.flush(10) == 0


@pytest.mark.parametrize(
    "upstream",
    [
        Upstream(TASKS, "site", MURMUR2),
        Upstream(TASKS, "charger", DEFAULT),
        Upstream(TASKS, "none", "explicit"),
        Upstream(1, "none", DEFAULT),
        Upstream(17, "site", MURMUR2),
        Upstream(17, "charger", "explicit"),
    ],
    ids=lambda upstream: f"{upstream.inputs}-by-{upstream.key}-{upstream.partitioner}",
)
def test_every_record_finds_the_task_of_its_site(broker: Broker, upstream: Upstream) -> None:
    """Each event has one outcome, settled by its site's own task, and in the usual case none takes a hop."""
    bootstrap = broker.bootstrap_servers
    topics = _topics(broker, f"routing-{upstream.inputs}-{upstream.key}-{upstream.partitioner}.", upstream.inputs)
    homes = range(HOMES)
    with simulator() as axle, processor(processor_environ(bootstrap, topics, axle.url), TASKS) as running:
        plugs = [(i, plug_in(f"s-{i}", f"c-{i}", f"p-{i}")) for i in homes]
        upstream.send(bootstrap, topics.plug_in, plugs)
        read_committed(bootstrap, topics.outcomes, HOMES, 30)
        upstream.send(bootstrap, topics.user_boost, [(i, boost(f"s-{i}", f"c-{i}", f"b-{i}")) for i in homes])
        upstream.send(bootstrap, topics.user_boost, [(0, b"not avro"), (1, b"")])
        read_committed(bootstrap, topics.outcomes, 2 * HOMES + 2, 30)
        upstream.send(bootstrap, topics.consent_withdrawn, [(i, withdrawal(f"s-{i}", f"w-{i}")) for i in homes])
        seen = Seen()
        for message in read_committed(bootstrap, topics.outcomes, 3 * HOMES + 2, 30):
            seen.take(topics, message)
        assert running.terminate() == 0, running.said()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)

    results = [outcome.result for outcomes in seen.outcomes.values() for outcome in outcomes]
    assert len(seen.outcomes) == len(results) == 3 * HOMES + 2
    assert Counter(results)[Result.OFFBOARDED] == HOMES
    assert Counter(results)[Result.INVALID] == 2
    assert NOWHERE.topic not in {topic for topic, _, _ in seen.outcomes}
    assert broken_chains(seen) == []
    assert sorted(message.value() or b"" for message in read_all(bootstrap, topics.dead_letter)) == [b"", b"not avro"]
    assert _astray(read_all(bootstrap, topics.state)) == []
    hops = len(read_all(bootstrap, topics.reroute))
    usual = upstream == Upstream(TASKS, "site", MURMUR2)
    assert hops == 0 if usual else 0 < hops <= 3 * HOMES


def _astray(states: list[Message]) -> list[str]:
    """Sites whose state stands in another partition than their own."""
    sites = {
        ((message.key() or b"").decode(), message.partition()) for message in states if message.key() != CHECKPOINT_KEY
    }
    assert len(sites) == HOMES
    return [site for site, partition in sites if task_of(site, TASKS) != partition]
