"""`run --workers 2`: two processes, one command, one page; on a real broker."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import produce, read_committed
from tests.cli.parts import NOBODY
from tests.kafka.rig import (
    Running,
    Seen,
    boost,
    broken_chains,
    now_ms,
    plug_in,
    processor_environ,
    read_all,
    simulator,
    wait_until,
)

CHARGERS = 100
EVENTS = 400


class Fleet:
    """A running `run --workers 2`, seen through its page."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.url = ""

    def find_page(self) -> bool:
        """Whether the supervisor has told where its page is."""
        assert self.running.process.poll() is None, self.running.said()
        for line in self.running.said().splitlines():
            if '"starting workers"' in line and line.endswith("}"):
                self.url = json.loads(line)["page"]
        return bool(self.url)

    def get(self, path: str) -> tuple[int, str]:
        """(status, body)."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as answer:  # noqa: S310 - our own loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    def workers(self) -> list[dict[str, Any]]:
        """What `/status.json` tells of each."""
        found: list[dict[str, Any]] = json.loads(self.get("/status.json")[1])["workers"]
        return found

    def tasks(self) -> list[list[int]]:
        """Which tasks each works on; a worker that has told nothing has none."""
        return [sorted(each["status"]["tasks"]["working"]) if each["status"] else [] for each in self.workers()]

    def total(self, name: str) -> float:
        """The sum of a metric over its labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def at_work(self) -> bool:
        """Whether all are ready and each has a task."""
        return self.get("/readyz")[0] == 200 and all(self.tasks())


@contextmanager
def fleet(environ: dict[str, str]) -> Iterator[Fleet]:
    """Two workers, each of which has work."""
    running = Running([sys.executable, "-m", "processor", "run", "--workers", "2"], environ)
    try:
        found = Fleet(running)
        wait_until(found.find_page, 60, "the page of all")
        wait_until(found.at_work, 60, "two workers with a task each")
        yield found
    finally:
        running.end()


def write(bootstrap: str, topics: TopicNames, first: int, count: int) -> None:
    """Plug-ins and boosts of a hundred homes."""
    plugs, boosts = [], []
    for i in range(first, first + count):
        site, charger, key = f"s-{i % CHARGERS}", f"c-{i % CHARGERS}", f"s-{i % CHARGERS}".encode()
        if i // CHARGERS % 2:
            boosts.append((key, boost(site, charger, f"b-{i}", now_ms()), None))
        else:
            plugs.append((key, plug_in(site, charger, f"p-{i}", now_ms()), None))
    produce(bootstrap, topics.plug_in, plugs)
    produce(bootstrap, topics.user_boost, boosts)


def environ_of(broker: Broker, topics: TopicNames, axle_url: str, **more: str) -> dict[str, str]:
    """Long sessions: whoever is back within one came by its name, not by a time-out."""
    return processor_environ(
        broker.bootstrap_servers,
        topics,
        axle_url,
        KAFKA__SESSION_TIMEOUT_SECONDS="30",
        AXLE__DEADLINE_SECONDS="2",
        **more,
    )


