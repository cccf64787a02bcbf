"""An orderly end is bounded, be it that Kafka is away: an orchestrator kills what takes longer."""

import time

import pytest

from processor.demo.kafka import EmbeddedKafka, make_topics
from processor.shell.topics import TopicNames
from tests.kafka.rig import Feed, boost, plug_in, processor, processor_environ, simulator, wait_until

STOP_SECONDS = 15.0


@pytest.mark.kafka
def test_a_processor_ends_in_time_though_its_broker_is_away() -> None:
    """SIGTERM while the only broker is gone, with work at hand, ends the process within 15 s."""
    broker = EmbeddedKafka()
    broker.start()
    try:
        topics = TopicNames()
        make_topics(broker, topics, 2)
        with simulator() as axle:
            environ = processor_environ(broker.bootstrap_servers, topics, axle.url, KAFKA__PROTOCOL="classic")
            with processor(environ, 2) as running:
                feed = Feed(broker.bootstrap_servers)
                for i in range(50):
                    feed.send(topics.plug_in, f"s-{i}", plug_in(f"s-{i}", f"c-{i}", f"p-{i}"))
                feed.flush()
                for i in range(50):
                    feed.send(topics.user_boost, f"s-{i}", boost(f"s-{i}", f"c-{i}", f"b-{i}"))
                feed.flush()
                broker.kill()
                began = time.monotonic()
                running.process.terminate()
                wait_until(lambda: running.process.poll() is not None, 60, "the process ended")
                took = time.monotonic() - began
                assert took < STOP_SECONDS, running.said()
    finally:
        broker.stop()
