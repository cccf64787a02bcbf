"""deploy/topics.yaml and deploy/acls.yaml say what `topics plan` would create, and what rights are proven to do."""

from dataclasses import astuple, fields

from confluent_kafka.admin import AdminClient

from processor.demo.kafka import Broker
from processor.settings import Settings
from processor.shell.contract import Right, needed_rights
from processor.shell.topics import TopicNames, plan, wanted_topics
from tests.broker import prefixed
from tests.deploy.parts import DEPLOY, documents

TOPICS = {each["metadata"]["name"]: each["spec"] for each in documents(DEPLOY / "topics.yaml")}
USERS = {each["metadata"]["name"]: each["spec"] for each in documents(DEPLOY / "acls.yaml")}
NAMES = TopicNames()
KINDS = {"topic": "topic", "group": "group", "transactionalId": "transactional id"}


def _rights(user: str) -> set[Right]:
    return {
        Right(
            KINDS[acl["resource"]["type"]],  # type: ignore[arg-type] # one of three words
            acl["resource"]["name"],
            operation.upper(),
            acl["resource"]["patternType"] == "prefix",
        )
        for acl in USERS[user]["authorization"]["acls"]
        for operation in acl["operations"]
    }


def test_the_topics_are_those_that_plan_would_create(broker: Broker) -> None:
    """On a broker without them `topics plan` would create each with these partitions and settings."""
    prefix = "nowhere-yet."
    changes = plan(AdminClient({"bootstrap.servers": broker.bootstrap_servers}), wanted_topics(prefixed(NAMES, prefix)))
    planned = {change.topic.name.removeprefix(prefix): change for change in changes}
    # A small cluster can have fewer replicas in sync; the file is for three brokers or more.
    in_sync = "min.insync.replicas"

    assert [change.kind for change in changes] == ["create"] * len(fields(TopicNames))
    assert planned.keys() == TOPICS.keys()
    for name, change in planned.items():
        assert TOPICS[name]["partitions"] == change.topic.partitions
        assert {**TOPICS[name]["config"], in_sync: "1"} == {**change.topic.config, in_sync: "1"}
        assert (TOPICS[name]["replicas"], TOPICS[name]["config"][in_sync]) == (3, "2")


def test_the_processor_has_the_rights_that_are_proven_enough() -> None:
    """Its rights are `needed_rights`: with those alone it works, and without any of them it refuses (test_acl.py)."""
    assert _rights("axle-processor") == set(needed_rights(NAMES, Settings().kafka.group_id))


def test_nobody_else_may_write_the_state_or_take_our_name() -> None:
    """No other user may write to the state topic, and only operators to reroute, or under one of our own ids."""
    ours = f"{Settings().kafka.group_id}."
    others = {user: _rights(user) for user in USERS if user != "axle-processor"}
    may = {
        user: {right for right in rights if right.operation == "WRITE" and right.name.startswith((NAMES.state, ours))}
        for user, rights in others.items()
    }

    assert Right("topic", NAMES.state, "WRITE") not in set().union(*others.values())
    assert {user for user, rights in may.items() if rights} == {"axle-operator"}


def test_rights_are_about_topics_that_exist() -> None:
    """No user has a right to a topic that the program does not have."""
    named = {right.name for user in USERS for right in _rights(user) if right.kind == "topic"}

    assert named == set(astuple(NAMES))
