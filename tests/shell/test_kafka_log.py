"""librdkafka's log: few lines for people, all lines for whoever listens."""

import logging
from time import monotonic

from confluent_kafka import Producer
from structlog.testing import capture_logs

from processor.shell.kafka_log import QUIET_SECONDS, librdkafka_logger


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
