"""Rights: exactly those that we ask for are enough, and each one that is missing is told by name."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from processor.core.outputs import Outcome, Result
from processor.demo.kafka import EmbeddedKafka, make_topics
from processor.demo.kafka_node import HOST, free_port
from processor.shell.contract import Right, needed_rights
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.core.world import World
from tests.kafka.rig import CODEC, Running, boost, plug_in, processor, processor_environ, simulator, wait_until

NAMES = TopicNames()
GROUP = "axle-processor"
RIGHTS = needed_rights(NAMES, GROUP)
USER, PASSWORD = "processor", "let-me-in"
NOBODY = "http://127.0.0.1:1"
"""Where no Axle is. What refuses to start never asks it."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A broker that asks everybody who they are, except its administrator on loopback."""

    open_servers: str
    """Where the administrator goes."""
    servers: str
    admin: AdminClient

    def allow(self, *rights: Right) -> None:
        for future in self.admin.create_acls([_binding(right) for right in rights]).values():
            future.result(10)

    def forbid(self, right: Right) -> None:
        acl = _binding(right)
        only = AclBindingFilter(
            acl.restype,
            acl.name,
            acl.resource_pattern_type,
            acl.principal,
            acl.host,
            acl.operation,
            acl.permission_type,
        )
        (future,) = self.admin.delete_acls([only]).values()
        assert len(future.result(10)) == 1

    def environ(self, axle_url: str = NOBODY, **more: str) -> dict[str, str]:
        return processor_environ(
            self.servers,
            NAMES,
            axle_url,
            KAFKA__GROUP_ID=GROUP,
            KAFKA__SECURITY_PROTOCOL="sasl_plaintext",
            KAFKA__SASL_MECHANISM="PLAIN",
            KAFKA__SASL_USERNAME=USER,
            KAFKA__SASL_PASSWORD=more.pop("password", PASSWORD),
            **more,
        )

    def last_words(self, running: Running, code: int) -> str:
        """The one line of its own that a processor ends with, within 15 s."""
        wait_until(lambda: running.process.poll() is not None, 15, "the processor ended")
        assert running.process.returncode == code, running.said()
        lines = [line for line in running.said().splitlines() if not line.startswith(("{", "%"))]
        assert len(lines) == 1, running.said()
        return lines[0]


def _binding(right: Right) -> AclBinding:
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional id": ResourceType.TRANSACTIONAL_ID,
    }
    pattern = ResourcePatternType.PREFIXED if right.is_prefix else ResourcePatternType.LITERAL
    operation = AclOperation[right.operation]
    return AclBinding(kinds[right.kind], right.name, pattern, f"User:{USER}", "*", operation, AclPermissionType.ALLOW)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A broker with an authorizer, our topics, and one user who has exactly the rights that we ask for."""
    open_port, controller_port, port = free_port(), free_port(), free_port()
    open_servers, servers = f"{HOST}:{open_port}", f"{HOST}:{port}"
    settings = {
        "listeners": f"PLAINTEXT://{open_servers},CONTROLLER://{HOST}:{controller_port},SASL_PLAINTEXT://{servers}",
        "advertised.listeners": f"PLAINTEXT://{open_servers},SASL_PLAINTEXT://{servers}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        ),
    }
    with EmbeddedKafka(port=open_port, settings=settings) as broker:
        make_topics(broker, NAMES, 1)
        guarded = Guarded(open_servers, servers, AdminClient({"bootstrap.servers": open_servers}))
        guarded.allow(*RIGHTS)
        yield guarded


def test_what_we_ask_for_is_enough_and_what_is_taken_away_is_told(guarded: Guarded) -> None:
    """With these rights alone a processor settles a plug-in; when one goes while it runs, it ends and names it."""
    (publish,) = [right for right in RIGHTS if right.name == NAMES.modified_schedule]
    with simulator() as axle, processor(guarded.environ(axle.url), 1) as running:
        produce(guarded.open_servers, NAMES.plug_in, [("s-1", plug_in("s-1", "c-1", "p-1"), None)])
        (settled,) = read_committed(guarded.open_servers, NAMES.outcomes, 1, 30)
        result = CODEC.decode_output(Outcome, settled.value() or b"").result
        assert result in {Result.MODIFIED, Result.UNCHANGED}  # the simulator pauses two nights of three
        assert "is not checked: its settings are not told" in running.said()
        guarded.forbid(publish)
        try:
            produce(guarded.open_servers, NAMES.user_boost, [("s-1", boost("s-1", "c-1", "b-1"), None)])
            said = guarded.last_words(running, 3)
        finally:
            guarded.allow(publish)
    assert said == f"configuration: we may not WRITE the topic {publish.name}: give the principal WRITE on it"


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: f"{right.operation} {right.kind} {right.name}")
def test_each_right_that_is_missing_is_told(guarded: Guarded, right: Right) -> None:
    """Exit code 3, the resource and the right by name, whichever one of them is not there."""
    guarded.forbid(right)
    running = Running([sys.executable, "-m", "processor", "run"], guarded.environ())
    try:
        said = guarded.last_words(running, 3)
    finally:
        running.end()
        guarded.allow(right)
    on = "them" if right.is_prefix else "it"
    assert said == f"configuration: we may not {right}: give the principal {right.operation} on {on}"


def test_the_tools_need_less(guarded: Guarded) -> None:
    """READ on four topics and WRITE on one are enough for them: none needs a right to the group."""
    read = [NAMES.modified_schedule, NAMES.enrolment_status, NAMES.outcomes, NAMES.state]
    few = [*(Right("topic", name, "READ") for name in read), Right("topic", NAMES.plug_in, "WRITE")]
    for right in RIGHTS:
        guarded.forbid(right)
    guarded.allow(*few)
    said = World().settled().records
    produce(guarded.open_servers, NAMES.modified_schedule, [("c-1", CODEC.encode(record), None) for record in said])
    event = ["--site", "home-1", "--charger", "c-1", "--schedule", "now/+8h"]
    try:
        for verb in (["produce", "plug-in", *event], ["tail", "--from", "-1h", "--count", "2"], ["explain", "c-1"]):
            running = Running([sys.executable, "-m", "processor", *verb], guarded.environ())
            try:
                assert running.process.wait(30) == 0, running.said()
            finally:
                running.end()
    finally:
        for right in few:
            guarded.forbid(right)
        guarded.allow(*RIGHTS)


def test_a_wrong_password_is_told(guarded: Guarded) -> None:
    """Exit code 3 and the settings to look at, without the password."""
    running = Running([sys.executable, "-m", "processor", "run"], guarded.environ(password="wr0ng-one"))
    try:
        said = guarded.last_words(running, 3)
    finally:
        running.end()
    assert re.search("do not let us in: .*Invalid username or password.*AXLE_PROCESSOR_KAFKA__SASL_USERNAME", said)
    assert "wr0ng-one" not in said
