"""librdkafka's own log, made fit for people: through our log, and one line per 30 s and kind.

Left alone it writes about 20 raw lines a second to stderr while a broker is away (measured). And the one place where
it is read by the program: that a connection broke while something was under way on it is told nowhere else.
"""

import logging
import re
from collections.abc import Callable

import structlog

from processor.shell.kafka_errors import Rebuilt

QUIET_SECONDS = 30.0


_BREAKS = ("FAIL ", "REQTMOUT ")
_NOTHING_UNDER_WAY = ("Connect to ", "Failed to resolve ", "Failed to connect ")
_COORDINATOR = "TxnCoordinator"
_REFUSED_TOPIC = re.compile(r'^ADDPARTS .*Failed to add partition "([^"]+)"')


def broken_connection(line: str) -> Rebuilt | None:
    """Which connection broke, where the line says that one did that requests may have been under way on.

    librdkafka leaves out a second line with the same words from the same connection within 30 s, so that whoever
    relies on this needs a new client after each.
    """
    if not line.startswith(_BREAKS) or any(words in line for words in _NOTHING_UNDER_WAY):
        return None
    return Rebuilt.COORDINATOR_CONNECTION if _COORDINATOR in line else Rebuilt.BROKER_CONNECTION


def refused_topic(line: str) -> str | None:
    """The topic that could not be added to a transaction; the error itself does not name it."""
    found = _REFUSED_TOPIC.search(line)
    return found[1] if found else None


class _Bridge(logging.Handler):
    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(logging.WARNING)
        self._monotonic = monotonic
        self._said_at: dict[str, float] = {}
        self._log = structlog.get_logger("librdkafka")

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        kind = message.split(" ", 1)[0]
        now = self._monotonic()
        if now - self._said_at.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        self._said_at[kind] = now
        self._log.log(record.levelno, message[:300])


class _Ear(logging.Handler):
    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record.getMessage())


def librdkafka_logger(monotonic: Callable[[], float], hear: Callable[[str], None] = lambda _: None) -> logging.Logger:
    """A logger for the `logger` setting of confluent_kafka's clients. `hear` is told every line, also the quiet ones.

    A client hands its lines over only while it is polled, and on the thread that polls it.
    """
    logger = logging.Logger("librdkafka", logging.INFO)  # noqa: LOG001 - one of its own, outside the global tree
    logger.addHandler(_Bridge(monotonic))
    logger.addHandler(_Ear(hear))
    return logger
