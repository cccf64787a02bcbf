"""Brokers are killed one after the other while events flow: what that may cost is time, never an event.

Here lives test T13 of the reliability plan: on three nodes, whoever leads the state, controls the cluster, coordinates
the group or the transactions is killed with SIGKILL, comes back, and is in sync again before the next one goes. Two
processors, one with a stable name and one without, must neither exit nor lose nor repeat.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from types import MappingProxyType

from processor.demo.kafka import make_topics
from processor.demo.kafka_cluster import EmbeddedCluster
from processor.demo.promises import Promise
from processor.shell.topics import TopicNames
from tests.chaos.flow import Traffic, wait_for_progress, wait_shared
from tests.kafka.rig import Running, processor, processor_environ, simulator, wait_until

TASKS = 6
STABLE_NAME = "ordinal-0"
SHORT_KILLS, LONG_KILLS = 3, 10
AWAY_SECONDS = 4.0
"""How long a node stays away: longer than the cluster needs to notice and to choose other leaders."""
_START_SECONDS = 90.0
_RECOVERY_SECONDS = 60.0
_PROGRESS = 20

Say = Callable[[str], None]


def run(short: bool, say: Say) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """One run; returns its figures. Raises AssertionError when a processor exits, or nothing moves for a minute."""
    return rolling_kills(SHORT_KILLS if short else LONG_KILLS, say)


def rolling_kills(
    kills: int, say: Say, rate: float = 20.0, broker_settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, object]:
    """So many kills under `rate` events a second, and what the verifier found."""
    with ExitStack() as stack:
        cluster = stack.enter_context(EmbeddedCluster(broker_settings, say=say))
        say("three nodes are up")
        topics = TopicNames()
        make_topics(cluster, topics, TASKS)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        axle = stack.enter_context(simulator(folder / "calls.jsonl"))
        processors = stack.enter_context(_processors(cluster, topics, axle.url))
        say("two processors share the tasks")
        traffic = stack.enter_context(Traffic(cluster.bootstrap_servers, topics, chargers=60, rate=rate))
        wait_for_progress(traffic, _PROGRESS, _RECOVERY_SECONDS, processors.check)
        leaderless = [
            _kill_and_return(cluster, victim, role, traffic, processors, say)
            for role, victim in islice(_victims(cluster, topics), kills)
        ]
        traffic.settle(_RECOVERY_SECONDS, processors.check)
        verdict = traffic.judge(axle, folder / "calls.jsonl")
        differs = traffic.differs_at_axle()
        processors.check()
        # How long drivers waited is a figure of its own here.
        findings = [finding for finding in verdict.findings if " waited " not in finding.sentence]
        for told in (*(finding.sentence for finding in findings[:20]), *differs[:20]):
            say(f"found: {told}")
        return {
            "broker_kills": len(leaderless),
            "events": len(traffic.history.puts),
            "lost": verdict.lost,
            "duplicates": verdict.duplicates,
            "order_violations": sum(
                " replaces " in f.sentence or " came after " in f.sentence for f in verdict.findings
            ),
            "violations": {
                promise.value: sum(finding.promise is promise for finding in findings) for promise in Promise
            },
            "axle_differs": differs[:20],
            "longest_stall_s": round(traffic.longest_stall_seconds(), 1),
            "longest_leaderless_s": round(max(leaderless, default=0.0), 1),
            "longest_silence_s": round(traffic.longest_silence_seconds(), 1),
            "transactions_lost": processors.said("a transaction was lost"),
            "producer_rebuilds": processors.said("building the producer anew"),
            "checkpoint_mismatches": processors.said("differs from the checkpoint"),
            "unasked_exits": 0,
        }


class Processors:
    """The processors of a run."""

    def __init__(self, running: list[Running]) -> None:
        self.running = running

    def check(self) -> None:
        """Fail with the log's end of whoever is gone."""
        for one in self.running:
            code = one.process.poll()
            assert code is None, f"a processor exited with {code}: {one.said()[-3000:]}"

    def said(self, sentence: str) -> int:
        """How often they logged it."""
        return sum(one.said().count(sentence) for one in self.running)


@contextmanager
def _processors(cluster: EmbeddedCluster, topics: TopicNames, axle_url: str) -> Iterator[Processors]:
    """Two, one of them with a stable name, that share the tasks."""
    settings = {
        # A stable name asks for the classic protocol, and the members of a group are to speak one.
        "KAFKA__PROTOCOL": "classic",
        "AXLE__DEADLINE_SECONDS": "3",
        # A withdrawal that overtakes an answer of Axle's is looked into for up to an hour: not in this run.
        "ONBOARDING__LOOK_UP_MINUTES": "0,0.05,0.1",
    }
    environ = processor_environ(cluster.bootstrap_servers, topics, axle_url, **settings)
    named = {**environ, "AXLE_PROCESSOR_KAFKA__INSTANCE_ID": STABLE_NAME}
    with processor(named, 0) as first, processor(environ, 0) as second:
        wait_shared([first, second], TASKS, _START_SECONDS)
        yield Processors([first, second])


def _victims(cluster: EmbeddedCluster, topics: TopicNames) -> Iterator[tuple[str, int]]:
    """Who is next: the node that has the role just then, in turn, without end."""
    group = f"{topics.state}.group"
    roles: dict[str, Callable[[], int]] = {
        "leader of the state": lambda: cluster.leader_of(topics.state, 0),
        "controller": cluster.controller,
        "transaction coordinator": lambda: cluster.transaction_coordinator(f"{group}.{STABLE_NAME}"),
        "group coordinator": lambda: cluster.group_coordinator(group),
        "leader of the plug-ins": lambda: cluster.leader_of(topics.plug_in, 1),
    }
    for role, who in cycle(roles.items()):
        yield role, who()


def _kill_and_return(
    cluster: EmbeddedCluster, victim: int, role: str, traffic: Traffic, processors: Processors, say: Say
) -> float:
    """One kill and one return, until all is in sync and at work again; tells how long partitions had no leader."""
    traffic.is_calm = False
    began = time.monotonic()
    cluster.kill(victim)
    leaderless = cluster.wait_led(_RECOVERY_SECONDS)
    wait_for_progress(traffic, _PROGRESS, _RECOVERY_SECONDS, processors.check)
    moved = time.monotonic() - began
    wait_until(lambda: time.monotonic() >= began + AWAY_SECONDS, AWAY_SECONDS + 1, "time passed")
    cluster.start(victim)
    in_sync = cluster.wait_healthy(_RECOVERY_SECONDS)
    wait_for_progress(traffic, _PROGRESS, _RECOVERY_SECONDS, processors.check)
    traffic.is_calm = True
    say(
        f"killed node {victim} ({role}): leaders after {leaderless:.1f} s, {_PROGRESS} more events settled "
        f"{moved:.1f} s after the kill, in sync {in_sync:.1f} s after its return"
    )
    return leaderless
