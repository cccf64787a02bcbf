"""librdkafka's log: few lines for people, all lines for whoever listens."""

import logging
from time import monotonic

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from processor.shell.kafka_errors import Rebuilt
from processor.shell.kafka_log import QUIET_SECONDS, broken_connection, librdkafka_logger, refused_topic


class FakeClock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def test_each_kind_is_said_once_in_thirty_seconds() -> None:
    """Within 30 s of a line, others of its kind are left out; another kind is said; afterwards it is said again."""
    clock = FakeClock()
    logger = librdkafka_logger(clock.monotonic)
    with capture_logs() as said:
        for clock.seconds in (0.0, 0.0, 12.0, QUIET_SECONDS - 0.001):
            logger.error("FAIL [thrd:b1]: at %s", clock.seconds)
        logger.warning("TERM [thrd:b1]: at %s", clock.seconds)
        clock.seconds = QUIET_SECONDS
        logger.error("FAIL [thrd:b2]: at %s", clock.seconds)
        clock.seconds = 2 * QUIET_SECONDS - 0.001
        logger.error("FAIL [thrd:b3]: at %s", clock.seconds)
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("error", "FAIL [thrd:b1]: at 0.0"),
        ("warning", "TERM [thrd:b1]: at 29.999"),
        ("error", "FAIL [thrd:b2]: at 30.0"),
    ]


def test_talk_below_a_warning_is_not_said_but_heard() -> None:
    """An informative line is not logged and keeps no later one from being logged; only debug lines go unheard."""
    heard: list[str] = []
    logger = librdkafka_logger(FakeClock().monotonic, heard.append)
    with capture_logs() as said:
        logger.debug("FAIL debug")
        logger.info("FAIL info")
        logger.warning("FAIL warning")
        logger.warning("FAIL quiet")
    assert [line["event"] for line in said] == ["FAIL warning"]
    assert heard == ["FAIL info", "FAIL warning", "FAIL quiet"]


def test_lines_are_cut_and_stay_in_our_log() -> None:
    """A line has at most 300 characters, and none of it reaches the handlers of other loggers."""
    logger = librdkafka_logger(FakeClock().monotonic)
    with capture_logs() as said:
        logger.critical("CRIT %s", "x" * 5000)
    assert [len(line["event"]) for line in said] == [300]
    assert (logger.parent, logging.getLogger("librdkafka").handlers) == (None, [])


def test_a_broker_that_is_away_costs_one_line_a_kind() -> None:
    """A real client without a broker writes line after line; of each kind one is logged, and all are heard."""
    heard: list[str] = []
    logger = librdkafka_logger(FakeClock().monotonic, heard.append)
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "reconnect.backoff.max.ms": 100, "logger": logger})
    deadline = monotonic() + 20
    with capture_logs() as said:
        while len(heard) <= len(said):
            assert monotonic() < deadline, heard
            producer.poll(0.05)
    kinds = [line["event"].split()[0] for line in said]
    assert len(kinds) == len(set(kinds)) >= 1


COORDINATOR = "[rdkafka#producer-1] [thrd:TxnCoordinator]: TxnCoordinator: 127.0.0.1:9092: "
BROKER = "[rdkafka#producer-1] [thrd:127.0.0.1:9092/1]: 127.0.0.1:9092/1: "


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"FAIL {COORDINATOR}Disconnected: connection closed by peer (after 2ms)", Rebuilt.COORDINATOR_CONNECTION),
        (f"REQTMOUT {COORDINATOR}Timed out EndTxnRequest in flight (after 5004ms)", Rebuilt.COORDINATOR_CONNECTION),
        (f"FAIL {COORDINATOR}1 request(s) timed out: disconnect (average rtt 7ms)", Rebuilt.COORDINATOR_CONNECTION),
        (f"FAIL {BROKER}Disconnected: connection reset by peer (after 9ms in state UP)", Rebuilt.BROKER_CONNECTION),
        (f"REQTMOUT {BROKER}Timed out TxnOffsetCommitRequest in flight", Rebuilt.BROKER_CONNECTION),
        (f"FAIL {BROKER}Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms)", None),
        (f"FAIL {COORDINATOR}Failed to resolve 'kafka:9092': Name or service not known", None),
        (f"GETPID {COORDINATOR}Failed to acquire transactional PID from broker", None),
        ("TXNERR [rdkafka#producer-1] [thrd:main]: Current transaction failed in state InTransaction", None),
    ],
)
def test_a_broken_connection_is_told_by_its_line(line: str, reason: Rebuilt | None) -> None:
    """What was under way on a connection that broke may still arrive; on one that never came up nothing was."""
    assert broken_connection(line) is reason


def test_a_topic_that_was_refused_is_told_by_its_line() -> None:
    """The line of the topic that could not join a transaction names it; other lines name none."""
    line = 'ADDPARTS [rdkafka#producer-1] [thrd:main]: TxnCoordinator/1: Failed to add partition "a.topic" [0] to'
    assert refused_topic(f"{line} transaction: Broker: Topic authorization failed") == "a.topic"
    assert refused_topic(f"FAIL {COORDINATOR}Disconnected") is None
