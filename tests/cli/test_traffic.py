"""`axle-processor traffic`: invented events on real topics, and never where a real Axle could hear of them."""

import sys

import pytest

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.kafka.rig import Running, processor_environ, read_all

SIMULATED = "http://127.0.0.1:8090"


def _traffic(environ: dict[str, str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    running = Running([sys.executable, "-m", "processor", "traffic", *words], environ)
    try:
        code = running.process.wait(60)
        assert running.process.stdout is not None
        return code, running.process.stdout.read().decode(), running.said()
    finally:
        running.end()


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"AXLE__BASE_URL": "https://api-sandbox.axle.energy"}, "AXLE_PROCESSOR_AXLE__BASE_URL"),
        ({"AXLE__BASE_URL": "https://127.0.0.1.example"}, "AXLE_PROCESSOR_AXLE__BASE_URL"),
        ({"KAFKA__SECURITY_PROTOCOL": "ssl"}, "AXLE_PROCESSOR_KAFKA__SECURITY_PROTOCOL"),
    ],
)
def test_invented_households_stay_away_from_axle(more: dict[str, str], word: str) -> None:
    """Settings that name a real Axle, or brokers with a password, are refused before a broker is asked."""
    environ = processor_environ("127.0.0.1:1", TopicNames(), SIMULATED) | {
        f"AXLE_PROCESSOR_{name}": value for name, value in more.items()
    }
    code, _, said = _traffic(environ)

    assert code == 3
    assert said.startswith(f"configuration: {word}")


def test_events_are_sent_at_the_rate_that_was_asked_for(broker: Broker, topics: TopicNames) -> None:
    """What it says it sent is on the input topics, and there is something on the first of them."""
    environ = processor_environ(broker.bootstrap_servers, topics, SIMULATED)
    code, told, said = _traffic(environ, "--rate", "100", "--duration", "1")
    sent = [
        len(read_all(broker.bootstrap_servers, topic))
        for topic in (topics.plug_in, topics.user_boost, topics.consent_withdrawn)
    ]

    assert code == 0, said
    assert told == f"{sum(sent)} events\n"
    assert sum(sent) >= 50
    assert sent[0] > 0
