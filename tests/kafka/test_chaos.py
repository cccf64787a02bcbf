"""The short forms of the chaos runs: a few kills, zombies and rebalances amid traffic, judged from outside.

`make chaos` runs the long ones.
"""

from pathlib import Path

import pytest

from processor.demo.kafka import Broker, EmbeddedKafka
from processor.shell.topics import TopicNames
from tests.chaos.arena import Arena, Load
from tests.chaos.failpoints import Step
from tests.chaos.kills import Kills
from tests.chaos.kills import Plan as KillPlan
from tests.chaos.storm import Plan as StormPlan
from tests.chaos.storm import Storm
from tests.chaos.verdict import is_clean
from tests.chaos.zombies import Plan as ZombiePlan
from tests.chaos.zombies import Zombies

TASKS = 6
LOAD = Load(chargers=60, rate=50, open_max=300)
pytestmark = pytest.mark.timeout(300)  # three processes, killed and started again, on a machine that may be busy


@pytest.fixture
def partitions() -> int:
    """As many tasks as three processes can share."""
    return TASKS


def _arena(broker: Broker, topics: TopicNames, folder: Path) -> Arena:
    broker_folder = broker.folder if isinstance(broker, EmbeddedKafka) else None
    return Arena(broker.bootstrap_servers, topics, TASKS, folder, LOAD, broker_folder)


def test_kills_amid_traffic_cost_nothing_but_time(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """After SIGKILLs in a commit, in a restore and with an answer in hand every event has its one outcome."""
    plan = KillPlan((Step.END, Step.RESTORE, Step.REPLY), 0, LOAD)
    with _arena(broker, topics, tmp_path) as arena:
        figures = Kills(arena, plan, print).fight()

    assert figures["kills"] == 3
    assert figures["unasked_exits"] == 0
    assert figures["drained"]
    assert figures["findings"] == []
    assert is_clean(figures), figures


def test_zombies_leave_nothing_behind(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """Two processes that freeze with a commit under way and an answer in hand change nothing, and come back."""
    plan = ZombiePlan(((Step.END, Step.REPLY),), LOAD)
    with _arena(broker, topics, tmp_path) as arena:
        figures = Zombies(arena, plan, print).fight()

    assert figures["zombies"] == 2
    assert figures["rejoined_in_time"]
    assert figures["drained"]
    assert figures["findings"] == []
    assert is_clean(figures), figures


def test_members_that_come_and_go_never_work_on_one_task_at_once(
    broker: Broker, topics: TopicNames, tmp_path: Path
) -> None:
    """While members join and leave amid traffic nobody falls, and no changelog has two producers at a time."""
    with _arena(broker, topics, tmp_path) as arena:
        figures = Storm(arena, StormPlan(10, LOAD), print).fight()

    assert figures["rebalances"] == 2
    assert figures["exits"] == []
    assert not figures["worked_on_by_two"]
    assert figures["drained"]
    assert figures["findings"] == []
    assert is_clean(figures), figures
