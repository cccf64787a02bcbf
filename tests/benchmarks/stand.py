"""What the benchmark stands on: a broker, a fast Axle, homes that are enrolled, and a processor on its own core.

Here lives what is started and where it runs; what is sent through it and measured is `load.py`'s. The idea: the
processor has one core to itself and everything else shares the others, so that its CPU time is the product's alone.
Homes are written into the state topic by the product's own encoders, as a processor would have left them, so that no
onboarding is needed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer
from msgspec.structs import replace

from processor.core.events import BoostAction, PlugIn, UserBoost
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, subtract
from processor.core.site import Base, Site, Stamp
from processor.demo.kafka import EmbeddedKafka, make_topics
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.instants import iso_z
from processor.wire.state import encode_site
from tests.benchmarks.fast_axle import Cores, FastAxle, fast_axle
from tests.broker import prefixed
from tests.chaos.flow import starting, wait_shared
from tests.kafka.rig import CODEC, NOWHERE, Running, processor_environ, samples_of
from tests.wire.state_samples import MEDIAN, PLUGGED

TASKS = 6
LATENCY_MS = 50
START_SECONDS = 60.0
ROUND_SITES = 500


@dataclass(frozen=True, slots=True)
class Night:
    """The night that all homes charge in. It begins later, so that all ask for the same and are answered alike."""

    schedule: Schedule
    answer: Schedule

    @classmethod
    def coming(cls) -> "Night":
        """Eight hours from an hour hence, of which Axle pauses half an hour."""
        begin = (time.time_ns() // 1_000_000 + HOUR_MS) // MINUTE_MS * MINUTE_MS
        schedule: Schedule = ((begin, begin + 8 * HOUR_MS),)
        pause: Schedule = ((begin + 3 * HOUR_MS, begin + 3 * HOUR_MS + 30 * MINUTE_MS),)
        return cls(schedule, subtract(schedule, pause))

    def answer_body(self) -> bytes:
        """What the fast Axle answers to each question."""
        blocks = [{"start_timestamp": iso_z(start), "end_timestamp": iso_z(end)} for start, end in self.answer]
        return orjson.dumps({"modified_charging_schedule": blocks})

    def plug_in(self, number: int, event_id: str, at_ms: int) -> bytes:
        """A plug-in of that home."""
        return CODEC.encode_input(
            PlugIn(event_id, at_ms, NOWHERE, site_id(number), charger_id(number), self.schedule, 7.4)
        )

    def boost(self, number: int, event_id: str, at_ms: int) -> bytes:
        """A boost of ten minutes at that home."""
        until_ms = at_ms + 10 * MINUTE_MS
        return CODEC.encode_input(
            UserBoost(event_id, at_ms, NOWHERE, site_id(number), charger_id(number), BoostAction.BOOST, until_ms)
        )


def site_id(number: int) -> str:
    """Of that home."""
    return f"site-{number:08}"


def charger_id(number: int) -> str:
    """Of that home's charger."""
    return f"charger-{number:08}"


class Processor:
    """A running processor on the measured core, as the kernel and its own metrics know it."""

    def __init__(self, environ: dict[str, str], cores: Cores) -> None:
        self.running = Running([sys.executable, "-m", "processor", "run"], environ)
        self.pid = self.running.process.pid
        cores.bind_measured(self.pid)
        self._page = ""

    def wait(self) -> None:
        """Return once it works on all tasks."""
        wait_shared([self.running], TASKS, START_SECONDS)
        told: dict[str, Any] | None = starting(self.running)
        assert told is not None
        self._page = told["page"]

    def metrics(self, name: str) -> dict[str, float]:
        """A metric's values by their labels, as they are written."""
        return samples_of(self._page, name)

    def calls(self) -> dict[str, float]:
        """Calls to Axle so far that were about schedules, by status."""
        found: dict[str, float] = {}
        for labels, value in self.metrics("axle_processor_axle_requests_total").items():
            if 'endpoint="sign' not in labels and "token" not in labels:
                status = labels.partition('status="')[2].partition('"')[0]
                found[status] = found.get(status, 0.0) + value
        return found

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far."""
        return cpu_seconds_of(self.pid)

    def end(self) -> None:
        """It leaves in good order, or at once."""
        if self.running.process.poll() is None:
            self.running.process.terminate()
            try:
                self.running.process.wait(20)
            except subprocess.TimeoutExpired:
                self.running.kill()
        self.running.end()


def cpu_seconds_of(pid: int) -> float:
    """CPU time of a process, user and system, in the kernel's ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Stand:
    """All of it. `say` hears of the progress."""

    broker: EmbeddedKafka
    axle: FastAxle
    cores: Cores
    night: Night
    topics: TopicNames
    chargers: int
    say: Callable[[str], None]

    @property
    def bootstrap(self) -> str:
        """Of the broker."""
        return self.broker.bootstrap_servers

    @contextmanager
    def processor(self, **settings: str) -> Iterator[Processor]:
        """A processor that knows all homes, on the measured core, once it works."""
        environ = processor_environ(
            self.bootstrap, self.topics, f"{self.axle.url}/{LATENCY_MS}", LOG__LEVEL="info", **settings
        )
        started = Processor(environ, self.cores)
        try:
            started.wait()
            yield started
        finally:
            started.end()


@contextmanager
def stand(cores: Cores, chargers: int, say: Callable[[str], None]) -> Iterator[Stand]:
    """Start everything but the processor, and enrol so many homes."""
    cores.bind_others()
    night = Night.coming()
    with EmbeddedKafka(say=say) as broker, fast_axle(night.answer_body()) as axle:
        topics = prefixed(TopicNames(), f"bench-{time.time_ns():x}.")
        make_topics(broker, topics, TASKS)
        _enrol(broker.bootstrap_servers, topics, night, chargers)
        yield Stand(broker, axle, cores, night, topics, chargers, say)


def _enrol(bootstrap: str, topics: TopicNames, night: Night, chargers: int) -> None:
    """Leave the states of so many homes behind, as transactions of full rounds, and each task's checkpoint."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topics.state, "retry.backoff.ms": 3})
    producer.init_transactions(30)
    outbox = Outbox(topics, CODEC, Rules(), "/bench")
    at_ms = time.time_ns() // 1_000_000 - MINUTE_MS
    headers = outbox.state(0, _home(0, night, at_ms), at_ms).headers
    for first in range(0, chargers, ROUND_SITES):
        producer.begin_transaction()
        for number in range(first, min(first + ROUND_SITES, chargers)):
            home = _home(number, night, at_ms)
            key = home.site_id
            producer.produce(topics.state, encode_site(home), key.encode(), task_of(key, TASKS), headers=headers)
        producer.commit_transaction(60)
    producer.begin_transaction()
    for task in range(TASKS):
        checkpoint = outbox.checkpoint(task, {(topics.reroute, task): 0}, released=True)
        producer.produce(topics.state, checkpoint.value, checkpoint.key, task)
    producer.commit_transaction(60)


def _home(number: int, night: Night, at_ms: int) -> Site:
    """Enrolled, plugged in a minute ago, and with no question open."""
    stamp = Stamp(at_ms, f"before-{number}")
    charger = replace(
        PLUGGED,
        charger_id=charger_id(number),
        plugged=stamp,
        base=Base(stamp, night.schedule),
        revision=at_ms,
        pauses=(),
        axle_asset_id=f"asset-{number:08}",
        consent_used_at_ms=at_ms,
    )
    return replace(MEDIAN, site_id=site_id(number), consent=stamp, chargers=(charger,))
