"""What the tests of the verbs share: an operator's environment, and a household whose every word is on the topics."""

from confluent_kafka import Producer

from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.demo.kafka import Broker
from processor.settings import PREFIX
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from tests.core.world import World, consented
from tests.kafka.rig import CODEC, now_ms

NOBODY = "127.0.0.1:1"
"""A port of this machine on which nothing listens."""


def environment(servers: str, topics: TopicNames | None = None) -> dict[str, str]:
    """Of an operator of these brokers."""
    names = {f"{PREFIX}TOPICS__{name.upper()}": getattr(topics, name) for name in TopicNames.__slots__ if topics}
    return {f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": servers, **names}


def paused_tonight() -> World:
    """A household that Axle has, at this hour: it plugged in just now, and has a pause in an hour."""
    at_ms = now_ms()
    world = World(now_ms=at_ms)
    world.plug_in(schedule=((at_ms, at_ms + 8 * HOUR_MS),), enrolment=consented(at_ms - HOUR_MS), event_id="pi-1")
    world.onboard()
    start_ms = (at_ms // MINUTE_MS + 60) * MINUTE_MS
    world.answer(((start_ms, start_ms + HOUR_MS // 2),))
    return world


def publish(broker: Broker, topics: TopicNames, world: World, *, leaving_out: tuple[str, ...] = ()) -> None:
    """Write all that was said, and the state, as the processor does; but nothing to the topics that are left out."""
    outbox = Outbox(topics, CODEC, Rules(), "/test")
    tasks = 2
    said = [record for output in world.outputs if (record := outbox.record(output))]
    state = outbox.state(task_of(world.site.site_id, tasks), world.site, world.now_ms)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random"})
    for record in [*said, state]:
        if record.topic not in leaving_out:
            producer.produce(record.topic, record.value, record.key, headers=record.headers)
    assert producer.flush(10) == 0, "records were not acknowledged"
