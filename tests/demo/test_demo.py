"""The demo as its user runs it: to its end, into a fault, with Ctrl-C, on a mock, and with a processor that dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from processor.cli.demo import DemoOptions, demo_verb
from processor.demo.axle_faults import read_rules
from processor.demo.child import ProcessorChild, ProcessorDied
from processor.demo.demo import FAULT_PERIOD_SECONDS, fault_is_on, fault_rules
from processor.demo.kafka import Broker

REPORT_KEYS = {"broker", "events", "published", "violations", "lost", "duplicates", "latency_ms", "first_schedule_s"}
PROMISES = ("driver_wins", "withdrawn_is_withdrawn", "silence_means_charge", "one_outcome")
OPTIONS = DemoOptions(
    headless=True,
    duration=None,
    chargers=5,
    rate=10.0,
    broker="mock",
    fault=None,
    report=None,
    port=0,
    json=False,
)


class Command:
    """`axle-processor demo` with a temporary folder of its own, so that what it leaves can be seen."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "processor", "demo", *arguments]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder), "AXLE_PROCESSOR_KAFKA__GROUP_ID": "not-for-the-demo"},
        )

    def end(self, seconds: float = 60.0) -> tuple[int, str, str]:
        """Exit code, stdout and stderr; nothing may be left behind."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        assert list(self.folder.iterdir()) == []
        assert descendants(self.folder) == []
        return self.process.returncode, out, err


def descendants(folder: Path) -> list[str]:
    """Processes that still speak of the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.append(entry.name)
    return found


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def assert_kept(report: Mapping[str, Any]) -> None:
    """Every promise was kept and something happened."""
    assert report["violations"] == dict.fromkeys(PROMISES, 0), report["findings"]
    assert (report["lost"], report["duplicates"]) == (0, 0), report["findings"]
    assert report["published"].keys() >= {"REQUESTED", "MODIFIED", "UNCHANGED", "WITHDRAWN"}


@pytest.mark.timeout(60)
def test_a_short_run_on_somebodys_broker_keeps_its_promises(broker: Broker, tmp_path: Path) -> None:
    """A run keeps every promise, says so in its report, and removes its topics and its group from the broker."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    file = tmp_path / "report.json"
    options = ("--headless", "--duration", "5", "--chargers", "12", "--rate", "20", "--report", str(file))
    code, out, err = Command(folder, *options, "--broker", broker.bootstrap_servers).end()
    assert code == 0, out + err
    report = json.loads(file.read_text())
    assert report.keys() >= REPORT_KEYS
    assert report["broker"] == "kafka"
    assert sum(report["events"].values()) >= 100
    assert report["events"]["consent-withdrawn"] > 0
    assert_kept(report)
    assert report["latency_ms"]["user-boost"]["p50"] < 1_000
    assert "the driver wins" in out
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    wait_until(lambda: not [name for name in admin.list_topics(timeout=5).topics if name.startswith("axle-demo-")])
    groups = admin.list_consumer_groups(request_timeout=5).result().valid
    assert not [group for group in groups if group.group_id.startswith("axle-demo-")]


@pytest.mark.kafka
@pytest.mark.timeout(90)
def test_ctrl_c_ends_with_a_report(tmp_path: Path) -> None:
    """A run without an end, on a broker of its own: Ctrl-C stops the story, waits for what is open, and reports."""
    command = Command(tmp_path, "--chargers", "5", "--json")
    assert command.process.stderr is not None
    news = [line for line, _ in zip((one for one in command.process.stderr if " -> " in one), range(20), strict=False)]
    assert any("plugged in, joining Axle" in line for line in news)
    command.process.send_signal(signal.SIGINT)
    code, out, err = command.end()
    assert code == 0, out + err
    report = json.loads(out)
    assert report["events"]["plug-in"] >= 5
    assert (report["lost"], report["duplicates"]) == (0, 0), report["findings"]
    assert 0 < report["first_schedule_s"] < 30
    assert report["duration_s"] < 15


@pytest.mark.timeout(60)
def test_a_mock_is_good_for_a_look(tmp_path: Path) -> None:
    """Without Java the demo still runs, even while Axle hangs; it says what it cannot promise, and claims no more."""
    options = ("--headless", "--broker", "mock", "--duration", "2", "--chargers", "5", "--fault", "hang", "--json")
    code, out, err = Command(tmp_path, *options).end()
    assert code == 0, out + err
    report = json.loads(out)
    assert report["broker"] == "mock"
    assert (report["lost"], report["violations"]["one_outcome"]) == (None, None)
    assert report["published"]["REQUESTED"] > 0
    assert "fourth promise" in err


@pytest.mark.timeout(60)
def test_a_processor_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """When the processor ends by itself, the demo ends too, with a code and the end of the log."""
    command = Command(tmp_path, "--broker", "mock", "--chargers", "5")
    settings: list[Path] = []

    def begun() -> bool:
        settings[:] = list(tmp_path.glob("axle-processor-demo-*/settings.json"))
        return bool(settings)

    wait_until(begun)
    log = settings[0].with_name("processor.log")
    wait_until(lambda: "starting" in log.read_text())
    needle = str(settings[0]).encode()
    [child] = [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if needle in (entry / "cmdline").read_bytes() and b"python" in (entry / "cmdline").read_bytes()
    ]
    os.kill(child, signal.SIGKILL)
    code, _, err = command.end()
    assert code == 1
    assert "ended by itself with code -9" in err
    assert '"event": "starting"' in err


def test_a_child_with_wrong_settings_says_so() -> None:
    """A processor that refuses its settings leaves its sentence in what is reported."""
    with ProcessorChild() as child:
        child.begin({"NONSENSE": "1"})
        wait_until(lambda: child.pid is None)
        with pytest.raises(ProcessorDied, match="AXLE_PROCESSOR_NONSENSE is not a setting"):
            child.check()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"broker": "nobody"}, 2, "names no broker"),
        ({"broker": "127.0.0.1:1"}, 4, "No broker answers at 127.0.0.1:1"),
        ({"fault": "earthquake"}, 2, "known are"),
        ({"duration": 0.2}, 2, "between 1 and 86400"),
        ({"report": Path("/no/such/folder/r.json")}, 2, "there is no folder"),
    ],
)
def test_a_wrong_use_is_one_sentence(
    capsys: pytest.CaptureFixture[str], options: dict[str, Any], code: int, words: str
) -> None:
    """What is wrong, in one line on stderr, with the exit code of its kind."""
    assert demo_verb(replace(OPTIONS, **options)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["hang", "slow", "500", "429", "404", "409", "422", "broken-json", "non-subset", None])
def test_every_fault_is_a_rule_that_the_simulator_takes(name: str | None) -> None:
    """Each name becomes rules that the simulator reads; none become none."""
    assert len(read_rules(list(fault_rules(name)))) == (0 if name is None else 1)


def test_a_fault_lasts_for_the_middle_third() -> None:
    """In a run with an end it is the middle third; without one, the middle third of each minute."""
    assert [fault_is_on(at, 30.0) for at in (0.0, 9.9, 10.0, 19.9, 20.0, 29.0)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    period = FAULT_PERIOD_SECONDS
    assert [fault_is_on(at, None) for at in (0.0, period / 2, period, period * 1.5)] == [False, True, False, True]
