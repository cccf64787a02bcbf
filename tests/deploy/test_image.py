"""The image for real: it builds, runs as nobody on a read-only root, and ends without losing anything.

Only with DEPLOY_CHECK=1 and Docker, for it takes minutes: `make deploy-check`. DEPLOY_IMAGE names an image that is
built already; else PYTHON_IMAGE names its base, as tests/deploy/base.sh makes one. The broker of the tests listens on
loopback, so the containers are on the host's network.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from processor import __version__
from processor.demo.kafka import Broker
from processor.demo.kafka_node import free_port
from processor.shell.topics import TopicNames
from tests.broker import read_committed
from tests.deploy.parts import DEPLOY, PREFIX, ROOT
from tests.kafka.rig import Feed, Seen, broken_chains, plug_in, processor_environ, simulator, wait_until

GRACE_SECONDS = 30
EVENTS = 400
DOCKER = shutil.which("docker")


def _docker(*words: str, seconds: float = 60) -> str:
    told = subprocess.run(["docker", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds)
    assert told.returncode == 0, f"docker {' '.join(words[:2])}: {told.stdout[-2000:]}{told.stderr[-2000:]}"
    return told.stdout.strip()


def _why_not() -> str:
    if os.environ.get("DEPLOY_CHECK") != "1":
        return "it takes minutes: make deploy-check"
    if DOCKER is None or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "Docker does not run here"
    return ""


pytestmark = [pytest.mark.skipif(bool(_why_not()), reason=_why_not()), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def image() -> str:
    """The image's name, once it is built."""
    built = os.environ.get("DEPLOY_IMAGE")
    if built:
        return built
    base = os.environ.get("PYTHON_IMAGE")
    chosen = ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    name = "axle-processor:deploy-check"
    # With the host's network a build reaches what the host reaches, a mirror of packages on it included.
    _docker("build", "--network", "host", *chosen, "-f", str(DEPLOY / "Dockerfile"), "-t", name, ".", seconds=1000)
    return name


class Container:
    """A processor in a container that is locked down as the chart has it."""

    def __init__(self, image: str, environ: dict[str, str]) -> None:
        self.name = f"axle-processor-{uuid.uuid4().hex[:12]}"
        told = [
            word for name, value in environ.items() if name.startswith(PREFIX) for word in ("-e", f"{name}={value}")
        ]
        locked = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"]
        # Kubernetes asks by itself; Docker shall ask sooner than it would, so that the test need not wait.
        _docker("run", "--detach", "--name", self.name, "--health-interval", "1s", *locked, *told, image)

    def said(self) -> str:
        """All that it wrote."""
        told = subprocess.run(["docker", "logs", self.name], capture_output=True, text=True, check=False)
        return told.stdout + told.stderr

    def is_at_work(self, tasks: int) -> bool:
        """Whether it took so many tasks over. Fails when it has ended."""
        assert _docker("inspect", "-f", "{{.State.Running}}", self.name) == "true", self.said()
        return self.said().count("took a task over") >= tasks

    def stop(self) -> tuple[int, float]:
        """As an orchestrator does it: SIGTERM, and after the grace period SIGKILL. Its exit code, and seconds."""
        began = time.monotonic()
        _docker("stop", "--time", str(GRACE_SECONDS), self.name, seconds=GRACE_SECONDS + 30)
        return int(_docker("inspect", "-f", "{{.State.ExitCode}}", self.name)), time.monotonic() - began


@pytest.fixture
def start(image: str) -> Iterator[Callable[[dict[str, str]], Container]]:
    """Starts containers, and removes them in the end."""
    started: list[Container] = []

    def begin(environ: dict[str, str]) -> Container:
        started.append(Container(image, environ))
        return started[-1]

    yield begin
    for one in started:
        subprocess.run(["docker", "rm", "--force", one.name], capture_output=True, check=False)


@contextmanager
def _traffic(bootstrap: str, topics: TopicNames) -> Iterator[Callable[[int], None]]:
    feed = Feed(bootstrap)
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for number in range(sent, sent + count):
            site = f"s-{number % 40}"
            feed.send(topics.plug_in, site, plug_in(site, f"c-{number % 40}", f"p-{number}"))
        sent += count

    yield send
    feed.flush()


def test_the_image_says_what_it_is(image: str) -> None:
    """It runs as user 10001, stops by SIGTERM, has a probe without a shell, and carries its parts list."""
    (told,) = json.loads(_docker("image", "inspect", image))
    config = told["Config"]
    show = "import sys; sys.stdout.write(open('/opt/axle-processor/sbom.cdx.json').read())"
    parts = json.loads(_docker("run", "--rm", "--network", "none", "--entrypoint", "python", image, "-I", "-c", show))
    listed = {part["purl"].partition("@")[0] for part in parts["components"]}

    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert {"pkg:pypi/confluent-kafka", "pkg:pypi/uvloop", "pkg:deb/debian/libc6"} <= listed
    assert not {"pkg:pypi/pip", "pkg:pypi/hatchling", "pkg:pypi/pytest"} & listed


def test_its_commands_run_on_a_read_only_root(image: str) -> None:
    """Each command of the image starts as user 10001 without any right to write."""
    locked = ["run", "--rm", "--read-only", "--cap-drop", "ALL", "--network", "none"]

    assert _docker(*locked, image, "version") == __version__
    assert "simulated Axle" in _docker(*locked, "--entrypoint", "axle-sim", image, "--help")


@pytest.mark.parametrize("partitions", [4])
def test_a_stop_in_the_middle_loses_nothing(
    start: Callable[[dict[str, str]], Container], broker: Broker, topics: TopicNames, partitions: int
) -> None:
    """SIGTERM amid traffic ends it with code 0 in time; its successor settles the rest, and each event exactly once."""
    bootstrap = broker.bootstrap_servers
    with simulator() as axle, _traffic(bootstrap, topics) as send:
        port = str(free_port())
        environ = processor_environ(bootstrap, topics, axle.url, HTTP__PORT=port, KAFKA__INSTANCE_ID="pod-0")
        first = start(environ)
        wait_until(lambda: first.is_at_work(partitions), 90, "the first container works")
        health = ("inspect", "-f", "{{.State.Health.Status}}", first.name)
        wait_until(lambda: _docker(*health) == "healthy", 60, "its probe is content")
        axle.put_faults([{"endpoint": "schedule", "fault": "slow", "latency_ms": 400}])
        send(EVENTS // 2)
        read_committed(bootstrap, topics.outcomes, 20, 60)
        code, seconds = first.stop()
        send(EVENTS // 2)
        axle.put_faults([])
        second = start(environ)
        wait_until(lambda: second.is_at_work(partitions), 90, "the second container works")
        messages = read_committed(bootstrap, topics.outcomes, EVENTS, 120)
        assert second.stop()[0] == 0, second.said()
    assert code == 0, first.said()
    assert seconds < GRACE_SECONDS
    seen = Seen()
    for message in [*messages, *read_committed(bootstrap, topics.modified_schedule, EVENTS, 60)]:
        seen.take(topics, message)
    print(f"stopped within {seconds:.1f} s; {len(seen.outcomes)} outcomes of {EVENTS} events")
    assert {outcome.event_id for told in seen.outcomes.values() for outcome in told} == {
        f"p-{n}" for n in range(EVENTS)
    }
    assert [told for told in seen.outcomes.values() if len(told) != 1] == []
    assert broken_chains(seen) == []
