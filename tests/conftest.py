"""Fixtures for all tests: the broker of the run, and topics of a test's own on it."""

import os
import re
import signal
import time
from collections.abc import Iterator
from itertools import count

import pytest

from processor.demo.kafka import Broker, BrokerFailed, make_topics
from processor.demo.registry import EmbeddedRegistry
from processor.shell.topics import TopicNames
from tests.broker import DEFAULT_IMAGE, Choice, choose, docker_problem, prefixed, start_chosen

_CHOICE = pytest.StashKey[Choice]()
_TESTS_WITH_TOPICS = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Decide which broker tests get, so that a wrong word in TEST_KAFKA ends the run before it begins."""
    # A shell that starts us in the background has Ctrl-C ignored, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        config.stash[_CHOICE] = choose(
            os.environ.get("TEST_KAFKA", "auto"), os.environ.get("TEST_KAFKA_IMAGE", DEFAULT_IMAGE), docker_problem
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    """Say which broker it is."""
    return f"broker for tests: {config.stash[_CHOICE]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a broker, so that `-m "not kafka"` is the fast run."""
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[Broker]:
    """The broker of this run, started when the first test asks for it and stopped at the end."""
    try:
        started = start_chosen(pytestconfig.stash[_CHOICE])
    except BrokerFailed as failed:
        raise pytest.fail.Exception(str(failed), pytrace=False) from None
    yield started
    started.stop()


@pytest.fixture(scope="session")
def registry() -> Iterator[EmbeddedRegistry]:
    """The schema registry of this run, a real one. A test that kills it starts it again."""
    with EmbeddedRegistry() as started:
        yield started


@pytest.fixture
def partitions() -> int:
    """How many partitions the topics of a test have: `@pytest.mark.parametrize("partitions", [3])` asks for others."""
    return 2


@pytest.fixture
def topics(broker: Broker, partitions: int, request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> TopicNames:
    """All topics of the product, empty, under names that no other test has. On a mock broker they have 4 partitions."""
    prefix = f"t{next(_TESTS_WITH_TOPICS)}-{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:40]}."
    if pytestconfig.stash[_CHOICE].kind == "external":
        prefix = f"{time.time_ns():x}-{prefix}"  # the topics of earlier runs are still there
    names = prefixed(TopicNames(), prefix)
    make_topics(broker, names, partitions)
    return names
