"""What a crash and a planned move cost: `python -m tests.benchmarks.failover_bench [--report FILE]`.

Four things are measured with real processes on one embedded broker: (a) `restart`: SIGKILL in the middle of 5,000
events and a restart at once, with a stable name, process start included; (b) `failover`: SIGKILL of one of two
members, until the other one has taken over; (c) `move`: SIGTERM of one of two members; (d) `large`: a task of 100,000
sites, from the moment its new owner was told until its inputs are read. That last one is the processor's own metric.

The idea: every figure is the broker's own time stamps on committed outputs, so nothing that a process says about itself
counts. A task's gap is the longest time between two outcomes of its events, which go in all the while.
"""

import argparse
import json
import math
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Message

from processor.core.outputs import Outcome
from processor.demo.kafka import Broker, EmbeddedKafka, make_topics, prepare
from processor.demo.reader import Reader
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from tests.benchmarks.restore_bench import fill
from tests.broker import Record, prefixed, produce
from tests.chaos.flow import starting, wait_shared, working
from tests.kafka.rig import (
    CODEC,
    Feed,
    Running,
    Simulator,
    boost,
    plug_in,
    processor,
    processor_environ,
    samples_of,
    simulator,
    wait_until,
)

TASKS = 6
HOMES = 200
EVENTS = 5_000
KILL_AFTER = 1_500
NOT_BEFORE_MS = 100
"""No new process is there so soon: what is appended until then was on its way from the old one."""
WINDOW_SECONDS = 4.0
START_SECONDS = 90.0
RATE = 120.0
RUNS = count(1)
STOCK: Mapping[str, str] = {
    "group.initial.rebalance.delay.ms": "3000",
    "group.min.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "45000",
    "group.consumer.session.timeout.ms": "45000",
    "group.consumer.min.heartbeat.interval.ms": "5000",
    "group.consumer.heartbeat.interval.ms": "5000",
    "group.consumer.assignment.interval.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000",
}
"""Kafka's own defaults, where the embedded broker's differ and it matters here. Source: Kafka 4.4's broker settings."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: what is measured, on which broker, with which settings of the processor."""

    name: str
    what: str
    broker: str
    environ: Mapping[str, str]


def _classic(session_seconds: int, transaction_seconds: int) -> dict[str, str]:
    return {
        "KAFKA__PROTOCOL": "classic",
        "KAFKA__SESSION_TIMEOUT_SECONDS": str(session_seconds),
        "KAFKA__TRANSACTION_TIMEOUT_SECONDS": str(transaction_seconds),
    }


_KIP_848 = {"KAFKA__PROTOCOL": "consumer"}
LARGE_SITES = 100_000
CASES = (
    Case("take-over of 100,000 sites", "large", "tuned", {}),
    Case("restart, stable name", "restart", "tuned", {"KAFKA__INSTANCE_ID": "ordinal-0"}),
    Case("failover, classic, session 3 s", "failover", "tuned", _classic(3, 2)),
    Case("failover, KIP-848, session 6 s", "failover", "tuned", _KIP_848),
    Case("move, classic", "move", "tuned", _classic(10, 8)),
    Case("move, KIP-848", "move", "tuned", _KIP_848),
    Case("failover, classic, session 10 s", "failover", "stock", _classic(10, 8)),
    Case("failover, classic, session 6 s", "failover", "stock", _classic(6, 5)),
    Case("failover, KIP-848, session 45 s", "failover", "stock", _KIP_848),
    Case("move, classic", "move", "stock", _classic(10, 8)),
    Case("move, KIP-848", "move", "stock", _KIP_848),
)


