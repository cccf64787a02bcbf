"""How fast a task's state comes back, and how much memory it takes: `python -m tests.benchmarks.restore_bench`.

`--sites N` (a million unless told otherwise) in `--tasks N` partitions (1), `--rounds N` (3), `--report FILE` for JSON.

A broker of its own is filled with transactions as rounds write them. Then processes that know nothing yet read it
back, each on one core where the system can bind them to one, while the broker has the others. `bare` is librdkafka's
own speed: the same records with the same settings, and nothing done with them. `restore` is the product's: questions,
reading, checks and the hand-over to the store. The best of several rounds counts, so that what else the machine does
counts little; CPU seconds are those of the reading process, all of its threads.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # its stubs omit it
from msgspec.structs import replace

from processor.core.rules import Rules
from processor.core.site import Enrolling, Site
from processor.demo.kafka import Broker, EmbeddedKafka, prepare
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.records import Headers
from processor.shell.restore import BULK_MAX, READER, Restorer
from processor.shell.store import Store
from processor.shell.tasks import RESTORES_AT_ONCE
from processor.shell.topics import TopicNames
from processor.wire.state import encode_site
from tests.broker import prefixed
from tests.shell.parts import CODEC
from tests.wire.state_samples import MEDIAN, PLUGGED, T

SITES = 1_000_000
ROUND_SITES = 500
"""So many states a transaction, as in a full round."""
WAITING_EVERY = 50
"""Every so manieth site owes a call and wants to be woken."""
MEASURE_SECONDS = 600.0
MEASURES = ("bare", "restore")
_QUEUED_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Changelog:
    """A changelog that was filled for the benchmark."""

    bootstrap: str
    state: str
    reroute: str
    sites: int
    tasks: int
    state_bytes: float
    """The median state's size."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one measurement took."""

    sites: int
    seconds: float
    cpu_seconds: float
    bytes_per_site: float | None
    """Memory that stays; None where the system does not tell. Only `restore` keeps anything."""
    peak_bytes_per_site: float | None


def fill(broker: Broker, sites: int, tasks: int) -> Changelog:
    """Write so many sites, each where it belongs, and each task's checkpoint."""
    names = prefixed(TopicNames(), f"{time.time_ns():x}.")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    made = [NewTopic(name, tasks, 1, config={"cleanup.policy": "compact"}) for name in (names.state, names.reroute)]
    for future in admin.create_topics(made).values():
        future.result(30)
    producer = Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "transactional.id": names.state,
            "queue.buffering.max.messages": _QUEUED_MAX,
            "retry.backoff.ms": 3,
        }
    )
    producer.init_transactions(30)
    outbox = Outbox(names, CODEC, Rules(), "/bench")
    rests, waits = (_headers(outbox, _household(0, waits=waits)) for waits in (False, True))
    sizes = []
    for first in range(0, sites, ROUND_SITES):
        producer.begin_transaction()
        for number in range(first, min(first + ROUND_SITES, sites)):
            site = _household(number, waits=number % WAITING_EVERY == 0)
            value = encode_site(site)
            sizes.append(len(value))
            task = task_of(site.site_id, tasks)
            marks = rests if number % WAITING_EVERY else waits
            producer.produce(names.state, value, site.site_id.encode(), task, headers=marks)
        producer.commit_transaction(60)
    producer.begin_transaction()
    for task in range(tasks):
        checkpoint = outbox.checkpoint(task, {(names.reroute, task): 0}, released=True)
        producer.produce(names.state, checkpoint.value, checkpoint.key, task)
    producer.commit_transaction(60)
    return Changelog(broker.bootstrap_servers, names.state, names.reroute, sites, tasks, median(sizes))


def _household(number: int, *, waits: bool) -> Site:
    """The demo's median site, under an id of its own."""
    charger = replace(PLUGGED, charger_id=f"charger-{number:08}", enrolling=Enrolling(T) if waits else None)
    return replace(MEDIAN, site_id=f"site-{number:08}", chargers=(charger,))


def _headers(outbox: Outbox, site: Site) -> Headers:
    return outbox.state(0, site, T).headers


