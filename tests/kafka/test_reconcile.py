"""What withdrew here and is at Axle again goes: by the command, and by a processor that compares now and then."""

import asyncio

import pytest

from processor.cli.reconcile import reconcile_verb
from processor.core.events import Enrolment, Input, Onboarded
from processor.core.intents import Onboard
from processor.core.outputs import Outcome, Result
from processor.demo.kafka import Broker
from processor.settings import PREFIX
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.metrics import Metrics
from processor.shell.topics import TopicNames
from tests.cli.parts import environment
from tests.kafka.at_work import PATIENCE_SECONDS, Scene, at_work
from tests.kafka.rig import CODEC, plug_in, withdrawal
from tests.shell.parts import until

pytestmark = pytest.mark.anyio
SITE, CHARGER = "home-1", "charger-1"


async def joins_and_leaves(scene: Scene) -> Enrolment:
    """The household is enrolled, withdraws, and Axle confirms. Its personal data, for who has them still."""
    value = plug_in(SITE, CHARGER, "p-1")
    enrolment = CODEC.decode(Input.PLUG_IN, value)["enrolment"]
    await scene.say(scene.topics.plug_in, SITE, value)
    await scene.outcome_of("p-1")
    await scene.say(scene.topics.consent_withdrawn, SITE, withdrawal(SITE, "w-1"))
    left = await scene.outcome_of("w-1")
    assert left.result is Result.OFFBOARDED
    assert homes(scene) == 0
    names = ("mpan", "postcode", "street_address", "boundary_meter_consent_at", "consented_at")
    return Enrolment(*(enrolment[name] for name in names))


async def lands_too_late(scene: Scene, enrolment: Enrolment) -> None:
    """An onboarding that everybody had given up reaches Axle after all."""
    client = AxleClient(AxleAccount(scene.axle.url, "u", "p"), http_transport(), SystemClock(), Metrics())
    assert isinstance(await client.perform(Onboard(SITE, CHARGER, enrolment, 7.4, None)), Onboarded)
    await client.aclose()
    assert homes(scene) == 1


def homes(scene: Scene) -> int:
    """How many sites Axle has."""
    return len(scene.axle.world.snapshot()["sites"])


def drift(scene: Scene, kind: str) -> float | None:
    """What the processor's metric says."""
    registry = scene.service.metrics.registry
    return registry.get_sample_value("axle_processor_reconcile_drift", {"kind": kind})


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

    async with at_work(broker, topics) as scene:
        account = {"BASE_URL": scene.axle.url, "USERNAME": "u", "PASSWORD": "p"}
        of_axle = {f"{PREFIX}AXLE__{name}": value for name, value in account.items()}
        for name, value in {**environment(broker.bootstrap_servers, topics), **of_axle}.items():
            monkeypatch.setenv(name, value)
        enrolment = await joins_and_leaves(scene)
        assert "0 differences" in await reconcile(apply=True)
        await lands_too_late(scene, enrolment)
        assert "left_here: 1 " in await reconcile(apply=False)
        assert homes(scene) == 1
        assert "1 ordered; a running processor looks for them" in await reconcile(apply=True)
        done = await scene.outcome(is_of_an_order)
        assert (done.result, done.site_id, done.charger_id) == (Result.OFFBOARDED, SITE, CHARGER)
        assert done.source.topic == topics.reroute
        assert homes(scene) == 0
        assert "0 differences" in await reconcile(apply=True)


async def test_a_processor_that_compares_now_and_then_does_it_by_itself(broker: Broker, topics: TopicNames) -> None:
    """Nobody gives an order; the metric tells of it, and that it is over."""
    async with at_work(broker, topics, reconcile_seconds=0.5) as scene:
        enrolment = await joins_and_leaves(scene)
        assert drift(scene, "left_here") in {None, 0}
        await lands_too_late(scene, enrolment)
        await until(lambda: drift(scene, "left_here"), PATIENCE_SECONDS, "the drift is counted")
        assert (await scene.outcome(is_of_an_order)).result in {Result.OFFBOARDED, Result.DUPLICATE}
        await until(lambda: homes(scene) == 0 and drift(scene, "left_here") == 0, PATIENCE_SECONDS, "the drift is over")
