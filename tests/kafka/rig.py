"""The rig of the end-to-end tests: real processes of the processor and the simulator, on the run's broker.

Nothing here looks inside the processor: it is started as operators start it, fed as platforms feed it, and judged by
what a read_committed reader and the simulator's log saw.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from processor.core.events import BoostAction, ConsentWithdrawn, Enrolment, PlugIn, Source, UserBoost
from processor.core.outputs import ModifiedSchedule, Outcome
from processor.core.schedule import HOUR_MS, Schedule
from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec

CODEC = Codec(schema_texts())
NOWHERE = Source("", 0, 0)


def now_ms() -> int:
    """UTC now."""
    return time.time_ns() // 1_000_000


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Return as soon as `holds`; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Running:
    """A child process whose output is kept; it never outlives the test."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in `end`
        self.process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
        )

    def said(self) -> str:
        """What it wrote to stderr so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Whatever it was doing, it is over."""
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout:
            self.process.stdout.close()
        self._log.close()


@dataclass
class Simulator:
    """A running `axle-sim`: its process, and where it listens."""

    running: object
    url: str

    def put_faults(self, rules: list[dict[str, object]]) -> None:
        """Misbehave like that from now on; `[]` heals."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback server
            f"{self.url}/_sim/faults", json.dumps(rules).encode(), {"content-type": "application/json"}, method="PUT"
        )
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310 - as above

    def get(self, path: str) -> dict[str, object]:
        """A control route's answer."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:  # noqa: S310 - as above
            found: dict[str, object] = json.load(answer)
            return found


@contextmanager
def simulator(calls: Path | None = None) -> Iterator[Simulator]:
    """A simulator of Axle in a process of its own."""
    command = [sys.executable, "-m", "processor.cli.axle_sim", "--port", "0"]
    running = Running([*command, *(["--calls", str(calls)] if calls else [])], dict(os.environ))
    try:
        assert running.process.stdout is not None
        url = running.process.stdout.readline().decode().strip()
        assert url.startswith("http"), running.said()
        yield Simulator(running, url)
    finally:
        running.end()


def processor_environ(bootstrap: str, topics: TopicNames, axle_url: str, **more: str) -> dict[str, str]:
    """The settings of a processor in this rig; `more` as `KAFKA__GROUP_ID="g"`."""
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA__GROUP_ID": f"{topics.state}.group",
        "AXLE__BASE_URL": axle_url,
        "AXLE__USERNAME": "tester",
        "AXLE__PASSWORD": "secret",
        "HTTP__PORT": "0",
        "LOG__FORMAT": "json",
        **{f"TOPICS__{name.upper()}": getattr(topics, name) for name in TopicNames.__slots__},
        **more,
    }
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AXLE_PROCESSOR_")}
    return environ | {f"AXLE_PROCESSOR_{name}": value for name, value in settings.items()}


@contextmanager
def processor(environ: dict[str, str], tasks: int) -> Iterator[Running]:
    """A processor in a process of its own, once it works on so many tasks."""
    running = Running([sys.executable, "-m", "processor", "run"], environ)
    try:
        wait_for_tasks(running, tasks)
        yield running
    finally:
        running.end()


def wait_for_tasks(running: Running, tasks: int, seconds: float = 40.0) -> None:
    """Return when the processor took so many tasks over."""

    def took_over() -> bool:
        assert running.process.poll() is None, running.said()
        return running.said().count("took a task over") >= tasks

    wait_until(took_over, seconds, f"{tasks} tasks at work")


def page_of(running: Running) -> str:
    """Where a processor's status page is."""
    line = next(line for line in running.said().splitlines() if '"page"' in line)
    return str(json.loads(line)["page"])


def samples(exposition: str, name: str) -> dict[str, float]:
    """A metric's values in what `/metrics` answers, by their labels as they are written there."""
    lines = exposition.splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith((f"{name}{{", f"{name} "))]
    return {labels.removeprefix(name): float(value) for labels, _, value in found}


