"""SIGKILL in the middle of the work: what a crash may cost is time, never an event."""

import json
from pathlib import Path

import pytest

from processor.core.outputs import Result
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.kafka.rig import (
    Seen,
    Simulator,
    boost,
    broken_chains,
    now_ms,
    plug_in,
    processor,
    processor_environ,
    read_all,
    simulator,
    wait_for_tasks,
    wait_until,
    withdrawal,
)

CHARGERS = 200
EVENTS = 2000
WITHDRAWALS = 20


def _write_events(bootstrap: str, topics: TopicNames) -> None:
    """Plug-ins of 200 homes, and boosts on top of them."""
    began = now_ms() - EVENTS
    plugs, boosts = [], []
    for i in range(EVENTS - WITHDRAWALS):
        home = i % CHARGERS
        site, charger, key = f"s-{home}", f"c-{home}", f"s-{home}".encode()
        if i // CHARGERS % 3 == 2:
            boosts.append((key, boost(site, charger, f"b-{i}", began + i), None))
        else:
            plugs.append((key, plug_in(site, charger, f"p-{i}", began + i), None))
    produce(bootstrap, topics.plug_in, plugs)
    produce(bootstrap, topics.user_boost, boosts)


def _write_withdrawals(bootstrap: str, topics: TopicNames) -> None:
    """The first homes leave."""
    leaving = [(f"s-{i}".encode(), withdrawal(f"s-{i}", f"w-{i}"), None) for i in range(WITHDRAWALS)]
    produce(bootstrap, topics.consent_withdrawn, leaving)


def onboarded(axle: Simulator) -> set[str]:
    """The chargers that Axle has."""
    return {asset["external_id"] for asset in axle.get("/_sim/world")["assets"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize("instance", [None, "stable-0"])
def test_a_kill_in_the_middle_loses_and_repeats_nothing(
    broker: Broker, topics: TopicNames, tmp_path: Path, instance: str | None
) -> None:
    """After a SIGKILL and a restart each of 2,000 events has one outcome, and every offboarding was done."""
    bootstrap = broker.bootstrap_servers
    calls = tmp_path / "calls.jsonl"
    leaving_homes = {f"c-{home}" for home in range(WITHDRAWALS)}
    with simulator(calls) as axle:
        more = {"KAFKA__INSTANCE_ID": instance} if instance else {}
        environ = processor_environ(
            bootstrap,
            topics,
            axle.url,
            KAFKA__SESSION_TIMEOUT_SECONDS="4",
            KAFKA__TRANSACTION_TIMEOUT_SECONDS="2",
            AXLE__DEADLINE_SECONDS="3",
            **more,
        )
        with processor(environ, 2) as first:
            _write_events(bootstrap, topics)
            # A home whose onboarding was not answered yet would be looked for at Axle, for an hour.
            wait_until(lambda: leaving_homes <= onboarded(axle), 30, "the homes that will leave are onboarded")
            axle.put_faults([{"endpoint": "offboard", "fault": "hang"}])
            _write_withdrawals(bootstrap, topics)
            wait_until(lambda: axle.get("/_sim/calls?since=0&limit=1")["waiting"] != 0, 30, "an offboarding begun")
            first.kill()
            axle.put_faults([])
        made_before = calls.read_bytes().count(b"\n")
        with processor(environ, 0) as second:
            wait_for_tasks(second, 2)
            seen = Seen()
            for message in read_committed(bootstrap, topics.outcomes, EVENTS, 90):
                seen.take(topics, message)
            assert second.terminate() == 0, second.said()
        left = onboarded(axle)
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)

    repeated = {source: outcomes for source, outcomes in seen.outcomes.items() if len(outcomes) != 1}
    done = [json.loads(line) for line in calls.read_text().splitlines()]
    leaving = [o[0].result for source, o in seen.outcomes.items() if source[0] == topics.consent_withdrawn]
    assert 0 < made_before < len(done)
    assert repeated == {}
    assert len(seen.outcomes) == EVENTS
    assert broken_chains(seen) == []
    assert len(leaving) == WITHDRAWALS
    assert set(leaving) <= {Result.OFFBOARDED, Result.NOTHING_TO_OFFBOARD}
    assert Result.OFFBOARDED in leaving
    assert left == {f"c-{home}" for home in range(WITHDRAWALS, CHARGERS)}