def test_a_killed_worker_is_back_with_its_name_and_its_tasks(broker: Broker, topics: TopicNames) -> None:
    """SIGKILL of a worker amid events costs none: it is back by its name, each event has one outcome, and all end."""
    bootstrap = broker.bootstrap_servers
    with simulator() as axle, fleet(environ_of(broker, topics, axle.url, KAFKA__INSTANCE_ID="w")) as running:
        before, tasks = running.workers(), running.tasks()
        assert [each["instance_id"] for each in before] == ["w-0", "w-1"]
        assert sorted(task for each in tasks for task in each) == [0, 1]
        write(bootstrap, topics, 0, EVENTS // 2)
        wait_until(lambda: running.total("axle_processor_outcomes_total") > 0, 20, "the first outcomes")
        counted = running.total("axle_processor_events_consumed_total")
        os.kill(before[0]["process"], signal.SIGKILL)
        write(bootstrap, topics, EVENTS // 2, EVENTS // 2)
        wait_until(lambda: running.workers()[0]["restarts"] == 1, 28, "the worker was started again")
        wait_until(running.at_work, 28, "the worker works again, well before its session would have ended")
        after = running.workers()
        assert [each["instance_id"] for each in after] == ["w-0", "w-1"]
        assert after[0]["process"] != before[0]["process"]
        assert after[1]["process"] == before[1]["process"]
        assert running.tasks() == tasks
        seen = Seen()
        for message in read_committed(bootstrap, topics.outcomes, EVENTS, 60):
            seen.take(topics, message)
        wait_until(lambda: running.total("axle_processor_events_consumed_total") >= counted, 20, "sums that never fall")
        assert running.get("/livez")[0] == 200
        assert running.running.terminate() == 0, running.running.said()
        for each in after:
            with pytest.raises(ProcessLookupError):
                os.kill(each["process"], 0)
    for message in read_all(bootstrap, topics.modified_schedule):
        seen.take(topics, message)
    assert len(seen.outcomes) == EVENTS
    assert {source: told for source, told in seen.outcomes.items() if len(told) != 1} == {}
    assert broken_chains(seen) == []


def test_one_page_tells_of_all_workers(broker: Broker, topics: TopicNames) -> None:
    """The sums on the one `/metrics` are those of both pages, and the page has a row for each worker."""
    with simulator() as axle, fleet(environ_of(broker, topics, axle.url)) as running:
        write(broker.bootstrap_servers, topics, 0, 200)
        wait_until(lambda: running.total("axle_processor_events_consumed_total") == 200, 20, "200 events in one sum")
        own = [Fleet(running.running), Fleet(running.running)]
        for page, worker in zip(own, running.workers(), strict=True):
            page.url = worker["page"]
        each = [page.total("axle_processor_events_consumed_total") for page in own]
        assert sum(each) == 200
        assert min(each) > 0
        wait_until(lambda: running.total("axle_processor_worker_up") == 2, 20, "both are up")
        assert 'axle_processor_sites{worker="1"}' in running.get("/metrics")[1]
        wait_until(lambda: "2 of 2 workers" in running.get("/")[1], 20, "a verdict on both")
        page_text = running.get("/")[1]
        assert all(f"<th>workers {n}</th>" in page_text for n in (0, 1))
        at_work = "group: in the group; tasks: 1 at work, 0 being restored"
        both = f"ok worker 0: {at_work}\nok worker 1: {at_work}\n"
        wait_until(lambda: running.get("/startupz") == (200, both), 20, both)


def test_no_worker_outlives_its_supervisor(broker: Broker, topics: TopicNames) -> None:
    """SIGKILL of the supervisor ends the workers too, at once."""
    with simulator() as axle, fleet(environ_of(broker, topics, axle.url)) as running:
        pids = [each["process"] for each in running.workers()]
        running.running.kill()
        wait_until(lambda: not any(is_there(pid) for pid in pids), 30, "the workers are gone")


def is_there(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a file of the kernel's
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("settings", "code"), [({"KAFKA__BOOTSTRAP_SERVERS": NOBODY}, 4), ({"AXLE__PASSWORD": ""}, 3)])
def test_a_refusal_is_told_once_with_its_exit_code(settings: dict[str, str], code: int) -> None:
    """Where Kafka is away, or a setting is wrong, one sentence says so, and nothing is tried again."""
    environ = processor_environ("127.0.0.1:1", TopicNames(), "http://127.0.0.1:1", **settings)
    running = Running([sys.executable, "-m", "processor", "run", "--workers", "2"], environ)
    try:
        assert running.process.wait(60) == code
        told = [line for line in running.said().splitlines() if line.startswith(("kafka: ", "configuration: "))]
        assert len(told) == 1
        assert "started again" not in running.said()
    finally:
        running.end()


@pytest.mark.kafka
def test_missing_topics_are_told_once(broker: Broker) -> None:
    """A cluster without our topics ends all workers with exit code 3 and one sentence."""
    names = TopicNames(**{name: f"nowhere.{name}" for name in TopicNames.__slots__})
    environ = processor_environ(broker.bootstrap_servers, names, "http://127.0.0.1:1")
    running = Running([sys.executable, "-m", "processor", "run", "--workers", "2"], environ)
    try:
        assert running.process.wait(60) == 3
        assert running.said().count("configuration: ") == 1
    finally:
        running.end()
