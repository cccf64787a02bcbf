"""With a schema registry: others' clients and our verbs agree on every byte, and no absence of it loses anything."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor.cli import app
from processor.core.events import Input, PlugIn
from processor.core.outputs import Outcome, Result
from processor.demo.kafka import Broker
from processor.demo.registry import EmbeddedRegistry
from processor.settings import PREFIX
from processor.shell.partition import task_of
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import Registry, RegistryAccount, subject_of
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.cli.parts import environment
from tests.kafka.at_work import Scene, at_work
from tests.kafka.rig import CODEC, NOWHERE, Running, now_ms, plug_in, read_all, samples, tonight, wait_until
from tests.kafka.test_charger_control import EXAMPLE
from tests.shell.parts import until

pytestmark = pytest.mark.anyio
PLUG_IN = ("produce", "plug-in", "--site", "s-1", "--charger", "c-1", "--schedule", "now/+8h")
FOREIGN_ID = 0x7FFFF000
STORM, QUESTIONS_MAX = 300, 10
HERE, BEHIND, ELSEWHERE = "s-1", "s-0", "s-3"
"""Two homes of one partition, and one of another."""


def verb(environ: dict[str, str], *arguments: str) -> Ended:
    """A verb, as an operator with this environment gives it."""
    return CliRunner().invoke(app, arguments, env=environ)


def confluents(registry: EmbeddedRegistry, topic: str, text: str) -> Callable[[dict[str, Any]], bytes]:
    """Confluent's own serializer of a topic with that schema, by an id that the registry has."""
    from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    config: dict[str, Any] = {"auto.register.schemas": False, "subject.name.strategy": topic_subject_name_strategy}
    client = SchemaRegistryClient({"url": registry.url})
    serializer = AvroSerializer(client, text, conf=config)

    def serialized(fields: dict[str, Any]) -> bytes:
        value: bytes = serializer(fields, SerializationContext(topic, MessageField.VALUE))
        client.close()
        return value

    return serialized


def plugged(site: str, event_id: str) -> dict[str, Any]:
    """The fields of a plug-in at a home without a consent."""
    return CODEC.decode(Input.PLUG_IN, plug_in(site, f"c-{site}", event_id, enrol=False))


def with_tariff() -> str:
    """The plug-in's schema as a producer may extend it."""
    schema = json.loads(schema_texts()["ev.plug-in.v1"])
    schema["fields"].append({"name": "tariff", "type": "string", "default": ""})
    return json.dumps(schema)


def evolved(registry: EmbeddedRegistry, topics: TopicNames) -> bytes:
    """A plug-in of a producer that has registered a newer schema of its own."""
    with closing(Registry(RegistryAccount(registry.url))) as known:
        known.register(subject_of(topics.plug_in), with_tariff())
    fields = {**plugged(HERE, "newer"), "tariff": "night"}
    return confluents(registry, topics.plug_in, with_tariff())(fields)


def framed(scene: Scene, site: str, event_id: str) -> bytes:
    """A plug-in by an id that the processor knows from its start."""
    event = PlugIn(event_id, now_ms(), NOWHERE, site, f"c-{site}", tonight(), 7.4, None)
    return scene.codec.encode_input(event)


def committed(broker: Broker, topics: TopicNames) -> dict[int, int]:
    """How far the group has read each partition of the plug-ins."""
    group = f"{topics.state}.group"
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": group})
    try:
        places = consumer.committed([TopicPartition(topics.plug_in, partition) for partition in range(2)], timeout=20)
    finally:
        consumer.close()
    return {place.partition: place.offset for place in places}


def metric(scene: Scene, name: str) -> dict[str, float]:
    return samples(scene.service.metrics.exposition().decode(), f"axle_processor_{name}")


