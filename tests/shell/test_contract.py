"""The start contract's parts: which rights are needed, and what a checkpoint says of the topics."""

from dataclasses import astuple, replace

import pytest

from processor.demo.kafka import MOCK_PARTITIONS, MockKafka, make_topics
from processor.shell.contract import Ground, Right, check_checkpoint, check_cluster, needed_rights
from processor.shell.records import RestoreFailed
from processor.shell.topics import TopicNames
from processor.wire.state import Checkpoint

NAMES = TopicNames()
IDS = {NAMES.plug_in: "id-of-plug-in", NAMES.state: "id-of-state", NAMES.reroute: "id-of-reroute"}
GROUND = Ground(dict.fromkeys(astuple(NAMES), 6), IDS)


def test_the_rights_cover_each_topic_and_nothing_of_the_cluster() -> None:
    """Inputs are read, outputs written, our own two topics both; the group and the transactional ids are ours."""
    rights = needed_rights(NAMES, "g")
    by_topic = {
        name: {right.operation for right in rights if (right.kind, right.name) == ("topic", name)}
        for name in astuple(NAMES)
    }
    assert list(by_topic.values()) == [{"READ"}] * 3 + [{"WRITE"}] * 3 + [{"READ", "WRITE"}] * 2 + [{"WRITE"}]
    others = [right for right in rights if right.kind != "topic"]
    assert others == [Right("group", "g", "READ"), Right("transactional id", "g.", "WRITE", is_prefix=True)]
    assert str(others[1]) == "WRITE the transactional ids that begin with g."


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint({(NAMES.plug_in, 0): 5}, tasks=6, topic_ids=IDS),
        Checkpoint({(NAMES.plug_in, 0): 5}),
        Checkpoint({}, tasks=6, topic_ids={"a-topic-that-has-another-name-now": "id"}),
    ],
    ids=["of-these-topics", "of-the-first-release", "of-renamed-topics"],
)
def test_a_checkpoint_that_fits_is_accepted(checkpoint: Checkpoint) -> None:
    """The same topics, a checkpoint that does not say, and a topic under another name are all in order."""
    check_checkpoint(3, checkpoint, GROUND, NAMES)


def test_ids_that_are_not_told_are_not_held_against_anybody() -> None:
    """A broker that gives its topics no ids is worked with as ever."""
    check_checkpoint(3, Checkpoint({}, tasks=6, topic_ids=IDS), replace(GROUND, topic_ids={}), NAMES)


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        (
            Checkpoint({}, tasks=5, topic_ids=IDS),
            "task 3: its state was written for 5 tasks, but .* have 6 partitions",
        ),
        (Checkpoint({}, tasks=6, topic_ids={NAMES.plug_in: "old"}), "task 3: the topic ev.plug-in.v1 was deleted and"),
        (
            Checkpoint({}, tasks=6, topic_ids={NAMES.state: "old"}),
            "task 3: the topic .*state.v1 was made anew since the state in",
        ),
    ],
    ids=["tasks", "input", "state"],
)
def test_a_checkpoint_of_other_topics_is_refused(checkpoint: Checkpoint, said: str) -> None:
    """Another number of tasks, or another topic under an old name: a sentence that names it and what to set."""
    with pytest.raises(RestoreFailed, match=said + "(?s:.*)AXLE_PROCESSOR_TOPICS__"):
        check_checkpoint(3, checkpoint, GROUND, NAMES)


def test_a_mock_cluster_that_describes_nothing_is_good_enough() -> None:
    """Where topics cannot be described, only their partitions are looked at."""
    mock = MockKafka()
    mock.start()
    try:
        make_topics(mock, NAMES, MOCK_PARTITIONS)
        ground = check_cluster({"bootstrap.servers": mock.bootstrap_servers}, NAMES, "g")
    finally:
        mock.stop()
    assert ground == Ground(dict.fromkeys(astuple(NAMES), MOCK_PARTITIONS), {})
