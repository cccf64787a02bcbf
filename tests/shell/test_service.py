"""The processor as one thing: what it says when it cannot start, cannot go on, or is not ready yet."""

import asyncio
import time
from dataclasses import replace

import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined] # not in its stubs

from processor.demo.kafka import Broker
from processor.shell.axle_client import AxleAccount
from processor.shell.contract import ConnectionWrong, KafkaUnreachable, TopicsUnfit
from processor.shell.records import KafkaRefused, RestoreFailed
from processor.shell.service import Service, ServiceConfig
from processor.shell.topics import TopicNames
from tests.shell.changelog import set_offsets
from tests.shell.parts import until

pytestmark = pytest.mark.anyio


def config(broker: Broker, topics: TopicNames) -> ServiceConfig:
    """A processor on these topics whose Axle nobody asks."""
    return ServiceConfig(
        bootstrap_servers=broker.bootstrap_servers,
        axle=AxleAccount("http://127.0.0.1:1", "u", "p"),
        topics=topics,
        group_id=f"{topics.state}.group",
        session_timeout_ms=4_000,
        transaction_timeout_ms=2_000,
        http_port=0,
    )


def service(asked: ServiceConfig) -> Service:
    return Service(asked, httpx.AsyncHTTPTransport())


async def test_it_is_ready_when_all_its_tasks_work_and_not_before(broker: Broker, topics: TopicNames) -> None:
    """Readiness begins with the group's word and all states restored; an orderly end returns."""
    one = service(config(broker, topics))
    assert [(check.name, check.ok) for check in one.ready_checks()] == [("group", False), ("tasks", False)]
    assert all(check.ok for check in one.live_checks())
    running = asyncio.create_task(one.run())
    await until(lambda: all(check.ok for check in one.ready_checks()) or running.done(), 20)
    assert one.ready_tasks == [0, 1]
    assert one.status()["verdict"] == "Working: 2 tasks, 0 sites"
    one.stop()
    await asyncio.wait_for(running, 20)


async def test_a_member_without_tasks_is_ready_too(broker: Broker, topics: TopicNames) -> None:
    """More members than tasks is no fault: who has nothing to do waits in readiness."""
    members = [service(config(broker, topics)) for _ in range(3)]
    running = [asyncio.create_task(one.run()) for one in members]
    await until(
        lambda: (
            sorted(len(one.ready_tasks) for one in members) == [0, 1, 1]
            and all(check.ok for one in members for check in one.ready_checks())
        ),
        30,
    )
    for one in members:
        one.stop()
    await asyncio.wait_for(asyncio.gather(*running), 30)


async def test_a_producer_that_cannot_be_built_is_a_sentence(broker: Broker, topics: TopicNames) -> None:
    """What the brokers refuse at the start ends the run with their reason, and everything is shut down."""
    asked = replace(
        config(broker, topics),
        protocol="classic",
        transaction_timeout_ms=1_000_000_000,
        session_timeout_ms=1_000_000_001,
    )
    with pytest.raises(KafkaRefused, match="does not let us begin transactions"):
        await asyncio.wait_for(service(asked).run(), 20)


async def test_a_state_that_is_gone_is_a_sentence(broker: Broker, topics: TopicNames) -> None:
    """A task that refuses to run ends the process with its reason, instead of leaving drivers unserved."""
    set_offsets(broker.bootstrap_servers, f"{topics.state}.group", {(topics.plug_in, 0): 3})
    with pytest.raises(RestoreFailed, match="the state is gone"):
        await asyncio.wait_for(service(config(broker, topics)).run(), 20)


async def test_tasks_that_grow_are_refused(broker: Broker, topics: TopicNames) -> None:
    """The number of tasks is fixed: a reroute topic that grows while we run ends the process with a sentence."""
    refreshing = replace(config(broker, topics), connection={"topic.metadata.refresh.interval.ms": "300"})
    one = service(refreshing)
    running = asyncio.create_task(one.run())
    await until(lambda: one.ready_tasks == [0, 1] or running.done(), 20)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    await asyncio.to_thread(admin.create_partitions([NewPartitions(topics.reroute, 3)])[topics.reroute].result, 10)
    with pytest.raises(RestoreFailed, match=r"reroute.v1 got more partitions: it has 3 or more, and 2 when we started"):
        await asyncio.wait_for(running, 30)


async def test_no_broker_is_a_sentence_in_time(topics: TopicNames, broker: Broker) -> None:
    """An address where nobody answers is named within five seconds, with the setting to check."""
    began = time.monotonic()
    asked = replace(config(broker, topics), bootstrap_servers="127.0.0.1:1")
    with pytest.raises(KafkaUnreachable, match=r"127\.0\.0\.1:1 .*AXLE_PROCESSOR_KAFKA__BOOTSTRAP_SERVERS"):
        service(asked)
    assert time.monotonic() - began < 5


async def test_settings_that_librdkafka_does_not_take_are_a_sentence(broker: Broker, topics: TopicNames) -> None:
    """A misspelt or impossible option is told as what it is."""
    for wrong in ({"no.such.option": "1"}, {"security.protocol": "ssl", "ssl.ca.location": "/no/such/file"}):
        with pytest.raises(ConnectionWrong, match="does not take the settings of AXLE_PROCESSOR_KAFKA__"):
            service(replace(config(broker, topics), connection=wrong))


async def test_missing_topics_are_named(broker: Broker, topics: TopicNames) -> None:
    """A topic that is not there is named, with the command that makes it."""
    asked = replace(config(broker, topics), topics=replace(topics, outcomes="not-there", plug_in="nor-this"))
    with pytest.raises(TopicsUnfit, match=r"topics are missing: nor-this, not-there; .*topics apply"):
        service(asked)


async def test_state_and_reroute_have_to_agree(broker: Broker, topics: TopicNames) -> None:
    """Tasks are counted by two topics, and both must say the same."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    odd = f"{topics.state}.odd"
    await asyncio.to_thread(admin.create_topics([NewTopic(odd, 3, 1)])[odd].result, 10)
    await until(lambda: odd in admin.list_topics(timeout=5).topics)
    with pytest.raises(TopicsUnfit, match=r"has 3 partitions and .* has 2; both must have the same"):
        service(replace(config(broker, topics), topics=replace(topics, state=odd)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"transaction_timeout_ms": 10_000}, "transaction_timeout_ms must be below session_timeout_ms"),
        ({"calls_max": 0}, "calls_max must be at least 1"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(change: dict[str, int], sentence: str) -> None:
    """A configuration that could not keep its promises is not built."""
    with pytest.raises(ValueError, match=sentence):
        ServiceConfig("127.0.0.1:1", AxleAccount("http://127.0.0.1:1", "u", "p"), **change)  # type: ignore[arg-type]
