"""A processor at work in this process, between a real broker and a simulated Axle of its own.

Here live its start and end, and what is said to it and heard of it on the topics. The idea: what a test wants to see
of the inside (its metrics, the simulator's world) can be asked without another process.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from confluent_kafka import Message

from processor.core.outputs import Outcome
from processor.demo.axle import AxleSimulator, SimSettings
from processor.demo.kafka import Broker
from processor.demo.registry import EmbeddedRegistry
from processor.shell.axle_client import AxleAccount
from processor.shell.axle_transport import http_transport
from processor.shell.clock import Clock, SystemClock
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import Registry, RegistryAccount, registry_codec, subjects_of
from processor.shell.service import Service, ServiceConfig
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from tests.broker import produce, read_committed
from tests.kafka.rig import CODEC

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A processor at work, a simulated Axle, and the topics between."""

    broker: Broker
    topics: TopicNames
    axle: AxleSimulator
    service: Service
    codec: Codec

    async def say(self, topic: str, site: str, value: bytes) -> None:
        """Something happens at a household."""
        await asyncio.to_thread(produce, self.broker.bootstrap_servers, topic, [(site.encode(), value, None)])

    async def outcome(self, is_it: Callable[[Outcome], bool], count: int = 1) -> Outcome:
        """The newest of so many outcomes like that, once they are there."""

        def outcomes(read: list[Message]) -> list[Outcome]:
            decoded = (self.codec.decode_output(Outcome, message.value() or b"") for message in read)
            return [outcome for outcome in decoded if is_it(outcome)]

        servers, topic = self.broker.bootstrap_servers, self.topics.outcomes
        read = await asyncio.to_thread(
            read_committed, servers, topic, lambda read: len(outcomes(read)) >= count, PATIENCE_SECONDS
        )
        return max(outcomes(read), key=lambda outcome: outcome.source.offset)

    async def outcome_of(self, event_id: str, count: int = 1) -> Outcome:
        """Likewise, of those of an event."""
        return await self.outcome(lambda outcome: outcome.event_id == event_id, count)


def registered(account: RegistryAccount, topics: TopicNames) -> Codec:
    """Give the registry our schema of each topic; the codec of those who produce and read there."""
    texts = {
        name: text for text in schema_texts().values() if (name := "{namespace}.{name}".format(**json.loads(text)))
    }
    subjects = subjects_of(topics)
    with closing(Registry(account)) as known:
        for name, subject in subjects.items():
            known.register(subject, texts[name])
        return registry_codec(known, subjects, subjects)


@asynccontextmanager
async def at_work(
    broker: Broker,
    topics: TopicNames,
    axle: SimSettings | None = None,
    clock: Clock | None = None,
    reconcile_seconds: float | None = None,
    registry: EmbeddedRegistry | None = None,
) -> AsyncIterator[Scene]:
    """Both, until the end of the block. With a `registry` all schemas of the topics are registered before."""
    account = None if registry is None else RegistryAccount(registry.url)
    codec = CODEC if account is None else await asyncio.to_thread(registered, account, topics)
    async with AxleSimulator(axle) as simulator:
        config = ServiceConfig(
            broker.bootstrap_servers,
            AxleAccount(simulator.url, "u", "p"),
            topics,
            group_id=f"{topics.state}.group",
            http_port=0,
            reconcile_seconds=reconcile_seconds,
            registry=account,
        )
        service = Service(config, http_transport(), clock or SystemClock())
        running = asyncio.create_task(service.run())
        try:
            yield Scene(broker, topics, simulator, service, codec)
        finally:
            service.stop()
            await running
