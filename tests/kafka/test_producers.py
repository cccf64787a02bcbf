"""The examples of producers, each run as it stands in its own language: we accept what they send, where it belongs."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.core.events import Input, PlugIn
from processor.core.schedule import HOUR_MS
from processor.demo.kafka import Broker
from processor.demo.kafka_parts import KAFKA_VERSION
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.inputs import InputLimits, read_input
from tests.broker import read_committed
from tests.kafka.rig import CODEC, NOWHERE, now_ms
from tests.other_languages import AVRO, class_path_of_a_producer, java_with_a_compiler, npm_packages, program

ROOT = Path(__file__).resolve().parents[2]
PRODUCERS = ROOT / "deploy/examples/producers"
SCHEMA = ROOT / "schemas/ev.plug-in.v1.avsc"
SECONDS = 60.0


def in_python(_: Path) -> list[str]:
    """The example in Python, with this Python."""
    return [sys.executable, str(PRODUCERS / "plug_in.py")]


def in_java(_: Path) -> list[str]:
    """The example in Java, compiled by the `java` that runs it."""
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")
    return [java_with_a_compiler(), *quick, "-cp", class_path_of_a_producer(), str(PRODUCERS / "PlugIn.java")]


def in_node(tmp_path: Path) -> list[str]:
    """The example for Node, in a copy, because Node looks for packages beside the program."""
    node = program("node")
    (tmp_path / "node_modules").symlink_to(npm_packages(PRODUCERS))
    return [node, str(shutil.copy(PRODUCERS / "plug_in.mjs", tmp_path))]


@pytest.mark.parametrize("command_of", [in_python, in_java, in_node])
def test_what_the_examples_send_is_accepted(
    broker: Broker, topics: TopicNames, partitions: int, tmp_path: Path, command_of: Callable[[Path], list[str]]
) -> None:
    """A producer in each language sends a plug-in that we read, in the partition of its site, keyed by it."""
    command = [*command_of(tmp_path), broker.bootstrap_servers, str(SCHEMA), topics.plug_in]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    [message] = read_committed(broker.bootstrap_servers, topics.plug_in, 1, timeout_seconds=SECONDS)
    event = read_input(Input.PLUG_IN, message.value(), NOWHERE, now_ms(), CODEC, InputLimits())

    assert isinstance(event, PlugIn), event
    assert done.stdout.startswith(f"sent {event.event_id} to {topics.plug_in}-")
    assert (event.site_id, event.charger_id, event.enrolment) == ("home-1", "charger-1", None)
    assert event.schedule == ((event.occurred_at_ms, event.occurred_at_ms + 8 * HOUR_MS),)
    assert (message.key(), message.partition()) == (b"home-1", task_of("home-1", partitions))


def test_the_examples_ask_for_the_jars_that_are_tried() -> None:
    """The Java example is tried with the versions that its pom.xml names."""
    versions = re.findall(r"<version>([\d.]+\.[\d.]+)</version>", (PRODUCERS / "pom.xml").read_text())

    assert versions == [KAFKA_VERSION, AVRO]