class Watch:
    """When outcomes were appended, by task, as a read_committed reader sees them."""

    def __init__(self, bootstrap: str, topics: TopicNames) -> None:
        self.appended_ms: dict[int, list[int]] = defaultdict(list)
        self.settled = 0
        self._reader = Reader(bootstrap, [topics.outcomes], self._hear)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.stop()

    def first_after(self, at_ms: int) -> int | None:
        """The first append that a process started at `at_ms` can have made."""
        times = [ms for told in list(self.appended_ms.values()) for ms in list(told) if ms > at_ms + NOT_BEFORE_MS]
        return min(times, default=None)

    def wait_settled(self, outcomes: int, seconds: float) -> None:
        """Return once there are so many."""
        wait_until(lambda: self.settled >= outcomes, seconds, f"{outcomes} outcomes")

    def wait_first_after(self, at_ms: int, seconds: float) -> int:
        """The first append after `at_ms`, once it was seen."""
        wait_until(lambda: self.first_after(at_ms) is not None, seconds, "an output after the kill")
        return self.first_after(at_ms) or 0

    def wait_all_after(self, tasks: Iterable[int], at_ms: int, seconds: float) -> None:
        """Return once each of these tasks has settled something after `at_ms`."""

        def all_did() -> bool:
            return all(max(list(self.appended_ms[task]), default=0) > at_ms for task in tasks)

        wait_until(all_did, seconds, "the tasks settle events again")

    def gaps_ms(self, task: int, from_ms: int, until_ms: int) -> list[int]:
        """The times between two outcomes of a task, where they touch the window."""
        return [
            later - earlier
            for earlier, later in pairwise(sorted(self.appended_ms[task]))
            if later > from_ms and earlier < until_ms
        ]

    def _hear(self, messages: list[Message]) -> None:
        for message in messages:
            outcome = CODEC.decode_output(Outcome, message.value() or b"")
            self.appended_ms[task_of(outcome.site_id or "", TASKS)].append(message.timestamp()[1])
            self.settled += 1


@dataclass
class Stage:
    """What a case is played on."""

    broker: Broker
    axle: Simulator
    topics: TopicNames
    watch: Watch
    environ: dict[str, str]
    say: Callable[[str], None]


@contextmanager
def stage(broker: Broker, axle: Simulator, case: Case, say: Callable[[str], None]) -> Iterator[Stage]:
    """Topics and a group of its own, and somebody who watches."""
    topics = prefixed(TopicNames(), f"bench-{next(RUNS)}.")
    make_topics(broker, topics, TASKS)
    environ = processor_environ(broker.bootstrap_servers, topics, axle.url, **case.environ)
    with Watch(broker.bootstrap_servers, topics) as watch:
        yield Stage(broker, axle, topics, watch, environ, say)


def restart(on: Stage, runs: int) -> dict[str, Any]:
    """(a): the gap from SIGKILL to the first output that the process started right after it has appended."""
    gaps: list[float] = []
    up: list[float] = []
    running = _start(on.environ)
    try:
        wait_shared([running], TASKS, START_SECONDS)
        for run in range(runs):
            before = on.watch.settled
            _write(on, run)
            on.watch.wait_settled(before + KILL_AFTER, 60)
            running.kill()
            killed_ms = _now_ms()
            running.end()
            running = _start(on.environ)
            gaps.append((on.watch.wait_first_after(killed_ms, 60) - killed_ms) / 1000)
            wait_shared([running], TASKS, START_SECONDS)
            on.watch.wait_settled(before + EVENTS, 120)
            up.append((_began_ms(running) - killed_ms) / 1000)
            on.say(f"  {gaps[-1]:.2f} s, of which {up[-1]:.2f} s until the program had been loaded and had connected")
    finally:
        running.end()
    return {"gap_s": _summary(gaps), "load_s": _summary(up)}


def leave(on: Stage, runs: int, *, planned: bool) -> dict[str, Any]:
    """(b) and (c): one of two members goes; the longest gap of each task that moves, and of each that stays."""
    moved: list[float] = []
    stayed: list[float] = []
    pooled: list[float] = []
    for run in range(runs):
        with processor(on.environ, 0) as first, processor(on.environ, 0) as second:
            wait_shared([first, second], TASKS, START_SECONDS)
            with _steady(on):
                mine, from_ms = _leave_once(on, first, second, planned=planned)
            until_ms = _now_ms()
        for task in range(TASKS):
            gaps = [gap / 1000 for gap in on.watch.gaps_ms(task, from_ms, until_ms)]
            (moved if task in mine else stayed).append(max(gaps))
            pooled += [] if task in mine else gaps
        on.say(f"  run {run + 1}: moved {max(moved):.2f} s, stayed {max(stayed):.2f} s at the longest so far")
    return {"moved_gap_s": _summary(moved), "stayed_gap_s": _summary(stayed), "stayed_all_gaps_s": _summary(pooled)}


def _leave_once(on: Stage, first: Running, second: Running, *, planned: bool) -> tuple[set[int], int]:
    """Tells which tasks moved, and when the member went."""
    time.sleep(WINDOW_SECONDS)  # the figures need events before, and after, what happens
    mine, from_ms = working(second), _now_ms()
    if planned:
        second.terminate()
    else:
        second.kill()
    wait_until(lambda: working(first) == set(range(TASKS)), 120, "all tasks are at work again")
    on.watch.wait_all_after(range(TASKS), _now_ms(), 60)
    time.sleep(WINDOW_SECONDS)
    return mine, from_ms


