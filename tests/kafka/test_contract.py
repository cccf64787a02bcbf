"""The start contract: each thing that must hold of a cluster is asked for at the start, and refused in one sentence."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from processor.demo.kafka import Broker
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.kafka.rig import boost, now_ms, plug_in, processor, processor_environ, read_all, simulator, wait_until
from tests.shell.changelog import Writer, home

NOBODY = "http://127.0.0.1:1"
"""Where no Axle is. What refuses to start never asks it."""
COMPACT = {"cleanup.policy": "compact"}
SITES = [next(f"s-{i}" for i in range(99) if task_of(f"s-{i}", 2) == task) for task in (0, 1)]
"""One of each task."""
ENDS_WITHIN_SECONDS = 8


@dataclass(frozen=True, slots=True)
class Cluster:
    """A broker with the topics of one test, and an operator's hand on them."""

    broker: Broker
    topics: TopicNames
    admin: AdminClient

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap_servers

    def make_anew(self, topic: str, **config: str) -> None:
        """Delete the topic and create it under its old name."""
        self.admin.delete_topics([topic])[topic].result(10)
        wait_until(lambda: topic not in self.admin.list_topics(timeout=5).topics, 10, f"{topic} deleted")
        self.make(topic, **config)

    def make(self, topic: str, **config: str) -> None:
        self.admin.create_topics([NewTopic(topic, 2, 1, config=config)])[topic].result(10)
        self.wait_for_partitions(topic, 2)

    def grow(self, topic: str, partitions: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(10)
        self.wait_for_partitions(topic, partitions)

    def wait_for_partitions(self, topic: str, partitions: int) -> None:
        def there() -> bool:
            found = self.admin.list_topics(timeout=5).topics.get(topic)
            return found is not None and len(found.partitions) == partitions

        wait_until(there, 10, f"{topic} with {partitions} partitions")

    def set_policy(self, topic: str, policy: str) -> None:
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(10)

    def work(self) -> None:
        """A processor takes all tasks over, settles one plug-in in each, and leaves in good order."""
        with simulator() as axle, processor(processor_environ(self.bootstrap, self.topics, axle.url), 2) as running:
            events = [(site, plug_in(site, f"c-{site}", f"p-{site}"), None) for site in SITES]
            produce(self.bootstrap, self.topics.plug_in, events)
            read_committed(self.bootstrap, self.topics.outcomes, 2, 30)
            assert running.terminate() == 0, running.said()

    def refusal(self, code: int) -> str:
        """What the command says when it refuses with `code`: one line of its own, in time.

        The time counts from its first word on, since how long Python takes for its imports says nothing of it.
        """
        done = subprocess.run(
            [sys.executable, "-m", "processor", "run"],
            env=processor_environ(self.bootstrap, self.topics, NOBODY),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        ended_ms = now_ms()
        first, *_, line = done.stderr.splitlines()
        assert done.returncode == code, done.stderr
        assert not line.startswith("{")
        began = datetime.fromisoformat(json.loads(first)["timestamp"])
        assert ended_ms / 1000 - began.timestamp() < ENDS_WITHIN_SECONDS
        return line


@pytest.fixture
def cluster(broker: Broker, topics: TopicNames) -> Cluster:
    return Cluster(broker, topics, AdminClient({"bootstrap.servers": broker.bootstrap_servers}))


def test_a_missing_topic_is_refused(cluster: Cluster) -> None:
    """Exit code 3, the topic by name, and the command that creates it."""
    absent = replace(cluster, topics=replace(cluster.topics, outcomes="not-there"))
    assert absent.refusal(3) == (
        "configuration: topics are missing: not-there; create them with `axle-processor topics apply` or name yours "
        "with AXLE_PROCESSOR_TOPICS__*"
    )


def test_state_and_reroute_of_different_size_are_refused(cluster: Cluster) -> None:
    """Exit code 3, both topics with their partitions, and what to do about it."""
    cluster.grow(cluster.topics.reroute, 3)
    assert cluster.refusal(3).startswith(
        f"configuration: {cluster.topics.state} has 2 partitions and {cluster.topics.reroute} has 3; both must have "
        "the same number, which is the number of tasks. Delete the one that was made wrongly"
    )


def test_a_state_topic_that_forgets_is_refused(cluster: Cluster) -> None:
    """Exit code 3 for a state topic out of which Kafka would delete states, and the command that changes that."""
    cluster.set_policy(cluster.topics.state, "compact,delete")
    said = cluster.refusal(3)
    assert re.fullmatch(
        f"configuration: {re.escape(cluster.topics.state)} has cleanup.policy=(compact,delete|delete,compact), "
        "so Kafka would delete .* kafka-configs.sh .*--add-config cleanup.policy=compact",
        said,
    ), said


def test_tasks_that_became_more_are_refused(cluster: Cluster) -> None:
    """Exit code 3 when state and reroute got more partitions since the checkpoints: sites would be lost from sight."""
    cluster.work()
    for topic in (cluster.topics.state, cluster.topics.reroute):
        cluster.grow(topic, 4)
    said = cluster.refusal(3)
    assert re.match(r"configuration: task [01]: its state was written for 2 tasks, but .* have 4 partitions now", said)
    assert "AXLE_PROCESSOR_TOPICS__STATE and AXLE_PROCESSOR_TOPICS__REROUTE" in said


@pytest.mark.parametrize("field", ["plug_in", "reroute"])
def test_a_topic_that_was_made_anew_is_refused(cluster: Cluster, field: str) -> None:
    """Exit code 3 when an input was deleted and created again: its old offsets would skip the new records."""
    cluster.work()
    name = getattr(cluster.topics, field)
    cluster.make_anew(name)
    said = cluster.refusal(3)
    assert re.match(f"configuration: task [01]: the topic {re.escape(name)} was deleted and made anew since", said)
    assert said.endswith(f"set AXLE_PROCESSOR_TOPICS__{field.upper()}: then it is read from its beginning")


def test_the_way_out_that_the_refusal_names_works(cluster: Cluster) -> None:
    """An input that was made anew is read from its beginning under another name, and the state stays."""
    cluster.work()
    other = f"{cluster.topics.plug_in}.other"
    cluster.make(other)
    moved = replace(cluster.topics, plug_in=other)
    with simulator() as axle, processor(processor_environ(cluster.bootstrap, moved, axle.url), 2) as running:
        produce(cluster.bootstrap, other, [("s-x", plug_in("s-x", "c-x", "p-x"), None)])
        produce(cluster.bootstrap, moved.user_boost, [("s-x", boost("s-x", "c-x", "b-x"), None)])
        read_committed(cluster.bootstrap, moved.outcomes, 4, 30)
        assert running.said().count('"sites": 1') == 2
        assert running.terminate() == 0, running.said()


def test_a_copy_of_the_state_under_its_old_name_is_refused(cluster: Cluster) -> None:
    """Exit code 3 when the state topic is another one than the checkpoint in it was written to."""
    cluster.work()
    kept = [
        (message.key(), message.value(), message.partition(), message.headers())
        for message in read_all(cluster.bootstrap, cluster.topics.state)
    ]
    cluster.make_anew(cluster.topics.state, **COMPACT)
    put_back(cluster, kept)
    said = cluster.refusal(3)
    assert f"the topic {cluster.topics.state} was made anew since the state in it was written" in said
    assert "AXLE_PROCESSOR_TOPICS__STATE" in said


def put_back(cluster: Cluster, kept: Sequence[tuple[object, object, object, object]]) -> None:
    """Write changelog records as they were, into the partitions they were in."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for key, value, partition, headers in kept:
        producer.produce(cluster.topics.state, value, key, partition, headers=headers)  # type: ignore[arg-type]
    assert producer.flush(10) == 0


def foreign(cluster: Cluster) -> None:
    """Somebody else wrote to the changelog; there is no checkpoint, and there are no offsets."""
    Writer(cluster.broker, cluster.topics).commit(0, home(SITES[0]))


def emptied(cluster: Cluster) -> None:
    """There was work, and the changelog was made anew, empty."""
    cluster.work()
    cluster.make_anew(cluster.topics.state, **COMPACT)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (emptied, "the group has offsets but the changelog is empty: the state is gone"),
        (foreign, "its changelog has records but no checkpoint; somebody else wrote to it"),
    ],
    ids=["state-topic-made-anew", "state-without-checkpoint"],
)
def test_the_refusing_rows_of_the_start_table(cluster: Cluster, before: Callable[[Cluster], None], said: str) -> None:
    """Exit code 3 wherever going on would lose or repeat events."""
    before(cluster)
    assert re.match(f"configuration: task [01]: {said}", cluster.refusal(3))