def measured(changelog: Changelog, what: str) -> Figures:
    """One measurement, in a process that knows nothing yet."""
    command = [sys.executable, "-m", "tests.benchmarks.restore_bench", "--measure", what, json.dumps(asdict(changelog))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MEASURE_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring {what} failed: {done.stderr}")
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def _measure(changelog: Changelog, what: str) -> Figures:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run = {"bare": _bare, "restore": _restore}[what]
    before = _memory("VmRSS")
    began, cpu = time.monotonic(), time.process_time()
    sites, kept = run(changelog)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    now, peak = _memory("VmRSS"), _memory("VmHWM")
    figures = Figures(sites, seconds, cpu_seconds, _each(now, before, sites), _each(peak, before, sites))
    del kept
    return figures


def _each(now: int | None, before: int | None, sites: int) -> float | None:
    return None if now is None or before is None else (now - before) / sites


def _memory(name: str) -> int | None:
    """Bytes, as the kernel counts them for this process; its own, unlike `getrusage`, which begins at the parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def _bare(changelog: Changelog) -> tuple[int, object]:
    """Read every record, and do nothing with any."""

    def read(task: int) -> int:
        count = 0
        config = {"bootstrap.servers": changelog.bootstrap, "group.id": "bare", **READER}
        with closing(Consumer(config)) as consumer:
            consumer.assign([TopicPartition(changelog.state, task, 0)])
            while True:
                first = consumer.poll(1)
                messages = [first, *consumer.consume(BULK_MAX, 0)] if first is not None else []
                count += len(messages)
                error = messages[-1].error() if messages else None
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    return count - 2  # the end, and the checkpoint

    return sum(_all_tasks(changelog, read)), None


def _restore(changelog: Changelog) -> tuple[int, object]:
    """Take every task over, up to where its sites can be asked for."""
    connection = {"bootstrap.servers": changelog.bootstrap}
    restorer = Restorer(connection, "restoring", changelog.state, changelog.tasks, "earliest")
    store = Store(Rules())

    def read(task: int) -> int:
        restored = restorer.restore(task, [(changelog.reroute, task)], lambda: True)
        due = {site_id: marks.due_at_ms for site_id, marks in restored.marks.items() if marks.due_at_ms is not None}
        store.take_over(task, restored.states, due)
        return store.site_count(task)

    return sum(_all_tasks(changelog, read)), store


def _all_tasks(changelog: Changelog, read: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(RESTORES_AT_ONCE) as threads:
        return list(threads.map(read, range(changelog.tasks)))


def best(rounds: Sequence[Figures]) -> Figures:
    """The best of each figure."""
    lasting = [figures.bytes_per_site for figures in rounds if figures.bytes_per_site is not None]
    peaks = [figures.peak_bytes_per_site for figures in rounds if figures.peak_bytes_per_site is not None]
    return Figures(
        rounds[0].sites,
        min(figures.seconds for figures in rounds),
        min(figures.cpu_seconds for figures in rounds),
        min(lasting, default=None),
        min(peaks, default=None),
    )


def report(changelog: Changelog, rounds: int) -> dict[str, Any]:
    """Measure, in turns, and put the figures side by side."""
    taken = [{what: measured(changelog, what) for what in MEASURES} for _ in range(rounds)]
    bare, restore = (best([turn[what] for turn in taken]) for what in MEASURES)
    return {
        "sites": changelog.sites,
        "tasks": changelog.tasks,
        "state_bytes": changelog.state_bytes,
        "bare": _row(bare),
        "restore": _row(restore),
        "restore_over_bare": {
            "seconds": round(restore.seconds / bare.seconds, 2),
            "cpu_seconds": round(restore.cpu_seconds / bare.cpu_seconds, 2),
        },
        "rounds": [{what: _row(figures) for what, figures in turn.items()} for turn in taken],
    }


def _row(figures: Figures) -> dict[str, float | None]:
    each, peak = figures.bytes_per_site, figures.peak_bytes_per_site
    return {
        "sites": figures.sites,
        "seconds": round(figures.seconds, 2),
        "cpu_seconds": round(figures.cpu_seconds, 2),
        "sites_per_s": round(figures.sites / figures.seconds),
        "bytes_per_site": None if each is None else round(each),
        "peak_bytes_per_site": None if peak is None else round(peak),
    }


def main(arguments: list[str]) -> None:
    """Print the figures, and write them to a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=SITES)
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "CHANGELOG"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.measure:
        what, changelog = asked.measure
        print(json.dumps(asdict(_measure(Changelog(**json.loads(changelog)), what))))
        return
    prepare()
    with EmbeddedKafka() as broker:
        began = time.monotonic()
        filled = fill(broker, asked.sites, asked.tasks)
        print(f"{filled.sites:,} sites of {filled.state_bytes:.0f} bytes written in {time.monotonic() - began:.0f} s")
        figures = report(filled, asked.rounds)
    print(f"{'':10} {'seconds':>8} {'CPU s':>8} {'sites/s':>10} {'bytes a site':>13} {'at the peak':>12}")
    for what in MEASURES:
        row = figures[what]
        names = ("seconds", "cpu_seconds", "sites_per_s", "bytes_per_site", "peak_bytes_per_site")
        cells = ("-" if row[name] is None else f"{row[name]:,}" for name in names)
        print("{:10} {:>8} {:>8} {:>10} {:>13} {:>12}".format(what, *cells))
    print(f"{'ratio':10} {figures['restore_over_bare']}")
    if asked.report:
        asked.report.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
