"""What withdrew here and is at Axle again goes: by the command, and by a processor that compares now and then."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka import Message

from processor.cli.reconcile import reconcile_verb
from processor.cli.run import http_transport
from processor.core.events import Enrolment, Input, Onboarded
from processor.core.intents import Onboard
from processor.core.outputs import Outcome, Result
from processor.demo.axle import AxleSimulator
from processor.demo.kafka import Broker
from processor.settings import PREFIX
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.clock import SystemClock
from processor.shell.metrics import Metrics
from processor.shell.service import Service, ServiceConfig
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.kafka.rig import CODEC, plug_in, withdrawal
from tests.shell.parts import until

pytestmark = pytest.mark.anyio
PATIENCE_SECONDS = 60.0
SITE, CHARGER = "home-1", "charger-1"


@dataclass(frozen=True, slots=True)
class Scene:
    """A processor at work, a simulated Axle, and the topics between."""

    broker: Broker
    topics: TopicNames
    axle: AxleSimulator
    service: Service

    async def say(self, topic: str, value: bytes) -> None:
        """Something happens at the household."""
        await asyncio.to_thread(produce, self.broker.bootstrap_servers, topic, [(SITE.encode(), value, None)])

    async def outcome(self, is_it: Callable[[Outcome], bool]) -> Outcome:
        """The first outcome like that."""
        found: list[Outcome] = []

        def is_there(read: list[Message]) -> bool:
            decoded = (CODEC.decode_output(Outcome, message.value() or b"") for message in read)
            found[:] = [outcome for outcome in decoded if is_it(outcome)]
            return bool(found)

        servers = self.broker.bootstrap_servers
        await asyncio.to_thread(read_committed, servers, self.topics.outcomes, is_there, PATIENCE_SECONDS)
        return found[0]

    async def joins_and_leaves(self) -> Enrolment:
        """The household is enrolled, withdraws, and Axle confirms. Its personal data, for who has them still."""
        value = plug_in(SITE, CHARGER, "p-1")
        enrolment = CODEC.decode(Input.PLUG_IN, value)["enrolment"]
        await self.say(self.topics.plug_in, value)
        await self.outcome(lambda outcome: outcome.event_id == "p-1")
        await self.say(self.topics.consent_withdrawn, withdrawal(SITE, "w-1"))
        left = await self.outcome(lambda outcome: outcome.event_id == "w-1")
        assert left.result is Result.OFFBOARDED
        assert self.homes == 0
        names = ("mpan", "postcode", "street_address", "boundary_meter_consent_at", "consented_at")
        return Enrolment(*(enrolment[name] for name in names))

    async def lands_too_late(self, enrolment: Enrolment) -> None:
        """An onboarding that everybody had given up reaches Axle after all."""
        client = AxleClient(AxleAccount(self.axle.url, "u", "p"), http_transport(), SystemClock(), Metrics())
        assert isinstance(await client.perform(Onboard(SITE, CHARGER, enrolment, 7.4, None)), Onboarded)
        await client.aclose()
        assert self.homes == 1

    @property
    def homes(self) -> int:
        """How many sites Axle has."""
        return len(self.axle.world.snapshot()["sites"])

    def drift(self, kind: str) -> float | None:
        """What the processor's metric says."""
        registry = self.service.metrics.registry
        return registry.get_sample_value("axle_processor_reconcile_drift", {"kind": kind})


@asynccontextmanager
async def at_work(broker: Broker, topics: TopicNames, reconcile_seconds: float | None) -> AsyncIterator[Scene]:
    """A processor with an Axle of its own."""
    async with AxleSimulator() as axle:
        config = ServiceConfig(
            broker.bootstrap_servers,
            AxleAccount(axle.url, "u", "p"),
            topics,
            group_id=f"{topics.state}.group",
            http_port=0,
            reconcile_seconds=reconcile_seconds,
        )
        service = Service(config, http_transport())
        running = asyncio.create_task(service.run())
        try:
            yield Scene(broker, topics, axle, service)
        finally:
            service.stop()
            await running


def is_of_an_order(outcome: Outcome) -> bool:
    """Whether it settles an order to look for a charger."""
    return (outcome.event_id or "").startswith("listed.")


async def test_the_command_has_it_looked_for_and_offboarded(
    broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run changes nothing; applied, the processor looks it up, offboards it, and the order has its outcome."""

    async def reconcile(*, apply: bool) -> str:
        code = await asyncio.to_thread(reconcile_verb, apply=apply, as_json=False, timeout_seconds=PATIENCE_SECONDS)
        assert code == 0
        return capsys.readouterr().out

    async with at_work(broker, topics, None) as scene:
        monkeypatch.setenv(f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap_servers)
        for name in TopicNames.__slots__:
            monkeypatch.setenv(f"{PREFIX}TOPICS__{name.upper()}", getattr(topics, name))
        for name, value in {"BASE_URL": scene.axle.url, "USERNAME": "u", "PASSWORD": "p"}.items():
            monkeypatch.setenv(f"{PREFIX}AXLE__{name}", value)
        enrolment = await scene.joins_and_leaves()
        assert "0 differences" in await reconcile(apply=True)
        await scene.lands_too_late(enrolment)
        assert "left_here: 1 " in await reconcile(apply=False)
        assert scene.homes == 1
        assert "1 ordered; a running processor looks for them" in await reconcile(apply=True)
        done = await scene.outcome(is_of_an_order)
        assert (done.result, done.site_id, done.charger_id) == (Result.OFFBOARDED, SITE, CHARGER)
        assert done.source.topic == topics.reroute
        assert scene.homes == 0
        assert "0 differences" in await reconcile(apply=True)


async def test_a_processor_that_compares_now_and_then_does_it_by_itself(broker: Broker, topics: TopicNames) -> None:
    """Nobody gives an order; the metric tells of it, and that it is over."""
    async with at_work(broker, topics, 0.5) as scene:
        enrolment = await scene.joins_and_leaves()
        assert scene.drift("left_here") in {None, 0}
        await scene.lands_too_late(enrolment)
        await until(lambda: scene.drift("left_here"), PATIENCE_SECONDS, "the drift is counted")
        assert (await scene.outcome(is_of_an_order)).result in {Result.OFFBOARDED, Result.DUPLICATE}
        await until(lambda: scene.homes == 0 and scene.drift("left_here") == 0, PATIENCE_SECONDS, "the drift is over")
