"""Which group protocol is spoken: what brokers and settings say, and what follows from it."""

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)

from processor.demo.kafka import Broker, MockKafka
from processor.shell.protocol import Asked, Choice, choose_protocol

SESSION_MS = 10_000


def choose(servers: str, asked: Asked = "auto", instance_id: str | None = None, group: str = "a-group") -> Choice:
    """The choice of a process with these settings."""
    return choose_protocol(asked, instance_id, SESSION_MS, {"bootstrap.servers": servers}, group)


def test_brokers_that_notice_a_death_soon_get_the_newer_protocol(broker: Broker) -> None:
    """`auto` takes `consumer`, and the brokers' session, where that is at most 15 s."""
    choice = choose(broker.bootstrap_servers)
    assert choice == Choice("consumer", 6000, "the brokers notice a death within 6 s")
    assert choose(broker.bootstrap_servers, "classic") == Choice("classic", SESSION_MS, "it was asked for")


def test_a_group_with_a_long_session_of_its_own_stays_classic(broker: Broker) -> None:
    """What counts is the session of this group: 45 s, as on stock brokers, makes it `classic`, and says why."""
    group = ConfigResource(ConfigResource.Type.GROUP, "a-slow-group")
    group.add_incremental_config(
        ConfigEntry("consumer.session.timeout.ms", "45000", incremental_operation=AlterConfigOpType.SET)
    )
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for done in admin.incremental_alter_configs([group]).values():
        done.result(10)
    choice = choose(broker.bootstrap_servers, group="a-slow-group")
    assert choice == Choice("classic", SESSION_MS, "under `consumer` the brokers notice a death after 45 s")
    assert choose(broker.bootstrap_servers, "consumer", group="a-slow-group").session_ms == 45_000


def test_an_instance_id_makes_it_classic(broker: Broker) -> None:
    """With a stable name the protocol is the one under which a restarted process takes its tasks back at once."""
    choice = choose(broker.bootstrap_servers, instance_id="a")
    assert (choice.protocol, choice.session_ms) == ("classic", SESSION_MS)
    assert "instance id" in choice.why


def test_an_instance_id_and_the_newer_protocol_contradict_each_other() -> None:
    """Asking for both is refused in one sentence, before anybody is asked."""
    with pytest.raises(ValueError, match=r"kafka.protocol=consumer cannot be had with kafka.instance_id: .*"):
        choose("127.0.0.1:1", "consumer", "a")


def test_brokers_that_tell_nothing_make_it_classic() -> None:
    """Brokers that are too old, forbid the question or do not answer are no reason to fail."""
    mock = MockKafka()
    mock.start()
    try:
        silent = choose(mock.bootstrap_servers)
    finally:
        mock.stop()
    away = choose("127.0.0.1:1")
    assert (silent.protocol, away.protocol) == ("classic", "classic")
    assert "do not" in silent.why
    assert "do not tell their settings" in away.why
