"""The registry's client: what it makes of answers, and what a start makes of what is registered."""

import json

import pytest

from processor.demo.registry import EmbeddedRegistry
from processor.shell.clock import SystemClock
from processor.shell.known_schemas import known_schemas
from processor.shell.metrics import Metrics
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import (
    Registry,
    RegistryAccount,
    RegistryFailed,
    RegistryWrong,
    registry_codec,
    subject_of,
    subjects_of,
)
from processor.shell.topics import TopicNames
from processor.wire.compatibility import Rule
from tests.broker import prefixed
from tests.cli.test_schemas import answering
from tests.shell.parts import plug_in

NAMES = TopicNames()


def test_each_topic_has_a_subject() -> None:
    """A subject is the topic's name, as it is called here, and `-value`."""
    subjects = subjects_of(prefixed(NAMES, "a."))
    assert len(subjects) == 6
    assert subjects["ev.v1.PlugIn"] == "a.ev.plug-in.v1-value" == subject_of("a.ev.plug-in.v1")
    assert subjects["ev.v1.Outcome"] == "a.axle-processor.outcomes.v1-value"


def test_a_schema_is_found_as_it_was_registered(registry: EmbeddedRegistry) -> None:
    """What a real registry was given comes back with its id, and an unknown subject has nothing."""
    client = Registry(RegistryAccount(registry.url))
    subject, text = "here.ev.plug-in.v1-value", schema_texts()["ev.plug-in.v1"]
    assert client.numbers(subject) == []
    schema_id = client.register(subject, text)
    assert client.register(subject, text) == schema_id
    (found,) = client.versions(subject)
    assert (found.version, found.schema_id, json.loads(found.text)) == (1, schema_id, json.loads(text))
    assert client.accepts(subject, text)
    client.set_level(subject, Rule.BACKWARD)
    assert client.level(subject) == Rule.BACKWARD
    codec = registry_codec(client, {"ev.v1.PlugIn": subject}, ["ev.v1.PlugIn"])
    assert codec.encode_input(plug_in())[:5] == b"\0" + schema_id.to_bytes(4, "big")
    client.close()


def test_outputs_must_be_registered() -> None:
    """A start without our outputs' schemas is refused with the command that mends it."""
    with answering(404, b'{"error_code": 40401, "message": "Subject not found"}') as (url, _):
        with pytest.raises(RegistryWrong, match="schemas register --apply") as refused:
            known_schemas(RegistryAccount(url), NAMES, SystemClock(), Metrics())
        assert f"{url} does not have this release's schema of ev.modified-schedule.v1-value, ev.en" in str(
            refused.value
        )


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b'{"error_code": 50001, "message": "The store is down"}', RegistryFailed),
        (404, b"<html>no such page</html>", RegistryFailed),
        (200, b"<html>welcome</html>", RegistryFailed),
        (422, b'{"error_code": 42201, "message": "Invalid"}', RegistryFailed),
        (401, b'{"error_code": 40101, "message": "Unauthorized"}', RegistryWrong),
    ],
)
def test_only_a_registry_is_believed(status: int, body: bytes, kind: type[Exception]) -> None:
    """Whatever else answers is no registry that has nothing."""
    with answering(status, body) as (url, _), pytest.raises(kind):
        known_schemas(RegistryAccount(url), NAMES, SystemClock(), Metrics())


def test_a_password_is_not_shown() -> None:
    """An account can be logged."""
    assert "hunter2" not in repr(RegistryAccount("http://registry", "us", "hunter2"))
