"""The codec of the settings, and a start without the registry that they name."""

import json
import re
import sys

import pytest

from processor.cli.schema_registry import ASKED_MAX, codec_of
from processor.core.events import Input
from processor.demo.registry import EmbeddedRegistry
from processor.settings import PREFIX, load
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import Registry, RegistryAccount, RegistryFailed, RegistryWrong
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec, Undecodable
from processor.wire.registered import RegistryCodec
from tests.broker import prefixed
from tests.cli.parts import NOBODY, environment
from tests.cli.test_schemas import answering
from tests.kafka.rig import Running, processor_environ, wait_until
from tests.shell.parts import CODEC, plug_in

RECORD = "ev.v1.PlugIn"
REGISTRY_URL = f"{PREFIX}SCHEMA_REGISTRY__URL"


def with_tariff() -> str:
    schema = json.loads(schema_texts()["ev.plug-in.v1"])
    schema["fields"].append({"name": "tariff", "type": "string", "default": ""})
    return json.dumps(schema)


def test_without_a_registry_nobody_is_asked() -> None:
    """Settings without its address mean single-object encoding."""
    codec = codec_of(load({}), [RECORD])
    assert not isinstance(codec, RegistryCodec)
    assert codec.encode_input(plug_in()) == CODEC.encode_input(plug_in())


def test_what_is_registered_meanwhile_is_read(registry: EmbeddedRegistry) -> None:
    """A verb that meets a newer schema asks for it on the spot, and a foreign one is refused, asked for once."""
    names = prefixed(TopicNames(), "codec-of.")
    settings = load({**environment(NOBODY, names), REGISTRY_URL: registry.url})
    with pytest.raises(RegistryWrong, match=r"codec-of\.ev\.plug-in\.v1-value"):
        codec_of(settings, [RECORD], writes=[RECORD])
    codec, subject = codec_of(settings, [RECORD]), f"{names.plug_in}-value"
    client = Registry(RegistryAccount(registry.url))
    header = b"\0" + client.register(subject, with_tariff()).to_bytes(4, "big")
    client.close()
    value = header + CODEC.encode_input(plug_in())[10:] + b"\x0anight"
    assert codec.decode(Input.PLUG_IN, value)["event_id"] == "p-1"
    for number in range(2 * ASKED_MAX):
        refused(codec, b"\0\x7f\0" + number.to_bytes(2, "big") + b"rest")


def refused(codec: Codec, value: bytes) -> None:
    with pytest.raises(Undecodable, match=r"not a version of codec-of\.ev\.plug-in\.v1-value"):
        codec.decode(Input.PLUG_IN, value)


def test_a_registry_that_is_down_is_told() -> None:
    """A verb that needs the registry fails with its address."""
    with pytest.raises(RegistryFailed, match=f"no answer from http://{re.escape(NOBODY)}"):
        codec_of(load({**environment(NOBODY), REGISTRY_URL: f"http://{NOBODY}"}), [RECORD])


def test_a_start_waits_for_the_registry() -> None:
    """While the registry cannot be asked a processor says what it waits for, and ends in order when it is told to."""
    url = f"http://{NOBODY}"
    environ = processor_environ(NOBODY, TopicNames(), url, SCHEMA_REGISTRY__URL=url)
    running = Running([sys.executable, "-m", "processor", "run"], environ)
    try:
        wait_until(lambda: "waiting for the schema registry" in running.said(), 60, "it says what it waits for")
        assert f"no answer from http://{NOBODY}" in running.said()
        assert running.terminate() == 0, running.said()
    finally:
        running.end()


def test_a_start_without_registered_schemas_is_configuration() -> None:
    """Where no id of ours is known a processor does not start, and says which command mends that."""
    with answering(404, b'{"error_code": 40401, "message": "Subject not found"}') as (url, _):
        environ = processor_environ(NOBODY, TopicNames(), "http://127.0.0.1:1", SCHEMA_REGISTRY__URL=url)
        running = Running([sys.executable, "-m", "processor", "run"], environ)
        try:
            assert running.process.wait(60) == 3, running.said()
            assert running.said().splitlines()[-1].startswith("configuration: ")
            assert "schemas register --apply" in running.said()
        finally:
            running.end()