def _start(environ: dict[str, str]) -> Running:
    return Running([sys.executable, "-m", "processor", "run"], environ)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _write(on: Stage, run: int) -> None:
    """5,000 events at once: plug-ins of 200 homes, and boosts on top of them."""
    began = _now_ms() - EVENTS
    plugs: list[Record] = []
    boosts: list[Record] = []
    for n in range(EVENTS):
        site, charger, at_ms = f"s-{n % HOMES}", f"c-{n % HOMES}", began + n
        if n // HOMES % 3 == 2:
            boosts.append((site, boost(site, charger, f"b-{run}-{n}", at_ms), None))
        else:
            plugs.append((site, plug_in(site, charger, f"p-{run}-{n}", at_ms), None))
    produce(on.broker.bootstrap_servers, on.topics.plug_in, plugs, timeout_seconds=START_SECONDS)
    produce(on.broker.bootstrap_servers, on.topics.user_boost, boosts, timeout_seconds=START_SECONDS)


@contextmanager
def _steady(on: Stage) -> Iterator[None]:
    """`RATE` plug-ins a second, spread over all tasks, that nobody asks Axle about."""
    ending = threading.Event()
    feed = Feed(on.broker.bootstrap_servers)

    def send() -> None:
        began, sent = time.monotonic(), 0
        while not ending.wait(0.002):
            while sent < (time.monotonic() - began) * RATE:
                site, charger = f"q-{sent % HOMES}", f"qc-{sent % HOMES}"
                feed.send(on.topics.plug_in, site, plug_in(site, charger, f"{began:.3f}-{sent}", enrol=False))
                sent += 1

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(10)
        feed.flush()


def _began_ms(running: Running) -> float:
    told = starting(running)
    assert told is not None
    return datetime.fromisoformat(told["timestamp"]).timestamp() * 1000


def _summary(figures: list[float]) -> dict[str, float]:
    ordered = sorted(figures)
    return {
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[math.ceil(0.99 * len(ordered)) - 1], 3),
        "max": round(ordered[-1], 3),
        "count": len(ordered),
    }


def large(broker: Broker, axle: Simulator, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """(d): a task that is full, taken over by processes that know nothing yet."""
    say(f"  writing {LARGE_SITES:,} sites")
    changelog = fill(broker, LARGE_SITES, 1)
    topics = prefixed(TopicNames(), changelog.state.removesuffix(TopicNames().state))
    make_topics(broker, topics, 1)
    environ = processor_environ(broker.bootstrap_servers, topics, axle.url)
    took: list[float] = []
    for _ in range(runs):
        with processor(environ, 1) as running:
            took.append(_metric(running, "axle_processor_state_restore_seconds_sum"))
            running.terminate()
        say(f"  {took[-1]:.2f} s")
    return {"told_to_working_s": _summary(took)}


def _metric(running: Running, name: str) -> float:
    told = starting(running)
    assert told is not None
    return samples_of(told["page"], name)[""]


def measure(case: Case, broker: Broker, runs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """One row."""
    if case.what == "large":
        with simulator() as axle:
            return large(broker, axle, runs, say)
    with simulator() as axle, stage(broker, axle, case, say) as on:
        if case.what == "restart":
            return restart(on, runs)
        return leave(on, runs, planned=case.what == "move")


def main(arguments: list[str]) -> None:
    """Measure, print a table, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--only", default="", help="only cases whose name and broker hold this")
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3, help="of each case with two members")
    chosen = parser.parse_args(arguments)

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    prepare(say)
    rows: list[dict[str, Any]] = []
    for kind in ("tuned", "stock"):
        cases = [case for case in CASES if case.broker == kind and chosen.only in f"{case.name}, {case.broker}"]
        if not cases:
            continue
        with EmbeddedKafka(settings=STOCK if kind == "stock" else {}) as broker:
            for case in cases:
                say(f"{case.name}, {kind}")
                runs = chosen.restarts if case.what == "restart" else chosen.runs
                rows.append({"case": case.name, "broker": kind, **measure(case, broker, runs, say)})
    print(_table(rows))
    if chosen.report:
        chosen.report.write_text(json.dumps({"failover": rows}, indent=2) + "\n")


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'case':<34}{'broker':<8}{'figure':<20}{'median':>8}{'p99':>8}{'max':>8}{'n':>6}"]
    for row in rows:
        for figure, told in row.items():
            if isinstance(told, dict):
                values = "".join(f"{told[name]:>8.2f}" for name in ("median", "p99", "max"))
                lines.append(f"{row['case']:<34}{row['broker']:<8}{figure:<20}{values}{told['count']:>6}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