async def test_others_and_our_verbs_speak_the_registrys_framing(
    broker: Broker, topics: TopicNames, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    """What Confluent's serializer wrote is read, a foreign id is a dead letter, and each verb reads what we write."""
    bootstrap = broker.bootstrap_servers
    environ = {**environment(bootstrap, topics), f"{PREFIX}SCHEMA_REGISTRY__URL": registry.url}
    early = await asyncio.to_thread(verb, environ, *PLUG_IN)
    assert early.exit_code == 3
    assert "does not have this release's schema" in early.stderr
    assert "schemas register --apply" in early.stderr
    async with at_work(broker, topics, registry=registry) as scene:
        theirs = await asyncio.to_thread(confluents, registry, topics.plug_in, schema_texts()["ev.plug-in.v1"])
        await scene.say(topics.plug_in, "s-9", await asyncio.to_thread(theirs, plugged("s-9", "theirs")))
        storm = [(b"s-8", b"\0" + (FOREIGN_ID + number).to_bytes(4, "big") + b"rest", None) for number in range(STORM)]
        await asyncio.to_thread(produce, bootstrap, topics.plug_in, storm)
        await scene.say(topics.plug_in, "s-7", plug_in("s-7", "c-7", "before", enrol=False))
        assert (await scene.outcome_of("theirs")).result is Result.NOT_ENROLLED
        assert (await scene.outcome_of("before")).result is Result.NOT_ENROLLED
        assert (await scene.outcome(lambda told: told.event_id is None, STORM)).result is Result.INVALID
        assert metric(scene, "schema_registry_questions_total")['{outcome="answered"}'] <= QUESTIONS_MAX
    subject = f"{topics.plug_in}-value"
    told = f"written with schema {FOREIGN_ID}, which is not a version of {subject} in the schema registry"
    assert told in verb(environ, "dlt", "show", "0@0").output + verb(environ, "dlt", "show", "1@0").output
    sent = verb(environ, *PLUG_IN, "--dry-run", "--json")
    assert json.loads(sent.stdout)["hex"].startswith("00"), sent.output
    tailed = verb(environ, "tail", "--from", "earliest", "--charger", "c-s-9", "--count", "1", "--json")
    assert json.loads(tailed.stdout)["status"] == "NOT_ENROLLED", tailed.output
    explained = verb(environ, "explain", "c-s-9")
    assert explained.exit_code == 0, explained.output
    assert "passed over" not in explained.stderr
    example = [sys.executable, str(EXAMPLE), bootstrap, str(tmp_path / "applied.db"), "1.6", topics.modified_schedule]
    control = Running(example, {**os.environ, **environ})
    try:
        wait_until(lambda: control.said().count(" sent") >= 2, 60, f"the example applied both: {control.said()}")
    finally:
        control.end()


async def test_a_registry_that_is_killed_loses_nothing(
    broker: Broker, topics: TopicNames, registry: EmbeddedRegistry
) -> None:
    """Known ids go on without it; a record with a new id waits, with all behind it, and is settled when it is back."""
    assert task_of(HERE, 2) == task_of(BEHIND, 2) != task_of(ELSEWHERE, 2)
    async with at_work(broker, topics, registry=registry) as scene:
        await scene.say(topics.plug_in, HERE, framed(scene, HERE, "first"))
        await scene.outcome_of("first")
        newer = await asyncio.to_thread(evolved, registry, topics)
        registry.kill()
        try:
            await scene.say(topics.plug_in, HERE, newer)
            await scene.say(topics.plug_in, BEHIND, framed(scene, BEHIND, "behind"))
            await scene.say(topics.plug_in, ELSEWHERE, framed(scene, ELSEWHERE, "elsewhere"))
            await scene.outcome_of("elsewhere")
            await until(lambda: any(not check.ok for check in scene.service.ready_checks()), 60)
            (waits,) = [check.reason for check in scene.service.ready_checks() if not check.ok]
            assert f"{topics.plug_in} [{task_of(HERE, 2)}] stands still until the schema registry can be asked" in waits
            assert waits in str(scene.service.status()["verdict"])
            assert metric(scene, "held_partitions") == {"": 1.0}
            assert metric(scene, "schema_registry_questions_total")['{outcome="failed"}'] >= 1
            assert committed(broker, topics) == {task_of(HERE, 2): 1, task_of(ELSEWHERE, 2): 1}
            assert all(check.ok for check in scene.service.live_checks())
        finally:
            await asyncio.to_thread(registry.restart)
        assert (await scene.outcome_of("newer")).result is Result.NOT_ENROLLED
        await scene.outcome_of("behind")
        assert metric(scene, "held_partitions") == {"": 0.0}
        assert all(check.ok for check in scene.service.ready_checks())
    messages = read_all(broker.bootstrap_servers, topics.outcomes)
    outcomes = [scene.codec.decode_output(Outcome, message.value() or b"") for message in messages]
    assert sorted(outcome.event_id or "" for outcome in outcomes) == ["behind", "elsewhere", "first", "newer"]
    waited = [outcome for outcome in outcomes if outcome.source.partition == task_of(HERE, 2)]
    assert [outcome.event_id for outcome in waited] == ["first", "newer", "behind"]
    assert read_all(broker.bootstrap_servers, topics.dead_letter) == []
