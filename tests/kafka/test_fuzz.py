"""The short form of the fuzz: every way to break a record, among good ones; the long form is a part of `make chaos`."""

import pytest

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.chaos.fuzz import SHORT, play
from tests.hostile_kinds import HUGE, SMALL


@pytest.mark.timeout(240)  # 1,500 records through one process, on a machine that may be busy
def test_every_hostile_record_is_one_dead_letter_and_nothing_else_happens(broker: Broker, topics: TopicNames) -> None:
    """Each has one outcome, each refused one a dead letter that says why; good ones go on, and so does the process."""
    figures = play(broker.bootstrap_servers, topics, SHORT)

    assert figures["shortfalls"] == []
    assert figures["hostile"] == SHORT.small + SHORT.huge + 2
    kinds = figures["by_kind"]
    assert isinstance(kinds, dict)
    assert kinds.keys() >= {*SMALL, *HUGE}
