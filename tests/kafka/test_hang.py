"""Axle hangs: drivers do not notice."""

import json
import time
import urllib.request
from collections.abc import Iterator
from itertools import cycle

from processor.core.events import Input
from processor.core.outputs import Result, Status
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import Record, produce, read_committed
from tests.kafka.rig import (
    CODEC,
    Feed,
    Running,
    Seen,
    boost,
    page_of,
    plug_in,
    processor,
    processor_environ,
    read_all,
    simulator,
    wait_until,
    withdrawal,
)

HOMES = 50
ACTIONS = 200
PER_SECOND = 50
DEADLINE_SECONDS = 2


def _act(bootstrap: str, topics: TopicNames, name: str) -> None:
    """Plug-ins and boosts in turn, at a steady rate."""
    feed = Feed(bootstrap)
    began = time.monotonic()
    homes = cycle(range(HOMES))
    for i in range(ACTIONS):
        site, charger = f"s-{(home := next(homes))}", f"c-{home}"
        if i // HOMES % 2 == 0:
            feed.send(topics.user_boost, site, boost(site, charger, f"{name}-{i}"))
        else:
            feed.send(topics.plug_in, site, plug_in(site, charger, f"{name}-{i}"))
        time.sleep(max(0.0, began + (i + 1) / PER_SECOND - time.monotonic()))
    feed.flush()


def _appended_ms(bootstrap: str, topics: TopicNames) -> Iterator[tuple[str, int]]:
    """Event id and broker time of every action."""
    for topic, kind in ((topics.plug_in, Input.PLUG_IN), (topics.user_boost, Input.USER_BOOST)):
        for message in read_all(bootstrap, topic):
            yield CODEC.decode(kind, message.value() or b"")["event_id"], message.timestamp()[1]


def _latencies_ms(bootstrap: str, topics: TopicNames, seen: Seen, name: str) -> list[int]:
    """From the broker's time of each action to that of its first record."""
    first: dict[str, int] = {}
    for records in seen.schedules.values():
        for record in records:
            at_ms = seen.appended_ms[record.charger_id, record.revision]
            if record.status is Status.REQUESTED:
                first.setdefault(record.caused_by.event_id, at_ms)
    return sorted(
        first[event_id] - at_ms
        for event_id, at_ms in _appended_ms(bootstrap, topics)
        if event_id.startswith(f"{name}-") and event_id in first
    )


def _figures(bootstrap: str, topics: TopicNames, seen: Seen, name: str) -> tuple[int, int, int]:
    """How many, p50 and p99 in milliseconds."""
    latencies = _latencies_ms(bootstrap, topics, seen, name)
    return len(latencies), latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]


def test_drivers_are_served_in_milliseconds_while_axle_hangs(broker: Broker, topics: TopicNames) -> None:
    """With every call hanging, 200 actions are published with p50 <= 50 ms, and are settled once Axle is back."""
    bootstrap = broker.bootstrap_servers
    with simulator() as axle:
        environ = processor_environ(bootstrap, topics, axle.url, AXLE__DEADLINE_SECONDS=str(DEADLINE_SECONDS))
        with processor(environ, 2) as running:
            enrolling: list[Record] = [
                (f"s-{i}".encode(), plug_in(f"s-{i}", f"c-{i}", f"first-{i}"), None) for i in range(HOMES)
            ]
            produce(bootstrap, topics.plug_in, enrolling)
            read_committed(bootstrap, topics.outcomes, HOMES, 30)

            _act(bootstrap, topics, "healthy")  # a broker that has just started is slow for a few seconds
            axle.put_faults([{"endpoint": "*", "fault": "hang"}])
            _act(bootstrap, topics, "hung")
            # A probe of the breaker's hangs as well, for the whole deadline.
            wait_until(lambda: _breaker(running) in {"open", "probing"}, 30, "the page telling of the open breaker")
            produce(bootstrap, topics.plug_in, [(b"x", plug_in("x", "cx", "stranger", enrol=False), None)])
            produce(bootstrap, topics.consent_withdrawn, [(b"s-0", withdrawal("s-0", "leaves"), None)])
            wait_until(lambda: _settled(bootstrap, topics, "stranger"), 5, "a stranger's plug-in settled in the outage")
            wait_until(lambda: _is_free(bootstrap, topics, "c-0"), 5, "a withdrawn charger freed in the outage")
            axle.put_faults([])
            wait_until(lambda: _breaker(running) == "closed", 60, "the page telling that the breaker has closed")
            everything = HOMES + 2 * ACTIONS + 2
            seen = Seen()
            for message in read_committed(bootstrap, topics.outcomes, everything, 60):
                seen.take(topics, message)
            assert running.terminate() == 0, running.said()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)

    hung = _figures(bootstrap, topics, seen, "hung")
    healthy = _figures(bootstrap, topics, seen, "healthy")
    print(f"\nREQUESTED after p50, p99 [ms]: while Axle hangs {hung[1:]}, healthy {healthy[1:]}")
    results = [outcomes[0].result for outcomes in seen.outcomes.values()]
    assert hung[0] == healthy[0] == ACTIONS
    assert hung[1] <= 50
    assert len(seen.outcomes) == everything
    assert all(len(outcomes) == 1 for outcomes in seen.outcomes.values())
    assert Result.FALLBACK not in results


def _breaker(running: Running) -> str:
    """What the status page tells of it."""
    with urllib.request.urlopen(f"{page_of(running)}/status.json", timeout=5) as answer:  # noqa: S310 - our own loopback server
        return str(json.load(answer)["axle"]["breaker"])


def _settled(bootstrap: str, topics: TopicNames, event_id: str) -> bool:
    needle = event_id.encode()
    return any(needle in (message.value() or b"") for message in read_all(bootstrap, topics.outcomes))


def _is_free(bootstrap: str, topics: TopicNames, charger: str) -> bool:
    seen = Seen()
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)
    return seen.schedules[charger][-1].status is Status.WITHDRAWN
