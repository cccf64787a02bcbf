"""An order to erase from end to end: the command, a real broker, a processor and a simulated Axle."""

import asyncio
import json
from contextlib import closing, suppress
from dataclasses import astuple
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processor.cli.erase import erase_verb
from processor.core.events import Input
from processor.core.outputs import Result
from processor.demo.kafka import Broker
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.instants import iso_z
from tests.cli.parts import environment
from tests.kafka.at_work import PATIENCE_SECONDS, Scene, at_work
from tests.kafka.rig import CODEC, now_ms, plug_in, read_all, wait_until

SITE, CHARGER = "home-1", "charger-1"


async def states(scene: Scene) -> list[Message]:
    """What the changelog of the site's task holds now."""
    return [m for m in await records(scene, scene.topics.state) if m.partition() == task_of(SITE, 2)]


async def records(scene: Scene, topic: str) -> list[Message]:
    """What the topic holds now."""
    return await asyncio.to_thread(read_all, scene.broker.bootstrap_servers, topic)


async def erase(site: str = SITE, timeout_seconds: float = PATIENCE_SECONDS) -> int:
    """The command, as it runs once its arguments are read."""
    return await asyncio.to_thread(erase_verb, site, as_json=True, timeout_seconds=timeout_seconds, wait=True)


def told_as_json(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What the commands said since the last call; the processor's log is on the same stream here."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def wait_until_led(broker: Broker, topics: TopicNames) -> None:
    """Topics that were made a moment ago have leaders that do not know it yet: wait for those."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "another-independent-reader"})

    def led(partition: TopicPartition) -> bool:
        with suppress(KafkaException):
            reader.get_watermark_offsets(partition, 5)
            return True
        return False

    with closing(reader):
        for partition in [TopicPartition(topic, number) for topic in astuple(topics) for number in range(2)]:
            wait_until(partial(led, partition), PATIENCE_SECONDS, f"a leader of {partition}")


@pytest.fixture
def environ(broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an operator of that processor."""
    for name, value in environment(broker.bootstrap_servers, topics).items():
        monkeypatch.setenv(name, value)


@pytest.mark.anyio
@pytest.mark.usefixtures("environ")
async def test_a_household_is_forgotten_at_axle_and_here(
    broker: Broker, topics: TopicNames, capsys: pytest.CaptureFixture[str]
) -> None:
    """Axle loses the site, the topics its state and its status, and a replay of its plug-in does not reach Axle."""
    value = plug_in(SITE, CHARGER, "p-1")
    mpan = CODEC.decode(Input.PLUG_IN, value)["enrolment"]["mpan"].encode()
    await asyncio.to_thread(wait_until_led, broker, topics)
    async with at_work(broker, topics) as scene:
        await scene.say(topics.plug_in, SITE, value)
        assert (await scene.outcome_of("p-1")).result in {Result.MODIFIED, Result.UNCHANGED}
        (site,), (asset,) = (scene.axle.world.snapshot()[kind] for kind in ("sites", "assets"))
        before = await states(scene)

        assert await erase() == 0
        (told,) = told_as_json(capsys)
        outcome = await scene.outcome_of(told["event_id"])
        after = (await states(scene))[len(before) :]
        (*_, status) = [m for m in await records(scene, topics.enrolment_status) if m.key() == SITE.encode()]
        assert scene.axle.world.snapshot() == {"sites": [], "assets": []}

        calls = scene.axle.calls.last
        await scene.say(topics.plug_in, SITE, value)
        assert (await scene.outcome_of("p-1", 2)).result is Result.WITHDRAWN
        assert scene.axle.calls.last == calls

    assert (told["says"], told["forgotten"]) == ("offboarded at Axle, forgotten here", True)
    assert (told["outcome"], outcome.result) == ("OFFBOARDED", Result.OFFBOARDED)
    assert (outcome.source.topic, outcome.source.partition) == (topics.reroute, task_of(SITE, 2))
    assert status.value() is None
    assert {each["topic"] for each in told["topics"]} == set(astuple(topics))
    tombstone = [(message.key(), message.value()) for message in after].index((SITE.encode(), None))
    ids = [text.encode() for text in (SITE, CHARGER, site["id"], asset["id"])]
    assert mentioned(before, [mpan, *ids]) == {mpan, *ids}
    assert not mentioned(after, [mpan])
    assert not mentioned(after[tombstone + 1 :], ids)


@pytest.mark.anyio
@pytest.mark.usefixtures("environ")
async def test_what_did_not_happen_is_said(
    broker: Broker, topics: TopicNames, capsys: pytest.CaptureFixture[str]
) -> None:
    """A household that came back, one that nobody knows, and one that Axle does not let go: each is told apart."""
    soon_ms = now_ms() + 4 * 60_000
    await asyncio.to_thread(wait_until_led, broker, topics)
    async with at_work(broker, topics) as scene:
        scene.axle.set_faults([{"endpoint": "offboard", "fault": "hang"}])
        await scene.say(topics.plug_in, "home-2", plug_in("home-2", "charger-2", "p-2", soon_ms))
        await scene.say(topics.plug_in, "home-4", plug_in("home-4", "charger-4", "p-4"))
        await scene.outcome_of("p-2")
        await scene.outcome_of("p-4")
        codes = [await erase("home-2"), await erase("home-3"), await erase("home-4", timeout_seconds=4)]
        back, unknown, owed = told_as_json(capsys)
        again = asyncio.create_task(erase("home-4"))
        replaced = await scene.outcome_of(owed["event_id"])
        scene.axle.set_faults([])
        codes.append(await again)
        (gone,) = told_as_json(capsys)

    assert codes == [1, 0, 1, 0]
    consented_at = iso_z(soon_ms - 1000)[:16].replace("T", " ")
    assert back["says"] == f"a newer consent stands: nothing was erased (consented {consented_at} UTC)"
    assert (back["outcome"], back["consented_at_ms"], back["topics"]) == ("STALE", soon_ms - 1000, [])
    assert (unknown["outcome"], unknown["says"]) == ("NOTHING_TO_OFFBOARD", "nothing was at Axle, forgotten here")
    assert owed["says"] == "still owed after 4 s: Axle has not confirmed; the processor goes on by itself"
    assert (owed["outcome"], replaced.result) == (None, Result.COALESCED)
    assert (gone["outcome"], gone["says"]) == ("OFFBOARDED", "offboarded at Axle, forgotten here")


def mentioned(messages: list[Message], words: list[bytes]) -> set[bytes]:
    """Those words that are in a key, a value or a header of these records."""
    parts: list[bytes] = []
    for message in messages:
        parts += [message.key() or b"", message.value() or b"", str(message.headers()).encode()]
    return {word for word in words if any(word in part for part in parts)}
