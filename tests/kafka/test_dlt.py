"""Dead letters sent again, from end to end: the commands, a real broker, a processor and a simulated Axle."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from processor.cli.dlt import DltOptions, ReplayHow, list_verb, replay_verb, show_verb
from processor.core.events import Input
from processor.core.outputs import ModifiedSchedule, Outcome, Result
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.cli.parts import environment
from tests.kafka.at_work import Scene, at_work
from tests.kafka.rig import CODEC, boost, now_ms, plug_in, read_all, wait_until

SITE, CHARGER = "home-1", "charger-1"
LISTED = DltOptions(json=True)
HEADERS = [("ce_id", b"p-1"), ("trace", b"t-7")]


@pytest.fixture(autouse=True)
def environ(broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an operator of that processor."""
    for name, value in environment(broker.bootstrap_servers, topics).items():
        monkeypatch.setenv(name, value)


async def told(capsys: pytest.CaptureFixture[str], verb: Any, *arguments: Any, **more: Any) -> Any:
    """What a command says as JSON; the processor's log is on the same stream here."""
    capsys.readouterr()
    await asyncio.to_thread(verb, *arguments, **more)
    return json.loads([line for line in capsys.readouterr().out.splitlines() if line[:1] in "[{"][-1])


def named(letter: str) -> DltOptions:
    """One letter, by its place."""
    return DltOptions(places=(letter,), json=True)


def with_power(value: bytes, power_kw: float) -> bytes:
    """A plug-in with another power."""
    fields = CODEC.decode(Input.PLUG_IN, value)
    return CODEC.encode_fields(Input.PLUG_IN, fields | {"power_kw": power_kw})


async def refused(scene: Scene, value: bytes) -> None:
    """A plug-in comes in with headers of the platform's, and is refused."""
    record = (b"a-key-of-theirs", value, HEADERS)
    await asyncio.to_thread(produce, scene.broker.bootstrap_servers, scene.topics.plug_in, [record])
    assert (await scene.outcome(lambda outcome: outcome.source.topic == scene.topics.plug_in)).result is Result.INVALID


async def schedules(scene: Scene) -> list[ModifiedSchedule]:
    """What was published for the charger."""
    read = await asyncio.to_thread(read_all, scene.broker.bootstrap_servers, scene.topics.modified_schedule)
    return [CODEC.decode_output(ModifiedSchedule, message.value() or b"") for message in read]


def replayed_outcome(scene: Scene) -> Any:
    """Which outcomes are those of replayed records."""

    def is_it(outcome: Outcome) -> bool:
        return outcome.source.topic == scene.topics.reroute

    return is_it


