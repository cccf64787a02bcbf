"""Topics as code: what is planned, what is applied, and what is left to a person."""

from dataclasses import astuple, replace

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames, TopicsFailed, apply, plan, tasks_there, topic_configs, wanted_topics
from tests.broker import prefixed
from tests.kafka.rig import wait_until

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


def test_what_exists_is_never_deleted_or_changed(admin: AdminClient, names: TopicNames) -> None:
    """A plan applied to a topic that differs in everything leaves its settings, partitions and id as they are."""
    own = {"cleanup.policy": "delete", "retention.ms": "1000", "message.timestamp.type": "CreateTime"}
    admin.create_topics([NewTopic(names.state, 3, 1, config=own)])[names.state].result(10)
    wait_until(lambda: tasks_there(admin, names) == 3, 10, "the topic is to be seen")

    def as_it_is() -> tuple[str, int, dict[str, str]]:
        (described,) = admin.describe_topics(TopicCollection([names.state])).values()
        found = described.result(10)
        return str(found.topic_id), len(found.partitions), topic_configs(admin, [names.state])[names.state]

    before = as_it_is()
    left = apply(admin, plan(admin, wanted_topics(names, 2)))
    assert as_it_is() == before
    assert {change.setting for change in left} >= {"", "cleanup.policy", "message.timestamp.type"}
    assert {change.kind for change in left} == {"partitions", "config"}


def test_a_difference_says_what_the_setting_is_for(admin: AdminClient, names: TopicNames) -> None:
    """Where it is not plain, the plan tells why: hops must outlast a processor that is down for a weekend."""
    own = {"retention.ms": str(24 * 3_600_000), "message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(names.reroute, 2, 1, config=own)])[names.reroute].result(10)
    wait_until(lambda: tasks_there(admin, names) == 2, 10, "the topic is to be seen")
    (left,) = [change for change in plan(admin, wanted_topics(names, 2)) if change.kind == "config"]
    assert str(left) == (
        f"{names.reroute}: retention.ms is 86400000, wanted {WEEK_MS}, because records on their way to their task must "
        "outlast a processor that is down. Left as it is: yours to decide."
    )


def test_tasks_are_counted_by_the_topics_that_are_there(admin: AdminClient, names: TopicNames) -> None:
    """Without state and reroute topics nobody knows; one of them tells for the other."""
    assert tasks_there(admin, names) is None
    apply(admin, plan(admin, wanted_topics(names, 3)[-2:-1]))
    assert tasks_there(admin, names) == 3


def test_on_many_brokers_there_are_three_replicas(names: TopicNames) -> None:
    """Two of them must have a record before it counts, and none that lags may lead."""
    for spec in wanted_topics(names):
        assert (spec.config["min.insync.replicas"], spec.config["unclean.leader.election.enable"]) == ("2", "false")


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
    assert state.config["segment.ms"] == str(6 * 3_600_000)
    assert state.config["delete.retention.ms"] == str(WEEK_MS)
    assert (state.config["min.cleanable.dirty.ratio"], state.config["max.message.bytes"]) == ("0.2", "1048576")
    assert all(spec.config["message.timestamp.type"] == "LogAppendTime" for spec in wanted_topics(TopicNames()))
