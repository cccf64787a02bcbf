"""The command as an operator meets it: a process with an environment, an exit code and a few words."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from processor import __version__
from processor.cli import app
from processor.demo.kafka import Broker, make_topics
from processor.settings import PREFIX, Settings, load, variables
from processor.shell.topics import TopicNames
from tests.broker import prefixed

COMMAND = Path(sys.executable).parent / "axle-processor"
NOBODY = "127.0.0.1:1"
"""A port of this machine on which nothing listens."""
ACCOUNT = {"AXLE__USERNAME": "us", "AXLE__PASSWORD": "hunter2-hunter2", "PRIVACY__KEY": "k", "HTTP__PORT": "0"}


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended: its exit code, what it said, and how long that took."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float


def axle(*arguments: str, **environ: str) -> Ended:
    """Run `axle-processor`; `environ` holds settings without their prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [COMMAND, *arguments],
        env={**kept, **{PREFIX + name: value for name, value in environ.items()}},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    after = os.times()
    cpu_seconds = sum(after[2:4]) - sum(before[2:4])
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began, cpu_seconds)


def topic_settings(names: TopicNames) -> dict[str, str]:
    return {f"TOPICS__{field}".upper(): name for field, name in asdict(names).items()}


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that lead to each verb."""
    inner: dict[str, Any] = getattr(command, "commands", {})
    if not inner:
        yield path
    for name, child in inner.items():
        yield from verbs(child, (*path, name))


@pytest.fixture
def names() -> TopicNames:
    """Names of topics that no other test has and that no broker has yet."""
    return prefixed(TopicNames(), f"cli-{time.time_ns():x}.")


def test_help_answers_at_once() -> None:
    """`--help` lists the verbs and costs less than 0.6 s of processor time: nothing heavy is imported for it."""
    runs = [axle("--help") for _ in range(2)]
    assert [run.code for run in runs] == [0, 0]
    assert all(verb in runs[0].out for verb in ("run", "demo", "topics", "config", "version"))
    assert min(run.cpu_seconds for run in runs) < 0.6


@pytest.mark.parametrize("verb", list(verbs(typer.main.get_command(app))), ids=" ".join)
def test_each_verb_shows_an_example(verb: tuple[str, ...]) -> None:
    """The help of each verb has an example that can be copied, and it is of that verb."""
    shown = CliRunner().invoke(app, [*verb, "--help"])
    assert shown.exit_code == 0
    example = " ".join(shown.output.partition("Example:")[2].split())
    assert f"axle-processor {' '.join(verb)}" in example


def test_the_version_is_the_packages() -> None:
    """`version` prints the version and nothing else."""
    told = axle("version")
    assert (told.code, told.out, told.err) == (0, f"{__version__}\n", "")


def test_the_settings_are_listed_for_people_and_for_programs() -> None:
    """`config env` prints each variable once, with its default; `--json` tells the same, with null for none."""
    text, rows = axle("config", "env").out, json.loads(axle("config", "env", "--json").out)
    assert [row["name"] for row in rows] == [name for name, _, _ in variables()]
    lines = [line for line in text.splitlines() if line.startswith(f"# {PREFIX}")]
    assert lines == [f"# {row['name']}={row['default'] or ''}" for row in rows]
    assert all(line.startswith("#") for line in text.splitlines())  # so that it can become an environment file
    assert all(row["about"] for row in rows)


def test_the_listed_defaults_are_the_defaults() -> None:
    """Whoever sets each variable to the default that is listed changes nothing (a secret's is not listed)."""
    rows = json.loads(CliRunner().invoke(app, ["config", "env", "--json"]).output)
    given = {row["name"]: row["default"] for row in rows if row["default"] is not None and "***" not in row["default"]}
    assert load(given) == Settings()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"KAFKA__GROUPID": "g"}, f"{PREFIX}KAFKA__GROUP_ID"),
        ({"AXLE__PASSWORD": ""}, f"{PREFIX}AXLE__PASSWORD"),
        ({"AXLE__PASSWORD_FILE": "not-there"}, f"{PREFIX}AXLE__PASSWORD_FILE"),
        ({"AXLE__BASE_URL": "http://example.org"}, f"{PREFIX}AXLE__BASE_URL"),
        ({"KAFKA__EXTRA": '{"nonsense.key": "1"}'}, "nonsense.key"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_is_one_line(wrong: dict[str, str], said: str) -> None:
    """`run` refuses a wrong setting within 5 s: exit code 3, one line that names it, no traceback, no secret."""
    told = axle("run", **{**ACCOUNT, "KAFKA__BOOTSTRAP_SERVERS": NOBODY, **wrong})
    assert (told.code, told.out) == (3, "")
    (line,) = told.err.splitlines()
    assert line.startswith("configuration: ")
    assert said in line
    assert "hunter2" not in line
    assert told.seconds < 5


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_a_processor_takes_its_memory_in_small_pages() -> None:
    """The verb `run` turns huge pages off, under which every half-answered call of Axle's would cost megabytes."""
    program = (
        "import processor.cli as cli\ntry: cli.app(['run'])\nexcept SystemExit: print(open('/proc/self/status').read())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={}, check=True)
    assert "THP_enabled:\t0\n" in ended.stdout


def test_a_broker_that_is_away_is_one_line() -> None:
    """Without a broker: exit code 4 within 10 s, one line that names the brokers, and no talk of librdkafka's."""
    with ThreadPoolExecutor() as threads:
        asked = [("run",), ("topics", "plan")]
        ended = list(threads.map(lambda verb: axle(*verb, **ACCOUNT, KAFKA__BOOTSTRAP_SERVERS=NOBODY), asked))
    for told in ended:
        assert (told.code, told.out) == (4, "")
        (line,) = told.err.splitlines()
        assert line.startswith("kafka: ")
        assert NOBODY in line
        assert told.seconds < 10


def test_missing_topics_are_named_with_the_command_that_helps(broker: Broker, names: TopicNames) -> None:
    """`run` on a broker without our topics: exit code 3, each missing topic by name, and `topics apply`."""
    told = axle("run", **ACCOUNT, **topic_settings(names), KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap_servers)
    assert told.code == 3
    (line,) = told.err.splitlines()
    assert [name for name in asdict(names).values() if name not in line] == []
    assert "axle-processor topics apply" in line


def test_topics_are_planned_then_applied_then_there(broker: Broker, names: TopicNames) -> None:
    """A plan names what is missing and changes nothing, `apply` creates it, and the next plan is empty."""
    environ = {**topic_settings(names), "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    planned, applied = axle("topics", "plan", **environ), axle("topics", "apply", **environ)
    again = axle("topics", "plan", "--json", **environ)
    assert [run.code for run in (planned, applied, again)] == [0, 0, 0]
    assert len(planned.out.splitlines()) == len(asdict(names))
    assert applied.out == planned.out
    assert json.loads(again.out) == []


def test_a_topic_that_is_made_later_fits_those_that_are_there(broker: Broker, names: TopicNames) -> None:
    """Beside a state topic of two partitions `apply` makes a reroute topic of two, or nothing could start."""
    make_topics(broker, replace(names, reroute="another-reroute-topic"), 2)
    environ = {**topic_settings(names), "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers}
    assert axle("topics", "apply", **environ).out == f"{names.reroute}: create with 2 partitions and 1 replicas.\n"


def test_a_busy_port_is_one_line(broker: Broker, names: TopicNames) -> None:
    """`run` where another process has its HTTP port: exit code 3 and one line that names the variable."""
    make_topics(broker, names, 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = axle(
            "run",
            **{**ACCOUNT, "HTTP__PORT": str(taken.getsockname()[1])},
            **topic_settings(names),
            KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap_servers,
        )
    assert told.code == 3
    (line,) = told.err.splitlines()
    assert f"{PREFIX}HTTP__PORT" in line