def samples_of(page: str, name: str) -> dict[str, float]:
    """Likewise, of a running processor, at the address of its page."""
    with urllib.request.urlopen(f"{page}/metrics", timeout=5) as answer:  # noqa: S310 - our own loopback server
        return samples(answer.read().decode(), name)


def drain_stdout(running: Running) -> None:
    """Read stdout away, so that the process never blocks on it."""
    stream = running.process.stdout
    if stream:
        threading.Thread(target=stream.read, daemon=True).start()


class Feed:
    """A platform's producer: one connection, records as they happen."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})

    def send(self, topic: str, key: str, value: bytes | None) -> None:
        """One record, on its way."""
        self._producer.produce(topic, value, key)
        self._producer.poll(0)

    def flush(self) -> None:
        """All of them acknowledged."""
        assert self._producer.flush(10) == 0, "records were not acknowledged"


def tonight(start_ms: int | None = None, hours: float = 8) -> Schedule:
    """A charging night that begins now."""
    begin = start_ms or now_ms()
    return ((begin, begin + round(hours * HOUR_MS)),)


def plug_in(site: str, charger: str, event_id: str, at_ms: int | None = None, *, enrol: bool = True) -> bytes:
    """A plug-in's bytes."""
    when = at_ms or now_ms()
    mpan = f"{sum(ord(letter) * 31**i for i, letter in enumerate(site)) % 10**13:013d}"
    enrolment = Enrolment(mpan, "AB1 2CD", "1 Example Street", when - 1000, when - 1000) if enrol else None
    return CODEC.encode_input(PlugIn(event_id, when, NOWHERE, site, charger, tonight(when), 7.4, enrolment))


def boost(site: str, charger: str, event_id: str, at_ms: int | None = None, hours: float = 1) -> bytes:
    """A boost's bytes."""
    when = at_ms or now_ms()
    until = when + round(hours * HOUR_MS)
    return CODEC.encode_input(UserBoost(event_id, when, NOWHERE, site, charger, BoostAction.BOOST, until))


def withdrawal(site: str, event_id: str, at_ms: int | None = None) -> bytes:
    """A withdrawal's bytes."""
    return CODEC.encode_input(ConsentWithdrawn(event_id, at_ms or now_ms(), NOWHERE, site))


@dataclass
class Seen:
    """What a read_committed reader saw, decoded."""

    outcomes: dict[tuple[str, int, int], list[Outcome]] = field(default_factory=lambda: defaultdict(list))
    schedules: dict[str, list[ModifiedSchedule]] = field(default_factory=lambda: defaultdict(list))
    appended_ms: dict[tuple[str, int], int] = field(default_factory=dict)
    """Append time of each schedule, by charger and revision."""

    def take(self, topics: TopicNames, message: Message) -> None:
        """One record more."""
        value = message.value() or b""
        if message.topic() == topics.outcomes:
            outcome = CODEC.decode_output(Outcome, value)
            source = outcome.source
            self.outcomes[source.topic, source.partition, source.offset].append(outcome)
        else:
            record = CODEC.decode_output(ModifiedSchedule, value)
            self.schedules[record.charger_id].append(record)
            self.appended_ms[record.charger_id, record.revision] = message.timestamp()[1]


def broken_chains(seen: Seen) -> list[str]:
    """Chargers whose records do not each replace the one before."""
    broken: list[str] = []
    for charger, records in seen.schedules.items():
        last: int | None = None
        for record in records:
            if record.replaces != last or (last is not None and record.revision <= last):
                broken.append(f"{charger}: {record.revision} replaces {record.replaces}, but {last} came before")
            last = record.revision
    return broken


def read_all(bootstrap: str, topic: str) -> list[Message]:
    """Every committed record that the topic holds now."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "another-independent-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        ended: set[int | None] = set()
        read: list[Message] = []
        deadline = time.monotonic() + 30
        while len(ended) < len(partitions):
            assert time.monotonic() < deadline, f"{topic} has no end"
            for message in consumer.consume(1000, 0.1):
                error = message.error()
                if error is None:
                    read.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                else:
                    raise KafkaException(error)
        return read
    finally:
        consumer.close()