@pytest.mark.anyio
async def test_a_letter_fixed_and_replayed_twice_changes_the_state_once(
    broker: Broker, topics: TopicNames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The event is taken once; the second replay is not sent, and one that is forced on is a duplicate."""
    file = tmp_path / "event.json"
    async with at_work(broker, topics) as scene:
        await refused(scene, with_power(plug_in(SITE, CHARGER, "p-1"), 7400.0))
        (letter,) = await told(capsys, list_verb, LISTED)
        shown = await told(capsys, show_verb, letter["letter"], as_json=True, timeout_seconds=60)
        unfixed = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(apply=True))
        file.write_text(json.dumps(shown["event"] | {"power_kw": 7.4}))
        planned = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(fix=file))
        assert await asyncio.to_thread(read_all, broker.bootstrap_servers, topics.reroute) == []

        first = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(apply=True, fix=file))
        taken = await scene.outcome(replayed_outcome(scene))
        before = await schedules(scene)
        second = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(apply=True, fix=file))
        forced = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(apply=True, again=True, fix=file))
        duplicate = await scene.outcome(replayed_outcome(scene), 2)
        after = await schedules(scene)
        (listed,) = await told(capsys, list_verb, LISTED)

    assert (letter["reason"], letter["key"], letter["replayed"]) == ("bad_power", "a-key-of-theirs", False)
    assert "power_kw is not between" in unfixed["staying"][0]["why"]
    assert (planned["applied"], planned["going"]) == (False, first["going"])
    assert [each["event_id"] for each in first["going"]] == ["p-1"]
    assert (taken.event_id, taken.result in {Result.MODIFIED, Result.UNCHANGED}) == ("p-1", True)
    assert (second["going"], "already" in second["staying"][0]["why"]) == ([], True)
    assert (len(forced["going"]), duplicate.result) == (1, Result.DUPLICATE)
    assert before == after
    assert listed["replayed"] is True
    sent = await asyncio.to_thread(read_all, broker.bootstrap_servers, topics.reroute)
    assert [[header for header in message.headers() or [] if header in HEADERS] for message in sent] == [HEADERS] * 2
    assert [dict(message.headers() or [])["reroute-key"] for message in sent] == [b"a-key-of-theirs"] * 2
    assert not any("dlt-error-class" in dict(message.headers() or []) for message in sent)


@pytest.mark.anyio
async def test_a_replayed_event_gives_way_to_a_newer_one(
    broker: Broker, topics: TopicNames, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plug-in dated ahead counts as of its first reading, also when it is replayed: the later boost stays."""
    file = tmp_path / "event.json"
    async with at_work(broker, topics) as scene:
        await refused(scene, with_power(plug_in(SITE, CHARGER, "p-1", now_ms() + 86_400_000, enrol=False), 7400.0))
        (letter,) = await told(capsys, list_verb, LISTED)
        shown = await told(capsys, show_verb, letter["letter"], as_json=True, timeout_seconds=60)
        first_read_ms = int(dict(shown["headers"])["dlt-original-timestamp"])
        await asyncio.to_thread(wait_until, lambda: now_ms() > first_read_ms + 2, 5, "a later moment")
        await scene.say(topics.plug_in, SITE, plug_in(SITE, CHARGER, "p-2"))
        await scene.outcome_of("p-2")
        await scene.say(topics.user_boost, SITE, boost(SITE, CHARGER, "b-1"))
        await scene.outcome_of("b-1")
        before = await schedules(scene)
        file.write_text(json.dumps(shown["event"] | {"power_kw": 7.4}))
        answer = await told(capsys, replay_verb, named(letter["letter"]), ReplayHow(apply=True, fix=file))
        assert answer["staying"] == []
        late = await scene.outcome(replayed_outcome(scene))
        after = await schedules(scene)
    assert late.result is Result.STALE
    assert [record.requested for record in after[-1:]] == [record.requested for record in before[-1:]]


@pytest.mark.anyio
async def test_a_record_that_comes_back_is_let_go_of(
    broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that the processor refuses again and again is replayed three times, and no more."""
    monkeypatch.setenv("AXLE_PROCESSOR_INPUTS__AGE_MAX_DAYS", "365")  # of the command alone: the processor has 30
    old = plug_in(SITE, CHARGER, "p-1", now_ms() - 60 * 86_400_000)
    answers = []
    async with at_work(broker, topics) as scene:
        await refused(scene, old)
        for count in range(4):
            answers.append(await told(capsys, replay_verb, LISTED, ReplayHow(apply=True)))
            if count < 3:
                await scene.outcome(replayed_outcome(scene), count + 1)
        letters = await told(capsys, list_verb, LISTED)
    assert [len(answer["going"]) for answer in answers] == [1, 1, 1, 0]
    assert [answer["going"][0]["replay"] for answer in answers[:3]] == [1, 2, 3]
    assert "it was replayed 3 times and refused each time" in answers[3]["staying"][-1]["why"]
    assert sorted((letter["replays"], letter["replayed"]) for letter in letters) == [
        (0, True),
        (1, True),
        (2, True),
        (3, False),
    ]
    assert {letter["key"] for letter in letters} == {"a-key-of-theirs"}
