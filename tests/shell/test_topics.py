"""Topics as code: what is planned, what is applied, and what is left to a person."""

from dataclasses import astuple, replace

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames, TopicsFailed, apply, plan, wanted_topics
from tests.broker import prefixed

WEEK_MS = 7 * 24 * 3_600_000


@pytest.fixture
def admin(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers})


@pytest.fixture
def names(request: pytest.FixtureRequest) -> TopicNames:
    return prefixed(TopicNames(), f"{request.node.name.replace('_', '-')}.")


def test_all_is_created_and_then_there_is_nothing_to_do(admin: AdminClient, names: TopicNames) -> None:
    """On an empty cluster the plan creates every topic, and once it is applied a second plan is empty."""
    wanted = wanted_topics(names, 2)
    changes = plan(admin, wanted)
    assert [(change.kind, change.topic.name) for change in changes] == [("create", name) for name in astuple(names)]
    assert apply(admin, changes) == []
    there = admin.list_topics(timeout=10).topics
    assert all(len(there[name].partitions) == 2 for name in astuple(names))
    assert plan(admin, wanted) == []


def test_a_plan_changes_nothing(admin: AdminClient, names: TopicNames) -> None:
    """Planning alone leaves the cluster as it was."""
    plan(admin, wanted_topics(names))
    assert not set(astuple(names)) & set(admin.list_topics(timeout=10).topics)


def test_what_differs_is_told_and_left(admin: AdminClient, names: TopicNames) -> None:
    """A topic with other partitions or settings is told in sentences and left alone, while missing ones are created."""
    own = {"retention.ms": "1000", "cleanup.policy": "delete,compact", "message.timestamp.type": "LogAppendTime"}
    made = admin.create_topics([NewTopic(names.modified_schedule, 3, 1, config=own)])
    made[names.modified_schedule].result()
    left = apply(admin, plan(admin, wanted_topics(names, 2)))
    assert [str(change) for change in left] == [
        f"{names.modified_schedule}: the number of partitions is 3, wanted 2. Left as it is: yours to decide.",
        f"{names.modified_schedule}: retention.ms is 1000, wanted {WEEK_MS}. Left as it is: yours to decide.",
    ]
    assert plan(admin, wanted_topics(names, 2)) == left
    assert len(admin.list_topics(timeout=10).topics[names.modified_schedule].partitions) == 3


def test_two_may_apply_at_once(admin: AdminClient, names: TopicNames) -> None:
    """A topic that somebody else created after the plan was made is no failure; what differs in it is told."""
    changes = plan(admin, wanted_topics(names, 2))
    apply(admin, plan(admin, [*wanted_topics(names, 2)[1:], *wanted_topics(names, 1)[:1]]))
    assert [(change.kind, change.topic.name) for change in apply(admin, changes)] == [("partitions", names.plug_in)]


def test_a_refusal_is_a_sentence(admin: AdminClient, names: TopicNames) -> None:
    """A topic that the cluster refuses to create is named with the cluster's reason."""
    wanted = wanted_topics(replace(names, plug_in="no spaces please"), 1)
    with pytest.raises(TopicsFailed, match="The topic no spaces please cannot be created: "):
        apply(admin, plan(admin, wanted))


def test_a_cluster_that_is_not_there_is_a_sentence() -> None:
    """A cluster that does not answer is a sentence, not a traceback of the client's."""
    admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    with pytest.raises(TopicsFailed, match="The topics of the cluster cannot be read"):
        plan(admin, wanted_topics(TopicNames(), 1), timeout_seconds=0.3)


def test_the_changelog_is_kept_for_restores() -> None:
    """The state topic is compacted, never aged out, and the broker stamps what comes in."""
    state = {spec.name: spec for spec in wanted_topics(TopicNames())}["axle-processor.state.v1"]
    assert state.partitions == 6
    assert state.config["cleanup.policy"] == "compact"
    assert state.config["max.compaction.lag.ms"] == str(24 * 3_600_000)
    assert all(spec.config["message.timestamp.type"] == "LogAppendTime" for spec in wanted_topics(TopicNames()))
