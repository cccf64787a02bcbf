"""Questions to brokers are bounded, be it that nobody answers."""

import threading
import time

import pytest

from processor.shell.log_ends import LogEnds
from processor.shell.records import KafkaRefused

NOBODY = {"bootstrap.servers": "127.0.0.1:1"}


def test_a_question_that_nobody_answers_ends_in_time() -> None:
    """Where partitions begin is asked for as long as was said, all told, and then is a sentence."""
    began = time.monotonic()
    with pytest.raises(KafkaRefused, match=r"did not tell within 0.5 s where a \[0\] begins, and 17 more partitions"):
        LogEnds(NOBODY, "state", first_seconds=0.5).first([("a", number) for number in range(18)], threading.Event())
    assert time.monotonic() - began < 5


def test_who_is_not_answered_keeps_nothing() -> None:
    """Without an answer no task is said to be still, and the poll thread is held up for a moment only."""
    began = time.monotonic()
    assert LogEnds(NOBODY, "state").still([0, 1]) == {}
    assert time.monotonic() - began < 5
