"""Processes come and go while events flow: each event still has one outcome."""

import pytest

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.kafka.rig import (
    Feed,
    Seen,
    boost,
    broken_chains,
    plug_in,
    processor,
    processor_environ,
    read_all,
    simulator,
    wait_until,
)

HOMES = 60
ROUNDS = 10


@pytest.mark.parametrize("partitions", [4])
def test_members_that_join_and_leave_lose_and_repeat_nothing(broker: Broker, topics: TopicNames) -> None:
    """A second process joins amid 600 actions and leaves again; all are settled once, in unbroken chains."""
    bootstrap = broker.bootstrap_servers
    with simulator() as axle:
        environ = processor_environ(bootstrap, topics, axle.url, KAFKA__SESSION_TIMEOUT_SECONDS="9")
        with processor(environ, 4) as first:
            homes = [(f"s-{i}", plug_in(f"s-{i}", f"c-{i}", f"p-{i}"), None) for i in range(HOMES)]
            produce(bootstrap, topics.plug_in, homes)
            feed = Feed(bootstrap)

            def act(upto: int, begin: int) -> None:
                for n in range(begin, upto):
                    for i in range(HOMES):
                        feed.send(topics.user_boost, f"s-{i}", boost(f"s-{i}", f"c-{i}", f"b-{n}-{i}"))
                    feed.flush()

            act(4, 0)
            with processor(environ, 2) as second:
                act(7, 4)
                assert second.terminate() == 0, second.said()
                assert '"stopped"' in second.said()
            wait_until(
                lambda: first.said().count("took a task over") >= 4 + 2, 30, "two tasks back at the first process"
            )
            act(ROUNDS, 7)
            everything = HOMES * (ROUNDS + 1)
            seen = Seen()
            for message in read_committed(bootstrap, topics.outcomes, everything, 60):
                seen.take(topics, message)
            assert first.terminate() == 0, first.said()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)

    assert len(seen.outcomes) == everything
    assert [source for source, outcomes in seen.outcomes.items() if len(outcomes) != 1] == []
    assert broken_chains(seen) == []


def test_of_two_processes_with_one_name_the_older_ends(broker: Broker, topics: TopicNames) -> None:
    """The one that Kafka fences says so and exits with code 4, instead of looking alive; the other one works."""
    with simulator() as axle:
        environ = processor_environ(broker.bootstrap_servers, topics, axle.url, KAFKA__INSTANCE_ID="a")
        with processor(environ, 2) as older, processor(environ, 2) as newer:
            wait_until(lambda: older.process.poll() is not None, 30, "the older process ended")
            assert older.process.returncode == 4
            assert "AXLE_PROCESSOR_KAFKA__INSTANCE_ID=a" in older.said()
            produce(broker.bootstrap_servers, topics.plug_in, [("s", plug_in("s", "c", "p", enrol=False), None)])
            read_committed(broker.bootstrap_servers, topics.outcomes, 1, 20)
            assert newer.terminate() == 0, newer.said()
