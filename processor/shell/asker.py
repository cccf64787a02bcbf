"""Asking brokers until they answer, for as long as somebody wants to know.

What is asked is the caller's business. The one idea: a broker on the move is no reason to fail and a forbidden question
is, and what belongs together has one deadline, however many questions it takes.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaException

from processor.shell.kafka_errors import Remedy, classify
from processor.shell.records import KafkaRefused, RestoreCancelled, RestoreFailed

AGAIN_SECONDS = 0.05
T = TypeVar("T")


class Asker:
    """Asks until there is an answer. A broker on the move is no reason to fail; a forbidden question is.

    One for each restore: what it asks in all, it asks within one deadline.
    """

    def __init__(self, is_wanted: Callable[[], bool], patience_seconds: float) -> None:
        self._is_wanted = is_wanted
        self._deadline = monotonic() + patience_seconds

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """Raises KafkaRefused, RestoreFailed at the deadline, RestoreCancelled when nobody wants to know any more."""
        while self._is_wanted():
            try:
                return question()
            except KafkaException as failure:
                error = failure.args[0]
                if classify(error) is Remedy.REFUSED:
                    raise KafkaRefused(f"Kafka does not tell us {what}: {error.str()} ({error.name()})") from failure
                if monotonic() > self._deadline:
                    raise RestoreFailed(f"{what} cannot be read: {error.str()} ({error.name()})") from failure
            threading.Event().wait(AGAIN_SECONDS)
        raise RestoreCancelled


def monotonic() -> float:
    """Seconds since some start, for bounds of blocking calls."""
    return time.monotonic()  # noqa: TID251 - bounds blocking calls, decides nothing
