"""Input topics that grow while events flow, and members that come and go meanwhile: one outcome for each event."""

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    NewPartitions,
)

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

HOMES = 20
ROUNDS = 12
TASKS = 3


def _count(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(timeout=5).topics[topic].partitions)


@pytest.mark.parametrize("partitions", [TASKS])
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_inputs_that_grow_while_running_lose_and_repeat_nothing(
    broker: Broker, topics: TopicNames, protocol: str
) -> None:
    """Inputs grow from 3 to 5 partitions while a second member comes and goes: each of 260 actions has one outcome."""
    bootstrap = broker.bootstrap_servers
    refresh = '{"topic.metadata.refresh.interval.ms": "500"}'
    with simulator() as axle:
        environ = processor_environ(
            bootstrap,
            topics,
            axle.url,
            KAFKA__PROTOCOL=protocol,
            KAFKA__SESSION_TIMEOUT_SECONDS="9",
            KAFKA__EXTRA=refresh,
        )
        with processor(environ, TASKS) as first:
            homes = [(f"s-{i}", plug_in(f"s-{i}", f"c-{i}", f"p-{i}"), None) for i in range(HOMES)]
            produce(bootstrap, topics.plug_in, homes)

            def act(begin: int, upto: int) -> None:
                feed = Feed(bootstrap)  # a new one each time: it sees the partitions that there are by now
                for n in range(begin, upto):
                    for i in range(HOMES):
                        feed.send(topics.user_boost, f"s-{i}", boost(f"s-{i}", f"c-{i}", f"b-{n}-{i}"))
                    feed.flush()

            act(0, 3)
            with processor(environ, 1) as second:
                act(3, 5)
                admin = AdminClient({"bootstrap.servers": bootstrap})
                grown = [NewPartitions(topics.user_boost, 5), NewPartitions(topics.plug_in, 5)]
                for done in admin.create_partitions(grown).values():
                    done.result(10)
                wait_until(lambda: _count(admin, topics.user_boost) == 5, 10, "5 partitions")
                act(5, 9)
                read_committed(bootstrap, topics.outcomes, HOMES * 10, 60)
                assert second.terminate() == 0, second.said()
            act(9, ROUNDS)
            everything = HOMES * (ROUNDS + 1)
            seen = Seen()
            for message in read_committed(bootstrap, topics.outcomes, everything, 60):
                seen.take(topics, message)
            assert first.terminate() == 0, first.said()
            assert "differs from the checkpoint" not in first.said()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)

    assert len(seen.outcomes) == everything
    assert {source[1] for source in seen.outcomes} == {0, 1, 2, 3, 4}
    assert [source for source, outcomes in seen.outcomes.items() if len(outcomes) != 1] == []
    assert broken_chains(seen) == []
